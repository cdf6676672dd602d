"""`evaluate`: how well a trained agent learns mazes within trials, and next to what."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
import tyro
from matplotlib.figure import Figure

from envs.maze import anchors as oracle
from experiments.maze.agents import make_env, make_policy, make_tasks
from experiments.maze.settings import TrainSettings, from_config
from experiments.maze.summary import describe, describe_seeds, kept_instead
from metarl.core import Params, stack
from metarl.devices import resolve_device
from metarl.errors import UserError
from metarl.evaluate.evaluation_result import EvaluationResult, evaluation_result
from metarl.evaluate.trials import Array, play, trial_statistics, window_returns
from metarl.plots.lines import Curves, save_figure, within_trial_curve
from metarl.plots.references import REFERENCES, explained
from metarl.rl import PolicyAgent
from metarl.run.counts import Held
from metarl.run.machine_memory import require_memory
from metarl.runs.directory import RunDirectory, find_runs
from metarl.runs.files import to_json, write_json
from metarl.seeding import spawn_generators


@dataclass(frozen=True)
class EvaluateSettings:
    """Play trials on tasks the agent is given, and sum them up in summary.json."""

    run: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="RUN")]]
    """A run directory, or a folder of seed-N runs."""
    tasks: int = 1000
    """Trials, each on a goal drawn anew; from the held-out goals, if the run has any."""
    seed: int = 10_000
    """Of tasks, teleports and actions: apart from training's."""
    greedy: bool = False
    """Take the most probable action instead of drawing from the policy."""
    window: int = 20
    """Steps a point of the within-trial curve."""
    output: Path | None = None
    """Write summary and picture into this folder (seed-N in it, for several runs). Default: into
    the run, unless the same agent's summary of more trials, or of the same ones, is there."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    json: bool = False
    """Print the summary as one line of JSON, the last of standard output."""

    HELD: ClassVar[Held] = ((8, "tasks"),)

    def __post_init__(self) -> None:
        """Refuse counts that mean nothing."""
        for name in ("tasks", "window"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name} must be at least 1, got {getattr(self, name)}")
        if self.seed < 0:
            raise UserError(f"--seed must not be negative, got {self.seed}")


FIGURES = (
    *("mean_return", "iqm", "normalised_score", "first_find_rate", "find_interval_mean"),
    "within_trial",
)
"""What is averaged over several runs."""


def evaluate(settings: EvaluateSettings) -> EvaluationResult:
    """Evaluate every run, and seeds together.

    Each run gets `summary.json` and `within_trial.png`; a folder of several a `summary.json`.
    """
    summaries = {}
    runs = find_runs(settings.run)
    for run in runs:
        measured, rewards = evaluate_run(run, settings)
        summary = to_json(measured, "summary")
        print(describe(run.path, summary))
        place = run.path
        if settings.output is not None:
            place = settings.output if len(runs) == 1 else settings.output / run.path.name
        if replaces(place / "summary.json", summary, settings):
            write_evaluation(place, run, summary, rewards)
        summaries[run.path.name] = summary
    result = evaluation_result(settings.run, summaries, FIGURES)
    if result.several:
        print(describe_seeds(result.summary))
        folder = settings.output or settings.run
        if replaces(folder / "summary.json", result.summary, settings):
            result.write(folder)
    if settings.json:
        print(result.as_line())
    return result


def replaces(path: Path, summary: dict[str, Any], settings: EvaluateSettings) -> bool:
    """Whether a summary is written, or an earlier one stays, which is said."""
    kept = kept_instead(path, summary) if settings.output is None else None
    if kept is not None:
        print(f"  {path} stays, {kept}; write this one with --output FOLDER")
    return kept is None


def write_evaluation(
    place: Path, run: RunDirectory, summary: dict[str, Any], rewards: dict[str, Array]
) -> None:
    """Put the summary, and the picture of the rewards ``[T, B]``, into a folder."""
    place.mkdir(parents=True, exist_ok=True)
    write_json(place / "summary.json", summary)
    picture = place / "within_trial.png"
    save_figure(draw_within_trial(rewards, references(run), summary["window"]), picture)
    print(f"  drawn: {picture}")


def evaluate_run(
    run: RunDirectory, settings: EvaluateSettings
) -> tuple[dict[str, Any], dict[str, Array]]:
    """The summary of one run, and the rewards ``[T, B]`` of its agent, by name."""
    started = time.perf_counter()
    trained = from_config(run.config)
    device = resolve_device(settings.device)
    streams = spawn_generators(settings.seed, ("tasks", "environment", "policy"), device)
    require_memory(8, (("--tasks", settings.tasks), ("steps of a trial", trained.horizon)))
    train_tasks, tasks = make_tasks(trained)
    goals = tasks.draw(settings.tasks, streams["tasks"], device)[0]
    params, iteration = trained_params(run, trained, device)
    agent = PolicyAgent(
        make_policy(trained),
        stack([params]),
        streams["policy"],
        greedy=settings.greedy,
        remembers="trial",
    )
    env = make_env(trained, tasks, settings.tasks, streams["environment"], device)
    rewards = play(agent, env, trained.horizon, {"goals": goals})
    statistics = trial_statistics(rewards, window=settings.window, seed=settings.seed)
    reference = oracle.reference_returns(tasks, horizon=trained.horizon, reward=trained.reward)
    score = oracle.normalised_score(
        statistics.mean_return, tasks, horizon=trained.horizon, reward=trained.reward
    )
    summary = {
        **dataclasses.asdict(statistics),
        "normalised_score": score,
        "random_return": reference.random,
        "localising_return": reference.localising,
        "ceiling_return": reference.ceiling,
        "oracle_return": reference.oracle,
        "num_tasks": settings.tasks,
        "num_goals": len(tasks),
        "protocol": "held-out goals" if tasks != train_tasks else "fresh trials, all goals",
        "seed": settings.seed,
        "greedy": settings.greedy,
        "device": str(device),
        "iteration": iteration,
        "env_steps": iteration * trained.batch_size * trained.horizon,
        "wall_seconds": time.perf_counter() - started,
    }
    return summary, {trained.method: rewards}


def trained_params(
    run: RunDirectory, trained: TrainSettings, device: torch.device
) -> tuple[Params, int]:
    """The parameters of a run's checkpoint (no leading axis), and its iteration.

    Raises:
        UserError: They are not those of the settings, or the file is another script's.
    """
    state = run.load_checkpoint()
    made = make_policy(trained).init(torch.Generator())
    expected = {name: tuple(p.shape) for name, p in made.items()}
    with run.fits_settings():
        params = {name: p.to(device) for name, p in state["learner"]["params"].items()}
        found = {name: tuple(p.shape) for name, p in params.items()}
        for name in sorted(expected.keys() | found.keys()):
            there, asked = found.get(name, "missing"), expected.get(name, "nothing")
            if there != asked:
                raise ValueError(f"{name} is {there}, the settings ask for {asked}")
    return params, int(state["iteration"])


def references(run: RunDirectory) -> dict[str, Array]:
    """Exact expected rewards ``[T, 1]`` of the explorers and of random actions, by name."""
    trained = from_config(run.config)
    _, tasks = make_tasks(trained)
    curves = oracle.reference_curves(tasks, horizon=trained.horizon, reward=trained.reward)
    return {
        REFERENCES["ceiling"]: curves.ceiling[:, None],
        REFERENCES["localising"]: curves.localising[:, None],
        REFERENCES["random"]: curves.random[:, None],
    }


def draw_within_trial(
    rewards: dict[str, Array], reference: dict[str, Array], window: int
) -> Figure:
    """The picture of learning to learn: return in each whole window of the trial."""
    curves = []
    width = min(window, *map(len, rewards.values()))
    for name, trials in {**rewards, **reference}.items():  # [T, B]
        values = window_returns(trials, width).T[:, : len(trials) // width]  # [B, windows]
        ends = width * np.arange(1, values.shape[1] + 1)
        curves.append(Curves(name, ends, values))
    shown = (key for key, name in REFERENCES.items() if name in reference)
    return within_trial_curve(curves, window=width, title="within one trial", note=explained(shown))
