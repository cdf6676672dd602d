"""`evaluate`: how far policies get on unseen tasks, step by step of adaptation."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import tyro

from experiments.maze_adapt.dispatch import kind_of
from experiments.maze_adapt.kinds import Measurement
from experiments.maze_adapt.pictures import draw_adaptation
from experiments.maze_adapt.settings import TrainSettings, from_config
from experiments.maze_adapt.streams import SIDE_STREAMS, STREAMS
from experiments.maze_adapt.worlds import Anchors, Split, Tasks
from metarl.devices import resolve_device
from metarl.errors import UserError
from metarl.evaluate.adaptation_evaluation import AdaptationResult, adaptation_summary
from metarl.evaluate.evaluation_result import EvaluationResult
from metarl.plots.lines import save_figure
from metarl.run.counts import Held
from metarl.run.machine_memory import require_memory
from metarl.runs.directory import RunDirectory, find_runs
from metarl.runs.files import to_json, write_json
from metarl.seeding import spawn_generators


@dataclass(frozen=True)
class EvaluateSettings:
    """Adapt to unseen tasks, and sum up in summary.json what is earned after every step."""

    run: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="RUN")]]
    """A run directory, or a folder of seed-N runs."""
    tasks: int = 40
    """Unseen tasks, at most: where there are finitely many, each is taken once."""
    steps: int | None = None
    """Gradient steps (default: 3); of rl2 and warp-rnn further episodes of a trial (default: as in
    training)."""
    episodes: int | None = None
    """Episodes a task and step (default: as in training); trials a task (default: 20)."""
    chunk_size: int | None = None
    """Tasks that are stacked. None: all."""
    split: Annotated[Split, tyro.conf.arg(aliases=("--side",))] = "test"
    """validation: the tasks to choose settings by; test: those to report on. None is trained on."""
    seed: int = 10_000
    """Of tasks and episodes."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    json: bool = False
    """Print the summary as one line of JSON, the last of standard output."""

    HELD: ClassVar[Held] = (
        (24, "steps", "episodes"),  # returns, lengths, successes
        (40, "episodes"),  # and what is seen and done in one step
    )

    def __post_init__(self) -> None:
        """Refuse counts that mean nothing."""
        for name, least in (("tasks", 1), ("steps", 0), ("episodes", 1), ("chunk_size", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                option = name.replace("_", "-")
                raise UserError(f"--{option} must be at least {least}, got {value}")
        if self.seed < 0:
            raise UserError(f"--seed must be at least 0, got {self.seed}")

    def measurement(self, usual: Measurement) -> Measurement:
        """What is asked for, and the usual where nothing is."""
        steps = usual.steps if self.steps is None else self.steps
        return Measurement(steps, self.episodes or usual.episodes, self.chunk_size)


@dataclass(frozen=True)
class Evaluated:
    """One run, evaluated.

    Attributes:
        trained: What it learned.
        untrained: The same learner before its first iteration, on the same tasks.
        tasks: The tasks.
        anchors: Of these tasks.
        summary: What `summary.json` holds.
    """

    trained: AdaptationResult
    untrained: AdaptationResult
    tasks: Tasks
    anchors: Anchors
    summary: dict[str, Any]


def evaluate(settings: EvaluateSettings) -> EvaluationResult:
    """Evaluate every run, and seeds together.

    Each run gets `summary.json`, `adaptation.json` (every episode) and `adaptation.png`; a folder
    of several a `summary.json` and an `adaptation.png` of all of them.
    """
    runs = find_runs(settings.run)
    found = [evaluate_run(run, settings) for run in runs]
    for run, one in zip(runs, found, strict=True):
        run.write_summary(one.summary)
        write_json(run.path / "adaptation.json", to_json(every_episode(one), "adaptation"))
        draw(run.path, from_config(run.config), [one])
        print(describe(run.path, one.summary))
    summary = found[0].summary
    if len(found) > 1:
        summary = together(found, settings)
        write_json(settings.run / "summary.json", to_json(summary, "summary"))
        draw(settings.run, from_config(runs[0].config), found)
        print(describe(settings.run, summary))
    summaries = {run.path.name: one.summary for run, one in zip(runs, found, strict=True)}
    result = EvaluationResult(settings.run, summaries, summary)
    if settings.json:
        print(result.as_line())
    return result


def evaluate_run(run: RunDirectory, settings: EvaluateSettings) -> Evaluated:
    """Adapt the learner of a run, and the same before training, to the same unseen tasks."""
    started = time.perf_counter()
    trained = from_config(run.config)
    device = resolve_device(settings.device)
    check_fits(trained, settings)
    world = trained.world()
    loaded = kind_of(trained.method).load(run, trained, device)
    how = settings.measurement(loaded.usual)
    streams = spawn_generators(settings.seed, (*STREAMS, *SIDE_STREAMS), device)
    tasks = world.unseen_tasks(settings.split, settings.tasks, streams[f"{settings.split}_tasks"])
    episodes = streams[f"{settings.split}_episodes"]
    before = episodes.get_state()
    result = loaded.trained.adapt(tasks, how, episodes)
    episodes.set_state(before)
    control = loaded.untrained.adapt(tasks, how, episodes)
    anchors = world.anchors(tasks)
    summary = {
        "env": trained.env,
        "method": trained.method,
        "split": settings.split,
        "salt": trained.salt,
        "axis": loaded.axis,
        **adaptation_summary([result], **anchors._asdict(), seed=settings.seed),
        "untrained_return_mean": control.curve.mean(0).tolist(),
        "floor": world.floor,
        "floor_return": anchors.floor,
        "oracle_return": anchors.oracle,
        "seed": settings.seed,
        "device": str(device),
        "iteration": loaded.iteration,
        "wall_seconds": time.perf_counter() - started,
    }
    return Evaluated(result, control, tasks, anchors, summary)


def check_fits(trained: TrainSettings, settings: EvaluateSettings) -> None:
    """Refuse, before any work, what does not fit this machine.

    Raises:
        UserError: It does not.
    """
    tasks = trained.world().num_unseen(settings.split, settings.tasks)
    stacked = min(tasks, settings.chunk_size or tasks)
    episodes = ("--episodes", settings.episodes or 1)
    require_memory(24, (("--tasks", tasks), episodes, ("results", (settings.steps or 0) + 1)))
    require_memory(16, (("--tasks", stacked), episodes, ("steps", trained.horizon)))


def together(found: list[Evaluated], settings: EvaluateSettings) -> dict[str, Any]:
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
        **adaptation_summary(results, **first.anchors._asdict(), seed=settings.seed),
        "untrained_return_mean": control.tolist(),
        "iteration": min(one.summary["iteration"] for one in found),
        "runs": [one.summary for one in found],
    }


def every_episode(one: Evaluated) -> dict[str, Any]:
    """All that was measured, ``[task, k, episode]``, with the tasks' names."""
    return {
        "task_ids": [task.task_id for task in one.tasks],
        "tasks": [json.loads(task.to_json()) for task in one.tasks],
        "experience": one.trained.experience,
        "returns": one.trained.returns,
        "lengths": one.trained.lengths,
        "successes": one.trained.successes,
        "untrained_returns": one.untrained.returns,
    }


def draw(place: Path, trained: TrainSettings, found: list[Evaluated]) -> None:
    """Write `adaptation.png`."""
    world, anchors = trained.world(), found[0].anchors
    figure = draw_adaptation(
        {trained.method: [one.trained for one in found]},
        control=[one.untrained for one in found],
        anchors={world.floor: anchors.floor, "oracle": anchors.oracle},
        axis=found[0].summary["axis"],
        title=f"{trained.env}, {trained.method}: unseen {found[0].summary['split']} tasks",
    )
    save_figure(figure, place / "adaptation.png")


def describe(place: Path, summary: dict[str, Any]) -> str:
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
    one = ["  no intervals: one task is no sample of tasks"] if summary["num_tasks"] < 2 else []
    lines = [
        f"{place}: {summary['env']}, {summary['method']},"
        f" {summary['num_tasks']} unseen {summary['split']} tasks{seeds},"
        f" {summary['episodes_per_step']} episodes a step,"
        f" after {summary['iteration']} iterations",
        *(f"  {words:20} {_row(values)}" for words, values in rows.items() if values is not None),
        *one,
        f"  beside: {summary['floor']} {summary['floor_return']:.3f},"
        f" oracle {summary['oracle_return']:.3f}; drawn: {place / 'adaptation.png'}",
    ]
    return "\n".join(lines)


def _row(values: Iterable[float | None]) -> str:
    """Counts, numbers, and dashes where there is none."""
    return " ".join(
        f"{'–':>8}" if v is None else f"{v:8d}" if isinstance(v, int) else f"{v:8.3f}"
        for v in values
    )
