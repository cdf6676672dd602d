"""The interface by which every family of methods is measured and filmed: the same for all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch

from metarl.evaluate.film import Scene
from metarl.evaluate.returns import AdaptationResult


class Measurement(NamedTuple):
    """The extent of a measurement of adaptation.

    Attributes:
        steps: K, steps of adaptation: k is 0 to K.
        episodes: E, episodes per task and k.
        chunk_size: Tasks that are stacked, where tasks are. None: all.
    """

    steps: int
    episodes: int
    chunk_size: int | None = None


class Adapter(Protocol):
    """A trained learner, ready to be measured."""

    def adapt(
        self, tasks: Sequence[Any], how: Measurement, generator: torch.Generator
    ) -> AdaptationResult:
        """Adapt to N tasks; leaves what has been learned untouched.

        Args:
            tasks: The tasks.
            how: Number of steps, and of episodes.
            generator: Draws all noise: of tasks, where they have any, and of actions.
        """

    def film(self, task: Any, steps: int, seed: int, *, greedy: bool) -> list[Scene]:
        """Adapt to one task, and play an episode at every k from 0 to ``steps``."""


class Loaded(NamedTuple):
    """A run, ready to be measured.

    Attributes:
        trained: The learner of the checkpoint.
        untrained: The same before its first iteration.
        iteration: Iteration of the checkpoint.
        usual: Measurement where nothing else is asked for.
        axis: Name of the things that k counts.
    """

    trained: Adapter
    untrained: Adapter
    iteration: int
    usual: Measurement
    axis: str
