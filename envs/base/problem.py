"""Base of problems of any family: tasks on three sides, environments, returns at best.

It has the attributes of `metarl.rl.Problem`, which nothing here imports.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
import torch
from gymnasium.spaces import Space
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from .checks import whole_number
from .tensor import TensorEnv

__all__ = [
    "FRACTIONS",
    "SALT",
    "Anchors",
    "BuiltIn",
    "Family",
    "Known",
    "OwnTimeEpisodes",
    "Parted",
]

FRACTIONS = {"train": 0.7, "validation": 0.1, "test": 0.2}
"""Shares of the tasks, dealt out by their hash."""

SALT = "2"
"""The usual one. It leaves no side of a maze of 5 to 13 cells empty."""


class Anchors(NamedTuple):
    """Expected returns of an episode, means over some tasks.

    Attributes:
        floor: Return of an agent that does not observe.
        oracle: Return of an agent that knows the task.
        floor_name: Name of the floor's agent.
    """

    floor: float
    oracle: float
    floor_name: str = "random actions"


@dataclass(frozen=True, eq=False)
class Known:
    """Known returns of trials on some tasks, to judge agents by (`metarl.evaluate.references`).

    Attributes:
        returns: Mean return of a trial, by who earns it: ``random``, ``explorer``, ``oracle``, ...;
            None where it is not known.
        told: Who of them is named beside an agent.
        curves: Expected rewards of a trial, float64 [T] each, likewise.
        layouts: Name of the layout of each trial; None where all have the same.
        num_layouts: How many different ones these are.
        facts: Numbers of each trial's layout, such as its height, by name.
        each: Returns of each trial, float64 [B] each, by who earns them.
        first_find: Expected step of the explorer's first find in each trial, float64 [B].
        shortest: Steps of the shortest way to each trial's goal, float64 [B].
        ends_at: Steps of an episode, where a find ends it.
        more: Further entries of a summary.
        mazes: Family and name of the maze of each trial, where mazes have names.
    """

    returns: Mapping[str, float | None]
    told: tuple[str, ...]
    curves: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    layouts: Sequence[str] | None = None
    num_layouts: int = 0
    facts: Mapping[str, Sequence[int]] = field(default_factory=dict)
    each: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    first_find: NDArray[np.float64] | None = None
    shortest: NDArray[np.float64] | None = None
    ends_at: int | None = None
    more: Mapping[str, Any] = field(default_factory=dict)
    mazes: Sequence[tuple[str, str]] | None = None


class Parted(ABC):
    """A family of environments as a problem, with its tasks on three sides."""

    name: ClassVar[str]
    has_goal: ClassVar[bool | Literal["pays", "ends"]] = True
    horizon: Any
    """Steps of an episode, at most."""

    @property
    @abstractmethod
    def splits(self) -> Any:
        """Tasks to train on, to choose settings by and to report on."""

    @property
    def train(self) -> Any:
        """Tasks to train on."""
        return self.splits.train

    @property
    def validation(self) -> Any:
        """Tasks to choose settings by."""
        return self.splits.validation

    @property
    def test(self) -> Any:
        """Tasks to report on."""
        return self.splits.test

    @property
    def drawn(self) -> Any:
        """Tasks that environments draw from where none are set."""
        return self.train

    def check_sides(self) -> None:
        """Check that there are tasks to train on and others to test on.

        Raises:
            ValueError: There are not, or environments do not play them.
        """
        _ = self.splits  # which most families refuse where they cannot be made

    @property
    @abstractmethod
    def vector_env(self) -> Any:
        """Maker of environments, as a tensor program."""

    def make_env(
        self, num_envs: int, generators: Sequence[torch.Generator], device: torch.device
    ) -> TensorEnv[Any]:
        """Make environments.

        Args:
            num_envs: B.
            generators: G generators on ``device``; each serves B / G environments in a row.
            device: Device of the tensors.
        """
        env: TensorEnv[Any] = self.vector_env(
            num_envs,
            horizon=self.horizon,
            tasks=self.drawn,
            device=device,
            generator=generators,
            validate_actions=False,
        )
        return env


def check_dealt_out(splits: Any, whose: str, what: str, remedy: str) -> None:
    """Check that no side is without tasks.

    Args:
        splits: Finitely many tasks on each of three sides.
        whose: Name of the family.
        what: What its tasks are called.
        remedy: What else to do.

    Raises:
        ValueError: One is.
    """
    if not all(map(len, splits)):
        counts = ", ".join(str(len(side)) for side in splits)
        raise ValueError(
            f"{whose}: {counts} {what} would be for training, validation and test: {remedy}"
        )


class OwnTimeEpisodes:
    """A problem whose episodes can end in their own time. A mixin for frozen dataclasses."""

    own_time: ClassVar[bool] = False
    """Whether an episode is followed by the next as soon as it ends (`in_own_time`)."""

    @property
    def autoreset_mode(self) -> AutoresetMode:
        """Mode of environments at the end of an episode."""
        return AutoresetMode.NEXT_STEP if self.own_time else AutoresetMode.DISABLED

    def in_own_time(self) -> Self:
        """Return the problem with episodes that end in their own time: none waits for others."""
        found = copy(self)
        object.__setattr__(found, "own_time", True)
        return found


@dataclass(frozen=True)
class BuiltIn(Parted):
    """A problem whose episodes have a number of steps that its settings say.

    Attributes:
        horizon: Steps of an episode, at most.
    """

    observation: ClassVar[Space[Any]]

    horizon: int

    def __post_init__(self) -> None:
        whole_number(self.horizon, "horizon")


@dataclass(frozen=True)
class Family:
    """A continuum of tasks, as all sides of itself: no task is drawn twice."""

    train: Any

    @property
    def validation(self) -> Any:
        """Tasks to choose settings by, as `train`."""
        return self.train

    test = validation
