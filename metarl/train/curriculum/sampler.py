"""Samplers of training tasks: the contract of curricula, and what they are told.

A *level* is a task as numbers, int64 ``[D]``, as the environments' ``reset`` takes it. An iteration
asks a sampler for n levels (`Offer`), plays one trial on each, learns from them if the offer says
so, and tells the sampler what came of it (`Outcome`). A `Curriculum` is the settings of a sampler,
and makes it. Domain randomisation, fresh levels whatever the agent knows, is what a curriculum has
to beat.

All samplers of one training take the same rhythm: whether an offer is learned from depends on
nothing but the number of offers before it, so that agents side by side learn in the same
iterations as each would alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, TypeAlias

import torch
from torch import Tensor

Kind: TypeAlias = Literal["fresh", "replayed", "edited", "scouted", "mixed"]
"""What the levels of an offer are."""


class Offer(NamedTuple):
    """Levels to play.

    Attributes:
        levels: int64 ``[n, D]``.
        slots: int64 ``[n]``, their places in the sampler's buffer; -1 of levels that are not in it.
        learn: Whether the weights are to learn from them.
        kind: What they are.
    """

    levels: Tensor
    slots: Tensor
    learn: bool
    kind: Kind


def new_slots(levels: Tensor) -> Tensor:
    """Slots of levels ``[n, D]`` that are in no buffer: -1, int64 ``[n]``."""
    return torch.full_like(levels[:, 0], -1)


class Outcome(NamedTuple):
    """Outcome of n levels, each played once, per episode and in the units of the rewards.

    Attributes:
        returns: Undiscounted return, mean over the episodes, ``[n]``.
        solved: 1 where something was earned, else 0, ``[n]``.
        values: What the critic expected, mean over the trial's steps, over the number of episodes,
            ``[n]``.
        surprise: ``mean_t max(A_t, 0)`` of the generalised advantages, likewise, ``[n]``.
    """

    returns: Tensor
    solved: Tensor
    values: Tensor
    surprise: Tensor


class LevelSource(Protocol):
    """Levels of a problem as numbers: drawn, changed and told apart."""

    @property
    def width(self) -> int:
        """Numbers of a level, D."""

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw fresh levels of training, int64 ``[n, D]``."""

    def bare(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw the plainest levels of training, with nothing in them yet, int64 ``[n, D]``."""

    def edited(self, levels: Tensor, num_edits: int, generator: torch.Generator) -> Tensor:
        """Change every level at random; where that gives none to train on it stays as it is.

        Args:
            levels: int64 ``[n, D]``.
            num_edits: Changes of each, one after the other.
            generator: Draws them.
        """

    def keys(self, levels: Tensor) -> Tensor:
        """Numbers that are equal where levels are, int64 ``[n]``."""


class TaskSampler(Protocol):
    """Source of one agent's training tasks."""

    def sample(self, n: int) -> Offer:
        """Offer the next n levels to play."""

    def update(self, offer: Offer, outcome: Outcome) -> None:
        """Learn what came of an offer."""

    def measured(self) -> dict[str, float]:
        """Metrics of the sampler as it is."""

    def state_dict(self) -> dict[str, Any]:
        """Everything it needs to go on, but for its generator."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where `state_dict` left off."""


# Settings -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Curriculum(ABC):
    """A choice of the tasks to train on.

    Attributes:
        name: What ``--curriculum`` calls it.
        samples: Whether it has a sampler; if not, tasks are drawn by the environments themselves.
    """

    name: ClassVar[str]
    samples: ClassVar[bool] = True

    @abstractmethod
    def sampler(self, source: LevelSource, generator: torch.Generator) -> TaskSampler:
        """Make the sampler of one agent.

        Args:
            source: Makes levels, and tells them apart.
            generator: Draws levels and choices.
        """


@dataclass(frozen=True)
class DomainRandomisation(Curriculum):
    """Fresh levels in every trial."""

    name: ClassVar[str] = "dr"
    samples: ClassVar[bool] = False

    def sampler(self, source: LevelSource, generator: torch.Generator) -> TaskSampler:
        """Return None: the environments draw their tasks themselves.

        Raises:
            TypeError: Always.
        """
        raise TypeError("domain randomisation has no sampler: let the environments draw the tasks")
