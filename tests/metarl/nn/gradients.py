"""What the tests of all cores share: stacked parameters, and two ways to the same gradient."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from metarl.core import stack
from metarl.nn import CORES, FusedCore, RecurrentCore, WarpRNN

ALL = {**CORES, "warp-published": partial(WarpRNN, published_split=True)}
FUSED = {name: make for name, make in ALL.items() if isinstance(make(1, 1), FusedCore)}


def stacked_params(
    core: RecurrentCore, num_tasks: int, seed: int = 0, noise: float = 0.3
) -> dict[str, Tensor]:
    """Float64 leaves ``[N, ...]``: the core's own initialisation, and noise on every number."""
    g = torch.Generator().manual_seed(seed)
    params = stack([core.init(g) for _ in range(num_tasks)])
    return {
        n: (p.double() + noise * torch.randn(p.shape, generator=g, dtype=torch.double))
        .detach()
        .requires_grad_()
        for n, p in params.items()
    }


def random_inputs(core: RecurrentCore, shape: tuple[int, int, int], seed: int = 1) -> Tensor:
    """A float64 leaf ``[N, T, B, I]``."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(*shape, core.input_size, generator=g, dtype=torch.double)
    return x.requires_grad_()


def gradients(
    outputs: Tensor, params: dict[str, Tensor], inputs: Tensor, seed: int = 2
) -> dict[str, Tensor]:
    """Gradient of a fixed random projection of the outputs, by every parameter and the inputs."""
    g = torch.Generator().manual_seed(seed)
    loss = (outputs * torch.randn(outputs.shape, generator=g, dtype=outputs.dtype)).sum()
    leaves = params | {"inputs": inputs}
    grads = torch.autograd.grad(
        loss, list(leaves.values()), allow_unused=True, materialize_grads=True
    )
    return dict(zip(leaves, grads, strict=True))


def assert_same_gradients(
    actual: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float
) -> None:
    """Equal in norm, relative to each expected gradient's."""
    assert actual.keys() == expected.keys()
    for name, want in expected.items():
        error = torch.linalg.vector_norm(actual[name] - want)
        scale = torch.linalg.vector_norm(want)
        assert error <= tolerance * scale + 1e-13, f"{name}: off by {error:.2e} of {scale:.2e}"


def assert_backward_is_right(core: FusedCore, shape: tuple[int, int, int]) -> None:
    """The hand-written gradient is autograd's through the equations, to 1e-9 relative."""
    params, inputs = stacked_params(core, shape[0]), random_inputs(core, shape)
    fused = core.sequence(params, inputs)
    reference = core.unrolled(params, inputs)
    torch.testing.assert_close(fused, reference, rtol=1e-12, atol=1e-13)
    assert_same_gradients(
        gradients(fused, params, inputs), gradients(reference, params, inputs), 1e-9
    )
