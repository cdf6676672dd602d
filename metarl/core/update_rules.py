"""Update rules of the inner loop: ``phi' = phi + u``, u made from the gradient step by step.

A rule is a chain of transforms, each a frozen value with three pure functions, as an optimiser is
in Optax: `parameters` (what is meta-learned), `init` (the state it carries from step to step) and
`update`. So Meta-SGD is a chain whose step sizes are learned, and every chain can be differentiated
through to any order. All tensors are stacked over tasks ``[N, ...]`` except learned parameters,
which all tasks share.

The last link of a chain is its step size: one for all, or by parameter, by step, learned or not. A
learned step size is kept as its logarithm, so that it stays positive and its steps are relative.
One for each parameter and step is MAML++'s (Antoniou et al. 2019, "LSLR"), one for each number
Meta-SGD's (Li et al. 2017). The other links are in `optimiser_rules`, which puts them together, and
in `meta_curvature`. A chain lifts half precision to float32 before its first link and rounds once,
after the step: moments, counters and what is learned are never kept in half precision.

# Deviation: Meta-SGD learns alpha itself, which may change its sign.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal, TypeAlias, cast

import torch
from torch import Tensor

from metarl.core.params import Params, along, precise, scope
from metarl.errors import check_choices

State: TypeAlias = Mapping[str, Tensor]
"""Named tensors; a chain prefixes the names of its transforms with their places."""

EMPTY: dict[str, Tensor] = {}


class Transform(ABC):
    """One link of a rule: turns gradients into updates. In a chain it sees no half precision."""

    def parameters(self, fast: Params) -> dict[str, Tensor]:
        """Initial values of what is meta-learned, for unstacked ``fast``; by default nothing."""
        return {}

    def init(self, fast: Params) -> State:
        """The state before the first step, for stacked ``fast``; by default none.

        Floating-point tensors ``[N, ...]`` alone, counters too: gradients go back through them.
        """
        return EMPTY

    @abstractmethod
    def update(
        self, grads: Params, fast: Params, state: State, params: Params
    ) -> tuple[Params, State]:
        """Turn ``grads`` into updates.

        Args:
            grads: Gradients, or what the link before made of them ``[N, ...]``.
            fast: The fast parameters ``[N, ...]`` the gradient was taken at.
            state: The state that `init` or the last `update` returned.
            params: The learned parameters, unstacked.

        Returns:
            Updates ``[N, ...]`` and the next state. Nothing is written in place.
        """


@dataclass(frozen=True)
class Chain(Transform):
    """Transforms one after the other. As a rule: ``phi' = phi + chain(gradient)``."""

    links: tuple[Transform, ...]

    def parameters(self, fast: Params) -> dict[str, Tensor]:
        """Initial values of the links' learned parameters, prefixed ``0.``, ``1.``, ..."""
        fast = _lifted(fast)
        return {
            f"{i}.{name}": value
            for i, link in enumerate(self.links)
            for name, value in link.parameters(fast).items()
        }

    def init(self, fast: Params) -> State:
        """States of the links before the first step, with the same prefixes."""
        fast = _lifted(fast)
        return {
            f"{i}.{name}": value
            for i, link in enumerate(self.links)
            for name, value in link.init(fast).items()
        }

    def update(
        self, grads: Params, fast: Params, state: State, params: Params
    ) -> tuple[Params, State]:
        """Each link takes what the one before made; updates are in at least float32."""
        grads, fast, state, params = (_lifted(p) for p in (grads, fast, state, params))
        states: dict[str, Tensor] = {}
        for i, link in enumerate(self.links):
            prefix = str(i)
            own_state = scope(state, prefix) if state else EMPTY
            own_params = scope(params, prefix) if params else EMPTY
            grads, after = link.update(grads, fast, own_state, own_params)
            states |= {f"{prefix}.{name}": value for name, value in after.items()}
        return grads, states

    def step(
        self,
        fast: Params,
        grads: Params,
        state: State,
        params: Params = EMPTY,
        *,
        first_order: bool = False,
    ) -> tuple[dict[str, Tensor], State]:
        """Take one step: ``phi' = phi + u``.

        Args:
            fast: phi ``[N, ...]``.
            grads: The gradient there ``[N, ...]``; for a step of first order without a graph.
            state: Before the step.
            params: The learned parameters, unstacked.
            first_order: Take u for a constant in phi, so that d phi' / d phi is the identity. What
                the rule has learned and its state are differentiated through all the same.

        Returns:
            phi', of phi's types, and the next state.
        """
        at = {name: p.detach() for name, p in fast.items()} if first_order else fast
        updates, state = self.update(grads, at, state, params)
        there = {name: p + updates[name] for name, p in fast.items()}
        return {
            n: q if q.dtype is fast[n].dtype else q.to(fast[n].dtype) for n, q in there.items()
        }, state


UpdateRule: TypeAlias = Chain


def check_rule(rule: object) -> None:
    """Check that a rule is whole: neither a step size alone, nor one link of a chain.

    Raises:
        TypeError: See above.
    """
    if not all(callable(getattr(rule, name, None)) for name in ("parameters", "step")):
        raise TypeError(f"rule must be an update rule, such as metarl.sgd(0.1), got {rule!r}")


def _lifted(params: Params) -> dict[str, Tensor]:
    return {name: precise(p) for name, p in params.items()}


# Step sizes ---------------------------------------------------------------------------------------


Learned: TypeAlias = Literal["no", "parameter", "element"]

Size: TypeAlias = float | Tensor | Sequence[float]
"""One step size: a number; a tensor of the parameter's shape (or one that broadcasts to it); a list
or tuple with one number for each step, of which the last holds for all steps after."""

Sizes: TypeAlias = Size | Mapping[str, Size]
"""The same for all parameters, or by shell-style name patterns, of which the first that matches
counts."""


@dataclass(frozen=True)
class StepSize(Transform):
    """Multiply by -lr: the last link.

    Attributes:
        lr: The step sizes, or their initial values, each finite and above 0.
        learned: no; parameter: one for each tensor; element: one for each number. Where ``lr`` has
            one for each step, so has what is learned.
    """

    lr: Sizes
    learned: Learned = "no"

    def __post_init__(self) -> None:
        """Check that learned step sizes have a logarithm."""
        check_choices(self)
        own = self.lr
        if isinstance(own, Mapping):
            object.__setattr__(self, "lr", {name: _checked(size) for name, size in own.items()})
        else:
            object.__setattr__(self, "lr", _checked(own))

    def parameters(self, fast: Params) -> dict[str, Tensor]:
        """``log_lr.NAME``: one number, or the parameter's shape; before it K where by step.

        Raises:
            ValueError: A parameter has no step size, or a pattern no parameter.
        """
        self._check_names(fast)
        if self.learned == "no":
            return {}
        return {f"log_lr.{name}": self._initial(name, p) for name, p in fast.items()}

    def init(self, fast: Params) -> State:
        """The number of the next step, where step sizes differ by step."""
        sizes = self.lr.values() if isinstance(self.lr, Mapping) else (self.lr,)
        if not any(isinstance(size, tuple) for size in sizes):
            return EMPTY
        first = next(iter(fast.values()))
        return {"step": first.new_zeros(first.shape[0])}

    def update(
        self, grads: Params, fast: Params, state: State, params: Params
    ) -> tuple[Params, State]:
        """U = -lr g."""
        step = state.get("step")
        updates = {n: g * -self._at(n, g, step, params) for n, g in grads.items()}
        return updates, EMPTY if step is None else {"step": step + 1}

    def _at(self, name: str, like: Tensor, step: Tensor | None, params: Params) -> float | Tensor:
        """Lr of one parameter, whose gradient is ``[N, ...]``, at the steps ``[N]``."""
        size = self._size(name)
        if self.learned != "no":
            log_lr = params[f"log_lr.{name}"]
            if not isinstance(size, tuple):
                return log_lr.exp()
            assert step is not None
            lr = log_lr[step.long().clamp(max=len(size) - 1)].exp()  # [N] or [N, ...]
            return lr if lr.dim() > 1 else along(lr, like)
        if isinstance(size, tuple):
            assert step is not None
            return along(_scheduled(size, step.to(like.dtype)), like)
        return size.to(like) if isinstance(size, Tensor) else float(cast(float, size))

    def _size(self, name: str) -> Size:
        if not isinstance(self.lr, Mapping):
            return self.lr
        for pattern, size in self.lr.items():
            if name == pattern or fnmatchcase(name, pattern):
                return size
        patterns = ", ".join(map(repr, self.lr))
        raise ValueError(
            f"the parameter {name!r} has no step size among {patterns}: name it, or add '*' last"
        )

    def _check_names(self, fast: Params) -> None:
        for name, p in fast.items():
            size = self._size(name)
            if isinstance(size, Tensor) and not _broadcasts(size.shape, p.shape):
                raise ValueError(
                    f"the step sizes of {name!r} have shape {tuple(size.shape)}, which does not "
                    f"broadcast to the parameter's, {tuple(p.shape)}"
                )
        if not isinstance(self.lr, Mapping):
            return
        for pattern in self.lr:
            if not any(name == pattern or fnmatchcase(name, pattern) for name in fast):
                raise ValueError(
                    f"the step size of {pattern!r} is no parameter's; names are {', '.join(fast)}"
                )

    def _initial(self, name: str, p: Tensor) -> Tensor:
        """The logarithm of the step sizes of one parameter."""
        size, shape = self._size(name), p.shape if self.learned == "element" else p.shape[:0]
        if isinstance(size, tuple):
            return torch.stack([p.new_full(shape, math.log(one)) for one in size])
        if not isinstance(size, Tensor):
            return p.new_full(shape, math.log(cast(float, size)))
        if self.learned == "parameter" and size.numel() != 1:
            raise ValueError(
                f"the step sizes of {name!r} are {size.numel()} numbers: learn each of them "
                'with learned="element"'
            )
        log_lr = size.to(p).log()
        return log_lr.expand(shape).clone() if shape else log_lr.reshape(())


@dataclass(frozen=True)
class LaterSteps(Transform):
    """Multiply every step but the first by a constant.

    A gradient of normalised advantages is as long near the optimum as far from it, so that equal
    steps overshoot; the first step still goes all the way.

    Attributes:
        factor: Factor of the steps after the first, above 0.
    """

    factor: float

    def __post_init__(self) -> None:
        """Check that the factor is positive, so that later steps are taken, and the same way."""
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
        scaled = {n: g * along(now.to(g.dtype), g) for n, g in grads.items()}
        return scaled, {"next": torch.full_like(now, self.factor)}


def _checked(size: Size) -> Size:
    """A copy that nobody changes, whose numbers have a logarithm."""
    if isinstance(size, Tensor):
        size = size.detach().clone()
        bad = size[~(size.isfinite() & (size > 0))].flatten()
        _refuse(bad.tolist()[:1])
        return size
    numbers = tuple(size) if isinstance(size, Sequence) else (size,)
    if not numbers:
        raise ValueError("the inner lr by step needs at least one number, got none")
    _refuse(n for n in numbers if not (math.isfinite(n) and n > 0))
    return numbers if isinstance(size, Sequence) else size


def _refuse(bad: Iterable[float]) -> None:
    for number in bad:
        raise ValueError(f"the inner lr must be above 0, got {number}")


def _scheduled(sizes: Sequence[float], step: Tensor) -> Tensor:
    """The size of each step ``[N]``; without a table, which a traced program would keep."""
    now = torch.full_like(step, sizes[0])
    for k, size in enumerate(sizes[1:], 1):
        now = torch.where(step >= k, size, now)
    return now


def _broadcasts(shape: torch.Size, to: torch.Size) -> bool:
    padded = (*(1,) * (len(to) - len(shape)), *shape)
    return len(shape) <= len(to) and all(a in (1, b) for a, b in zip(padded, to, strict=True))
