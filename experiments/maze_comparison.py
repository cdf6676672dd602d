"""`compare` of `experiments.maze`: agents, by their memories, on the same unseen mazes."""

from __future__ import annotations

from metarl.compare.plan import Comparable
from metarl.compare.work import Job, script_of
from metarl.evaluate.measures import TRIAL_RETURN, files_of
from metarl.run.recipe import recipe_in
from metarl.run.trials import check_fits

from .maze_evaluation import EvaluateSettings, evaluate, reader
from .maze_settings import CORES, METHODS, ROOM, TrainSettings

RECIPE = recipe_in(f"{__package__}.maze")


def title(settings: TrainSettings) -> str:
    """Return the mazes of settings in words."""
    size = str(getattr(settings.environment, "size", ""))
    where = "the published maze" if settings.mazes == ROOM else f"mazes of {settings.mazes}"
    return f"{where}, {size} x {size}" if size else where


def check_evaluation(job: Job) -> None:
    """Check that what is asked for of an evaluation can be measured, and fits this machine.

    Raises:
        UserError: It cannot, or does not.
    """
    check_fits(reader(job.evaluate, lambda _: job.train)({}).learning, job.evaluate)


COMPARABLE: Comparable = Comparable(
    RECIPE,
    script_of(RECIPE, evaluate, results=files_of()),
    EvaluateSettings,
    TRIAL_RETURN,
    tasks=("mazes", "environment", "trial_episodes"),
    title=title,
    methods=("warp", "gru", "lstm", "rnn"),
    known=(*METHODS, *CORES),
    names=lambda settings: (settings.method, settings.core),
    check=check_evaluation,
)
