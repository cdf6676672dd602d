"""Update rules by the names and defaults of `torch.optim`, and the links that they are made of.

sgd(0.1, momentum=0.9)
chain(clip_by_norm(1.0), adamw(1e-2))
sgd({"head.*": 0.1, "*": 0.01})                       step sizes by parameter
sgd([0.1] * 5, learned="parameter")                   by parameter and step, learned (MAML++)

Links hold gradients or parameters small (clipping by norm or by value, weight decay) or remember
gradients (momentum, Adam, RMSprop), each with the steps of `torch.optim`. Adam and RMSprop divide
by the root of a second moment. It has no derivative where that is 0: there, and there alone, u is 0
and passes no gradient on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from metarl.core.meta_curvature import MetaCurvature
from metarl.core.params import Params, along, task_norms
from metarl.core.update_rules import (
    EMPTY,
    Chain,
    LaterSteps,
    Learned,
    Sizes,
    State,
    StepSize,
    Transform,
    UpdateRule,
)
from metarl.errors import is_finite_number


def chain(*links: Transform) -> UpdateRule:
    """Chain links into a rule, in order; a rule among them counts as its own links.

    Raises:
        TypeError: Something is no link.
        ValueError: Weight decay stands after the step size, where it would push away from 0.
    """
    flat: list[Transform] = []
    for link in links:
        if not isinstance(link, Transform):
            raise TypeError(f"a chain is made of links such as metarl.sgd(0.1), got {link!r}")
        flat += link.links if isinstance(link, Chain) else (link,)
    sizes = [i for i, link in enumerate(flat) if isinstance(link, StepSize)]
    if sizes and any(isinstance(link, WeightDecay) for link in flat[sizes[0] :]):
        raise ValueError("weight decay must come before the step size: chain(weight_decay(d), ...)")
    return Chain(tuple(flat))


def clip_by_norm(max_norm: float) -> Transform:
    """Scale each task's gradient to a norm of at most ``max_norm``: the first link of a chain."""
    return ClipByNorm(max_norm)


def clip_by_value(max_value: float) -> Transform:
    """Clamp the numbers of a gradient to ``[-max_value, max_value]``: the first link of a chain."""
    return ClipByValue(max_value)


def weight_decay(decay: float) -> Transform:
    """Coupled weight decay: the link before a rule. For the decoupled one see `adamw`."""
    return WeightDecay(decay)


def sgd(
    lr: Sizes,
    momentum: float = 0.0,
    *,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    learned: Learned = "no",
    later: float = 1.0,
) -> UpdateRule:
    """Gradient descent, with momentum.

    Args:
        lr: Step size: a number, one for each step, or either by name pattern (`Sizes`).
        momentum: As of `torch.optim.SGD`, and so are ``nesterov`` and ``weight_decay``.
        nesterov: Look ahead.
        weight_decay: Coupled.
        learned: Meta-learn the step sizes: no; parameter: one for each tensor; element: one for
            each number.
        later: Multiplies every step but the first.
    """
    if nesterov and not momentum:
        raise ValueError("Nesterov's step needs momentum above 0, got 0")
    moments: list[Transform] = [Momentum(momentum, nesterov)] if momentum else []
    return chain(*_decay(weight_decay), *moments, *_steps(lr, learned, later))


def adam(
    lr: Sizes,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    *,
    weight_decay: float = 0.0,
    detach_second_moment: bool = False,
    learned: Learned = "no",
    later: float = 1.0,
) -> UpdateRule:
    """Adam with coupled weight decay; ``lr``, ``learned`` and ``later`` as of `sgd`."""
    moments = Adam(*betas, eps, detach_second_moment)
    return chain(*_decay(weight_decay), moments, *_steps(lr, learned, later))


def adamw(
    lr: Sizes,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    *,
    weight_decay: float = 1e-2,
    detach_second_moment: bool = False,
    learned: Learned = "no",
    later: float = 1.0,
) -> UpdateRule:
    """Adam with decoupled weight decay; ``lr``, ``learned`` and ``later`` as of `sgd`."""
    moments = Adam(*betas, eps, detach_second_moment)
    return chain(moments, *_decay(weight_decay), *_steps(lr, learned, later))


def rmsprop(
    lr: Sizes,
    alpha: float = 0.99,
    eps: float = 1e-8,
    *,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    centered: bool = False,
    learned: Learned = "no",
    later: float = 1.0,
) -> UpdateRule:
    """RMSprop of `torch.optim`; ``lr``, ``learned`` and ``later`` as of `sgd`."""
    moments: list[Transform] = [RMSprop(alpha, eps, centered)]
    moments += [Momentum(momentum)] if momentum else []
    return chain(*_decay(weight_decay), *moments, *_steps(lr, learned, later))


def meta_curvature(lr: Sizes, *, learned: Learned = "no") -> UpdateRule:
    """Gradient descent through learned curvature (`MetaCurvature`), with step size ``lr``."""
    return Chain((MetaCurvature(), StepSize(lr, learned)))


def _decay(strength: float) -> list[Transform]:
    return [WeightDecay(strength)] if strength else []


def _steps(lr: Sizes, learned: Learned, later: float) -> list[Transform]:
    return [*([LaterSteps(later)] if later != 1.0 else []), StepSize(lr, learned)]


# Links that remember gradients --------------------------------------------------------------------


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
    if not (is_finite_number(eps) and eps >= 0):
        raise ValueError(f"eps must be finite and at least 0, got {eps}")


# Links that hold gradients or parameters small ----------------------------------------------------


@dataclass(frozen=True)
class ClipByNorm(Transform):
    """Scale each task's gradient to a norm of at most ``max_norm``.

    The norm is that of all fast parameters of one task together, as in
    `torch.nn.utils.clip_grad_norm_`, and is differentiated through.

    Attributes:
        max_norm: The largest norm allowed.
    """

    max_norm: float

    def __post_init__(self) -> None:
        """Check that the norm is positive."""
        _check_positive("max_norm", self.max_norm)

    def update(
        self, grads: Params, fast: Params, state: State, params: Params
    ) -> tuple[Params, State]:
        """Scale gradients by one factor per task."""
        factors = (self.max_norm / (task_norms(grads.values()) + 1e-6)).clamp(max=1.0)
        return {n: g * along(factors, g) for n, g in grads.items()}, EMPTY


@dataclass(frozen=True)
class ClipByValue(Transform):
    """Clamp every number to ``[-max_value, max_value]``, as `torch.nn.utils.clip_grad_value_`.

    Attributes:
        max_value: The largest number allowed.
    """

    max_value: float

    def __post_init__(self) -> None:
        """Check that the value is positive."""
        _check_positive("max_value", self.max_value)

    def update(
        self, grads: Params, fast: Params, state: State, params: Params
    ) -> tuple[Params, State]:
        """Clip every number of the gradients."""
        return {n: g.clamp(-self.max_value, self.max_value) for n, g in grads.items()}, EMPTY


@dataclass(frozen=True)
class WeightDecay(Transform):
    """``g + decay * phi``, as in `torch.optim`.

    Before moments it is coupled (the gradient of decay / 2 |phi|^2 is added to the loss's), between
    moments and step size it is decoupled: Adam, then this, is AdamW (Loshchilov & Hutter 2019).

    Attributes:
        decay: Strength of the decay, at least 0.
    """

    decay: float

    def __post_init__(self) -> None:
        """Check that the decay does not make parameters grow."""
        if not (is_finite_number(self.decay) and self.decay >= 0):
            raise ValueError(f"weight decay must be finite and at least 0, got {self.decay}")

    def update(
        self, grads: Params, fast: Params, state: State, params: Params
    ) -> tuple[Params, State]:
        """Add the pull towards 0."""
        return {name: g + self.decay * fast[name] for name, g in grads.items()}, EMPTY


def _check_positive(name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{name} must be above 0, got {value}")
