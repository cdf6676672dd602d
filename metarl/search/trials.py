"""A worker of a search: one trial after the other, until there are enough.

A trial has a folder, and is claimed as long as somebody works on it (`metarl.runs.claims`). One
that is not over and not claimed was left by a process that was killed or interrupted: its run goes
on, from its last checkpoint, in whoever finds it.
"""

from __future__ import annotations

import math
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from metarl.compare.work import FAILURES, CpuClock, go_on
from metarl.errors import CheckpointError, LockedError, RunDirectoryError, UserError
from metarl.meta import NonFiniteLossError
from metarl.run import Recipe, train
from metarl.runs.claims import Claim
from metarl.runs.directory import RunDirectory
from metarl.runs.files import held
from metarl.runs.place import holds_runs
from metarl.runs.seeds import find_runs
from metarl.search.space import Dimension, proposed
from metarl.train.loop import pausing_at

if TYPE_CHECKING:
    from optuna import Study
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial, Trial

PATIENCE = 600.0
"""Seconds that a worker waits for another one that begins a trial."""

MOST_FAILURES = 5
"""Trials in a row that fail for a worker, and not of settings that diverge: something is wrong."""

WHY, REPEATED, WORDS = "why", "repeated", "options"
"""Attributes of a trial: what it failed of; whether it is done again; its settings in words."""


@dataclass(frozen=True)
class Searchable:
    """A recipe whose settings can be searched.

    Attributes:
        recipe: Trains the runs.
        judge: Returns what a run is worth as it is now, on validation tasks: given the run, its
            settings, the number of tasks (None: the usual), their seed and the device.
        value: What that is, in words.
        maximise: Whether more of it is better.
        tasks: Options that say what the tasks are, which all trials have in common.
        counted_by: Option of `train` that says how many tasks a validation has; None: ``--tasks``
            of the search.
    """

    recipe: Recipe[Any]
    judge: Callable[[RunDirectory, Any, int | None, int, str], float]
    value: str = "validation return"
    maximise: bool = True
    tasks: tuple[str, ...] = ()
    counted_by: str | None = None

    @property
    def direction(self) -> Literal["minimize", "maximize"]:
        """Direction in which Optuna moves the value."""
        return "maximize" if self.maximise else "minimize"


@dataclass(frozen=True)
class Plan:
    """Plan of a worker.

    Attributes:
        recipe: Trains the runs.
        judge: Returns what a run is worth, given the run and its settings.
        settings: Makes the settings of `train` of what a trial proposes, in words.
        space: What is proposed.
        folder: Where the trials go.
        trials: Their number in all.
        validations: How often each is judged.
        sampler: Makes what proposes, given the number of a trial.
        shared: Whether trials of the study may be in other folders than this one.
    """

    recipe: Recipe[Any]
    judge: Callable[[RunDirectory, Any], float]
    settings: Callable[[Sequence[str]], Any]
    space: tuple[Dimension, ...]
    folder: Path
    trials: int
    validations: int
    sampler: Callable[[int], BaseSampler]
    shared: bool

    def place(self, number: int) -> Path:
        """Return the folder of a trial."""
        return self.folder / f"trial-{number}"


def work(plan: Plan, study: Study) -> None:
    """Do trials until there are enough; what others work on is left to them.

    Raises:
        UserError: Too many in a row failed.
        KeyboardInterrupt: Interrupted, after saving.
    """
    failures: list[str] = []
    while (found := next_trial(plan, study)) is not None:
        trial, claim = found
        with claim:
            why = do(plan, study, trial)
        failures = [*failures, why] if why else []
        if len(failures) >= MOST_FAILURES:
            raise UserError(f"{len(failures)} trials in a row failed, the last of: {failures[-1]}")


def next_trial(plan: Plan, study: Study) -> tuple[Trial, Claim] | None:
    """Return a trial that somebody left, or a new one, and the claim on it; None: there are enough.

    Raises:
        LockedError: Somebody else takes too long to begin one.
    """
    left = _left(plan, study)
    if left is not None:
        return left
    with held(plan.folder, patience=PATIENCE):
        for trial in _of_state(study, "RUNNING"):
            if not plan.shared and not plan.place(trial.number).exists():
                return _claimed(plan, study, trial)  # killed before it had a folder
        every = study.get_trials(deepcopy=False)
        waiting = any(trial.state.name == "WAITING" for trial in every)
        begun = sum(REPEATED not in trial.user_attrs for trial in every)
        if not waiting and begun >= plan.trials:
            return None
        study.sampler = plan.sampler(len(every))
        new = study.ask()
        proposed(plan.space, new)
        folder = plan.place(new.number)
        folder.mkdir(parents=True, exist_ok=True)
        return new, Claim(folder)


def _left(plan: Plan, study: Study) -> tuple[Trial, Claim] | None:
    for trial in _of_state(study, "RUNNING"):
        if plan.place(trial.number).exists():
            try:
                claimed = _claimed(plan, study, trial)
            except LockedError:  # somebody works on it
                continue
            if claimed is not None:
                return claimed
    return None


def _claimed(plan: Plan, study: Study, frozen: FrozenTrial) -> tuple[Trial, Claim] | None:
    """Claim a trial that is not over; None: it is over by now."""
    import optuna

    folder = plan.place(frozen.number)
    folder.mkdir(exist_ok=True)
    claim = Claim(folder)
    now = next(t for t in study.get_trials(deepcopy=False) if t.number == frozen.number)
    if now.state.name != "RUNNING":
        claim.release()
        return None
    study.sampler = plan.sampler(frozen.number)
    trial = optuna.trial.Trial(study, now._trial_id)
    proposed(plan.space, trial)  # what it has not proposed yet
    return trial, claim


def _of_state(study: Study, name: str) -> list[FrozenTrial]:
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state.name == name]


def do(plan: Plan, study: Study, trial: Trial) -> str | None:
    """Bring a trial to its end, from where it is.

    Returns:
        What it failed of, in words; None: of nothing, or of settings that diverge.

    Raises:
        KeyboardInterrupt: Interrupted, after saving; the trial is not over.
    """
    from optuna.trial import TrialState

    path, words = plan.place(trial.number), proposed(plan.space, trial)
    trial.set_user_attr(WORDS, words)
    print(f"trial {trial.number}: {' '.join(words)}", flush=True)
    before = holds_runs(path)
    try:
        value = _value(plan, trial, path, words)
    except (NonFiniteLossError, _DivergedError) as error:
        trial.set_user_attr(WHY, f"diverged: {error}")
        study.tell(trial, state=TrialState.PRUNED)
        print(f"trial {trial.number}: diverged: {error}", flush=True)
        return None
    except (CheckpointError, RunDirectoryError) as error:
        if before:  # damaged by how it was left
            _repeat(study, trial)
        return _failed(study, trial, error)
    except FAILURES as error:
        if not isinstance(error, UserError | OSError):
            traceback.print_exception(error)
        return _failed(study, trial, error)
    if value is None:
        study.tell(trial, state=TrialState.PRUNED)
        print(f"trial {trial.number}: given up", flush=True)
    else:
        study.tell(trial, value)
        print(f"trial {trial.number}: {value:.6g}", flush=True)
    return None


class _DivergedError(Exception):
    """Error of a trial whose value is not finite."""


def _value(plan: Plan, trial: Trial, path: Path, words: Sequence[str]) -> float | None:
    """Return what a trial is worth at its end; None where it is given up before."""
    settings = plan.settings([*words, "--run-dir", str(path)])
    rungs = rungs_of(settings.iterations, plan.validations)
    known = dict(trial.storage.get_trial(trial._trial_id).intermediate_values)
    for rung in rungs:
        if rung not in known:
            _train(plan.recipe, path, settings, rung)
            known[rung] = _worth(plan, path, settings)
            trial.report(known[rung], rung)
        if rung == max(known) != rungs[-1] and trial.should_prune():
            return None
    return known[rungs[-1]]


def rungs_of(iterations: int, validations: int) -> list[int]:
    """Return after which numbers of iterations a trial is judged, rising."""
    return sorted({math.ceil(iterations * n / validations) for n in range(1, validations + 1)})


def _train(recipe: Recipe[Any], path: Path, settings: Any, rung: int) -> None:
    """Train the runs of a trial up to a number of iterations, from where they are."""
    with CpuClock(path / "cost.json"), pausing_at(rung):
        if holds_runs(path):
            go_on(recipe, path, settings)
        else:
            train(recipe, settings)


def _worth(plan: Plan, path: Path, settings: Any) -> float:
    """Return what a trial is worth now: the mean over its seeds."""
    value = float(np.mean([plan.judge(run, settings) for run in find_runs(path)]))
    if not math.isfinite(value):
        raise _DivergedError(f"its value is {value}")
    return value


def _failed(study: Study, trial: Trial, error: Exception) -> str:
    from optuna.trial import TrialState

    why = (f"{error}" or type(error).__name__).strip().splitlines()[0]
    trial.set_user_attr(WHY, why)
    study.tell(trial, state=TrialState.FAIL)
    print(f"error: trial {trial.number}: {why}", file=sys.stderr)
    return why


def _repeat(study: Study, trial: Trial) -> None:
    """Put the settings of a trial before those that are proposed next, unless that was done."""
    if trial.user_attrs.get("again"):
        return
    study.enqueue_trial(trial.params, user_attrs={"again": True})
    trial.set_user_attr(REPEATED, True)


def sampler_of(kind: str, seed: int) -> Callable[[int], BaseSampler]:
    """Return what makes the sampler of a trial.

    Each trial has its own, seeded by its number: a search that is interrupted proposes what it
    would have proposed.
    """

    def sampler(number: int) -> BaseSampler:
        from optuna.samplers import RandomSampler, TPESampler

        own = int(np.random.SeedSequence((seed, number)).generate_state(1)[0])
        return RandomSampler(own) if kind == "random" else TPESampler(seed=own, constant_liar=True)

    return sampler


def pruner_of(kind: str, iterations: int, validations: int) -> BasePruner:
    """Return what says whether a trial is given up."""
    from optuna.pruners import HyperbandPruner, MedianPruner, NopPruner

    first = rungs_of(iterations, validations)[0]
    match kind:
        case "median":
            return MedianPruner(n_startup_trials=5)
        case "hyperband":
            return HyperbandPruner(min_resource=first, max_resource=iterations)
    return NopPruner()
