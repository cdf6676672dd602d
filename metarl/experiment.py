"""Experiments from Python: a method on a problem, trained, evaluated, filmed and compared.

    problem = GymnasiumProblem(make_env)
    maml = Experiment(problem, MAMLSettings(inner_lr=0.5), iterations=200)
    maml.train("runs/maml", seeds=(0, 1, 2))
    maml.evaluate("runs/maml").summary["return_mean"]
    agent = metarl.load("runs/maml/seed-0")

A problem has environments to act in, or data to learn from (`metarl.supervised.Curves`,
`FewShotOmniglot`, `MultiShotOmniglot`). What the scripts do for the environments by name, this does
for anybody's problem. Run directories are those of the scripts: locked, resumed bit for bit, read
by `metarl.load` and drawn by `experiments.plot`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from metarl.compare.command import write_report
from metarl.compare.processes import work_off
from metarl.compare.results import Compared, measured
from metarl.compare.settings import Comparison, evaluation_of
from metarl.compare.work import Job, Script, check_same
from metarl.core.settings import Method
from metarl.devices import resolve_device
from metarl.errors import UserError, check_choices, check_counts
from metarl.evaluate.evaluation_result import EvaluationResult
from metarl.evaluate.film import require_filmed
from metarl.evaluate.measures import BESIDE_TEST, end_of, files_of
from metarl.meta.maml import MAMLSettings
from metarl.meta.method import GradientMethod
from metarl.methods.agents import Agent
from metarl.methods.learning import Learning, Trainable, agent_for, learning
from metarl.methods.recurrent import RecurrentLearning
from metarl.methods.spaces import describe_spaces
from metarl.methods.supervised import SupervisedLearning
from metarl.native import Mode, native_mode
from metarl.rl.problem import Problem, check_problem
from metarl.run import trials
from metarl.run.adaptation import EvaluateSettings, RenderSettings, check_fits, evaluate, render
from metarl.run.counts import check_numbers
from metarl.run.supervised import evaluation
from metarl.runs import resume
from metarl.runs.directory import RunDirectory
from metarl.runs.files import held, to_json
from metarl.runs.loggers import USUAL, LoggerName, check_loggers
from metarl.runs.seeds import create_runs, find_runs
from metarl.runs.seen import seen_by_all
from metarl.supervised.problem import SupervisedProblem
from metarl.train.distributed import job
from metarl.train.loop import LoopSettings

RECIPE = "metarl.experiment"
"""What `config.json` says that such a run is of."""

MAY = ("iterations", "native", "log", "film_every")
"""Settings of a run that are not those of its experiment, and yet it is of it."""


@dataclass(frozen=True)
class Experiment:
    """A method on a problem, with the budget of its training.

    Attributes:
        problem: Distribution of tasks, and the environments that play them; or tasks with data
            (`metarl.supervised.SupervisedProblem`).
        learner: Settings of the method (`metarl.methods.METHODS` lists them all).
        agent: Who learns: policy, episodes and loss. None: what is usual for the method; of data,
            where a network learns that the problem has, there is none.
        iterations: Iterations in all; in each, the learner works on one meta-batch.
        meta_batch: Tasks per iteration.
        log_every: Iterations per line of metrics.
        checkpoint_every: Iterations between checkpoints.
        device: auto, cpu, cuda, cuda:1, ...
        log: Loggers beside `metrics.jsonl`: tensorboard, wandb, mlflow.
        film_every: Iterations between films of an unseen task, into ``films`` and to the loggers.
        native: auto: native kernels where there are some, eager code elsewhere; off: eager code
            alone. Its last bits differ, so `resume` keeps to what a run began with, unless it is
            off here.

    Raises:
        UserError: It is no problem, or a count is below 1.
    """

    problem: Problem | SupervisedProblem
    learner: Method = field(default_factory=MAMLSettings)
    agent: Agent | None = None
    iterations: int = 500
    meta_batch: int = 20
    log_every: int = 10
    checkpoint_every: int = 50
    device: str = "auto"
    native: Mode = "auto"
    log: tuple[LoggerName, ...] = USUAL
    film_every: int | None = None

    def __post_init__(self) -> None:
        check_choices(self)
        if isinstance(self.problem, SupervisedProblem):
            self._trainable()
        else:
            check_problem(self.problem)
        for part in (self.learner, self.agent):
            if part is not None:
                check_numbers(part, named=str)
        check_counts(error=UserError, meta_batch=self.meta_batch)
        self.loop()

    @property
    def env(self) -> str:
        """Name of the problem."""
        return self.problem.name

    @property
    def method(self) -> str:
        """Name of the method."""
        return self.learner.name

    def loop(self) -> LoopSettings:
        """Return when training ends, writes and saves."""
        return LoopSettings(
            self.iterations,
            self.log_every,
            self.checkpoint_every,
            self.learner.schedule,
            self.native,
            log=self.log,
            film_every=self.film_every,
        )

    def learning(self) -> Learning:
        """Return the method on a problem that is acted in.

        Raises:
            UserError: The problem has data to learn from: nothing plays.
        """
        if isinstance(self.problem, SupervisedProblem):
            raise UserError(f"{self.env} is learned from data: there is no agent that plays")
        return learning(self.problem, self.learner, self._player)

    def config(self) -> dict[str, Any]:
        """Return what `config.json` keeps of the settings, as JSON values."""
        data = isinstance(self.problem, SupervisedProblem)
        settings = {
            "env": self.env,
            "method": self.method,
            "learner": self.learner,
            **({"problem": self.problem} if data else {"agent": self._player}),
            "iterations": self.iterations,
            "meta_batch": self.meta_batch,
            "log_every": self.log_every,
            "checkpoint_every": self.checkpoint_every,
            "native": self.native,
            "log": self.log,
            "film_every": self.film_every,
        }
        kept: dict[str, Any] = to_json(settings, "config")
        return kept

    def train(self, place: Path | str, seeds: Sequence[int] = (0,)) -> list[RunDirectory]:
        """Train one learner per seed.

        Args:
            place: Run directory; several seeds get a folder ``seed-N`` in it.
            seeds: Of the learners.

        Raises:
            UserError: It cannot be trained, or the place is taken.
            KeyboardInterrupt: Interrupted, after saving: go on with `resume`.
        """
        native_mode()  # an environment that asks for what is no mode is named before any work
        check_loggers(self.log)
        what = self._trainable()
        with job(self.device):
            what.check(self.device, self.meta_batch)
            if self.film_every is not None:
                require_filmed(self.problem)
            device, beside = resolve_device(self.device), {"recipe": RECIPE, **self._beside()}
            make = partial(create_runs, place, seeds, self.config(), device=device, **beside)
            _, runs = seen_by_all(lambda: (None, make()))
            self._may_film(runs)
            what.train(runs, self.loop(), self.meta_batch, self.device, resume_to=None)
            return runs

    def resume(self, place: Path | str) -> list[RunDirectory]:
        """Go on where runs stopped, up to ``iterations`` in all.

        Args:
            place: A run directory, or a folder of ``seed-N`` runs.

        Raises:
            UserError: The runs have other settings or more iterations, or are damaged.
        """
        check_loggers(self.log)
        with job(self.device):
            native, runs = seen_by_all(lambda: self._to_resume(place))
            loop, what = replace(self.loop(), native=native), self._trainable()
            for run in runs:
                run.device = resolve_device(self.device)
            self._may_film(runs)
            what.train(runs, loop, self.meta_batch, self.device, resume_to=self.iterations)
            return runs

    def _to_resume(self, place: Path | str) -> tuple[Mode, list[RunDirectory]]:
        """Runs that can go on, and with which kernels; the errors are those of `resume`."""
        runs = find_runs(place)
        for run in runs:
            self.check_same(run)
            resume.check_total(run, self.iterations)
        native = "off" if self.native == "off" else resume.kept_mode(runs)
        for run in runs:
            resume.check_kernels(run, native)
        return native, runs

    def check_same(self, run: RunDirectory) -> None:
        """Check that a run is of this experiment, but for its iterations.

        Raises:
            UserError: A setting is another; the message names it.
        """
        wanted = {**self.config(), "recipe": RECIPE}
        other = [n for n, v in wanted.items() if n not in MAY and run.config.get(n) != v]
        if other:
            raise UserError(f"{run.path} was trained with another {', '.join(other)}")

    def evaluate(self, place: Path | str, **how: Any) -> EvaluationResult:
        """Adapt to unseen tasks, and sum up what is earned, or how well is told, after every step.

        Writes `summary.json`, `adaptation.json` and `adaptation.png` as the scripts do (of a split
        "validation" `summary-validation.json`, ...); from data also `steps.png` and more pictures.

        Args:
            place: A run directory, or a folder of ``seed-N`` runs.
            how: ``tasks``, ``steps``, ``episodes``, ``split``, ``seed``, ...: the other fields of
                `metarl.run.adaptation.EvaluateSettings`; where data are learned from, of
                `metarl.run.fits.EvaluateSettings`, or of `CharactersSettings` or
                `AlphabetsSettings` of `metarl.run.classification`.

        Raises:
            UserError: The runs are of another experiment, or damaged.
        """
        for run in find_runs(place):
            self.check_same(run)
        kind, judge = EvaluateSettings, evaluate
        if isinstance(self.problem, SupervisedProblem):
            kind, judge = evaluation(self.problem)
        return judge(kind(Path(place), **{"device": self.device, **how}), self._read)

    def evaluate_trials(self, place: Path | str, **how: Any) -> EvaluationResult:
        """Play whole trials of an agent with a memory, beside all that they are judged by.

        Writes `summary.json`, `adaptation.json` and `within_trial.png` into the folder ``trials``
        of each run; of mazes also `layouts.csv` and `finds.png`.

        Args:
            place: A run directory, or a folder of ``seed-N`` runs.
            how: ``tasks``, ``seed``, ``greedy``, ...: the other fields of
                `metarl.run.trials.EvaluateSettings`.

        Raises:
            UserError: The agent has no memory, or the runs are of another experiment, or damaged.
        """
        learned = self.learning()
        if not isinstance(learned, RecurrentLearning):
            raise UserError(f"{self.method} has no memory that a trial could fill: take evaluate")
        for run in find_runs(place):
            self.check_same(run)
        trained = trials.Trained(learned, self.meta_batch, place="trials")
        asked = trials.EvaluateSettings(Path(place), **{"device": self.device, **how})
        return trials.evaluate(asked, lambda _: trained)

    def film(self, place: Path | str, output: Path | str, **how: Any) -> Path:
        """Film one unseen task, side by side at every step of adaptation.

        Args:
            place: A run directory.
            output: .gif or .mp4: a film; .png: whole episodes in one picture.
            how: ``steps``, ``task``, ``seed``, ``fps``, ...: the other fields of
                `metarl.run.adaptation.RenderSettings`.

        Raises:
            UserError: The run is of another experiment, or its environments do not draw themselves.
        """
        self.check_same(RunDirectory.open(Path(place)))
        render(RenderSettings(Path(place), output=Path(output), **how), self._read)
        return Path(output)

    def _may_film(self, runs: Sequence[RunDirectory]) -> None:
        for run in runs:
            run.filmed = partial(self._film, run)

    def _film(self, run: RunDirectory, output: Path) -> None:
        with redirect_stdout(None):
            self.film(run.path, output)

    @property
    def _player(self) -> Agent:
        """Agent that learns: as asked, or as is usual for the method."""
        return agent_for(type(self.learner)) if self.agent is None else self.agent

    def _trainable(self) -> Trainable:
        """The method on the problem, of either kind."""
        if not isinstance(self.problem, SupervisedProblem):
            return self.learning()
        if not isinstance(self.learner, GradientMethod):
            raise UserError(f"{self.method} does not learn from data: take a gradient method")
        if self.agent is not None:
            raise UserError(f"{self.env} is learned by a network of its own: leave out agent")
        if self.film_every is not None:
            raise UserError(f"film_every {self.film_every}: {self.env} has nothing to film")
        return SupervisedLearning(self.problem, self.learner)

    def _beside(self) -> dict[str, object]:
        """Entries of `config.json` beside the settings."""
        if isinstance(self.problem, SupervisedProblem):
            return {}
        return {"spaces": describe_spaces(self.problem)}

    def _read(self, config: Mapping[str, Any]) -> Experiment:
        return self


def compare(
    experiments: Mapping[str, Experiment],
    folder: Path | str,
    seeds: Sequence[int] = (0, 1, 2),
    *,
    reference: str | None = None,
    **how: Any,
) -> Compared:
    """Train and evaluate experiments on the same tasks: numbers, tables, a picture.

    A run is the unit of work: what is whole is left alone, so that the same call goes on after an
    interruption, takes further experiments and seeds, and several processes may share a folder.
    Writes `comparison.csv`, `.md` and `.png`.

    Args:
        experiments: What is compared, by name.
        folder: Where all goes: ``NAME/seed-S``.
        seeds: Of training, for each.
        reference: Name of the one that the others are compared with.
        how: ``tasks``, ``steps``, ``episodes``, ``split``, ``seed``, ...: fields of
            `metarl.run.adaptation.EvaluateSettings`.

    Raises:
        UserError: A run cannot be made, or is of something else; then nothing was trained.
        KeyboardInterrupt: Interrupted, after saving.
    """
    place, evaluation = Path(folder), evaluation_of(EvaluateSettings)(**how)
    title = " and ".join(dict.fromkeys(one.env for one in experiments.values()))
    comparison = Comparison(tuple(experiments), tuple(seeds), (), (), evaluation, reference)
    jobs = []
    for seed in seeds:
        for name, one in experiments.items():
            job = _job(one, place / name / f"seed-{seed}", seed, evaluation)
            what = one.learning()
            what.check(one.device, one.meta_batch)
            check_fits(what.problem, job.evaluate)
            check_same(job)
            jobs.append(job)
    failures = {str(path.relative_to(place)): why for path, why in work_off(jobs).items()}
    with held(place, patience=60.0):
        compared = measured(place, comparison, failures, side=end_of(evaluation.split))
        write_report(place, compared, title)
    return compared


@dataclass(frozen=True)
class _Planned:
    """Training of one run, as the job runner looks at it."""

    settings: Mapping[str, Any]
    run_dir: Path
    seeds: tuple[int, ...]
    iterations: int


def _job(one: Experiment, path: Path, seed: int, evaluation: Any) -> Job:
    """Return the work on one run of an experiment."""
    settings = one.config()

    def planned(config: Mapping[str, Any]) -> _Planned:
        kept = {name: config.get(name) for name in settings if name not in MAY}
        return _Planned(kept, path, (seed,), int(config["iterations"]))

    script = Script(
        train=lambda wanted: one.train(wanted.run_dir, wanted.seeds),
        resume=lambda path, _: one.resume(path),
        evaluate=lambda how: evaluate(how, one._read),
        settings_of=planned,
        results=files_of(),
        beside_test=BESIDE_TEST,
    )
    asked = EvaluateSettings(**{**vars(evaluation), "run": path, "device": one.device})
    return Job(path, planned(settings), asked, script)
