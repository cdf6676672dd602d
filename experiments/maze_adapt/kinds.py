"""Kinds of methods: what each offers, so that `train`, `evaluate` and `render` do not ask which.

A kind is a module with the three functions of `Kind`; its settings are fields of `TrainSettings`
that `settings.ONLY_FOR` keeps for it. A further kind is one more module, a line in `methods` and a
case in `dispatch`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch

from envs import MazeTask
from experiments.maze_adapt.settings import TrainSettings
from experiments.maze_adapt.worlds import Tasks
from metarl.evaluate.adaptation_evaluation import AdaptationResult
from metarl.runs.directory import RunDirectory


class Measurement(NamedTuple):
    """How adaptation is measured.

    Attributes:
        steps: K, steps of adaptation: k is 0 to K.
        episodes: E, episodes a task and k.
        chunk_size: Tasks that are stacked, where tasks are. None: all.
    """

    steps: int
    episodes: int
    chunk_size: int | None = None


class Film(NamedTuple):
    """An episode on one maze at each k.

    Attributes:
        titles: What to call each, K + 1 of them.
        cells: Row and column of the agent, int ``[K + 1, T + 1, 2]``.
        actions: ``[K + 1, T]``.
        rewards: ``[K + 1, T]``; ``rewards[:, t]`` is the consequence of ``actions[:, t]``.
    """

    titles: tuple[str, ...]
    cells: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray


class Adapter(Protocol):
    """What has been learned, ready to be measured."""

    def adapt(self, tasks: Tasks, how: Measurement, generator: torch.Generator) -> AdaptationResult:
        """Adapt to N tasks; leaves what has been learned untouched.

        Args:
            tasks: The tasks.
            how: How long, and by how many episodes.
            generator: Draws all noise: of tasks, where they have any, and of actions.
        """

    def film(self, task: MazeTask, steps: int, seed: int, *, greedy: bool) -> Film:
        """Adapt to one maze, and play an episode at every k from 0 to ``steps``."""


class Loaded(NamedTuple):
    """A run, ready to be measured.

    Attributes:
        trained: From its checkpoint.
        untrained: The same before its first iteration.
        iteration: Of the checkpoint.
        usual: How it is measured where nothing is asked for.
        axis: What k counts.
    """

    trained: Adapter
    untrained: Adapter
    iteration: int
    usual: Measurement
    axis: str


class Kind(Protocol):
    """A module of one kind of methods."""

    def check(self, settings: TrainSettings) -> None:
        """Refuse what cannot be made, before there is a run directory.

        Raises:
            UserError: It cannot be made.
        """

    def train(self, settings: TrainSettings, runs: Sequence[RunDirectory], *, resume: bool) -> None:
        """Train a learner a run, from its seed or from where its checkpoint stopped.

        Raises:
            KeyboardInterrupt: Interrupted, after saving.
        """

    def load(self, run: RunDirectory, settings: TrainSettings, device: torch.device) -> Loaded:
        """What a run has learned, on a device.

        Raises:
            UserError: Its checkpoint is missing, damaged or another learner's.
        """
