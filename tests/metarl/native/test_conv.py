"""Convolution nets in kernels: outputs and all derivatives are those of torch's operations."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import forward_ad

from metarl.core import share
from metarl.native import conv, kernels, using
from metarl.native.conv import Convolution, ConvStack, conv_stack
from metarl.nn import ConvNet, WarpConvNet

pytestmark = pytest.mark.skipif(kernels("conv") is None, reason="no kernels here")

STRIDED = Convolution(stride=2)
POOLED = Convolution(pool="last")
FIRST = Convolution(pool="first")
WARP = Convolution(normalised=False, rectified=False)
EPSILON = 1e-5


def eager(stack: ConvStack, images: Tensor, params: Sequence[Tensor]) -> Tensor:
    """Task by task, by torch's functions."""
    outputs = []
    for n in range(len(images)):
        h, rest = images[n], iter(params)
        for layer in stack.layers:
            own = [p[n if len(p) > 1 else 0] for p in (next(rest) for _ in range(layer.num_params))]
            h = F.conv2d(h, own[0], own[1], layer.stride, layer.kernel // 2)
            if layer.pool == "first":
                h = F.max_pool2d(h, 2)
            if layer.normalised:
                h = norm(h, *own[2:], stack.num_reference)
            h = torch.relu(h) if layer.rectified else h
            if layer.pool == "last":
                h = F.max_pool2d(h, 2)
        outputs.append(h)
    return torch.stack(outputs)


def norm(h: Tensor, scale: Tensor, shift: Tensor, num_reference: int) -> Tensor:
    if not num_reference:
        return F.batch_norm(h, None, None, scale, shift, training=True, eps=EPSILON)
    variance, mean = torch.var_mean(h[:num_reference].detach(), (0, 2, 3), correction=0)
    return F.batch_norm(h, mean, variance, scale, shift, eps=EPSILON)


def native(stack: ConvStack, images: Tensor, params: Sequence[Tensor]) -> Tensor:
    outputs = conv_stack(stack, images, params, partial(eager, stack))
    assert outputs is not None
    return outputs


def drawn(
    stack: ConvStack,
    shape: tuple[int, ...],
    filters: tuple[int, ...],
    *,
    shared: bool = False,
    dtype: torch.dtype = torch.double,
) -> list[Tensor]:
    """Leaves: images ``[N, B, C, height, width]``, then parameters."""
    g = torch.Generator().manual_seed(0)
    draw = partial(torch.randn, generator=g, dtype=dtype)
    tensors, channels, count = [draw(shape)], shape[2], 1 if shared else shape[0]
    for layer, size in zip(stack.layers, filters, strict=True):
        weight = draw(count, size, channels, layer.kernel, layer.kernel)
        tensors += [0.3 * weight, *(draw(count, size) for _ in range(layer.num_params - 1))]
        channels = size
    return [t.requires_grad_() for t in tensors]


def derivatives(function, tensors: list[Tensor]) -> list[Tensor]:
    """Outputs, gradients, and gradients of a projection of these."""
    g = torch.Generator().manual_seed(1)
    outputs = function(tensors[0], tensors[1:])
    cotangent = torch.randn(outputs.shape, generator=g, dtype=outputs.dtype).requires_grad_()
    first = torch.autograd.grad(outputs, tensors, cotangent, create_graph=True)
    ways = [torch.randn(t.shape, generator=g, dtype=t.dtype) for t in first]
    second = torch.autograd.grad(first, [cotangent, *tensors], ways, materialize_grads=True)
    return [outputs, *first, *second]


def assert_equal(actual: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    """Relative to the largest number; zeros (a bias that a mean takes away) to that of all."""
    largest = [float(t.detach().abs().max()) for t in expected]
    for i, (ours, theirs) in enumerate(zip(actual, expected, strict=True)):
        assert ours.shape == theirs.shape
        error = float((ours - theirs).detach().abs().max())
        assert error <= 1e-12 * largest[i] + 1e-13 * max(largest), f"{i}: off by {error:.1e}"


@pytest.mark.parametrize("num_reference", [0, 2, 9])
@pytest.mark.parametrize("layer", [STRIDED, POOLED, FIRST, Convolution()], ids=str)
@pytest.mark.parametrize(
    ("shape", "filters", "shared"),
    [
        ((1, 2, 1, 9, 9), (4, 5), False),
        ((2, 3, 3, 9, 7), (5, 19), True),
        ((3, 4, 1, 12, 13), (16, 33, 7), False),
        ((2, 7, 4, 12, 12), (8, 24), False),
    ],
)
def test_derivatives_are_those_of_torch(layer, shape, filters, shared, num_reference) -> None:
    stack = ConvStack((layer,) * len(filters), EPSILON, num_reference)
    tensors = drawn(stack, shape, filters, shared=shared)
    expected = derivatives(partial(eager, stack), tensors)
    assert_equal(derivatives(partial(native, stack), tensors), expected)
    with torch.no_grad():
        assert torch.equal(native(stack, tensors[0], tensors[1:]), expected_like(stack, tensors))


def expected_like(stack: ConvStack, tensors: list[Tensor]) -> Tensor:
    """Outputs where a graph is kept, of which those without one are bit for bit the same."""
    with torch.enable_grad():
        return native(stack, tensors[0], tensors[1:]).detach()


def test_layers_of_all_kinds_follow_one_another() -> None:
    plain = Convolution(kernel=1, normalised=False, stride=2)
    stack = ConvStack((FIRST, WARP, POOLED, plain, STRIDED), EPSILON)
    tensors = drawn(stack, (2, 3, 1, 17, 17), (5, 6, 7, 8, 9))
    expected = derivatives(partial(eager, stack), tensors)
    assert_equal(derivatives(partial(native, stack), tensors), expected)


@pytest.mark.parametrize("layer", [STRIDED, POOLED, FIRST], ids=str)
def test_gradients_are_finite_differences(layer: Convolution) -> None:
    stack = ConvStack((layer, WARP), EPSILON)
    tensors = drawn(stack, (2, 3, 1, 5, 5), (2, 3))

    def function(*tensors: Tensor) -> Tensor:
        return native(stack, tensors[0], tensors[1:])

    assert torch.autograd.gradcheck(function, tensors)
    assert torch.autograd.gradgradcheck(function, tensors)


def test_third_derivatives_are_those_of_torch() -> None:
    stack = ConvStack((STRIDED,), EPSILON)
    tensors = drawn(stack, (2, 3, 1, 4, 4), (2,))
    found = []
    for function in (native, eager):
        value = function(stack, tensors[0], tensors[1:]).pow(3).sum()
        for _ in range(2):
            grads = torch.autograd.grad(value, tensors, create_graph=True)
            value = sum((g.pow(2).sum() for g in grads), value)
        found.append(torch.autograd.grad(value, tensors))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-8 * float(theirs.abs().max()))


def test_only_what_is_wanted_is_differentiated() -> None:
    stack = ConvStack((FIRST, WARP, FIRST, WARP), EPSILON)
    tensors = drawn(stack, (2, 3, 1, 9, 9), (4, 4, 4, 4))
    moving = [tensors[i] for i in (7, 9, 10)]  # of the second block
    for t in tensors:
        t.requires_grad_(any(t is m for m in moving))
    found = []
    for function in (native, eager):
        outputs = function(stack, tensors[0], tensors[1:])
        first = torch.autograd.grad(outputs.pow(2).sum(), moving, create_graph=True)
        second = torch.autograd.grad(sum(g.pow(2).sum() for g in first), moving)
        found.append([*first, *second, *torch.autograd.grad(native_sum(stack, tensors), moving)])
    assert_equal(*found)


def native_sum(stack: ConvStack, tensors: list[Tensor]) -> Tensor:
    return native(stack, tensors[0], tensors[1:]).sum()


def test_going_back_twice_gives_the_same() -> None:
    stack = ConvStack((POOLED, POOLED), EPSILON)
    tensors = drawn(stack, (2, 3, 1, 9, 9), (4, 4))
    outputs = native(stack, tensors[0], tensors[1:])
    first = torch.autograd.grad(outputs.pow(2).sum(), tensors, create_graph=True)
    value = sum(g.pow(2).sum() for g in first)
    once = torch.autograd.grad(value, tensors, retain_graph=True)
    twice = torch.autograd.grad(value, tensors)
    assert all(map(torch.equal, once, twice))


def test_numbers_may_lie_anyhow() -> None:
    """Parts of larger tensors at odd places, and axes in another order."""
    stack = ConvStack((STRIDED, STRIDED), EPSILON)
    tensors = drawn(stack, (2, 3, 2, 9, 9), (4, 5))
    moved = []
    for t in tensors:
        room = torch.full((t.numel() + 5,), torch.nan, dtype=t.dtype)
        part = room[3:-2].view(tuple(reversed(t.shape))).permute(*reversed(range(t.dim())))
        moved.append(part.copy_(t.detach()).requires_grad_())
    expected = derivatives(partial(native, stack), tensors)
    assert_equal(derivatives(partial(native, stack), moved), expected)


@pytest.mark.parametrize("layer", [STRIDED, POOLED, FIRST], ids=str)
def test_queries_do_not_help_one_another(layer: Convolution) -> None:
    """With reference statistics an image's outputs are, bit for bit, those it has alone."""
    stack = ConvStack((layer, layer), EPSILON, 3)
    tensors = drawn(stack, (2, 11, 1, 9, 9), (16, 20), dtype=torch.float32)
    whole = native(stack, tensors[0], tensors[1:])
    for rows in ([*range(4)], [*range(3), 10], [*range(3), 5, 7]):
        part = native(stack, tensors[0][:, rows], tensors[1:])
        assert torch.equal(part, whole[:, rows])


def test_tasks_are_apart() -> None:
    stack = ConvStack((POOLED, STRIDED), EPSILON)
    tensors = drawn(stack, (4, 3, 1, 9, 9), (16, 20), dtype=torch.float32)
    whole = derivatives(partial(native, stack), tensors)
    alone = [t[2:3].detach().requires_grad_() for t in tensors]
    assert torch.equal(native(stack, alone[0], alone[1:]), whole[0][2:3])


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("which", range(9))
def test_what_is_no_number_stays_none(which: int, value: float) -> None:
    stack = ConvStack((POOLED, FIRST), EPSILON)
    tensors = [t.detach() for t in drawn(stack, (2, 3, 1, 9, 9), (3, 4))]
    tensors[which].view(-1)[-1] = value
    for t in tensors:
        t.requires_grad_()
    found = []
    for function in (native, eager):
        outputs = function(stack, tensors[0], tensors[1:])
        found.append((outputs, *torch.autograd.grad(outputs.sum(), tensors)))
    for i, (ours, theirs) in enumerate(zip(*found, strict=True)):
        if (which, i) != (
            7,
            0,
        ):  # an infinite scale: torch's outputs are NaN where x < 0, ours zero
            assert torch.equal(ours.isfinite(), theirs.isfinite()), i


@pytest.mark.parametrize("layer", [POOLED, FIRST, STRIDED], ids=str)
def test_ties_go_to_the_first(layer: Convolution) -> None:
    """Even images: all places but those at the edge are alike, and many y are zero."""
    stack = ConvStack((layer, layer), EPSILON)
    tensors = drawn(stack, (2, 3, 1, 12, 12), (4, 5))
    with torch.no_grad():
        tensors[0].fill_(1.0)[:, 1:, :, 5:] = 0.0
        for t in tensors[4::4]:
            t.zero_()  # shifts
        for t in tensors[3::4]:
            t[:, 1] = 0.0  # some scales: y is zero everywhere
    found = []
    for function in (native, eager):
        outputs = function(stack, tensors[0], tensors[1:])
        ways = torch.linspace(-1, 1, outputs.numel(), dtype=outputs.dtype).view_as(outputs)
        found.append((outputs, *torch.autograd.grad((outputs * ways).sum(), tensors)))
    assert_equal(*found)


def test_many_places_lose_no_precision() -> None:
    """A mean far from zero beside its deviation, over many thousands of places."""
    stack = ConvStack((Convolution(),), EPSILON)
    tensors = drawn(stack, (1, 9, 1, 84, 84), (16,), dtype=torch.float32)
    images, *params = (t.detach() for t in tensors)
    images = images + 100
    doubled = eager(stack, images.double(), [p.double() for p in params])
    ours = (native(stack, images, params) - doubled).abs().max()
    theirs = (eager(stack, images, params) - doubled).abs().max()
    assert ours < 2 * theirs


def test_strange_surroundings_are_left_to_torch() -> None:
    stack = ConvStack((STRIDED,), EPSILON)
    tensors = [t.detach() for t in drawn(stack, (2, 3, 1, 5, 5), (2,), dtype=torch.float32)]

    def run(*tensors: Tensor) -> Tensor | None:
        return conv_stack(stack, tensors[0], tensors[1:], partial(eager, stack))

    assert run(*tensors) is not None
    with using("off"):
        assert run(*tensors) is None
    assert run(*(t.half() for t in tensors)) is None
    assert run(*(t.to("meta") for t in tensors)) is None
    assert run(tensors[0].double(), *tensors[1:]) is None
    assert run(tensors[0].as_subclass(Other), *tensors[1:]) is None
    assert run(tensors[0][:, :1, :, :1, :1], *tensors[1:]) is None  # one number to normalise
    assert run(tensors[0][:, :0], *tensors[1:]) is None
    with torch.autocast("cpu", torch.bfloat16):
        assert run(*tensors) is None
    with forward_ad.dual_level():
        assert run(*tensors) is None
    seen: list[Tensor | None] = []
    torch.func.vmap(lambda x: (seen.append(run(x[None], *tensors[1:])), x)[1])(tensors[0])
    assert seen == [None]


class Other(Tensor):
    """A tensor with a mind of its own."""


@pytest.mark.parametrize("reduction", ["stride", "pool"])
@pytest.mark.parametrize("channels", [1, 3])
def test_networks_are_the_same_function(reduction, channels) -> None:
    base = ConvNet(3, 8, 2, 9, channels, reduction)
    g = torch.Generator().manual_seed(0)
    for net in (base, WarpConvNet(base), WarpConvNet(base, "1x1", 2, activation="relu")):
        params = {n: p.double() for n, p in share(net.init(g), 2).items()}
        images = torch.randn(2, 5, channels, 9, 9, generator=g, dtype=torch.double)
        for num_reference in (0, 3):
            found = []
            for mode in ("auto", "off"):
                with using(mode):
                    whole = net(params, images, num_reference)
                    half = net.run(params, images, num_reference, stop=1)
                    rest = net.run(params, half, num_reference, start=1)
                    found.append((whole, half, rest))
            assert_equal(*found)


def test_networks_of_others_run_their_own_blocks() -> None:
    class Mine(ConvNet):
        def block(self, params, index, h, num_tasks, num_reference):
            return 0 * super().block(params, index, h, num_tasks, num_reference)

    net = Mine(3, 8, 2, 9)
    params = share(net.init(torch.Generator()), 2)
    features = net.run(params, torch.randn(2, 5, 1, 9, 9), stop=2)
    assert not features.any()


def test_sizes_are_asked_for_once() -> None:
    stack = ConvStack((STRIDED,), EPSILON)
    tensors = drawn(stack, (2, 3, 1, 5, 5), (2,))
    derivatives(partial(native, stack), tensors)
    before = conv._sizes_of.cache_info().misses
    derivatives(partial(native, stack), tensors)
    assert conv._sizes_of.cache_info().misses == before
