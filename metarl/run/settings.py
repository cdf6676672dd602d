"""Settings that every training has, and their checks."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro

from metarl.core import Method
from metarl.errors import UserError, check_different
from metarl.native import Mode
from metarl.runs.loggers import USUAL, LoggerName
from metarl.train.loop import LoopSettings

DType = Literal["float32", "float64"]


def one_of(names: Iterable[str]) -> Any:
    """Return how the command line shows an option whose values are these names."""
    return tyro.conf.arg(metavar="{" + ",".join(names) + "}")


def check_option(option: str, value: object, choices: Collection[str]) -> None:
    """Check that the value of an option is one of its choices.

    Raises:
        UserError: It is none.
    """
    if value not in choices:
        raise UserError(f"{option} {value!r} is not one of {', '.join(choices)}")


@dataclass(frozen=True)
class RunSettings:
    """Settings of a training: where it goes, how long it takes, which method.

    A recipe derives its own settings from it; they give every field a default.
    """

    method: str
    """How to learn; it chooses the options below."""
    learner: Annotated[Method, tyro.conf.arg(name="")]
    """The settings of the method."""
    run_dir: Path | None = None
    """Where the run goes; several seeds get a folder seed-N each. Default: under runs/."""
    iterations: int = 1000
    """Iterations; in each, the learner adapts to one meta-batch of tasks."""
    seeds: tuple[int, ...] = (0,)
    """One learner per seed."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    log_every: int = 100
    """Iterations per line of metrics; each line is their mean."""
    checkpoint_every: int = 500
    """Iterations between checkpoints."""
    log: tuple[LoggerName, ...] = USUAL
    """Where metrics go beside metrics.jsonl: tensorboard, wandb, mlflow, or several; --log alone:
    nowhere. A resume goes on with the same, unless this is given again."""
    film_every: int | None = None
    """Iterations between films of what was learned so far, into the folder films of the run and to
    the loggers. None: no films."""
    native: Mode = "auto"
    """auto: native kernels, where there are some (see metarl.native), eager code elsewhere; off:
    eager code alone. METARL_NATIVE=off in the environment does the same. The last bits differ, so
    a resume keeps to what the run began with, unless this is given again."""
    dtype: DType = "float32"
    """Precision of the weights. float64 is slower, and shows what is equal but for rounding."""
    config: Annotated[Path | None, tyro.conf.arg(metavar="RUN|FILE")] = None
    """Begin from the settings of this run, or of an agent of the package; or from those in a file
    (.json, .toml, .yaml). Options that are given change them."""
    init_from: Annotated[Path | None, tyro.conf.arg(metavar="RUN|AGENT")] = None
    """Begin with the weights of this run, or of an agent of the package, of the same network."""
    resume: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None
    """Continue this run; its settings come from its config.json.
    --iterations M: to M in all; a learning rate that changes does so as in a run of M."""

    @property
    def loop(self) -> LoopSettings:
        """Settings of the loop: when training ends, writes and saves."""
        return LoopSettings(
            self.iterations,
            self.log_every,
            self.checkpoint_every,
            self.learner.schedule,
            self.native,
            self.init_from,
            self.log,
            self.film_every,
            getattr(torch, self.dtype),
        )

    def __post_init__(self) -> None:
        """Check, before any work starts, what can be trained."""
        at_least(1, self, "iterations", "log_every", "checkpoint_every", "film_every")
        if len(set(self.log)) < len(self.log):
            raise UserError(f"--log must name each logger once, got {' '.join(self.log)}")
        check_different(self.seeds, "--seeds", error=UserError)
        if self.method != self.learner.name:
            raise UserError(
                f"--method {self.method}, but its settings are those of {self.learner.name}"
            )


def at_least(least: int, settings: object, *names: str) -> None:
    """Check that settings are not too small; None is none.

    Raises:
        UserError: One is.
    """
    for name in names:
        value = getattr(settings, name)
        if value is not None and value < least:
            option = f"--{name.replace('_', '-')}"
            what = "not be negative" if least == 0 else f"be at least {least}"
            raise UserError(f"{option} must {what}, got {value}")
