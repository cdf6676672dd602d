"""`evaluate` of a few-shot run: accuracy on unseen characters, inner step by inner step."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, NamedTuple

from experiments.omniglot.data import load_images
from experiments.omniglot.evaluate_settings import EvaluateSettings
from experiments.omniglot.fewshot_settings import FewShotSettings, from_config
from experiments.omniglot.fewshot_train import STREAMS, make_tasks, measure, new_learner
from experiments.omniglot.trained import (
    accuracies,
    draw_steps,
    draw_validation,
    drawn,
    load_trained,
    percent,
)
from metarl.devices import resolve_device
from metarl.errors import UserError
from metarl.plots.lines import save_figure
from metarl.runs.directory import RunDirectory
from metarl.seeding import spawn_generators

DEFAULT_TASKS = 1000


class Words(NamedTuple):
    """How a side of the characters is spoken of, and its picture."""

    characters: str
    classes: str
    picture: str


SIDES = {
    "test": Words("unseen characters", "unseen classes", "steps.png"),
    "validation": Words(
        "characters for validation", "classes for validation", "steps-validation.png"
    ),
}


def evaluate_run(run: RunDirectory, settings: EvaluateSettings) -> dict[str, Any]:
    """The summary of one run; draws its pictures."""
    started = time.perf_counter()
    trained = _test_settings(from_config(run.config), settings)
    device, seed = resolve_device(settings.device), run.seed
    learner = new_learner(trained, spawn_generators(seed, STREAMS)["init"], device, seed)
    checkpoint = load_trained(run, learner, settings.checkpoint)
    omniglot = load_images(trained.data, complete=trained.complete)
    num_tasks = settings.tasks or DEFAULT_TASKS
    tasks = make_tasks(trained, omniglot, settings.split, device, num_tasks, settings.seed)
    curve = measure(trained, learner, tasks[:], trained.test_steps)
    name = f"{trained.method}, {trained.ways}-way {trained.shots}-shot"
    picture = draw_steps({trained.method: curve}, f"{name}: {SIDES[settings.split].characters}")
    save_figure(picture, run.path / SIDES[settings.split].picture)
    validation = draw_validation(run, f"{name}: validation")
    if validation is not None:
        save_figure(validation, run.path / "training.png")
    classes = len(tasks.classes)
    return {
        "protocol": "fewshot",
        "split": settings.split,
        "method": trained.method,
        "ways": trained.ways,
        "shots": trained.shots,
        "query_shots": trained.test_counts[2],
        "inner_lr": trained.learner.inner.lr,
        **accuracies(curve),
        **checkpoint,
        "validate_by": trained.validate_by,
        "num_tasks": num_tasks,
        "num_classes": classes,
        "seed": settings.seed,
        "device": str(device),
        "tasks_seen": checkpoint["iteration"] * trained.meta_batch,
        "wall_seconds": time.perf_counter() - started,
    }


def describe(run: RunDirectory, summary: dict[str, Any]) -> str:
    """The summary in a few lines."""
    steps, side = summary["steps"], SIDES[summary["split"]]
    shown = (
        f"{run.path}: {summary['ways']}-way {summary['shots']}-shot, {summary['num_tasks']}"
        f" tasks of {summary['num_classes']} {side.classes}, {steps[-1]} inner steps,"
        f" {summary['query_shots']} queries a class"
    )
    best = max(steps, key=lambda k: summary["transductive_curve"][k])
    chosen = (f"  transductive accuracy is highest after {best} inner steps",)
    return "\n".join(
        (
            shown,
            f"  transductive (queries normalised together)      {percent(summary, 'transductive')}",
            f"  non-transductive (as the support set is)        "
            f"{percent(summary, 'non_transductive')}",
            *(chosen if summary["split"] == "validation" else ()),
            f"  {summary['checkpoint']} checkpoint, of iteration {summary['iteration']}"
            f" of {summary['trained_iterations']}",
            f"  drawn: {drawn(run)}",
        )
    )


def _test_settings(trained: FewShotSettings, settings: EvaluateSettings) -> FewShotSettings:
    """The run's settings, as far as evaluation was not told otherwise.

    Raises:
        UserError: A step size is asked for where step sizes were learned.
    """
    learner = trained.learner
    if settings.inner_lr is not None:
        if learner.inner.learned != "no":
            raise UserError(
                f"--inner-lr {settings.inner_lr}: {trained.method} has learned its step sizes, "
                "and evaluation takes them"
            )
        learner = replace(learner, inner=replace(learner.inner, lr=settings.inner_lr))
    return replace(
        trained,
        learner=learner,
        test_steps=settings.steps or trained.test_steps,
        query_shots=settings.query_shots or trained.query_shots,
        data=settings.data or trained.data,
    )
