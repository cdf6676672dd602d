"""The warped networks: parameter counts, identity start, layers written out, Jacobians."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from metarl.core import Params, num_parameters, partition, share, stack, unstack
from metarl.native import using
from metarl.nn import MLP, ConvNet, WarpConvNet, WarpMLP
from metarl.nn.conv_net import batch_norm

OMNIGLOT = ConvNet(20, reduction="pool", pool_first=True)
SMALL = ConvNet(3, filters=4, num_blocks=2, image_size=8, reduction="pool", pool_first=True)


def params_of(net: WarpConvNet | WarpMLP, num_tasks: int = 1) -> dict[str, Tensor]:
    """Float64, every task its own, away from zeros and ones."""
    generator = torch.Generator().manual_seed(0)
    drawn = [net.init(generator) for _ in range(num_tasks)]
    return stack(
        [
            {n: p.double() + 0.1 * torch.randn(p.shape, generator=generator) for n, p in d.items()}
            for d in drawn
        ]
    )


def images(num_tasks: int, batch: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(num_tasks, batch, 1, 8, 8, generator=generator).double()


def slow_count(net: WarpConvNet) -> int:
    params = net.init(torch.Generator())
    return num_parameters(partition(params, slow=net.slow).split(params)[1])


def test_the_published_parameter_counts() -> None:
    assert num_parameters(OMNIGLOT.init(torch.Generator())) == 113_236
    net = WarpConvNet(OMNIGLOT)
    params = net.init(torch.Generator())
    fast, slow = partition(params, slow=net.slow).split(params)
    assert (num_parameters(fast), num_parameters(slow)) == (113_236, 147_712)
    deep = WarpConvNet(OMNIGLOT, num_layers=2, batch_norm=True, residual=True)
    assert slow_count(deep) == 297_472


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({"kind": "scaling"}, 4 * 2 * 64),
        ({"kind": "1x1"}, 4 * (64 * 64 + 64)),
        ({"num_layers": 2, "filters": 8}, 4 * (9 * 64 * 8 * 2 + 8 + 64)),
        (
            {"num_layers": 2, "filters": 8, "residual": True},
            4 * (9 * 64 * 8 * 2 + 8 + 64 + 64 * 8 * 2 + 8 + 64),
        ),
        ({"batch_norm": True}, 147_712 + 4 * 128),
        ({"warped_head": True}, 147_712 + 64 * 20 + 20),
    ],
)
def test_other_parameter_counts(options: dict[str, object], count: int) -> None:
    assert slow_count(WarpConvNet(OMNIGLOT, **options)) == count  # type: ignore[arg-type]


@pytest.mark.parametrize("reduction", ["stride", "pool"])
@pytest.mark.parametrize("kind", ["scaling", "1x1", "3x3"])
@pytest.mark.parametrize(
    ("activation", "residual"),
    [("none", False), ("relu", False), ("none", True), ("leaky_relu", True), ("tanh", True)],
)
def test_identity_warps_leave_the_plain_network(
    reduction: str, kind: str, activation: str, residual: bool
) -> None:
    base = ConvNet(3, filters=4, num_blocks=2, image_size=8, reduction=reduction)  # type: ignore[arg-type]
    net = WarpConvNet(base, kind, 2, None, activation, residual, start="identity")  # type: ignore[arg-type]
    params = share(net.init(torch.Generator().manual_seed(0)), 2)
    x = images(2).float()
    # A network of which there are kernels and one of which there are none round differently.
    with using("auto" if net.layer else "off"):
        assert torch.equal(net(params, x), base(params, x))
    torch.testing.assert_close(net(params, x), base(params, x))


def test_a_random_start_is_no_identity_and_impossible_ones_are_refused() -> None:
    net = WarpConvNet(SMALL)
    params = share(net.init(torch.Generator().manual_seed(0)), 2)
    x = images(2).float()
    assert not torch.allclose(net(params, x), SMALL(params, x), atol=1e-2)
    for options in (
        {"activation": "tanh"},
        {"activation": "sigmoid", "residual": True},
        {"batch_norm": True},
        {"warped_head": True},
        {"num_layers": 2, "filters": 8},
    ):
        with pytest.raises(ValueError, match="identity"):
            WarpConvNet(SMALL, start="identity", **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="scaling"):
        WarpConvNet(SMALL, kind="scaling", num_layers=2, filters=8)
    with pytest.raises(ValueError, match="num_layers"):
        WarpConvNet(SMALL, num_layers=0)


def plain_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    mean = x.mean((0, 2, 3), keepdim=True)
    variance = (x - mean).square().mean((0, 2, 3), keepdim=True)
    return (x - mean) / (variance + 1e-5).sqrt() * weight.view(-1, 1, 1) + bias.view(-1, 1, 1)


def plain_forward(net: WarpConvNet, params: Params, x: Tensor) -> Tensor:
    """One task, ordinary convolutions, normalised by hand."""
    for i in range(net.base.num_blocks):
        p = {n.removeprefix(f"blocks.{i}."): t for n, t in params.items()}
        x = F.max_pool2d(F.conv2d(x, p["conv.weight"], p["conv.bias"], padding=1), 2)
        x = plain_norm(x, p["norm.weight"], p["norm.bias"]).clamp(min=0)
        for j in range(net.num_layers):
            w = {n.removeprefix(f"warp.{i}.{j}."): t for n, t in params.items()}
            h = plain_norm(x, w["norm_in.weight"], w["norm_in.bias"]) if net.batch_norm else x
            if net.kind == "scaling":
                h = h * w["conv.weight"].view(-1, 1, 1) + w["conv.bias"].view(-1, 1, 1)
            else:
                h = F.conv2d(h, w["conv.weight"], w["conv.bias"], padding="same")
            if net.activation == "leaky_relu":
                h = torch.where(h > 0, h, 0.01 * h)
            if net.residual:
                if "skip.weight" in w:
                    x = F.conv2d(x, w["skip.weight"], w["skip.bias"])
                h = h + x
                if net.batch_norm:
                    h = plain_norm(h, w["norm_out.weight"], w["norm_out.bias"])
            x = h
    x = x.flatten(1) @ params["head.weight"] + params["head.bias"]
    if net.warped_head:
        x = x @ params["warp.head.weight"] + params["warp.head.bias"]
    return x


NETS = [
    WarpConvNet(SMALL),
    WarpConvNet(SMALL, "scaling", batch_norm=True),
    WarpConvNet(SMALL, "1x1", activation="leaky_relu", warped_head=True),
    WarpConvNet(SMALL, num_layers=2, filters=6, residual=True, batch_norm=True),
]


@pytest.mark.parametrize("net", NETS, ids=["3x3", "scaling", "1x1", "deep"])
def test_the_layers_are_the_equations(net: WarpConvNet) -> None:
    params, x = params_of(net, 3), images(3)
    outputs = net(params, x)
    for i in range(3):
        expected = plain_forward(net, unstack(params, i), x[i])
        torch.testing.assert_close(outputs[i], expected, rtol=1e-9, atol=1e-9)


def test_reference_statistics_keep_queries_apart() -> None:
    net = NETS[3]
    params, x = params_of(net), images(1, 6)
    other = torch.cat([x[:, :5], x[:, 5:] + 1.0], 1)
    assert torch.equal(net(params, x, 5)[:, :5], net(params, other, 5)[:, :5])
    assert not torch.equal(net(params, x)[:, :5], net(params, other)[:, :5])
    torch.testing.assert_close(net(params, x[:, :5], 5), net(params, x[:, :5]), rtol=0, atol=1e-12)


def jacobian_of_warp(net: WarpConvNet | WarpMLP, h: Tensor) -> Tensor:
    params = params_of(net)
    if isinstance(net, WarpMLP):
        return torch.autograd.functional.jacobian(lambda x: net.warp(params, "warp.0", x), h)
    return torch.autograd.functional.jacobian(lambda x: net.warp(params, "warp.0.0", x, 1), h)


@pytest.mark.parametrize(
    ("net", "shape", "constant"),
    [
        (WarpConvNet(SMALL), (1, 4, 3, 3), True),
        (WarpConvNet(SMALL, "scaling"), (1, 4, 3, 3), True),
        (WarpConvNet(SMALL, residual=True), (1, 4, 3, 3), True),
        (WarpConvNet(SMALL, activation="tanh"), (1, 4, 3, 3), False),
        (WarpConvNet(SMALL, batch_norm=True), (2, 4, 3, 3), False),
        (WarpMLP(MLP((2, 5, 1)), "linear"), (1, 2, 5), True),
        (WarpMLP(MLP((2, 5, 1)), "tanh"), (1, 2, 5), False),
    ],
)
def test_the_jacobian_is_constant_for_linear_warps_only(
    net: WarpConvNet | WarpMLP, shape: tuple[int, ...], constant: bool
) -> None:
    generator = torch.Generator().manual_seed(2)
    h = [torch.randn(shape, generator=generator).double() for _ in range(2)]
    first, second = (jacobian_of_warp(net, x) for x in h)
    assert bool(torch.allclose(first, second, rtol=0, atol=1e-12)) is constant


@pytest.mark.parametrize("kind", ["linear", "tanh"])
def test_warp_mlp(kind: str) -> None:
    base = MLP((2, 5, 4, 1), activation="tanh")
    net = WarpMLP(base, kind, start="identity")  # type: ignore[arg-type]
    params = share(net.init(torch.Generator().manual_seed(0)), 3)
    x = torch.randn(3, 7, 2, generator=torch.Generator().manual_seed(1))
    assert torch.equal(net(params, x), base(params, x))
    params = params_of(WarpMLP(base, kind), 3)  # type: ignore[arg-type]
    p, h = unstack(params, 1), x[1].double()
    for i in range(2):
        h = torch.tanh(h @ p[f"layers.{i}.weight"] + p[f"layers.{i}.bias"])
        z = h @ p[f"warp.{i}.weight"] + p[f"warp.{i}.bias"]
        h = z if kind == "linear" else h + z.tanh()
    expected = h @ p["layers.2.weight"] + p["layers.2.bias"]
    torch.testing.assert_close(net(params, x.double())[1], expected, rtol=1e-9, atol=1e-12)
    with pytest.raises(ValueError, match="hidden"):
        WarpMLP(MLP((2, 1)))


@pytest.mark.parametrize("num_reference", [0, 2])
@pytest.mark.parametrize("shared", [lambda p: p, lambda p: p.expand(8, 1)], ids=["one", "view"])
@pytest.mark.parametrize("places", [1, 3])
def test_a_norm_of_one_channel_that_tasks_share_is_that_of_each(
    places: int, shared: Callable[[Tensor], Tensor], num_reference: int
) -> None:
    generator = torch.Generator().manual_seed(2)
    h, by = torch.randn(2, 4, 8, places, places, dtype=torch.double, generator=generator)
    # What lies behind the one number in memory is not to be read.
    numbers = torch.full((2, 64), 7.0, dtype=torch.double)
    numbers[:, 0] = torch.tensor([1.5, 0.3])

    def results(stacked: Callable[[Tensor], Tensor]) -> tuple[Tensor, ...]:
        leaves = [p.requires_grad_() for p in (h.clone(), *numbers[:, :1].detach())]
        weight, bias = (stacked(p.view(1, 1)) for p in leaves[1:])
        out = batch_norm({"n.weight": weight, "n.bias": bias}, "n", leaves[0], num_reference)
        return out, *torch.autograd.grad(out, leaves, by)

    for got, want in zip(results(shared), results(lambda p: p.repeat(8, 1)), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
