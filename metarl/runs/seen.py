"""A run directory as processes see it that do not own it: the first process of a job writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch

from metarl.core.processes import current
from metarl.runs.directory import RunDirectory

BesideT = TypeVar("BesideT")


class SeenRun(RunDirectory):
    """A run that another process owns; it need not be on a disk that this one sees.

    Everything that would write does nothing. What is read of it, the owner reads and hands on
    (`core.Processes.first`).
    """

    def lock(self) -> None:
        """Claim nothing: the owner does."""

    def note_resume(
        self,
        iteration: int,
        device: torch.device | str | None = None,
        changes: Mapping[str, Any] | None = None,
    ) -> None:
        """Change what is known of the settings, as the owner notes it."""
        self.config = {**self.config, **(changes or {})}

    def note_native(self, ran: Mapping[str, Any]) -> None:
        """Write nothing."""

    def write_json(self, name: str, content: object) -> None:
        """Write nothing."""

    def begin_loggers(self) -> None:
        """Begin nothing."""

    def show(self, name: str, file: Path) -> None:
        """Show nothing."""

    def write_metrics(self, iteration: int, metrics: Mapping[str, float], **rest: Any) -> None:
        """Write nothing."""

    def truncate_metrics(self, after_iteration: int) -> None:
        """Drop nothing."""

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Write nothing."""
        self.was_trained = True

    def write_summary(self, summary: Mapping[str, object]) -> None:
        """Write nothing."""


def seen_by_all(
    make: Callable[[], tuple[BesideT, Sequence[RunDirectory]]],
) -> tuple[BesideT, list[RunDirectory]]:
    """Return runs that the first process makes or finds, and owns; and what it says of them.

    Args:
        make: Makes them.
    """
    owned: list[RunDirectory] = []

    def said() -> tuple[BesideT, list[tuple[Path, dict[str, Any]]]]:
        beside, runs = make()
        owned.extend(runs)
        return beside, [(run.path, run.config) for run in runs]

    beside, runs = current().first(said)
    return beside, owned or [SeenRun(path, config) for path, config in runs]
