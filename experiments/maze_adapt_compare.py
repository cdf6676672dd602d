"""What `compare` needs to know of `experiments.maze_adapt` (`metarl.compare`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from experiments.environments import ENVIRONMENTS
from experiments.maze_adapt import METHODS, RECIPE, TrainSettings, defaults
from metarl.compare.plan import Comparable, options_of
from metarl.compare.work import Job, Script
from metarl.run import adaptation, train
from metarl.runs.config import today


def train_one(wanted: TrainSettings) -> None:
    """Train a run."""
    train(RECIPE, wanted)


def resume(path: Path, wanted: TrainSettings) -> None:
    """Go on with a run, to the iterations that are wanted."""
    asked = replace(defaults(), resume=path, iterations=wanted.iterations, device=wanted.device)
    train(RECIPE, asked, ("--iterations",))


def evaluate(how: adaptation.EvaluateSettings) -> None:
    """Evaluate a run."""
    adaptation.evaluate(how, settings_of)


def settings_of(config: Mapping[str, Any]) -> TrainSettings:
    """Return the settings of a run."""
    return RECIPE.settings_of(config)


def check(job: Job) -> None:
    """Check that a run can be made and evaluated.

    Raises:
        UserError: It cannot.
    """
    what = job.train.learning()
    what.check(job.train.device)
    adaptation.check_fits(what.problem, job.evaluate)


def reads(method: str, name: str) -> bool:
    """Return whether a method has an option of training, in some environment."""
    return any(name in options_of(defaults(env, method)) for env in (*ENVIRONMENTS, "a:b"))


def title(settings: TrainSettings) -> str:
    """Return the task distribution in words."""
    side = getattr(settings.environment, "size", None)
    size = f" {side} x {side}" if side else ""
    return f"{settings.env}{size}, {settings.learning().problem.horizon} steps per episode"


SCRIPT = Script(train_one, resume, evaluate, settings_of, ("summary.json", "adaptation.json"))

COMPARABLE = Comparable(
    SCRIPT,
    list(METHODS),
    defaults=defaults,
    reads=reads,
    evaluation=lambda how, run, device: adaptation.EvaluateSettings(
        run, device=device, **vars(how)
    ),
    check=check,
    title=title,
    same=("env", *dict.fromkeys(f.name for one in ENVIRONMENTS.values() for f in fields(one))),
    families={
        family: [name for name, method in METHODS.items() if method.family == family]
        for family in dict.fromkeys(method.family for method in METHODS.values())
    },
    today=today,
)
