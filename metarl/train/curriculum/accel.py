"""ACCEL: what has been replayed is changed a little, and kept where it teaches more.

Parker-Holder et al. 2022, "Evolving curricula with regret-based environment design": robust PLR
that begins with bare levels; every replayed batch is followed by a batch of its levels with some
edits, which are played to be scored, not to be learned from. So levels grow more complex at the
pace of the agent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from .plr import Replay, RobustPLR
from .sampler import LevelSource, Offer, Outcome, new_slots


@dataclass(frozen=True)
class ACCEL(RobustPLR):
    """Robust prioritised level replay with edits of the replayed levels.

    Attributes:
        num_edits: Changes of each level.
        parents: Replayed levels of a batch that are edited: those that earned most, each as often
            as any other; None: all of them.
    """

    name: ClassVar[str] = "accel"

    replay_share: float = 0.8
    num_edits: int = 20
    parents: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_edits < 1:
            raise ValueError(f"num_edits must be at least 1, got {self.num_edits}")
        if self.parents is not None and self.parents < 1:
            raise ValueError(f"parents must be at least 1, or None for all, got {self.parents}")

    def sampler(self, source: LevelSource, generator: torch.Generator) -> Editing:
        """Make the sampler of one agent."""
        return Editing(self, source, generator)


class Editing(Replay):
    """Offers bare levels, replayed ones, and after these their edits."""

    settings: ACCEL

    def __init__(self, settings: ACCEL, source: LevelSource, generator: torch.Generator) -> None:
        """Begin with an empty buffer; see `Replay`."""
        super().__init__(settings, source, generator)
        self._to_edit: Tensor | None = None  # [n, D], what was replayed last

    def sample(self, n: int) -> Offer:
        """Offer the edits of what was replayed last; else what `Replay` does."""
        if self._to_edit is None:
            return super().sample(n)
        levels, self._to_edit = self._to_edit, None
        edited = self.source.edited(levels, self.settings.num_edits, self.generator)
        return Offer(edited, new_slots(edited), learn=False, kind="edited")

    def update(self, offer: Offer, outcome: Outcome) -> None:
        """Score the levels, and keep the replayed ones to be edited."""
        super().update(offer, outcome)
        if not offer.learn:
            return
        levels, count = offer.levels, self.settings.parents
        if count is not None:
            levels = levels[easiest(outcome.returns, count)]
            times = -(-len(offer.levels) // len(levels))
            levels = levels.repeat(times, 1)[: len(offer.levels)]
        self._to_edit = levels

    def state_dict(self) -> dict[str, Any]:
        """Everything it needs to go on."""
        return {**super().state_dict(), "to_edit": self._to_edit}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where `state_dict` left off."""
        super().load_state_dict(state)
        there = state["to_edit"]
        self._to_edit = None if there is None else there.to(self.generator.device)

    def _fresh(self, n: int) -> Tensor:
        return self.source.bare(n, self.generator)


def easiest(returns: Tensor, count: int) -> Tensor:
    """Places of the levels that earned most, each once: int64 ``[count]``, or of all if fewer.

    Args:
        returns: ``[n]``; those that are no numbers come last.
        count: Number of levels.
    """
    return returns.nan_to_num(nan=-torch.inf).argsort(descending=True, stable=True)[:count]
