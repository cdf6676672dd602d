"""`evaluate` and `render` of agents that adapt: measured and filmed at every step of the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Protocol

import torch
import tyro

from metarl.devices import resolve_device
from metarl.errors import UserError
from metarl.evaluate.adapter import Measurement
from metarl.evaluate.evaluation_result import EvaluationResult
from metarl.evaluate.film import require_filmed
from metarl.evaluate.measures import RETURN, end_of, files_of, write_values
from metarl.evaluate.returns import AdaptationResult, adaptation_summary
from metarl.methods.learning import Learning
from metarl.rl.problem import (
    KnownReturns,
    Problem,
    Split,
    is_finite,
    source_of,
    task_json,
    task_name,
    unseen_tasks,
)
from metarl.run.counts import Held, require_memory
from metarl.run.evaluation import EvaluationSettings
from metarl.run.settings import at_least
from metarl.run.showing import FilmSettings, film
from metarl.runs.directory import RunDirectory
from metarl.runs.files import to_json, write_json
from metarl.runs.seeds import find_runs
from metarl.seeding import spawn_generators

STREAMS = (
    *("init", "tasks", "episodes"),  # of training: so that no training has the others
    *("test_tasks", "test_episodes", "validation_tasks", "validation_episodes"),
)
"""Random streams of the seed of an evaluation."""

TASKS = ("test_tasks", "validation_tasks")
"""Those that draw tasks, which are the same on every device."""


class Trained(Protocol):
    """Settings of a run."""

    @property
    def env(self) -> str:
        """Name of the environment."""

    @property
    def method(self) -> str:
        """Name of the method."""

    def learning(self) -> Learning:
        """The method, agent and problem that were trained."""


Read = Callable[[Mapping[str, Any]], Trained]
"""Reads the settings of a run from its `config.json`."""


@dataclass(frozen=True)
class EvaluateSettings(EvaluationSettings):
    """Adapt to unseen tasks, and sum up in summary.json what is earned after every step."""

    tasks: int = 40
    """Unseen tasks, at most: where there are finitely many, each is taken once."""
    steps: int | None = None
    """Gradient steps (default: 3); of rl2 and warp-rnn further episodes of a trial (default: as in
    training)."""
    episodes: int | None = None
    """Episodes per task and step (default: as in training); trials per task (default: 20)."""
    chunk_size: int | None = None
    """Tasks that are stacked. None: all."""
    split: Annotated[Split, tyro.conf.arg(aliases=("--side",))] = "test"
    """validation: the tasks to choose settings by; test: those to report on. None is trained on."""

    HELD: ClassVar[Held] = (
        (24, "steps", "episodes"),  # returns, lengths, successes
        (40, "episodes"),  # and what is seen and done in one step
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, self, "tasks", "episodes", "chunk_size")
        at_least(0, self, "steps")

    def measurement(self, usual: Measurement) -> Measurement:
        """The measurement that is asked for; the usual one where nothing is."""
        steps = usual.steps if self.steps is None else self.steps
        return Measurement(steps, self.episodes or usual.episodes, self.chunk_size)


@dataclass(frozen=True)
class Evaluated:
    """One run, evaluated.

    Attributes:
        trained: What it learned.
        untrained: The same learner before its first iteration, on the same tasks.
        tasks: The tasks.
        anchors: Of these tasks, where they are known.
        summary: What `summary.json` holds.
    """

    trained: AdaptationResult
    untrained: AdaptationResult
    tasks: Sequence[Any]
    anchors: KnownReturns | None
    summary: dict[str, Any]


def evaluate(settings: EvaluateSettings, read: Read) -> EvaluationResult:
    """Evaluate every run, and seeds together.

    Each run gets `summary.json`, `adaptation.json` (every episode) and `adaptation.png`; a folder
    of several a `summary.json` and an `adaptation.png` of all of them. Of validation tasks they lie
    beside those of test tasks: `summary-validation.json` and so on.

    Args:
        settings: Which runs, and how.
        read: Reads their settings.
    """
    runs = find_runs(settings.run)
    summary_file, values_file = files_of(end_of(settings.split))
    found = [evaluate_run(run, settings, read) for run in runs]
    for run, one in zip(runs, found, strict=True):
        write_json(run.path / summary_file, to_json(one.summary, "summary"))
        write_values(
            run.path / values_file,
            RETURN,
            one.trained.returns,
            [task_name(task) for task in one.tasks],
            one.trained.experience,
            tasks=[task_json(task) for task in one.tasks],
            lengths=one.trained.lengths,
            successes=one.trained.successes,
            untrained_returns=one.untrained.returns,
        )
        draw(run.path, [one])
        print(describe(run.path, one.summary))
    summary = found[0].summary
    if len(found) > 1:
        summary = together(found, settings)
        write_json(settings.run / summary_file, to_json(summary, "summary"))
        draw(settings.run, found)
        print(describe(settings.run, summary))
    summaries = {run.path.name: one.summary for run, one in zip(runs, found, strict=True)}
    result = EvaluationResult(settings.run, summaries, summary)
    if settings.json:
        print(result.as_line())
    return result


def evaluate_run(run: RunDirectory, settings: EvaluateSettings, read: Read) -> Evaluated:
    """Adapt the learner of a run, and the same before training, to the same unseen tasks."""
    started = time.perf_counter()
    trained = read(run.config)
    device = resolve_device(settings.device)
    learning = trained.learning()
    loaded = learning.load(run, device)
    how = settings.measurement(loaded.usual)
    streams = spawn_generators(settings.seed, STREAMS, device, on_cpu=TASKS)
    problem, split = learning.problem, settings.split
    check_fits(problem, settings)
    tasks = unseen_tasks(problem, split, settings.tasks, streams[f"{split}_tasks"])
    episodes = streams[f"{split}_episodes"]
    before = episodes.get_state()
    result = loaded.trained.adapt(tasks, how, episodes)
    episodes.set_state(before)
    control = loaded.untrained.adapt(tasks, how, episodes)
    anchors = problem.anchors(tasks)
    summary = {
        "env": trained.env,
        "method": trained.method,
        "split": split,
        "salt": getattr(problem, "salt", None),
        "axis": loaded.axis,
        **adaptation_summary([result], **_ends(anchors), seed=settings.seed),
        "untrained_return_mean": control.curve.mean(0).tolist(),
        "floor": anchors.floor_name if anchors else None,
        "floor_return": anchors.floor if anchors else None,
        "oracle_return": anchors.oracle if anchors else None,
        "seed": settings.seed,
        "device": str(device),
        "iteration": loaded.iteration,
        "wall_seconds": time.perf_counter() - started,
    }
    return Evaluated(result, control, tasks, anchors, summary)


def validation_return(
    run: RunDirectory, trained: Trained, num_tasks: int | None, seed: int, device: str
) -> float:
    """Return what a run earns after its last step of adaptation, a mean over validation tasks.

    Args:
        run: As it is now.
        trained: Its settings.
        num_tasks: Tasks, at most; None: as many as an evaluation has.
        seed: Of tasks and episodes.
        device: Where they are played.
    """
    how = EvaluateSettings(run.path, seed=seed, device=device, split="validation")
    place, learning = resolve_device(device), trained.learning()
    loaded = learning.load(run, place)
    streams = spawn_generators(seed, STREAMS, place, on_cpu=TASKS)
    drawn = unseen_tasks(
        learning.problem, "validation", num_tasks or how.tasks, streams["validation_tasks"]
    )
    adapted = loaded.trained.adapt(
        drawn, how.measurement(loaded.usual), streams["validation_episodes"]
    )
    return float(adapted.curve[:, -1].mean())


def check_fits(problem: Problem, settings: EvaluateSettings) -> None:
    """Check, before any work, that what is asked for fits this machine.

    Raises:
        UserError: It does not.
    """
    source: Any = source_of(problem, settings.split)
    tasks = min(settings.tasks, len(source)) if is_finite(source) else settings.tasks
    stacked = min(tasks, settings.chunk_size or tasks)
    episodes = ("--episodes", settings.episodes or 1)
    require_memory(24, (("--tasks", tasks), episodes, ("results", (settings.steps or 0) + 1)))
    require_memory(16, (("--tasks", stacked), episodes, ("steps", problem.horizon)))


def together(found: Sequence[Evaluated], settings: EvaluateSettings) -> dict[str, Any]:
    """The summary of several seeds."""
    first = found[0]
    results = [one.trained for one in found]
    kept = (
        *("env", "method", "split", "salt", "axis", "seed", "device"),
        *("floor", "floor_return", "oracle_return"),
    )
    control = sum(one.untrained.curve.mean(0) for one in found) / len(found)
    return {
        **{name: first.summary[name] for name in kept},
        **adaptation_summary(results, **_ends(first.anchors), seed=settings.seed),
        "untrained_return_mean": control.tolist(),
        "iteration": min(one.summary["iteration"] for one in found),
        "runs": [one.summary for one in found],
    }


def _ends(anchors: KnownReturns | None) -> dict[str, Any]:
    """Ends of the scale of scores, where they are known."""
    return {} if anchors is None else {"floor": anchors.floor, "oracle": anchors.oracle}


def draw(place: Path, found: Sequence[Evaluated]) -> None:
    """Write `adaptation.png`; of validation tasks `adaptation-validation.png`."""
    # Half a second, of which training has no need.
    from metarl.plots.adaptation import draw_adaptation
    from metarl.plots.lines import save_figure

    first = found[0]
    summary, anchors = first.summary, first.anchors
    figure = draw_adaptation(
        {summary["method"]: [one.trained for one in found]},
        control=[one.untrained for one in found],
        anchors={anchors.floor_name: anchors.floor, "oracle": anchors.oracle} if anchors else {},
        axis=summary["axis"],
        title=f"{summary['env']}, {summary['method']}: unseen {summary['split']} tasks",
    )
    save_figure(figure, place / f"adaptation{end_of(summary['split'])}.png")


def describe(place: Path, summary: Mapping[str, Any]) -> str:
    """The summary in a few lines."""
    ends = [e or (None, None) for e in summary["return_iqm_ci95"]]
    seeds = f", {summary['num_seeds']} seeds" if summary["num_seeds"] > 1 else ""
    goal = "success_rate" in summary  # otherwise every episode has the same length
    rows = {
        summary["axis"]: summary["steps"],
        "return, mean": summary["return_mean"],
        "interquartile mean": summary["return_iqm"],
        "  95 % from": [low for low, _ in ends],
        "  to": [high for _, high in ends],
        "20th percentile": summary["percentile20"],
        "tasks improved, %": summary["percent_improved"],
        "normalised score": summary.get("normalised_score"),
        "no meta-training": summary["untrained_return_mean"],
        "success rate": summary.get("success_rate"),
        "length, mean": summary["length_mean"] if goal else None,
        "length / that at 0": summary["length_ratio"] if goal else None,
    }
    notes = ["  no intervals: one task is no sample of tasks"] if summary["num_tasks"] < 2 else []
    if summary.get("normalised_score", ()) is None:
        notes.append(f"  no score: the oracle earns no more than {summary['floor']}")
    beside = (
        ""
        if summary["floor"] is None
        else (
            f"beside: {summary['floor']} {summary['floor_return']:.3f},"
            f" oracle {summary['oracle_return']:.3f}; "
        )
    )
    lines = [
        f"{place}: {summary['env']}, {summary['method']},"
        f" {summary['num_tasks']} unseen {summary['split']} tasks{seeds},"
        f" {summary['episodes_per_step']} episodes a step,"
        f" after {summary['iteration']} iterations",
        *(f"  {words:20} {_row(values)}" for words, values in rows.items() if values is not None),
        *notes,
        f"  {beside}drawn: {place / 'adaptation.png'}",
    ]
    return "\n".join(lines)


def _row(values: Iterable[float | None]) -> str:
    """Counts, numbers, and dashes where there is none."""
    return " ".join(
        f"{'–':>8}" if v is None else f"{v:8d}" if isinstance(v, int) else f"{v:8.3f}"
        for v in values
    )


@dataclass(frozen=True)
class RenderSettings(FilmSettings):
    """Film one unseen task, side by side at every step of adaptation."""

    seed: int = 10_000
    """Seed of the episodes."""
    output: Path = Path("adaptation.gif")
    """.gif or .mp4: a film; .png: whole episodes in one picture."""
    steps: int | None = None
    """Gradient steps (default: 3); of rl2 and warp-rnn further episodes of the trial (default: as
    in training)."""
    task: int = 0
    """Which of the unseen tasks, from 0, in the order of their hash split."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(0, self, "steps", "task")


def render(settings: RenderSettings, read: Read) -> None:
    """Adapt to one unseen task, play an episode at every step of the way, write the film.

    Raises:
        UserError: The problem is not filmed, or has no such task.
    """
    run = RunDirectory.open(settings.run)
    learning = read(run.config).learning()
    problem = require_filmed(learning.problem)
    task = unseen_task(learning.problem.test, settings.task)
    loaded = learning.load(run, torch.device("cpu"))
    steps = loaded.usual.steps if settings.steps is None else settings.steps
    scenes = loaded.trained.film(task, steps, settings.seed, greedy=settings.greedy)
    film(settings, scenes, problem, learning.problem.horizon)


def unseen_task(source: Any, number: int) -> Any:
    """One task to report on: of finitely many by their order, else of those that are drawn.

    Raises:
        UserError: There are not so many.
    """
    if not is_finite(source):
        return source.sample(number + 1, torch.Generator().manual_seed(0))[number]
    tasks = tuple(source)
    if number >= len(tasks):
        raise UserError(f"--task must be below {len(tasks)}, the unseen tasks, got {number}")
    return tasks[number]
