"""`evaluate` of agents that learn within one trial, beside what they are judged by."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
import tyro

from metarl.devices import resolve_device
from metarl.errors import UserError, understood
from metarl.evaluate.evaluation_result import EvaluationResult, evaluation_result
from metarl.evaluate.references import References, known_of
from metarl.evaluate.trials import Array, play_episodes, trial_statistics
from metarl.methods.recurrent import RecurrentAdapter, RecurrentLearning
from metarl.rl.problem import Split, is_finite, task_name
from metarl.run.counts import Held, require_memory
from metarl.run.evaluation import EvaluationSettings
from metarl.run.settings import at_least
from metarl.run.trial_report import (
    describe,
    describe_seeds,
    draw_within_trial,
    write_layouts,
    write_trials,
)
from metarl.runs.directory import RunDirectory
from metarl.runs.files import read_json, to_json, write_json
from metarl.runs.place import check_folder
from metarl.runs.seeds import find_runs
from metarl.seeding import spawn_generators

STREAMS = ("tasks", "environment", "policy")
"""Random streams of the seed of an evaluation, or of what is shown."""

FIGURES = (
    *("mean_return", "iqm", "normalised_score", "first_find_rate", "find_interval_mean"),
    *("normalised_score_over_families", "success_over_families", "within_trial"),
)
"""Figures that are averaged over several runs."""

QUESTION = ("num_tasks", "seed", "greedy", "window")
"""Entries that say what was asked of an agent: the same question has the same answer."""


VALIDATION_TRIALS = 200
"""Trials of a validation, unless another number is asked for."""


@dataclass(frozen=True)
class Trained:
    """Definition of what a run learned, and of what it is measured on.

    Attributes:
        learning: The method and agent that were trained, on the problem that they are measured on.
        batch_size: Trials per iteration.
        learned: The problem that was trained on; None: the same.
        source: Tasks to be measured on; None: those of the problem to report on.
        in_turn: Finitely many tasks are gone through in turn; otherwise they are drawn.
        place: Folder of its results within the run; empty: the run itself.
        split: The side that it is measured on (`on`).
    """

    learning: RecurrentLearning
    batch_size: int
    learned: Any = None
    source: Any = None
    in_turn: bool = True
    place: str = ""
    split: Split = "test"

    @property
    def name(self) -> str:
        """Name of the agent."""
        return self.learning.agent.core

    @property
    def question(self) -> Mapping[str, Any]:
        """Entries of a summary that say what it is measured on."""
        problem = self.learning.problem
        usual = {"protocol": f"fresh trials, unseen tasks ({problem.name})"}
        asked = {**getattr(problem, "question", usual), "split": self.split}
        if self.split == "validation" and "protocol" in asked:
            asked["protocol"] = f"{asked['protocol']}, validation"
        return asked

    @property
    def tasks(self) -> Any:
        """Source of the tasks to be measured on."""
        return self.learning.problem.test if self.source is None else self.source

    def on(self, split: Split) -> Trained:
        """Return the same on one side of its tasks.

        Raises:
            UserError: There are no such tasks.
        """
        if split == "test":
            return self
        tasks: Any = self.learning.problem.validation
        one = self.source is not None or tasks is self.learning.problem.test  # without sides
        if one or (is_finite(tasks) and not len(tasks)):
            raise UserError(
                f"--split validation: there are no tasks for it ({self.question['protocol']}); "
                "name mazes that have sides, such as those that the run was trained on"
            )
        place = "-".join(filter(None, (self.place, split)))
        return replace(self, source=tasks, place=place, split=split)

    def draw(self, num_tasks: int, generator: torch.Generator) -> Sequence[Any]:
        """Tasks to be measured on.

        Raises:
            UserError: There are none.
        """
        if not self.in_turn or not is_finite(self.tasks):
            drawn: Sequence[Any] = self.tasks.sample(num_tasks, generator)
            return drawn
        tasks = tuple(self.tasks)
        if not tasks:
            raise UserError(f"there are no tasks for {self.question['protocol']}: name others")
        return tuple(tasks[n % len(tasks)] for n in range(num_tasks))

    def references(self, tasks: Sequence[Any]) -> References:
        """References that returns on these tasks are judged by.

        Tasks that are drawn from finitely many stand for all of them.
        """
        problem, episodes = self.learning.problem, self.learning.trial_episodes
        learned = problem if self.learned is None else self.learned
        trained_on = 0
        if type(learned) is type(problem) and hasattr(learned, "num_trained_on"):
            trained_on = learned.num_trained_on(tasks)
        judged = tasks if self.in_turn or not is_finite(self.tasks) else tuple(self.tasks)
        return References(known_of(problem, judged, episodes), trained_on, episodes)


Read = Callable[[Mapping[str, Any]], Trained]
"""Reads the settings of a run from its `config.json`, and says what it is measured on."""


@dataclass(frozen=True)
class EvaluateSettings(EvaluationSettings):
    """Play trials on tasks the agent is given, and sum them up in summary.json."""

    tasks: int = 1000
    """Trials, each on a task of its own; on unseen tasks, where there are any."""
    split: Annotated[Split, tyro.conf.arg(aliases=("--side",))] = "test"
    """validation: the tasks to choose settings by; test: those to report on. None is trained on."""
    greedy: bool = False
    """Take the most probable action instead of drawing from the policy."""
    window: int = 20
    """Steps a point of the within-trial curve."""
    output: Path | None = None
    """Write summary and picture into this folder (seed-N in it, for several runs). Default: into
    the run, unless the same agent's summary of more trials, or of the same ones, is there."""

    HELD: ClassVar[Held] = ((8, "tasks"),)

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, self, "tasks", "window")


def evaluate(settings: EvaluateSettings, read: Read) -> EvaluationResult:
    """Evaluate every run, and seeds together.

    Each run gets `summary.json`, `adaptation.json` and `within_trial.png`; a folder of several a
    `summary.json`.

    Args:
        settings: Which runs, and how.
        read: Reads their settings.

    Raises:
        UserError: There is no such run, or nowhere to write to.
    """
    if settings.output is not None:
        check_folder(settings.output, "name another --output")
    summaries = {}
    runs = find_runs(settings.run)
    for run in runs:
        trained = read(run.config).on(settings.split)
        measured, references, rewards, names = evaluate_run(run, trained, settings)
        summary = to_json(measured, "summary")
        print(describe(run.path, summary, references))
        place = run.path / trained.place
        if settings.output is not None:
            place = settings.output if len(runs) == 1 else settings.output / run.path.name
        if replaces(place / "summary.json", summary, settings):
            place.mkdir(parents=True, exist_ok=True)
            write_json(place / "summary.json", summary)
            write_trials(place, rewards, names, summary)
            draw_within_trial(place, {trained.name: rewards}, references, settings.window)
            write_layouts(place, {trained.name: rewards}, references)
        summaries[run.path.name] = summary
    result = evaluation_result(settings.run, summaries, FIGURES)
    if result.several:
        print(describe_seeds(result.summary))
        folder = settings.output or settings.run / trained.place
        folder.mkdir(parents=True, exist_ok=True)
        if replaces(folder / "summary.json", result.summary, settings):
            result.write(folder)
    if settings.json:
        print(result.as_line())
    return result


def check_fits(learning: RecurrentLearning, settings: EvaluateSettings) -> None:
    """Check, before any work, that what is asked for fits this machine.

    Raises:
        UserError: It does not.
    """
    steps = learning.trial_episodes * learning.problem.horizon
    require_memory(8, (("--tasks", settings.tasks), ("steps of a trial", steps)))


def evaluate_run(
    run: RunDirectory, trained: Trained, settings: EvaluateSettings
) -> tuple[dict[str, Any], References, Array, list[str]]:
    """Evaluate one run.

    Returns:
        Its summary, what it is judged by, the rewards ``[T, B]`` of its agent and the names of the
        tasks.
    """
    started = time.perf_counter()
    device = resolve_device(settings.device)
    learning = trained.learning
    episodes, horizon = learning.trial_episodes, learning.problem.horizon
    check_fits(learning, settings)
    streams = spawn_generators(settings.seed, STREAMS, device, on_cpu=("tasks",))
    tasks = trained.draw(settings.tasks, streams["tasks"])
    loaded = learning.load(run, device)
    agent = adapter(loaded.trained).agent(streams["policy"], greedy=settings.greedy)
    generators = [streams["environment"]]
    env = learning.trials(settings.tasks, generators, device, num_episodes=episodes)
    rewards = play_episodes(agent, env, horizon, episodes, {"tasks": tasks})
    references = trained.references(tasks)
    statistics = trial_statistics(rewards, window=settings.window, seed=settings.seed)
    summary = {
        **dataclasses.asdict(statistics),
        **references.figures(rewards),
        **trained.question,
        "num_tasks": settings.tasks,
        "seed": settings.seed,
        "greedy": settings.greedy,
        "device": str(device),
        "iteration": loaded.iteration,
        "env_steps": env_steps(run, loaded.iteration * trained.batch_size * learning.num_steps),
        "wall_seconds": time.perf_counter() - started,
    }
    return summary, references, rewards, [task_name(task) for task in tasks]


def validation_return(
    run: RunDirectory,
    learning: RecurrentLearning,
    num_tasks: int | None,
    seed: int,
    device: str,
) -> float:
    """Return what a run earns in a trial, a mean over validation tasks.

    Where a problem has no tasks for validation, as the published maze, whose goals are all trained
    on, it is the mean over other trials on the tasks of training: test tasks are not looked at.

    Args:
        run: As it is now.
        learning: What it learned, on the problem that it is measured on.
        num_tasks: Trials, each on a task of its own; None: 200.
        seed: Of tasks, environments and policy.
        device: Where they are played.
    """
    place, problem = resolve_device(device), learning.problem
    source: Any = problem.validation
    if is_finite(source) and not len(source):
        source = problem.train
    number = num_tasks or VALIDATION_TRIALS
    streams = spawn_generators(seed, STREAMS, place, on_cpu=("tasks",))
    tasks = source.sample(number, streams["tasks"])
    agent = adapter(learning.load(run, place).trained).agent(streams["policy"], greedy=False)
    episodes, horizon = learning.trial_episodes, problem.horizon
    env = learning.trials(number, [streams["environment"]], place, num_episodes=episodes)
    rewards = play_episodes(agent, env, horizon, episodes, {"tasks": tasks})  # [T, B]
    return float(rewards.sum(0).mean())


def env_steps(run: RunDirectory, usual: int) -> int:
    """Environment steps that an agent has learned from, as its checkpoint says.

    Args:
        run: Whose checkpoint.
        usual: Their number where it does not say, as in an earlier run.
    """
    return int(run.load_checkpoint().get("counted", usual))


def adapter(one: Any) -> RecurrentAdapter:
    """The adapter of a run of agents with a memory."""
    assert isinstance(one, RecurrentAdapter)
    return one


def replaces(path: Path, summary: Mapping[str, Any], settings: EvaluateSettings) -> bool:
    """Whether a summary is written, or an earlier one stays, which is said."""
    kept = kept_instead(path, summary) if settings.output is None else None
    if kept is not None:
        print(f"  {path} stays, {kept}; write this one with --output FOLDER")
    return kept is None


def kept_instead(path: Path, summary: Mapping[str, Any]) -> str | None:
    """Reason why an earlier summary of the same agent stays, in words; None: it does not.

    Args:
        path: Of the earlier one, if there is any.
        summary: The new one.
    """
    if not path.is_file():
        return None
    earlier = read_json(path)
    if earlier.get("iteration") != summary.get("iteration"):
        return None
    with understood(path, "is not a summary", "delete it"):
        more = (earlier.get("num_tasks") or 0) > summary["num_tasks"]
    if more:
        return f"it is of {earlier['num_tasks']} trials"
    if all(earlier.get(name) == summary.get(name) for name in QUESTION):
        return "it is of the same trials"
    return None
