"""Links that remember gradients: momentum, Adam, RMSprop, each with the steps of `torch.optim`.

Adam and RMSprop divide by the root of a second moment. It has no derivative where that is 0: there,
and there alone, u is 0 and passes no gradient on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from metarl.core.params import Params, along
from metarl.core.update_rules import State, Transform


@dataclass(frozen=True)
class Momentum(Transform):
    """``m' = beta m + g``, u = m'; Nesterov: u = g + beta m' (as in `torch.optim.SGD`)."""

    beta: float
    nesterov: bool = False

    def __post_init__(self) -> None:
        """Check that the momentum lies below 1, so that its sum is bounded."""
        _check_decay("momentum", self.beta)

    def init(self, fast: Params) -> State:
        """Start at M = 0."""
        return {name: torch.zeros_like(p) for name, p in fast.items()}

    def update(
        self, grads: Params, fast: Params, state: State, params: Params
    ) -> tuple[Params, State]:
        """The moving sum of the gradients."""
        moments = {name: self.beta * state[name] + g for name, g in grads.items()}
        if not self.nesterov:
            return moments, moments
        return {name: g + self.beta * moments[name] for name, g in grads.items()}, moments


@dataclass(frozen=True)
class Adam(Transform):
    """u = m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps): Kingma & Ba 2015, Algorithm 1.

    Attributes:
        beta1: Decay of the first moment m.
        beta2: Decay of the second moment v.
        eps: Added to the root.
        detach_second_moment: Do not differentiate v.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    detach_second_moment: bool = False

    def __post_init__(self) -> None:
        """Check that both decays lie below 1, and that eps keeps the root above 0."""
        _check_decay("beta1", self.beta1)
        _check_decay("beta2", self.beta2)
        _check_eps(self.eps)

    def init(self, fast: Params) -> State:
        """M = v = 0, t = 0."""
        _check_real("Adam", fast)
        moments = {f"{kind}.{n}": torch.zeros_like(p) for kind in "mv" for n, p in fast.items()}
        first = next(iter(fast.values()))
        return moments | {"t": first.new_zeros(first.shape[0])}

    def update(
        self, grads: Params, fast: Params, state: State, params: Params
    ) -> tuple[Params, State]:
        """Move both moments, then take their corrected ratio."""
        t = state["t"] + 1
        after, updates = {"t": t}, {}
        for name, g in grads.items():
            g2 = (g.detach() if self.detach_second_moment else g).square()
            m = self.beta1 * state[f"m.{name}"] + (1 - self.beta1) * g
            v = self.beta2 * state[f"v.{name}"] + (1 - self.beta2) * g2
            after |= {f"m.{name}": m, f"v.{name}": v}
            steps = along(t.to(g.dtype), g)
            m, v = m / _correction(self.beta1, steps), v / _correction(self.beta2, steps)
            updates[name] = _over_root(m, v, self.eps)
        return updates, after


@dataclass(frozen=True)
class RMSprop(Transform):
    """u = g / (sqrt(v) + eps), v the moving mean of g^2 (as in `torch.optim.RMSprop`).

    With momentum it is followed by `Momentum`.

    Attributes:
        alpha: Decay of the moving means.
        eps: Added to the root.
        centered: Take the variance for v: the square of the moving mean of g is subtracted.
    """

    alpha: float = 0.99
    eps: float = 1e-8
    centered: bool = False

    def __post_init__(self) -> None:
        """Check that the decay lies below 1, and that eps keeps the root above 0."""
        _check_decay("alpha", self.alpha)
        _check_eps(self.eps)

    def init(self, fast: Params) -> State:
        """Start all moving means at 0."""
        _check_real("RMSprop", fast)
        kinds = ("v", "mean") if self.centered else ("v",)
        return {f"{kind}.{n}": torch.zeros_like(p) for kind in kinds for n, p in fast.items()}

    def update(
        self, grads: Params, fast: Params, state: State, params: Params
    ) -> tuple[Params, State]:
        """Move the means, then take their ratio."""
        after, updates = {}, {}
        for name, g in grads.items():
            v = self.alpha * state[f"v.{name}"] + (1 - self.alpha) * g.square()
            after[f"v.{name}"] = v
            if self.centered:
                mean = self.alpha * state[f"mean.{name}"] + (1 - self.alpha) * g
                after[f"mean.{name}"] = mean
                v = v - mean.square()
            updates[name] = _over_root(g, v, self.eps)
        return updates, after


def _correction(beta: float, steps: Tensor) -> Tensor:
    """1 - beta^t, without the cancellation that loses half the digits of float32 at first."""
    return -torch.expm1(steps * (math.log(beta) if beta else -math.inf))


def _over_root(m: Tensor, v: Tensor, eps: float) -> Tensor:
    """``m / (sqrt(v) + eps)``; 0 where v is."""
    seen = v > 0
    root = torch.where(seen, v, 1.0).sqrt()
    return torch.where(seen, m / (root + eps), 0.0)


def _check_decay(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ValueError(f"{name} must lie in [0, 1), got {value}")


def _check_real(rule: str, fast: Params) -> None:
    for name, p in fast.items():
        if p.is_complex():
            raise ValueError(
                f"{rule} has no second moment of a complex parameter, {name!r}: keep its real and "
                "imaginary parts (torch.view_as_real) and join them in the forward pass"
            )


def _check_eps(eps: float) -> None:
    if not (math.isfinite(eps) and eps >= 0):
        raise ValueError(f"eps must be finite and at least 0, got {eps}")
