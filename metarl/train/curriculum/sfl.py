"""Sampling for learnability: levels that are sometimes solved, and sometimes not.

Rutherford et al. 2024, "No regrets: investigating and improving regret approximations for
curriculum discovery": every so often many fresh levels are played some times each, those with the
largest ``p (1 - p)`` are kept, and half of every batch is drawn from them, half fresh. What is
played to find them is not learned from, and counts as environment steps like all else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from .buffer import first_of_each
from .sampler import Curriculum, LevelSource, Offer, Outcome, new_slots
from .scores import learnability


@dataclass(frozen=True)
class SFL(Curriculum):
    """Sampling for learnability.

    Attributes:
        capacity: Levels that are kept of those looked at.
        period: Iterations that learn from what one look around has found.
        scouts: Iterations of a look around, which learn nothing.
        attempts: Trials in which each level that is looked at is played; they divide the batch.
        kept_share: Share of a batch that is drawn from what is kept; the rest is fresh.
    """

    name: ClassVar[str] = "sfl"

    capacity: int = 1000
    period: int = 40
    scouts: int = 10
    attempts: int = 4
    kept_share: float = 0.5

    def __post_init__(self) -> None:
        for name, least in (("capacity", 1), ("period", 1), ("scouts", 1), ("attempts", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not 0 < self.kept_share <= 1:
            raise ValueError(f"kept_share must lie in (0, 1], got {self.kept_share}")

    def sampler(self, source: LevelSource, generator: torch.Generator) -> Scouting:
        """Make the sampler of one agent."""
        return Scouting(self, source, generator)


class Scouting:
    """Looks around for levels of middling success, then offers them among fresh ones."""

    def __init__(self, settings: SFL, source: LevelSource, generator: torch.Generator) -> None:
        """Begin with a look around.

        Args:
            settings: How levels are found.
            source: Makes fresh levels, and tells them apart.
            generator: Draws levels and choices, on the device of the levels.
        """
        self.settings, self.source, self.generator = settings, source, generator
        none = torch.zeros((0, source.width), dtype=torch.int64, device=generator.device)
        self.kept = self._found = none  # [k, D] of the last look around; [f, D] of this one
        self._learnable = torch.zeros(0, dtype=torch.float64, device=generator.device)  # [f]
        self._offers = self.refused = 0

    def sample(self, n: int) -> Offer:
        """Offer the next n levels: to look at, or to learn from.

        Raises:
            ValueError: The attempts do not divide them.
        """
        place = self._offers % (self.settings.scouts + self.settings.period)
        self._offers += 1
        if place < self.settings.scouts:
            attempts = self.settings.attempts
            if n % attempts:
                raise ValueError(
                    f"{attempts} attempts at each level do not divide a batch of {n} trials: "
                    "choose another number of attempts, or another batch size"
                )
            levels = self.source.draw(n // attempts, self.generator)
            levels = levels.repeat_interleave(attempts, 0)  # [n / attempts, D] to [n, D]
            return Offer(levels, new_slots(levels), learn=False, kind="scouted")
        num_kept = round(n * self.settings.kept_share) if len(self.kept) else 0
        drawn = torch.randint(
            max(len(self.kept), 1),
            (num_kept,),
            generator=self.generator,
            device=self.generator.device,
        )
        fresh = self.source.draw(n - num_kept, self.generator)
        levels = torch.cat((self.kept[drawn], fresh))
        return Offer(levels, new_slots(levels), learn=True, kind="mixed")

    def update(self, offer: Offer, outcome: Outcome) -> None:
        """Judge levels that were looked at, and keep the best when the look around is over."""
        if offer.kind != "scouted":
            return
        attempts = self.settings.attempts
        solved = outcome.solved.view(-1, attempts)  # [n] to [levels, attempts]
        returns = outcome.returns.view(-1, attempts)
        fit = returns.isfinite().all(1)
        self.refused += int((~fit).sum())
        self._found = torch.cat((self._found, offer.levels[::attempts][fit]))
        self._learnable = torch.cat((self._learnable, learnability(solved)[fit]))
        if self._offers % (self.settings.scouts + self.settings.period) == self.settings.scouts:
            self._keep()

    def measured(self) -> dict[str, float]:
        """Levels that are kept, and those whose returns were refused."""
        return {"buffer_levels": len(self.kept), "refused_scores": self.refused}

    def state_dict(self) -> dict[str, Any]:
        """Everything it needs to go on."""
        return {
            "kept": self.kept.clone(),
            "found": self._found.clone(),
            "learnable": self._learnable.clone(),
            "offers": self._offers,
            "refused": self.refused,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where `state_dict` left off."""
        place = self.generator.device
        self.kept, self._found = state["kept"].to(place), state["found"].to(place)
        self._learnable = state["learnable"].to(place)
        self._offers, self.refused = int(state["offers"]), int(state["refused"])

    def _keep(self) -> None:
        """Keep the levels that can be learned most from, no two alike, none that teach nothing."""
        order = self._learnable.argsort(descending=True, stable=True)
        order = order[self._learnable[order] > 0]
        levels = self._found[order]
        self.kept = levels[first_of_each(self.source.keys(levels))][: self.settings.capacity]
        self._found, self._learnable = self._found[:0], self._learnable[:0]
