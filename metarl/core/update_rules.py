"""Update rules of the inner loop: ``phi' = phi + u``, u made from the gradient step by step.

A rule is a chain of transforms, each a frozen value with three pure functions, as an optimiser is
in Optax: `parameters` (what is meta-learned), `init` (the state it carries from step to step) and
`update`. So Meta-SGD is a chain whose step sizes are learned, and every chain can be differentiated
through to any order. All tensors are stacked over tasks ``[N, ...]`` except learned parameters,
which all tasks share.

The links are in `step_sizes`, `moments`, `limits` and `meta_curvature`; `optimiser_rules` puts them
together. A chain lifts half precision to float32 before its first link and rounds once, after the
step: moments, counters and what is learned are never kept in half precision.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor

from metarl.core.params import Params, precise, scope

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
