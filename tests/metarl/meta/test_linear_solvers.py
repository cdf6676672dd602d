"""Conjugate gradient and Neumann series against a direct solve."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from metarl.meta import ConjugateGradient, NeumannSeries, Solver

N, D = 5, 6


def systems(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Symmetric positive definite, far from the identity."""
    g = torch.Generator().manual_seed(seed)
    root = torch.randn(N, D, D, generator=g).double()
    return root @ root.mT + 0.1 * torch.eye(D), torch.randn(N, D, generator=g).double()


def product(a: Tensor, p: Tensor) -> Tensor:
    return torch.einsum("nij,nj->ni", a, p)


class Counted:
    def __init__(self, a: Tensor) -> None:
        self.a, self.count = a, 0

    def __call__(self, p: Tensor) -> Tensor:
        self.count += 1
        return product(self.a, p)


def test_conjugate_gradient_is_exact_after_as_many_products_as_dimensions() -> None:
    """A published one makes its direction of the old residual: right after one product only."""
    root, b = systems()
    a = root / 20 + torch.eye(D)
    expected = torch.linalg.solve(a, b)
    x, residual = ConjugateGradient(D, 0.0).solve(Counted(a), b)
    assert (x - expected).abs().max() / expected.abs().max() < 1e-12
    assert residual.max() < 1e-12


@pytest.mark.parametrize("num_iterations", [1, 2, 4])
def test_conjugate_gradient_is_best_in_its_krylov_space(num_iterations: int) -> None:
    """x_k minimises the error in the norm of A over the span of b, A b, ..."""
    a, b = systems()
    x, residual = ConjugateGradient(num_iterations, 0.0).solve(Counted(a), b)
    basis = [b]
    for _ in range(num_iterations - 1):
        basis.append(product(a, basis[-1]))
    v = torch.linalg.qr(torch.stack(basis, 2)).Q  # [N, D, k]
    small = torch.linalg.solve(v.mT @ a @ v, (v.mT @ b.unsqueeze(2)))
    expected = (v @ small).squeeze(2)
    assert (x - expected).abs().max() / expected.abs().max() < 1e-9
    true = torch.linalg.vector_norm(b - product(a, x), dim=1) / torch.linalg.vector_norm(b, dim=1)
    torch.testing.assert_close(residual, true, rtol=1e-6, atol=1e-12)
    assert residual.min() > 1e-3


@pytest.mark.parametrize("solver", [ConjugateGradient(50, 1e-6), NeumannSeries(200, 1e-6)])
def test_a_converged_system_stands_still_while_others_go_on(solver: Solver) -> None:
    root, b = systems()
    a = torch.eye(D) + root / (2 * torch.linalg.matrix_norm(root, 2).view(-1, 1, 1))
    a[1] = torch.eye(D)  # done at once
    b[2] = 0.0
    alone = solver.solve(Counted(a[1:2]), b[1:2]).x[0]
    counted = Counted(a)
    x, residual = solver.solve(counted, b)
    assert counted.count > 1
    assert torch.equal(x[1], alone)
    assert torch.equal(x[1], b[1])
    assert torch.equal(x[2], torch.zeros(D).double())
    assert residual.max() <= 1e-6
    assert torch.allclose(x, torch.linalg.solve(a, b), rtol=1e-5, atol=1e-5)
    for i in range(N):
        torch.testing.assert_close(solver.solve(Counted(a[i : i + 1]), b[i : i + 1]).x[0], x[i])


def test_no_product_is_taken_once_all_have_converged() -> None:
    counted = Counted(torch.eye(D).double().expand(N, D, D))
    _, b = systems()
    ConjugateGradient(50).solve(counted, b)
    assert counted.count == 1
    ConjugateGradient(50).solve(counted, torch.zeros_like(b))
    assert counted.count == 1


def test_the_neumann_series_is_its_sum() -> None:
    root, b = systems()
    h = root / (1.5 * torch.linalg.matrix_norm(root, 2).view(-1, 1, 1))
    a = torch.eye(D) + h
    x, _ = NeumannSeries(3, 0.0).solve(Counted(a), b)
    expected, term = b, b
    for _ in range(3):
        term = -product(h, term)
        expected = expected + term
    torch.testing.assert_close(x, expected, rtol=1e-12, atol=1e-12)
    x, residual = NeumannSeries(300, 1e-13).solve(Counted(a), b)
    torch.testing.assert_close(x, torch.linalg.solve(a, b), rtol=1e-11, atol=1e-11)
    assert residual.max() <= 1e-13


def test_a_scaled_neumann_series_converges_where_the_plain_one_does_not() -> None:
    root, b = systems()
    a = torch.eye(D) + root
    expected = torch.linalg.solve(a, b)
    scale = 1.0 / float(torch.linalg.matrix_norm(a, 2).max())
    x, _ = NeumannSeries(3000, 1e-12, scale).solve(Counted(a), b)
    torch.testing.assert_close(x, expected, rtol=1e-8, atol=1e-8)
    assert NeumannSeries(30, 1e-12).solve(Counted(a), b).residual.max() > 1e3


def test_negative_curvature_ends_the_search_without_infinities() -> None:
    a = torch.diag_embed(torch.tensor([[-1.0, -2.0], [3.0, -1.0], [0.0, 0.0]])).double()
    b = torch.ones(3, 2).double()
    x, _ = ConjugateGradient(10).solve(Counted(a), b)
    assert torch.isfinite(x).all()
    assert torch.equal(x[0], b[0])
    assert torch.equal(x[2], b[2])


def test_settings_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="num_iterations"):
        ConjugateGradient(0)
    with pytest.raises(ValueError, match="tolerance"):
        NeumannSeries(1, 1.0)
    with pytest.raises(ValueError, match="scale"):
        NeumannSeries(scale=0.0)
