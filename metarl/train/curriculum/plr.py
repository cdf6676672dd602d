"""Prioritised level replay: fresh levels are scored, and those that teach most come back.

Jiang et al. 2021a, "Prioritized level replay"; the buffer and its settings as in Jiang et al. 2021b
for mazes ("Replay-guided adversarial environment design"). Theirs is the robust one too, in which
the weights learn from replayed levels alone: what is learned from is then chosen by its regret, not
by chance; it takes as many environment steps and fewer gradient steps.

Deviation: not a coin but a fixed rhythm says whether levels are replayed, of the same share, so
that agents side by side learn in the same iterations as each alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from .buffer import LevelBuffer, Priorities
from .sampler import Curriculum, LevelSource, Offer, Outcome, new_slots
from .scores import SCORES, ScoreName


@dataclass(frozen=True)
class PLR(Curriculum):
    """Prioritised level replay (Jiang et al. 2021).

    Attributes:
        capacity: Levels that are remembered, at most.
        replay_share: Share of the iterations that replay levels, once there are enough.
        min_fill: Share of the capacity that has to be met in fresh levels before any is replayed.
        score: positive-value: mean of the advantages above 0; max-mc: highest return ever on the
            level less what the critic expects, for trials that end with their first find.
        temperature: Power of ranks: the smaller, the more the highest scores count.
        staleness: Share of the choice that goes by age.
    """

    name: ClassVar[str] = "plr"
    learns_from_fresh: ClassVar[bool] = True
    """Whether the weights learn from fresh levels too."""

    capacity: int = 4000
    replay_share: float = 0.5
    min_fill: float = 0.5
    score: ScoreName = "positive-value"
    temperature: float = 0.3
    staleness: float = 0.3

    def __post_init__(self) -> None:
        if self.capacity < 1:
            raise ValueError(f"capacity must be at least 1, got {self.capacity}")
        for name in ("replay_share", "min_fill"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in (0, 1], got {getattr(self, name)}")
        if self.score not in SCORES:
            raise ValueError(f"score must be one of {', '.join(SCORES)}, got {self.score!r}")
        _ = self.priorities  # which refuses what it cannot be made of

    @property
    def priorities(self) -> Priorities:
        """Weights by which levels are chosen."""
        return Priorities(self.temperature, self.staleness)

    def sampler(self, source: LevelSource, generator: torch.Generator) -> Replay:
        """Make the sampler of one agent."""
        return Replay(self, source, generator)


@dataclass(frozen=True)
class RobustPLR(PLR):
    """Prioritised level replay whose gradients come from replayed levels alone."""

    name: ClassVar[str] = "robust-plr"
    learns_from_fresh: ClassVar[bool] = False


class Replay:
    """Offers fresh levels and replayed ones in a rhythm, and scores them."""

    def __init__(self, settings: PLR, source: LevelSource, generator: torch.Generator) -> None:
        """Begin with an empty buffer.

        Args:
            settings: How levels are replayed.
            source: Makes fresh levels, and tells them apart.
            generator: Draws levels and choices, on the device of the levels.
        """
        self.settings, self.source, self.generator = settings, source, generator
        self._score = SCORES[settings.score]
        self._met = self._beats = 0  # fresh levels; offers since there were enough
        self.buffer = LevelBuffer(
            settings.capacity, source.width, settings.priorities, generator.device
        )

    def sample(self, n: int) -> Offer:
        """Offer the next n levels: fresh, or from the buffer."""
        replays = self._replays()
        if replays and len(self.buffer):
            slots = self.buffer.sample(n, self.generator)
            return Offer(self.buffer.levels[slots], slots, learn=True, kind="replayed")
        levels = self._fresh(n)
        self._met += n
        learn = replays or self.settings.learns_from_fresh
        return Offer(levels, new_slots(levels), learn=learn, kind="fresh")

    def update(self, offer: Offer, outcome: Outcome) -> None:
        """Score the levels, and keep the best of the new ones."""
        slots = offer.slots
        if offer.kind != "replayed":
            keys = self.source.keys(offer.levels)
            highest = self.buffer.highest_ever(keys, outcome.returns)
            self.buffer.insert(offer.levels, keys, self._score(outcome, highest), highest)
            return
        highest = self.buffer.highest_ever(self.buffer.keys[slots], outcome.returns)
        self.buffer.update(slots, self._score(outcome, highest), highest)

    def measured(self) -> dict[str, float]:
        """Levels in the buffer, their mean score, and scores that were refused."""
        buffer = self.buffer
        score = float(buffer.scores.mean()) if len(buffer) else 0.0
        return {
            "buffer_levels": len(buffer),
            "buffer_score": score,
            "refused_scores": buffer.refused,
        }

    def state_dict(self) -> dict[str, Any]:
        """Everything it needs to go on."""
        return {"met": self._met, "beats": self._beats, "buffer": self.buffer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where `state_dict` left off."""
        self._met, self._beats = int(state["met"]), int(state["beats"])
        self.buffer.load_state_dict(state["buffer"])

    def _fresh(self, n: int) -> Tensor:
        return self.source.draw(n, self.generator)

    def _replays(self) -> bool:
        """Count an offer, if there have been levels enough; whether it is the buffer's turn."""
        if self._met < self.settings.min_fill * self.settings.capacity:
            return False
        self._beats += 1
        share = self.settings.replay_share
        return math.floor(self._beats * share) > math.floor((self._beats - 1) * share)
