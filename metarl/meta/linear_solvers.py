"""Solve ``A x = b`` for N systems at once, where A is known by its products with vectors.

Both methods are written for A near the identity, as ``I + H / lambda`` of implicit MAML is, and
stop system by system: one that has converged stands still while others go on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

import torch
from torch import Tensor

Product: TypeAlias = Callable[[Tensor], Tensor]
"""``[N, D] -> [N, D]``: A_i p_i for every system."""


class Solution(NamedTuple):
    """A solver's result.

    Attributes:
        x: ``[N, D]``.
        residual: |b - A x| / |b| as the method itself follows it ``[N]``; 0 where b is 0. That of a
            Neumann series is of the sum before its last term, which would cost one more product.
    """

    x: Tensor
    residual: Tensor


class Solver(Protocol):
    """A method, as a value."""

    def solve(self, product: Product, b: Tensor) -> Solution:
        """Solve for ``b`` ``[N, D]``, with as few products as it takes."""


@dataclass(frozen=True)
class ConjugateGradient:
    """Hestenes & Stiefel (1952), for symmetric A: exact after D products where A > 0.

    A direction of curvature at most 0 ends a system's search where it stands; if it is the first
    direction, x is b, as for A = I.

    Attributes:
        num_iterations: Most products.
        tolerance: A system whose relative residual is no larger stands still.
    """

    num_iterations: int = 5
    tolerance: float = 1e-10

    def __post_init__(self) -> None:
        """Check the number of iterations and the tolerance."""
        _check(self.num_iterations, self.tolerance)

    def solve(self, product: Product, b: Tensor) -> Solution:
        """Solve all systems at once, from x = 0."""
        x, r, p = torch.zeros_like(b), b, b
        rr = _dot(r, r)
        stop = self.tolerance**2 * rr
        going, moved = rr > stop, torch.zeros_like(rr, dtype=torch.bool)
        for _ in range(self.num_iterations):
            if not going.any():
                break
            ap = product(p)
            curvature = _dot(p, ap)
            going = going & (curvature > 0)
            moved = moved | going
            alpha = torch.where(going, rr / curvature, 0.0)
            x, r = x + alpha * p, r - alpha * ap
            rr_next = _dot(r, r)
            # The new direction starts from the new residual.
            p = r + torch.where(going, rr_next / rr, 0.0) * p
            rr = rr_next
            going = going & (rr > stop)
        return Solution(torch.where(moved, x, b), _relative(r, b))


@dataclass(frozen=True)
class NeumannSeries:
    """``x = s sum_j (I - s A)^j b``, which converges where every eigenvalue of s A is in (0, 2).

    Attributes:
        num_iterations: Most products; one term more is summed.
        tolerance: A system whose relative residual is no larger stands still.
        scale: s. With 1 and A = I + H / lambda this is the sum of (-H / lambda)^j b.
    """

    num_iterations: int = 10
    tolerance: float = 1e-10
    scale: float = 1.0

    def __post_init__(self) -> None:
        """Check the number of iterations, the tolerance and the scale."""
        _check(self.num_iterations, self.tolerance)
        if not self.scale > 0:
            raise ValueError(f"scale must be above 0, got {self.scale}")

    def solve(self, product: Product, b: Tensor) -> Solution:
        """Add term after term: each is the residual of what has been summed, times s."""
        x, r = self.scale * b, b
        stop = self.tolerance**2 * _dot(b, b)
        going = torch.ones_like(stop, dtype=torch.bool)
        for _ in range(self.num_iterations):
            r = torch.where(going, r - self.scale * product(r), r)
            going = going & (_dot(r, r) > stop)
            if not going.any():
                break
            x = torch.where(going, x + self.scale * r, x)
        return Solution(x, _relative(r, b))


def _check(num_iterations: int, tolerance: float) -> None:
    if num_iterations < 1 or not 0 <= tolerance < 1:
        raise ValueError(
            "num_iterations must be at least 1 and tolerance in [0, 1), got "
            f"{num_iterations}, {tolerance}"
        )


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner products of the rows, ``[N, 1]``."""
    return (a * b).sum(1, keepdim=True)


def _relative(r: Tensor, b: Tensor) -> Tensor:
    norm = torch.linalg.vector_norm(b, dim=1)
    return torch.where(norm > 0, torch.linalg.vector_norm(r, dim=1) / norm, 0.0)
