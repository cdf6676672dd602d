"""Meta-Curvature: a Kronecker product of the axes' matrices, gradient descent at the identity."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from metarl.core import MetaCurvature, meta_curvature, sgd

N, LR = 3, 0.1
SHAPES = {"conv": (4, 3, 2, 2), "linear": (3, 5), "bias": (4,), "scale": ()}


def draw(lead: tuple[int, ...] = (), seed: int = 0) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(seed)
    return {n: torch.randn((*lead, *s), generator=g).double() for n, s in SHAPES.items()}


def moved() -> dict[str, Tensor]:
    """Matrices away from the identity."""
    g = torch.Generator().manual_seed(7)
    start = MetaCurvature().parameters(draw())
    return {n: p + 0.3 * torch.randn(p.shape, generator=g).double() for n, p in start.items()}


def test_one_matrix_an_axis_begins_at_the_identity() -> None:
    params = MetaCurvature().parameters(draw())
    assert {n: tuple(p.shape) for n, p in params.items()} == {
        "axis0.conv": (4, 4),
        "axis1.conv": (3, 3),
        "axis2.conv": (4, 4),
        "axis0.linear": (3, 3),
        "axis1.linear": (5, 5),
        "diagonal.bias": (4,),
        "diagonal.scale": (),
    }
    updates, state = MetaCurvature().update(draw((N,)), {}, {}, params)
    assert all(torch.equal(updates[n], g) for n, g in draw((N,)).items())
    assert state == {}


@pytest.mark.parametrize("name", ["conv", "linear"])
def test_the_flat_gradient_is_multiplied_by_a_kronecker_product(name: str) -> None:
    params, grads = moved(), draw((N,))
    whole = torch.ones(1, 1, dtype=torch.float64)
    for axis in range(3 if name == "conv" else 2):
        whole = torch.kron(whole, params[f"axis{axis}.{name}"])
    found = MetaCurvature().update(grads, {}, {}, params)[0][name]
    expected = (grads[name].flatten(1) @ whole.T).view(found.shape)
    assert torch.allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_vectors_are_scaled() -> None:
    params, grads = moved(), draw((N,))
    found, _ = MetaCurvature().update(grads, {}, {}, params)
    assert torch.equal(found["bias"], grads["bias"] * params["diagonal.bias"])
    assert torch.equal(found["scale"], grads["scale"] * params["diagonal.scale"])


def test_the_matrices_of_a_linear_layer_learn_by_the_chain_rule() -> None:
    """U = A G B^T, so with q = dl/dU: dl/dA = q B G^T and dl/dB = q^T A G."""
    params = {n: p.requires_grad_() for n, p in moved().items()}
    grads, q = draw((N,))["linear"], draw((N,), seed=1)["linear"]
    a, b = params["axis0.linear"], params["axis1.linear"]
    update = MetaCurvature().update({"linear": grads}, {}, {}, params)[0]["linear"]
    of_a, of_b = torch.autograd.grad((update * q).sum(), [a, b])
    assert torch.allclose(of_a, (q @ b @ grads.mT).sum(0), rtol=1e-12)
    assert torch.allclose(of_b, (q.mT @ a @ grads).sum(0), rtol=1e-12)


def test_at_the_identity_the_rule_is_gradient_descent() -> None:
    rule, fast, grads = meta_curvature(LR), draw((N,)), draw((N,), seed=2)
    found, _ = rule.step(fast, grads, rule.init(fast), rule.parameters(draw()))
    expected, _ = sgd(LR).step(fast, grads, {})
    assert all(torch.equal(found[n], expected[n]) for n in fast)
