"""A buffer of levels, as tensors: which to replay, and which to let go.

Prioritised level replay (Jiang et al. 2021a, "Prioritized level replay", equations 1 to 4): the
level of rank r by its score, and of age a since it was last played, is replayed with probability

    P = (1 - rho) rank^(-1 / beta) / sum  +  rho age / sum

so that a level comes back because much can be learned from it, or because its score is old.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

COLUMNS = ("levels", "keys", "scores", "highest", "stamps")
"""What is kept of every level."""


@dataclass(frozen=True)
class Priorities:
    """Weights by which levels are chosen from a buffer.

    Attributes:
        temperature: beta: the smaller, the more the highest scores count; above 0.
        staleness: rho, the share of the probability that goes by age, in [0, 1].

    Raises:
        ValueError: One is out of range.
    """

    temperature: float = 0.3
    staleness: float = 0.3

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature must be above 0, got {self.temperature}")
        if not 0 <= self.staleness <= 1:
            raise ValueError(f"staleness must lie in [0, 1], got {self.staleness}")

    def weights(self, scores: Tensor, ages: Tensor) -> Tensor:
        """Probabilities of levels, float64 ``[n]``; see the module.

        Args:
            scores: Finite, ``[n]``; of equal ones the first comes first.
            ages: At least 0, ``[n]``.
        """
        order = scores.argsort(descending=True, stable=True)
        ranks = torch.empty_like(order)
        ranks[order] = torch.arange(1, len(order) + 1, device=order.device)
        by_score = ranks.double().pow(-1 / self.temperature)
        by_score = by_score / by_score.sum()
        by_age = ages.double()
        total = by_age.sum()
        by_age = torch.where(total > 0, by_age / total, torch.full_like(by_age, 1 / len(order)))
        return (1 - self.staleness) * by_score + self.staleness * by_age


class LevelBuffer:
    """C levels at most, no two of them alike.

    Attributes:
        capacity: C.
        priorities: How levels are chosen.
        refused: Scores so far that were not finite: their levels never enter.
        levels: int64 ``[size, D]``.
        keys: int64 ``[size]``, numbers that are equal where levels are.
        scores: float64 ``[size]``.
        highest: float64 ``[size]``, the highest return that was ever earned on each.
        stamps: int64 ``[size]``, when each was last played.
        clock: Batches that were counted.
    """

    def __init__(
        self, capacity: int, width: int, priorities: Priorities, device: torch.device
    ) -> None:
        """Begin without levels.

        Args:
            capacity: C, at least 1.
            width: Numbers of a level, D.
            priorities: How levels are chosen.
            device: Where they lie.

        Raises:
            ValueError: There is no room for a level.
        """
        if capacity < 1:
            raise ValueError(f"a buffer holds one level at least, got a capacity of {capacity}")
        self.capacity, self.priorities = capacity, priorities
        whole = {"dtype": torch.int64, "device": device}
        self.levels = torch.zeros((0, width), **whole)  # type: ignore[call-overload]
        self.keys = torch.zeros(0, **whole)  # type: ignore[call-overload]
        self.stamps = self.keys.clone()
        self.scores = torch.zeros(0, dtype=torch.float64, device=device)
        self.highest = self.scores.clone()
        self.clock = self.refused = 0

    def __len__(self) -> int:
        """Levels that are there."""
        return len(self.keys)

    @property
    def weights(self) -> Tensor:
        """Probabilities of the levels, float64 ``[size]``."""
        return self.priorities.weights(self.scores, self.clock - self.stamps)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Choose levels: all different, as long as there are as many.

        Args:
            n: Number of levels.
            generator: Draws them.

        Returns:
            Their slots, int64 ``[n]``.

        Raises:
            ValueError: There are no levels.
        """
        if not len(self):
            raise ValueError("there is no level to replay: the buffer is empty")
        again = n > len(self)
        slots = torch.multinomial(self.weights, n, replacement=again, generator=generator)
        self.clock += 1
        self.stamps[slots] = self.clock
        return slots

    def find(self, keys: Tensor) -> Tensor:
        """Slots of levels by their keys, int64 ``[n]``; -1 of those that are not there."""
        if not len(self):
            return torch.full_like(keys, -1)
        ordered, slots = self.keys.sort()
        place = torch.searchsorted(ordered, keys).clamp(max=len(self) - 1)
        return torch.where(ordered[place] == keys, slots[place], -1)

    def highest_ever(self, keys: Tensor, returns: Tensor) -> Tensor:
        """Highest returns on levels that were just played, and may be here already: ``[n]``.

        Args:
            keys: Of the levels, int64 ``[n]``, some of them perhaps several times.
            returns: What was just earned, ``[n]``; what is not finite stays, and is nobody else's.
        """
        slots = self.find(keys)
        known = slots >= 0
        different, place = keys.unique(return_inverse=True)  # type: ignore[no-untyped-call]
        if not bool(known.any()) and len(different) == len(keys):
            return returns
        fit, earned = returns.isfinite(), returns.double()
        best = torch.full_like(different, -torch.inf, dtype=torch.float64)
        best = best.scatter_reduce(0, place, earned.where(fit, best[0]), "amax")[place]
        if len(self):
            best = torch.where(known, best.maximum(self.highest[slots.clamp(min=0)]), best)
        return torch.where(fit, best, earned)

    def update(self, slots: Tensor, scores: Tensor, highest: Tensor) -> None:
        """Give levels new scores; one that is not finite changes nothing, and is counted.

        Args:
            slots: int64 ``[n]``; of those that come twice the best score counts.
            scores: ``[n]``.
            highest: Highest returns ever, ``[n]``.
        """
        fit = self._fit(scores)
        slots, scores, highest = slots[fit], scores[fit].double(), highest[fit].double()
        new = torch.full_like(self.scores, -torch.inf)
        new.scatter_reduce_(0, slots, scores, "amax")
        self.scores = torch.where(new > -torch.inf, new, self.scores)
        self.highest = self.highest.scatter_reduce(0, slots, highest, "amax")

    def insert(self, levels: Tensor, keys: Tensor, scores: Tensor, highest: Tensor) -> None:
        """Take in levels that have been played.

        A level that is there already gets the new score. Others fill what room there is, the best
        first. Then the best of those that are left stands against the member of the lowest weight,
        the second best against the next one, and so on, and takes its place if its score is higher.
        (The published code does so level by level; here it is done for a batch at once.)

        Args:
            levels: int64 ``[n, D]``.
            keys: int64 ``[n]``.
            scores: ``[n]``; not finite ones are counted, and their levels left out.
            highest: Returns that were earned, ``[n]``.
        """
        self.clock += 1
        fit = self._fit(scores)
        levels, keys = levels[fit], keys[fit]
        scores, highest = scores[fit].double(), highest[fit].double()
        best = scores.argsort(descending=True, stable=True)
        first = first_of_each(keys[best])
        best = best[first]  # no two alike, the best of each
        slots = self.find(keys[best])
        known, new = best[slots >= 0], best[slots < 0]
        there = slots[slots >= 0]
        self.update(there, scores[known], highest[known])
        self.stamps[there] = self.clock
        room = self.capacity - len(self)
        chosen = levels, keys, scores, highest
        self._append(*(column[new[:room]] for column in chosen))
        rest = new[room:][: self.capacity]
        if not len(rest):
            return
        lowest = self.weights.argsort(stable=True)[: len(rest)]
        better = scores[rest] > self.scores[lowest]
        self._write(lowest[better], *(column[rest[better]] for column in chosen))

    def state_dict(self) -> dict[str, Any]:
        """Everything that is kept."""
        columns = {name: getattr(self, name).clone() for name in COLUMNS}
        return {**columns, "clock": self.clock, "refused": self.refused}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where `state_dict` left off.

        Raises:
            ValueError: It holds more levels, or levels of another kind.
        """
        levels = state["levels"]
        if len(levels) > self.capacity or levels.shape[1:] != self.levels.shape[1:]:
            raise ValueError(
                f"the buffer holds {len(levels)} levels of {levels.shape[1]} numbers, the settings "
                f"ask for {self.capacity} of {self.levels.shape[1]} at most"
            )
        for name in COLUMNS:
            setattr(self, name, state[name].to(self.levels.device).clone())
        self.clock, self.refused = int(state["clock"]), int(state["refused"])

    def _fit(self, scores: Tensor) -> Tensor:
        """Flags of finite scores, bool ``[n]``; the others are counted."""
        fit = scores.isfinite()
        self.refused += int((~fit).sum())
        return fit

    def _append(self, *columns: Tensor) -> None:
        stamps = torch.full_like(columns[1], self.clock)
        for name, column in zip(COLUMNS, (*columns, stamps), strict=True):
            setattr(self, name, torch.cat((getattr(self, name), column)))

    def _write(self, slots: Tensor, *columns: Tensor) -> None:
        stamps = torch.full_like(slots, self.clock)
        for name, column in zip(COLUMNS, (*columns, stamps), strict=True):
            getattr(self, name)[slots] = column


def first_of_each(keys: Tensor) -> Tensor:
    """Places of the first of all that are equal, in their order: int64."""
    ordered, places = keys.sort(stable=True)
    is_first = torch.ones_like(ordered, dtype=torch.bool)
    is_first[1:] = ordered[1:] != ordered[:-1]
    return places[is_first].sort().values
