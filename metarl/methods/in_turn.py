"""Methods whose seeds are trained one after the other, each as if it had been trained alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch

from metarl.devices import resolve_device
from metarl.runs.directory import RunDirectory
from metarl.train.loop import LoopSettings, MetaTraining
from metarl.train.trainer import train_in_turn


class InTurn(ABC):
    """A `metarl.methods.learning.Learning` whose seeds are trained one after the other."""

    def train(
        self,
        runs: Sequence[RunDirectory],
        loop: LoopSettings,
        meta_batch: int,
        device: str,
        *,
        resume_to: int | None,
    ) -> None:
        """Train one learner per seed, one after the other.

        Args:
            runs: One per seed.
            loop: When it ends, writes and saves.
            meta_batch: Tasks per iteration.
            device: Where.
            resume_to: Iterations in all, where runs go on from their checkpoints; None: they are
                new.

        Raises:
            KeyboardInterrupt: Interrupted, after saving.
        """
        place = resolve_device(device)
        train_in_turn(
            runs,
            lambda run: self.build(run, loop, meta_batch, place),
            resume_to=resume_to,
        )

    @abstractmethod
    def build(
        self, run: RunDirectory, loop: LoopSettings, meta_batch: int, device: torch.device
    ) -> MetaTraining:
        """Make everything that trains one seed; see `train`."""
