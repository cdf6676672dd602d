"""`evaluate` of learners of Omniglot: adapted to unseen classes, measured on the way, drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch

from metarl.devices import resolve_device
from metarl.errors import UserError
from metarl.evaluate.evaluation_result import EvaluationResult
from metarl.evaluate.measures import ACCURACY, BESIDE_TEST, files_of, write_values
from metarl.evaluate.supervised import ALPHABETS, CHARACTERS, accuracies, area_under
from metarl.meta.meta_sgd import MetaSGDSettings
from metarl.methods.supervised import SupervisedLearning
from metarl.run.counts import Held
from metarl.run.evaluation import EvaluationSettings, evaluate_runs
from metarl.run.settings import at_least
from metarl.run.supervised import Trained
from metarl.runs.directory import RunDirectory
from metarl.supervised.examples import FewShotBatch
from metarl.supervised.omniglot.few_shot import FewShotOmniglot
from metarl.supervised.omniglot.multi_shot import MultiShotOmniglot
from metarl.supervised.tasks import SupervisedTasks, cross_entropy
from metarl.train.selection import load_selected

Read = Callable[[Mapping[str, Any]], Trained]
"""Reads the settings of a run from its `config.json`."""


@dataclass(frozen=True)
class CharactersSettings(EvaluationSettings):
    """Adapt to unseen characters, and sum the accuracy up in summary.json.

    Inner steps and step size may be chosen with --split validation, before the test is looked at.
    """

    split: Literal["test", "validation"] = "test"
    """The characters of the test, or those that training chose its checkpoint by, which steps and
    step size may be chosen on: these results go to summary-validation.json."""
    tasks: int = 1000
    """Tasks, of classes that were not trained on."""
    steps: int | None = None
    """Inner steps. Default: the run's --test-steps."""
    inner_lr: float | None = None
    """Step size of the inner steps, where it was not learned. Default: the run's."""
    query_shots: int | None = None
    """Drawings of each character to be judged by together. Default: the run's."""
    checkpoint: Literal["best", "last"] = "best"
    """The learner as it did best in validation, or as it was at the end."""
    data: Path | None = None
    """Folder with the images. Default: the run's."""

    HELD: ClassVar[Held] = (
        (784, "tasks", "query_shots"),  # a byte for every pixel of an image
        (16, "tasks", "steps"),
    )

    def __post_init__(self) -> None:
        """Check counts and step size."""
        super().__post_init__()
        at_least(1, self, "tasks", "steps", "query_shots")
        if self.inner_lr is not None and not (math.isfinite(self.inner_lr) and self.inner_lr > 0):
            raise UserError(f"--inner-lr must be finite and above 0, got {self.inner_lr}")

    def applied(self, trained: Trained) -> SupervisedLearning:
        """Return what was learned, as far as evaluation was not told otherwise.

        Raises:
            UserError: A step size is asked for where step sizes were learned.
        """
        method, problem = trained.learner, trained.problem
        assert isinstance(problem, FewShotOmniglot)
        if self.inner_lr is not None:
            learned = isinstance(method, MetaSGDSettings)
            if learned or getattr(method, "inner_learned", "no") != "no":
                raise UserError(
                    f"--inner-lr {self.inner_lr}: {method.name} has learned its step sizes, "
                    "and evaluation takes them"
                )
            method = replace(method, inner_lr=self.inner_lr)
        problem = replace(
            problem,
            test_steps=self.steps or problem.test_steps,
            query_shots=self.query_shots or problem.query_shots,
            data=self.data or problem.data,
        )
        return SupervisedLearning(problem, method)


SPLITS = {
    "test": ("unseen characters", ""),
    "validation": ("characters for validation", BESIDE_TEST),
}
"""Words for a side of the characters, and the end of the names of what is measured on it."""


def evaluate_characters(settings: CharactersSettings, read: Read) -> EvaluationResult:
    """Evaluate every run, and seeds together; draw pictures of each run.

    Args:
        settings: Which runs, and how.
        read: Reads the settings of a run.
    """
    summary, _ = files_of(SPLITS[settings.split][1])
    return evaluate_runs(settings, partial(of_characters, settings, read), CHARACTERS, summary)


def of_characters(
    settings: CharactersSettings, read: Read, run: RunDirectory, device: torch.device
) -> dict[str, Any]:
    """Return the summary of one run; draws its pictures, writes the values of every task."""
    # Half a second, of which training has no need.
    from metarl.plots.adaptation import draw_classification

    trained = read(run.config)
    learning = settings.applied(trained)
    problem, method, split = learning.problem, learning.method, settings.split
    assert isinstance(problem, FewShotOmniglot)
    learner = learning.untrained(run, device, trained.meta_batch)
    checkpoint = load_selected(run, learner, settings.checkpoint)
    unseen = problem.tasks(learning.data, split, device, settings.tasks, settings.seed)
    batch = unseen[:]
    tasks = SupervisedTasks(learning.network, batch, cross_entropy)
    curve = learning.curve(learner, tasks, trained.meta_batch)
    name, (of, end) = f"{method.name}, {problem.ways}-way {problem.shots}-shot", SPLITS[split]
    draw_classification(run, curve, name, of, f"steps{end}.png")
    _, file = files_of(end)
    write_values(run.path / file, ACCURACY, learning.chosen(curve), names_of(batch), curve.steps)
    return {
        "protocol": "fewshot",
        "split": split,
        "method": method.name,
        "ways": problem.ways,
        "shots": problem.shots,
        "query_shots": problem.counts("test")[2],
        "inner_lr": getattr(method, "inner_lr", None),
        **accuracies(curve),
        **checkpoint,
        "validate_by": problem.validate_by,
        "num_tasks": settings.tasks,
        "num_classes": len(unseen.classes),
        "tasks_seen": checkpoint["iteration"] * trained.meta_batch,
    }


def names_of(tasks: FewShotBatch) -> list[str]:
    """Return names of tasks: the same drawings in the same order have the same name."""
    parts = [part.inputs.cpu() for part in tasks]
    digests = (
        sha256(b"".join(each.numpy().tobytes() for each in one)) for one in zip(*parts, strict=True)
    )
    return [digest.hexdigest()[:16] for digest in digests]


@dataclass(frozen=True)
class AlphabetsSettings(EvaluationSettings):
    """Adapt to unseen alphabets, and sum the accuracy up in summary.json."""

    steps: int | None = None
    """Inner steps. Default: the run's --test-steps."""
    every: int = 10
    """Inner steps between the points of a curve."""
    checkpoint: Literal["best", "last"] = "best"
    """The learner as it did best in validation, or as it was at the end."""
    data: Path | None = None
    """Folder with the images. Default: the run's."""

    def __post_init__(self) -> None:
        """Check the counts."""
        super().__post_init__()
        at_least(1, self, "steps", "every")


def evaluate_alphabets(settings: AlphabetsSettings, read: Read) -> EvaluationResult:
    """Evaluate every run, and seeds together; draw pictures of each run.

    Args:
        settings: Which runs, and how.
        read: Reads the settings of a run.
    """
    return evaluate_runs(settings, partial(of_alphabets, settings, read), ALPHABETS)


def of_alphabets(
    settings: AlphabetsSettings, read: Read, run: RunDirectory, device: torch.device
) -> dict[str, Any]:
    """Return the summary of one run; draws its pictures, writes the values of every task."""
    # Half a second, of which training has no need.
    from metarl.plots.adaptation import draw_classification

    trained = read(run.config)
    problem = trained.problem
    assert isinstance(problem, MultiShotOmniglot)
    steps = settings.steps or problem.test_steps
    problem = replace(problem, test_steps=steps, data=settings.data or problem.data)
    learning = SupervisedLearning(problem, trained.learner)
    learner = learning.untrained(run, device, trained.meta_batch)
    checkpoint = load_selected(run, learner, settings.checkpoint)
    alphabets = problem.split(learning.data, run.seed).test
    test = problem.learned_from(learning.data, alphabets, learning.network, device)
    tasks = test.all(learner.fast, settings.seed)
    at = points(steps, settings.every)
    curve = learning.curve(learner, tasks, trained.meta_batch, at)
    draw_classification(run, curve, learning.method.name, "unseen alphabets")
    file, chosen = run.path / "adaptation.json", learning.chosen(curve)
    write_values(file, ACCURACY, chosen, test.alphabets.names, curve.steps)
    last = curve.non_transductive[:, -1].tolist()
    return {
        "protocol": "multishot",
        "preset": run.config.get("preset"),
        "method": learning.method.name,
        "pretrain": problem.pretrain,
        "classes": problem.classes,
        **accuracies(curve),
        "area_under_training_loss": float(area_under(curve.support_loss).mean()),
        "support_loss_curve": curve.support_loss.mean(0).tolist(),
        "alphabets": dict(zip(test.alphabets.names, last, strict=True)),
        **checkpoint,
        "num_tasks": len(test.alphabets),
        "run_seed": run.seed,
        "tasks_seen": checkpoint["iteration"] * trained.meta_batch,
    }


def validation_accuracy(
    run: RunDirectory, trained: Trained, num_tasks: int | None, seed: int, device: str
) -> float:
    """Return the accuracy of a run on the tasks that it is validated by, the best so far.

    It keeps the learner that did best, so what it is worth is what that did, or what it does now.

    Args:
        run: As it is now.
        trained: Its settings, which say how many tasks there are.
        num_tasks: None.
        seed: Of nothing: validation has a seed of its own.
        device: Where the learner adapts.
    """
    assert num_tasks is None
    place, problem = resolve_device(device), trained.problem
    learning = SupervisedLearning(problem, trained.learner)
    learner = learning.untrained(run, place, trained.meta_batch)
    state = run.load_checkpoint()
    steps = trained.learner.inner_steps
    with run.fits_settings():
        learner.load_state_dict(state["learner"])
        best = state["learner"]["selection"]["best"]
    unseen = problem.lessons(learning.data, learning.network, run.seed, place, steps).validation
    assert unseen is not None
    now = learning.score(learner, unseen(learner.fast), trained.meta_batch)
    return now if best is None else max(now, float(best["score"]))


def points(num_steps: int, every: int) -> list[int]:
    """Return the numbers of inner steps after which accuracy is measured, rising."""
    return [*range(0, num_steps, every), num_steps]
