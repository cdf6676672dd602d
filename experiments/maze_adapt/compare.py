"""What `compare` needs to know of this script (`metarl.compare`)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from experiments.maze_adapt.dispatch import kind_of
from experiments.maze_adapt.evaluate import EvaluateSettings, check_fits, evaluate
from experiments.maze_adapt.methods import METHODS, Method, kind_name
from experiments.maze_adapt.settings import ONLY_FOR, TrainSettings, defaults, from_config
from experiments.maze_adapt.train import train
from experiments.maze_adapt.worlds import EnvName
from metarl.compare import settings as compare
from metarl.compare.plan import Comparable
from metarl.compare.settings import EvaluationSettings
from metarl.compare.work import Job, Script


@dataclass(frozen=True)
class CompareSettings(compare.CompareSettings):
    """Train methods on the same tasks, evaluate them on the same unseen ones, and compare.

    All options of `train` are taken too, and hold for every method that has them; what is not given
    is the method's own default. What is there already is not done again: the same command goes on
    after an interruption, and further --methods or --seeds may be added to a folder later, or more
    --iterations. Several processes may work on one folder: each run is done by one of them.
    """

    env: EnvName = "maze"
    """The task distribution; see `train`."""
    methods: tuple[Method, ...] = ("maml", "fomaml", "anil", "none")
    """What to compare."""
    reference: Method | None = None
    """Who the others are compared with. Default: ppo or none, if it is there."""


def resume(path: Path, wanted: TrainSettings) -> None:
    """Go on with a run, to the iterations that are wanted."""
    asked = replace(defaults(), resume=path, iterations=wanted.iterations, device=wanted.device)
    train(asked, ("--iterations",))


def check(job: Job) -> None:
    """Check that a run can be made and evaluated.

    Raises:
        UserError: It cannot.
    """
    kind_of(job.train.method).check(job.train)
    check_fits(job.train, job.evaluate)


def evaluation(how: EvaluationSettings, run: Path, device: str) -> EvaluateSettings:
    """Settings of `evaluate` for one run."""
    return EvaluateSettings(run, device=device, **vars(how))


def reads(method: str, name: str) -> bool:
    """Whether a method has an option of training."""
    kind = kind_name(cast(Method, method))
    return kind in ONLY_FOR.get(name, (kind,))


def title(settings: Any) -> str:
    """The task distribution in words."""
    size = f" {settings.size} x {settings.size}" if settings.env == "maze" else ""
    return f"{settings.env}{size}, {settings.horizon} steps an episode"


SCRIPT = Script(train, resume, evaluate, from_config, ("summary.json", "adaptation.json"))

COMPARABLE = Comparable(
    SCRIPT,
    METHODS,
    defaults=lambda env, method: defaults(cast(EnvName, env), cast(Method, method)),
    reads=reads,
    evaluation=evaluation,
    check=check,
    title=title,
    settings=CompareSettings,
    same=("env", "horizon", "size", "start", "goal", "arms"),
    families={
        "through the adaptation": ("maml", "anil", "metasgd", "warp"),
        "first order, implicit": ("fomaml", "reptile", "imaml"),
        "made for policies": ("emaml", "promp", "trpo-maml"),
        "recurrent, and without meta-learning": ("rl2", "warp-rnn", "ppo", "none"),
    },
)
