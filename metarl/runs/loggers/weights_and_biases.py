"""Weights & Biases: one run there per run directory, several seeds as a group.

WANDB_MODE, WANDB_PROJECT, WANDB_ENTITY, WANDB_RUN_GROUP and WANDB_NAME say what they always do; the
usual project is `metarl`, the usual name the path of the run. What is written on this machine goes
into the folder `wandb` of the run: with WANDB_MODE=offline all of it, for `wandb sync` later.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any

import wandb

from metarl.errors import UserError
from metarl.runs.loggers import NO_SETTINGS, Known, Line

PROJECT = "metarl"

WAIT = 60.0
"""Seconds at the end for what has not reached the server yet; it stays on the disk."""


def check() -> None:
    """Check that somebody is logged in, unless nothing goes to the server.

    Raises:
        UserError: Nobody is, and nobody can be asked.
    """
    if not hasattr(wandb, "init"):
        raise UserError("--log wandb: its package is damaged: pip install --force-reinstall wandb")
    if wandb.setup().settings.mode in ("offline", "disabled", "dryrun"):
        return
    logged_in = False
    with suppress(wandb.errors.Error):
        logged_in = wandb.login(verify=False)
    if not logged_in:
        raise UserError(
            "--log wandb: nobody is logged in to Weights & Biases: run `wandb login`, set "
            "WANDB_API_KEY, or set WANDB_MODE=offline and `wandb sync` later"
        )


def begun(known: Known) -> WeightsAndBiases:
    """Begin, or go on with, a run."""
    return WeightsAndBiases(known)


class WeightsAndBiases:
    """A run at Weights & Biases."""

    def __init__(self, known: Known) -> None:
        # An agent of a sweep names the run that it waits for.
        asked = os.environ.get("WANDB_RUN_ID") if known.group is None else None
        self.identity = {"id": known.identity.get("id") or asked or secrets.token_hex(4)}
        chosen: dict[str, Any] = {
            "project": ("WANDB_PROJECT", PROJECT),
            "name": ("WANDB_NAME", known.path.as_posix()),
            "group": ("WANDB_RUN_GROUP", known.group),
        }
        config = {n: v for n, v in known.config.items() if n not in NO_SETTINGS}
        self._run = wandb.init(
            id=self.identity["id"],
            resume="allow" if known.identity else None,
            dir=known.path,
            config={**config, "provenance": known.config.get("provenance")},
            allow_val_change=True,
            reinit="create_new",
            settings=wandb.Settings(console="off", quiet=True, finish_timeout=WAIT),
            **{name: usual for name, (env, usual) in chosen.items() if env not in os.environ},
        )
        self.done = max(known.done, self._run.step - 1)
        for counter in ("env_steps", "tasks_seen"):
            self._run.define_metric(counter, hidden=True)
        self._counter = ""

    def write(self, line: Line) -> None:
        """Log a line over what was counted."""
        if line.iteration <= self.done:
            return
        if line.counter != self._counter:
            self._counter = line.counter
            self._run.define_metric("*", step_metric=line.counter)
        own = {"iteration": line.iteration, line.counter: line.count}
        self._run.log({**own, **line.values}, step=line.iteration)
        self.done = line.iteration

    def show(self, name: str, file: Path, line: Line) -> None:
        """Log a picture or a film."""
        film = file.suffix == ".gif"
        medium = wandb.Video(str(file), format="gif") if film else wandb.Image(str(file))
        self._run.log({name: medium, line.counter: line.count}, step=line.iteration)

    def flush(self) -> None:
        """Do nothing: a process of its own brings everything onto the disk and to the server."""

    def close(self, *, whole: bool) -> None:
        """End the run, or leave it for a resume."""
        self._run.finish(exit_code=0 if whole else 1)
