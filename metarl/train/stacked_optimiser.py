"""A torch optimiser of N stacked agents, each of which steps as it would alone, bit for bit.

The optimiser is given every agent's share of every parameter as a tensor of its own: a view, so
that what it writes is written into the stack. One tensor ``[N, ...]`` would do up to rounding,
since Adam and its kin work entry by entry; but fused kernels round the last few entries of a tensor
in another way than the rest, and which ones those are depends on N. What is kept of an agent can be
taken out and put back, and an agent can stay where it is while the others step.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from metarl.core import OptimiserSettings, Params

OptimiserState: TypeAlias = Mapping[str, Any]
"""State of one agent: parameter → entry → tensor; or what `torch.optim` makes of it."""

STEP_COUNT = "step"
"""The one entry that does not have the parameter's shape."""


class StackedOptimiser:
    """An optimiser of parameters ``[N, ...]``, which it writes in place.

    Args:
        settings: Settings of the optimiser.
        params: Parameters by name.
        stacked: Whether they have an axis of agents; otherwise there is one agent.
    """

    def __init__(self, settings: OptimiserSettings, params: Params, stacked: bool = True) -> None:
        self.settings, self.params, self._stacked = settings, params, stacked
        self._shares = {name: list(self._parts(p.detach())) for name, p in params.items()}
        self.forget()

    def forget(self) -> None:
        """Begin again, without moments."""
        self._optimiser = self.settings.build(
            share for shares in self._shares.values() for share in shares
        )

    def scale(self, factor: float) -> None:
        """Make the learning rate so many times the setting's."""
        self._optimiser.param_groups[0]["lr"] = self.settings.lr * factor

    def step(self, gradients: Mapping[str, Tensor | None], skips: Tensor | None = None) -> None:
        """Step on gradients, of the parameters' shapes.

        Args:
            gradients: Gradients by name; parameters without one keep weights and moments.
            skips: bool ``[N]``: agents that keep theirs altogether; None: no agent.
        """
        stay = None if skips is None else skips.tolist()
        for name, shares in self._shares.items():
            gradient = gradients.get(name)
            parts = [None] * len(shares) if gradient is None else self._parts(gradient)
            for n, (share, part) in enumerate(zip(shares, parts, strict=True)):
                share.grad = None if stay is not None and stay[n] else part
        self._optimiser.step()
        # A fused optimiser writes without a word; who kept activations must see that they are old.
        torch.autograd.graph.increment_version(self.params.values())

    def _parts(self, values: Tensor) -> Sequence[Tensor]:
        """The share of every agent."""
        return values.unbind() if self._stacked else (values,)

    def agent_state(self, index: int) -> dict[str, dict[str, Tensor]]:
        """State of one agent, without the leading axis."""
        return {
            name: {
                key: value.clone()
                for key, value in self._optimiser.state[shares[index]].items()
                if value is not None
            }
            for name, shares in self._shares.items()
        }

    def load_agent_states(self, states: Sequence[OptimiserState]) -> None:
        """Take up where `agent_state` of every agent left off.

        Raises:
            ValueError: They are of other parameters.
        """
        fused = bool(self._optimiser.defaults.get("fused"))  # then it counts on the device
        by_name = [_by_name(state, self._shares) for state in states]
        for name, shares in self._shares.items():
            for share, state in zip(shares, by_name, strict=True):
                self._optimiser.state[share] = {
                    key: value.to(
                        "cpu" if key == STEP_COUNT and not fused else share.device, copy=True
                    )
                    for key, value in state.get(name, {}).items()
                }


def _by_name(state: OptimiserState, names: Collection[str]) -> Mapping[str, Mapping[str, Tensor]]:
    """The state by the names of parameters; version 0.1 kept that of `torch.optim`, by number."""
    if "param_groups" not in state:
        return state
    (group,) = state["param_groups"]
    if len(group["params"]) != len(names):
        raise ValueError(
            f"the optimiser's state is of {len(group['params'])} parameters, here are {len(names)}"
        )
    entries = (state["state"].get(number, {}) for number in group["params"])
    return {
        name: {key: value for key, value in entry.items() if value is not None}
        for name, entry in zip(names, entries, strict=True)
    }
