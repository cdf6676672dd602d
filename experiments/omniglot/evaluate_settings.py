"""What `evaluate --help` explains."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import tyro

from metarl.errors import UserError
from metarl.run.counts import Held


@dataclass(frozen=True)
class EvaluateSettings:
    """Adapt to unseen characters or alphabets, and sum the accuracy up in summary.json.

    Inner steps and step size may be chosen with --split validation, before the test is looked at.
    """

    run: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="RUN")]]
    """A run directory, or a folder of seed-N runs."""
    protocol: Literal["auto", "fewshot", "multishot"] = "auto"
    """Refuse runs of another protocol. auto: whatever the run is of."""
    split: Literal["test", "validation"] = "test"
    """Few-shot: the characters of the test, or those that training chose its checkpoint by, which
    steps and step size may be chosen on: these results go to summary-validation.json."""
    tasks: int | None = None
    """Few-shot tasks, of classes that were not trained on. Default: 1000. Multishot has its own."""
    steps: int | None = None
    """Inner steps. Default: the run's --test-steps."""
    inner_lr: float | None = None
    """Few-shot: step size of the inner steps, where it was not learned. Default: the run's."""
    query_shots: int | None = None
    """Few-shot: drawings of each character to be judged by together. Default: the run's."""
    checkpoint: Literal["best", "last"] = "best"
    """The learner as it did best in validation, or as it was at the end."""
    every: int = 10
    """Inner steps between the points of a multi-shot curve."""
    seed: int = 10_000
    """Of tasks and images."""
    data: Path | None = None
    """Folder with the images. Default: the run's."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    json: bool = False
    """Print the summary as one line of JSON, the last of standard output."""

    HELD: ClassVar[Held] = (
        (784, "tasks", "query_shots"),  # a byte for every pixel of an image
        (16, "tasks", "steps"),
    )

    def __post_init__(self) -> None:
        """Refuse counts that mean nothing."""
        for name in ("tasks", "steps", "query_shots", "every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"--{name.replace('_', '-')} must be at least 1, got {value}")
        if self.inner_lr is not None and not (math.isfinite(self.inner_lr) and self.inner_lr > 0):
            raise UserError(f"--inner-lr must be finite and above 0, got {self.inner_lr}")
        if self.seed < 0:
            raise UserError(f"--seed must not be negative, got {self.seed}")
