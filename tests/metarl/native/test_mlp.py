"""Perceptrons as one operation are those in operations of torch, with all their derivatives."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils._python_dispatch import TorchDispatchMode

from metarl.native import kernels, using
from metarl.native.mode import recorded
from metarl.nn import MLP, WarpMLP
from metarl.nn.mlp import Layers

pytestmark = pytest.mark.skipif(kernels("mlp") is None, reason="no kernels here")

NETS = {
    "tanh": MLP((2, 64, 64, 2), "tanh"),
    "relu": MLP((5, 33, 17, 3), "relu"),
    "linear": MLP((3, 4, 2), "tanh", activate_last=True),
    "deep": MLP((1, 7, 8, 9, 16, 1), "tanh"),
    "one layer": MLP((3, 5), "relu", activate_last=True),
    "linear warp": WarpMLP(MLP((3, 7, 5, 2), "tanh"), "linear"),
    "tanh warp": WarpMLP(MLP((3, 7, 5, 2), "relu"), "tanh"),
}


def layers_of(net: MLP | WarpMLP) -> Layers:
    return net.layers()


def drawn(
    net: MLP | WarpMLP, shape: tuple[int, int], dtype: torch.dtype = torch.float64
) -> tuple[Tensor, list[Tensor]]:
    """Inputs ``[N, M, I]`` and parameters."""
    draw = torch.Generator().manual_seed(1)
    inputs = torch.randn(*shape, net.num_inputs, generator=draw, dtype=dtype)
    own = layers_of(net).net.shapes
    params = [torch.randn(shape[0], *s, generator=draw, dtype=dtype) * 0.5 for s in own]
    return inputs, params


def function(net: MLP | WarpMLP) -> Callable[..., Tensor]:
    layers = layers_of(net)
    names = [f"{n}.{kind}" for n in layers.names for kind in ("weight", "bias")]

    def outputs(inputs: Tensor, *params: Tensor) -> Tensor:
        return layers(dict(zip(names, params, strict=True)), inputs)

    return outputs


def runs_natively(call: Callable[[], Tensor]) -> bool:
    return "_Outputs" in type(call().grad_fn).__name__


def adapted(f: Callable[..., Tensor], given: Sequence[Tensor]) -> list[Tensor]:
    """A loss, its gradient, and the gradient through a step by it."""
    here = [t.clone().requires_grad_() for t in given]
    loss = f(*here).square().mean((1, 2)).sum()
    grads = torch.autograd.grad(loss, here, create_graph=True)
    moved = [t - 0.1 * g for t, g in zip(here, grads, strict=True)]
    return [loss, *grads, *torch.autograd.grad(f(*moved).pow(4).mean(), here)]


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (2, 131), (1, 242)])
@pytest.mark.parametrize("name", NETS)
def test_outputs_and_two_derivatives_are_the_eager_ones(name, shape):
    """To rounding of the largest entries: smaller ones are differences of such, up to 20,000."""
    inputs, params = drawn(NETS[name], shape)
    f = function(NETS[name])
    found = adapted(f, [inputs, *params])
    with using("off"):
        expected = adapted(f, [inputs, *params])
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12 * float(b.detach().abs().max() + 1))


@pytest.mark.parametrize("name", NETS)
def test_single_precision_is_near_double(name):
    inputs, params = drawn(NETS[name], (3, 50))
    exact = adapted(function(NETS[name]), [inputs, *params])
    rounded = adapted(function(NETS[name]), [t.float() for t in (inputs, *params)])
    for a, b in zip(exact, rounded, strict=True):
        torch.testing.assert_close(
            b.double(), a, rtol=1e-3, atol=1e-4 * float(a.detach().abs().max() + 1)
        )


@pytest.mark.parametrize("name", ["deep", "linear", "tanh warp"])
def test_derivatives_to_the_third_are_finite_differences(name):
    net = MLP((2, 3, 2, 1), "tanh") if name == "deep" else NETS[name]
    if isinstance(net, WarpMLP):
        net = WarpMLP(MLP((2, 3, 1), "tanh"), "tanh")
    inputs, params = drawn(net, (2, 3))
    given = [t.requires_grad_() for t in (inputs, *params)]
    f = function(net)
    assert torch.autograd.gradcheck(f, given)
    assert torch.autograd.gradgradcheck(f, given)

    def second(*here: Tensor) -> tuple[Tensor, ...]:
        grads = torch.autograd.grad(f(*here).square().sum(), here, create_graph=True)
        total = torch.stack([g.square().sum() for g in grads]).sum()
        return torch.autograd.grad(total, here, create_graph=True)

    assert torch.autograd.gradcheck(second, given)


def test_gradients_come_back_for_what_asks_for_one_alone():
    inputs, params = drawn(NETS["tanh"], (2, 9))
    f = function(NETS["tanh"])
    params[2].requires_grad_()
    with torch.enable_grad():
        (found,) = torch.autograd.grad(f(inputs, *params).square().sum(), [params[2]])
    with using("off"):
        (expected,) = torch.autograd.grad(f(inputs, *params).square().sum(), [params[2]])
    torch.testing.assert_close(found, expected)
    assert not f(inputs, *(p.detach() for p in params)).requires_grad


def test_parameters_that_all_tasks_share_get_the_sum():
    inputs, params = drawn(NETS["relu"], (4, 6))
    one = [p[:1].clone().requires_grad_() for p in params]
    f = function(NETS["relu"])
    for shared in ([p.expand(4, *p.shape[1:]) for p in one], one):
        found = torch.autograd.grad(f(inputs, *shared).square().sum(), one, create_graph=True)
        again = torch.autograd.grad(sum(g.square().sum() for g in found), one)
        assert runs_natively(lambda shared=shared: f(inputs, *shared)) or shared is one
        with using("off"):
            value = f(inputs, *shared).square().sum()
            expected = torch.autograd.grad(value, one, create_graph=True)
            twice = torch.autograd.grad(sum(g.square().sum() for g in expected), one)
        for a, b in zip((*found, *again), (*expected, *twice), strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", NETS)
def test_rows_and_tasks_do_not_depend_on_their_company(name, dtype):
    inputs, params = drawn(NETS[name], (3, 250), dtype)
    f = function(NETS[name])
    whole = f(inputs, *params)
    for rows in (slice(0, 1), slice(7, 20), slice(119, 123), slice(248, 250)):
        assert torch.equal(f(inputs[:, rows], *params), whole[:, rows])
    assert torch.equal(f(inputs[1:2], *(p[1:2] for p in params)), whole[1:2])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("name", NETS)
def test_what_is_not_finite_is_where_it_is_eagerly(name, value, dtype):
    inputs, params = drawn(NETS[name], (2, 8), dtype)
    inputs[0, 3, 0] = value
    params[0][1, 0, 0] = value
    f = function(NETS[name])
    found = f(inputs, *params)
    with using("off"):
        expected = f(inputs, *params)
    assert torch.equal(found.isnan(), expected.isnan())
    torch.testing.assert_close(found, expected, equal_nan=True, rtol=1e-3, atol=1e-4)


def test_strided_and_shifted_tensors_are_read_where_they_are():
    net, f = NETS["relu"], function(NETS["relu"])
    inputs, params = drawn(net, (3, 8))
    shifted = torch.zeros(3 * 8 * 5 + 1, dtype=inputs.dtype)[1:].view(3, 8, 5)
    shifted.copy_(inputs)
    turned = inputs.transpose(1, 2).contiguous().transpose(1, 2)
    every_other = [torch.stack((p, p), 1).flatten(0, 1)[::2] for p in params]
    expected = f(inputs, *params)
    for x in (shifted, turned):
        assert torch.equal(f(x, *every_other), expected)
    flipped = [p.mT.contiguous().mT if p.dim() == 3 else p for p in params]
    torch.testing.assert_close(f(inputs, *flipped), expected)


class Seen(TorchDispatchMode):
    """Counts the products that pass."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += "baddbmm" in str(func)
        return func(*args, **(kwargs or {}))


def test_who_watches_operations_sees_them():
    f = function(NETS["tanh"])
    inputs, params = drawn(NETS["tanh"], (2, 4), torch.float32)
    for p in params:
        p.requires_grad_()
    assert runs_natively(lambda: f(inputs, *params))
    with Seen() as seen:
        f(inputs, *params)
    assert seen.count == 3
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not runs_natively(lambda: f(inputs, *params))
    with torch.device("cpu"):
        assert not runs_natively(lambda: f(inputs, *params))
    assert not runs_natively(lambda: f(inputs.half(), *(p.half() for p in params)))


@pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")
def test_directions_and_batches_of_derivatives_pass_through():
    f = function(NETS["relu"])
    inputs, params = drawn(NETS["relu"], (2, 4))
    ways = [torch.randn_like(p) for p in params]
    _, expected = torch.func.jvp(lambda *p: f(inputs, *p), tuple(params), tuple(ways))
    with forward_ad.dual_level():
        duals = [forward_ad.make_dual(p, w) for p, w in zip(params, ways, strict=True)]
        torch.testing.assert_close(forward_ad.unpack_dual(f(inputs, *duals)).tangent, expected)
    params[0].requires_grad_()
    outputs = f(inputs, *params)
    many = torch.eye(outputs.numel(), dtype=inputs.dtype).view(-1, *outputs.shape)
    (found,) = torch.autograd.grad(
        outputs, params[:1], many, is_grads_batched=True, retain_graph=True
    )
    one = [torch.autograd.grad(outputs, params[:1], way, retain_graph=True)[0] for way in many]
    torch.testing.assert_close(found, torch.stack(one))
    per_task = torch.func.vmap(lambda x: f(x, *(p.detach() for p in params)).sum())
    torch.testing.assert_close(
        per_task(inputs.expand(3, -1, -1, -1)), outputs.detach().sum().expand(3)
    )


def test_parameters_that_were_written_to_are_noticed():
    f = function(NETS["tanh"])
    inputs, params = drawn(NETS["tanh"], (2, 4))
    params[0].requires_grad_()
    outputs = f(inputs, *params)
    with torch.no_grad():
        params[0].add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        outputs.sum().backward()


def test_wide_layers_and_other_numbers_are_noted_and_left_to_torch():
    wide = MLP((2, 200, 200, 1), "tanh")
    with recorded() as ran:
        for net, dtype in ((wide, torch.float32), (NETS["tanh"], torch.bfloat16)):
            inputs, params = drawn(net, (1, 3), dtype)
            params[0].requires_grad_()
            assert not runs_natively(lambda n=net, x=inputs, p=params: function(n)(x, *p))
    assert len(ran.eager) == 2


def test_no_rows_are_no_rows():
    f = function(NETS["tanh"])
    inputs, params = drawn(NETS["tanh"], (2, 0))
    assert f(inputs, *params).shape == (2, 0, 2)
