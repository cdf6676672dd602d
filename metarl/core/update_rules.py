"""Update rules of the inner loop: ``phi' = phi + u``, u made from the gradient step by step.

A rule is a chain of transforms, each a frozen value with three pure functions, as an optimiser is
in Optax: `parameters` (what is meta-learned), `init` (the state it carries from step to step) and
`update`. So Meta-SGD is a chain whose step sizes are learned, and every chain can be differentiated
through to any order. All tensors are stacked over tasks ``[N, ...]`` except learned parameters,
which all tasks share.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from metarl.core.choices import check_choice
from metarl.core.params import Params, scope

State: TypeAlias = Mapping[str, Tensor]
"""Named tensors; a chain prefixes the names of its transforms with their places."""

EMPTY: dict[str, Tensor] = {}


class Transform(ABC):
    """One link of a rule: turns gradients into updates."""

    def parameters(self, fast: Params) -> dict[str, Tensor]:
        """Initial values of what is meta-learned, for unstacked ``fast``; by default nothing."""
        return {}

    def init(self, fast: Params) -> State:
        """The state before the first step, for stacked ``fast``; by default none."""
        return EMPTY

    @abstractmethod
    def update(
        self, grads: Params, fast: Params, state: State, params: Params
    ) -> tuple[Params, State]:
        """Turn ``grads`` into updates.

        Args:
            grads: Gradients, or what the link before made of them ``[N, ...]``.
            fast: The fast parameters ``[N, ...]`` the gradient was taken at.
            state: What `init` or the last `update` returned.
            params: The learned parameters, unstacked.

        Returns:
            Updates ``[N, ...]`` and the next state. Nothing is written in place.
        """


@dataclass(frozen=True)
class Chain(Transform):
    """Transforms one after the other. As a rule: ``phi' = phi + chain(gradient)``."""

    links: tuple[Transform, ...]

    def parameters(self, fast: Params) -> dict[str, Tensor]:
        """Those of the links, prefixed ``0.``, ``1.``, ..."""
        return {
            f"{i}.{name}": value
            for i, link in enumerate(self.links)
            for name, value in link.parameters(fast).items()
        }

    def init(self, fast: Params) -> State:
        """Those of the links, prefixed alike."""
        return {
            f"{i}.{name}": value
            for i, link in enumerate(self.links)
            for name, value in link.init(fast).items()
        }

    def update(
        self, grads: Params, fast: Params, state: State, params: Params
    ) -> tuple[Params, State]:
        """Each link takes what the one before made."""
        states: dict[str, Tensor] = {}
        for i, link in enumerate(self.links):
            prefix = str(i)
            own_state = scope(state, prefix) if state else EMPTY
            own_params = scope(params, prefix) if params else EMPTY
            grads, after = link.update(grads, fast, own_state, own_params)
            states |= {f"{prefix}.{name}": value for name, value in after.items()}
        return grads, states

    def step(
        self, fast: Params, grads: Params, state: State, params: Params = EMPTY
    ) -> tuple[dict[str, Tensor], State]:
        """``phi' = phi + u``; returns ``(phi', next state)``."""
        updates, state = self.update(grads, fast, state, params)
        return {name: p + updates[name] for name, p in fast.items()}, state


UpdateRule: TypeAlias = Chain
Learned: TypeAlias = Literal["no", "parameter", "element"]


@dataclass(frozen=True)
class StepSize(Transform):
    """Multiply by -lr: the last link.

    A learned step size is kept as its logarithm, so that it stays positive and its steps are
    relative.

    # Deviation: Meta-SGD (Li et al. 2017) learns alpha itself, which may change its sign.

    Attributes:
        lr: The step size, or its initial value.
        learned: no; parameter: one a tensor; element: one a number (Meta-SGD).
    """

    lr: float
    learned: Learned = "no"

    def __post_init__(self) -> None:
        """Refuse a step size without a logarithm."""
        check_choice("learned", self.learned, get_args(Learned))
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise ValueError(f"the inner lr must be above 0, got {self.lr}")

    def parameters(self, fast: Params) -> dict[str, Tensor]:
        """``log_lr.NAME``: a scalar or a tensor of the parameter's shape."""
        if self.learned == "no":
            return {}
        log_lr = math.log(self.lr)
        whole = self.learned == "element"
        return {
            f"log_lr.{name}": torch.full_like(p if whole else p.new_empty(()), log_lr)
            for name, p in fast.items()
        }

    def update(
        self, grads: Params, fast: Params, state: State, params: Params
    ) -> tuple[Params, State]:
        """U = -lr g."""
        if self.learned == "no":
            return {name: g * -self.lr for name, g in grads.items()}, EMPTY
        return {n: g * -params[f"log_lr.{n}"].exp() for n, g in grads.items()}, EMPTY


@dataclass(frozen=True)
class Momentum(Transform):
    """``m' = beta m + g``, u = m'; Nesterov: u = g + beta m' (as in `torch.optim.SGD`)."""

    beta: float
    nesterov: bool = False

    def __post_init__(self) -> None:
        """Refuse a sum that grows without end."""
        _check_decay("momentum", self.beta)

    def init(self, fast: Params) -> State:
        """M = 0."""
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

    The root has no derivative where a second moment is 0: there, and there alone, u is 0 and
    passes no gradient on.

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
        """Refuse moments that grow without end, and a root that may be cancelled."""
        _check_decay("beta1", self.beta1)
        _check_decay("beta2", self.beta2)
        if not (math.isfinite(self.eps) and self.eps >= 0):
            raise ValueError(f"eps must be finite and at least 0, got {self.eps}")

    def init(self, fast: Params) -> State:
        """M = v = 0, t = 0."""
        moments = {f"{kind}.{n}": torch.zeros_like(p) for kind in "mv" for n, p in fast.items()}
        first = next(iter(fast.values()))
        return moments | {"t": first.new_zeros(first.shape[0])}

    def update(
        self, grads: Params, fast: Params, state: State, params: Params
    ) -> tuple[Params, State]:
        """Both moments move, then the corrected ratio."""
        t = state["t"] + 1
        after, updates = {"t": t}, {}
        for name, g in grads.items():
            g2 = (g.detach() if self.detach_second_moment else g).square()
            m = self.beta1 * state[f"m.{name}"] + (1 - self.beta1) * g
            v = self.beta2 * state[f"v.{name}"] + (1 - self.beta2) * g2
            after |= {f"m.{name}": m, f"v.{name}": v}
            steps = t.view(-1, *(1,) * (g.dim() - 1))
            seen = v > 0
            root = torch.where(seen, v / (1 - self.beta2**steps), 1.0).sqrt()
            updates[name] = torch.where(seen, m / (1 - self.beta1**steps) / (root + self.eps), 0.0)
        return updates, after


@dataclass(frozen=True)
class WeightDecay(Transform):
    """``g + decay * phi``: coupled L2, as in `torch.optim`."""

    decay: float

    def update(
        self, grads: Params, fast: Params, state: State, params: Params
    ) -> tuple[Params, State]:
        """Add the gradient of decay / 2 |phi|^2."""
        return {name: g + self.decay * fast[name] for name, g in grads.items()}, EMPTY


@dataclass(frozen=True)
class LaterSteps(Transform):
    """Multiply every step but the first by a constant.

    A gradient of normalised advantages is as long near the optimum as far from it, so that equal
    steps overshoot; the first step still goes all the way.

    Attributes:
        factor: Of the steps after the first, above 0.
    """

    factor: float

    def __post_init__(self) -> None:
        """Refuse a factor that turns steps around, or takes none."""
        if not (math.isfinite(self.factor) and self.factor > 0):
            raise ValueError(f"the factor of later steps must be above 0, got {self.factor}")

    def init(self, fast: Params) -> State:
        """The factor of the next step: 1."""
        first = next(iter(fast.values()))
        return {"next": first.new_ones(first.shape[0])}

    def update(
        self, grads: Params, fast: Params, state: State, params: Params
    ) -> tuple[Params, State]:
        """Scale task by task."""
        now = state["next"]
        scaled = {n: g * now.view(-1, *(1,) * (g.dim() - 1)) for n, g in grads.items()}
        return scaled, {"next": torch.full_like(now, self.factor)}


def _check_decay(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ValueError(f"{name} must lie in [0, 1), got {value}")


def sgd(
    lr: float,
    momentum: float = 0.0,
    *,
    nesterov: bool = False,
    learned: Learned = "no",
    later: float = 1.0,
) -> UpdateRule:
    """Gradient descent with step size ``lr``, perhaps learned, and momentum.

    Every step but the first is multiplied by ``later``.
    """
    if nesterov and not momentum:
        raise ValueError("Nesterov's step needs momentum above 0, got 0")
    links: list[Transform] = [Momentum(momentum, nesterov)] if momentum else []
    if later != 1.0:
        links.append(LaterSteps(later))
    return Chain((*links, StepSize(lr, learned)))


def adam(
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    *,
    detach_second_moment: bool = False,
    learned: Learned = "no",
    later: float = 1.0,
) -> UpdateRule:
    """Adam with step size ``lr``, perhaps learned; steps after the first are times ``later``."""
    links: list[Transform] = [Adam(*betas, eps, detach_second_moment)]
    if later != 1.0:
        links.append(LaterSteps(later))
    return Chain((*links, StepSize(lr, learned)))
