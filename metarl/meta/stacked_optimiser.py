"""A torch optimiser of N stacked agents, each of which steps as it would alone.

Adam and its kin work entry by entry, so that one optimiser of parameters ``[N, ...]`` is N
optimisers. What it keeps of an agent can be taken out and put back, and an agent can stay where it
is while the others step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from metarl.core import OptimiserSettings, Params

OptimiserState: TypeAlias = Mapping[str, Mapping[str, Tensor]]
"""Of one agent: parameter → entry → tensor."""

STEP_COUNT = "step"
"""The one entry that stacked agents share."""


class StackedOptimiser:
    """An optimiser of parameters ``[N, ...]``, which it writes in place."""

    def __init__(self, settings: OptimiserSettings, params: Params) -> None:
        self.settings, self.params = settings, params
        self.forget()

    def forget(self) -> None:
        """Begin anew, without moments."""
        self._optimiser = self.settings.build(self.params.values())

    def scale(self, factor: float) -> None:
        """Make the learning rate so many times the setting's."""
        self._optimiser.param_groups[0]["lr"] = self.settings.lr * factor

    def step(self, gradients: Sequence[Tensor], skips: Tensor | None = None) -> None:
        """Step on gradients ``[N, ...]``; agents that skip ``[N]`` keep weights and moments."""
        for p, gradient in zip(self.params.values(), gradients, strict=True):
            p.grad = gradient.to(p.dtype)  # sums are in at least float32
        before = [] if skips is None else [t.detach().clone() for t in self._tensors()]
        self._optimiser.step()
        # A fused optimiser writes without a word; who kept activations must see that they are old.
        torch.autograd.graph.increment_version(self.params.values())
        if skips is not None:
            _put_back(self._tensors(), before, skips)

    def agent_state(self, index: int) -> dict[str, dict[str, Tensor]]:
        """What is kept of one agent, without the leading axis."""
        return {
            name: {
                key: value.clone() if key == STEP_COUNT else value[index].clone()
                for key, value in self._optimiser.state[p].items()
                if value is not None
            }
            for name, p in self.params.items()
        }

    def load_agent_states(self, states: Sequence[OptimiserState]) -> None:
        """Take up where `agent_state` of every agent left off."""
        fused = bool(self._optimiser.defaults.get("fused"))  # then it counts on the device
        for name, p in self.params.items():
            saved = [state.get(name, {}) for state in states]
            self._optimiser.state[p] = {
                key: value.to(p.device if fused else "cpu", copy=True)
                if key == STEP_COUNT
                else torch.stack([s[key] for s in saved]).to(p.device)
                for key, value in saved[0].items()
            }

    def _tensors(self) -> list[Tensor]:
        """What a step changes, ``[N, ...]`` each: the parameters, then their moments."""
        moments = [
            value
            for p in self.params.values()
            for key, value in self._optimiser.state.get(p, {}).items()
            if key != STEP_COUNT and value is not None
        ]
        return [*self.params.values(), *moments]


def over_agents(values: Tensor, like: Tensor) -> Tensor:
    """Values ``[N]`` with as many axes as a tensor ``[N, ...]``."""
    return values.view(-1, *(1,) * (like.dim() - 1))


@torch.no_grad()
def _put_back(after: Sequence[Tensor], before: Sequence[Tensor], agents: Tensor) -> None:
    """Undo a step of some agents ``[N]``; moments that it made were 0."""
    made = [torch.zeros_like(t) for t in after[len(before) :]]
    for now, then in zip(after, [*before, *made], strict=True):
        now.copy_(torch.where(over_agents(agents, now), then, now))
