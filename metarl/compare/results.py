"""Results of the runs of a comparison, brought together: every number of the report.

All methods are judged on the same tasks, so differences are paired by task. Bootstraps are over
tasks and seeds (`metarl.stats`); with a few seeds their intervals are too narrow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl.compare.settings import Comparison
from metarl.compare.work import cpu_seconds
from metarl.errors import UserError, understood
from metarl.evaluate.measures import RETURN, Measure, files_of
from metarl.evaluate.returns import (
    AdaptationResult,
    adaptation_summary,
    interval_ends,
)
from metarl.runs.directory import RunDirectory
from metarl.runs.files import read_json
from metarl.stats import (
    Interval,
    bootstrap_ci,
    crossed,
    crossed_difference_ci,
    performance_profile,
    probability_of_improvement,
)

LEAST_VALUES = 5
"""Means of a seed on a task, without which no difference is marked."""


@dataclass(frozen=True, eq=False)
class Run:
    """One seed of a method.

    Attributes:
        path: Run directory.
        seed: Seed of training.
        result: Values on the unseen tasks, ordered by name.
        task_ids: Names of the tasks.
        summary: Entries of its summary that are read; None: it has none.
        learned_from: Environment steps, or tasks, of training.
        cpu_seconds: CPU seconds of training; None where they were not counted.
    """

    path: Path
    seed: int
    result: AdaptationResult
    task_ids: tuple[str, ...]
    summary: dict[str, Any]
    learned_from: int
    cpu_seconds: float | None


@dataclass(frozen=True, eq=False)
class Compared:
    """A comparison, measured.

    Attributes:
        methods: `method_summary` of each method that has been evaluated.
        missing: Runs that are not evaluated yet.
        reference: Method that the others are compared with; None where it is not there.
        floor: Name of who earns `floor_return`; None where nobody knows.
        floor_return: Return of normalised score 0, where it is known.
        oracle_return: Return of normalised score 1, where it is known.
        failures: What missing runs have failed of, by name.
        best: Name of who earns `oracle_return`.
        measure: What the values of the tasks are.
        split: Split of the tasks, test or validation; None where there is only one.
    """

    methods: list[dict[str, Any]]
    missing: list[str]
    reference: str | None
    floor: str | None
    floor_return: float | None
    oracle_return: float | None
    failures: dict[str, str] = field(default_factory=dict)
    measure: Measure = RETURN
    best: str = "oracle"
    split: str | None = None

    @property
    def anchors(self) -> dict[str, float]:
        """Returns to judge by, as far as they are known, by name."""
        lines = {self.floor or "floor": self.floor_return, self.best: self.oracle_return}
        return {name: value for name, value in lines.items() if value is not None}

    @property
    def failed_methods(self) -> list[str]:
        """Methods of which nothing is there but failures."""
        failed = dict.fromkeys(name.partition("/")[0] for name in self.failures)
        return [m for m in failed if m not in [s["method"] for s in self.methods]]


def measured(
    folder: Path,
    comparison: Comparison,
    failures: Mapping[str, str],
    measure: Measure = RETURN,
    side: str = "",
) -> Compared:
    """Sum up what has been evaluated.

    Args:
        folder: Folder of the comparison.
        comparison: What is compared.
        failures: Runs that failed now, and of what: what they left earlier does not count.
        measure: What the values of the tasks are.
        side: End of the names of the files that evaluations have left.

    Raises:
        UserError: Nothing has been evaluated, or not on the same tasks.
    """
    failures = dict(failures)
    runs, missing = _evaluated(folder, comparison, failures, measure, side)
    if not runs and failures:
        why = "; ".join(f"{name}: {words}" for name, words in failures.items())
        raise UserError(f"nothing in {folder} has been evaluated: {why}")
    if not runs:
        raise UserError(f"nothing in {folder} has been evaluated yet; leave out --report-only")
    every = [run for found in runs.values() for run in found]
    for run in every:
        if run.task_ids != every[0].task_ids:
            raise UserError(
                f"{run.path} was evaluated on other tasks than {every[0].path}; "
                "give the same command without --report-only"
            )
    reference = comparison.compared_with
    first = every[0].summary
    anchors = {"floor": first["floor_return"], "oracle": first["oracle_return"]}
    seed = comparison.evaluate.seed
    beside = runs.get(reference, []) if reference is not None else []
    at = thresholds(every)
    return Compared(
        [method_summary(m, r, beside, anchors, seed, measure, at) for m, r in runs.items()],
        missing,
        reference if beside else None,
        first["floor"],
        anchors["floor"],
        anchors["oracle"],
        failures,
        measure,
        first["best"],
        first["split"],
    )


def _evaluated(
    folder: Path, comparison: Comparison, failures: dict[str, str], measure: Measure, side: str
) -> tuple[dict[str, list[Run]], list[str]]:
    """Runs that were evaluated, by their method, and the names of the others.

    What cannot be read is added to ``failures``.
    """
    runs: dict[str, list[Run]] = {}
    missing = []
    for method in comparison.methods:
        for seed in comparison.seeds:
            name, path = f"{method}/seed-{seed}", folder / method / f"seed-{seed}"
            there = all((path / file).exists() for file in files_of(side))
            try:
                if there and name not in failures:
                    runs.setdefault(method, []).append(read_run(path, seed, measure, side))
                    continue
            except UserError as error:
                failures[name] = str(error)
            missing.append(name)
    return {method: found for method, found in runs.items() if found}, missing


OF_SUMMARY = ("axis", "floor", "floor_return", "oracle_return", "iteration", "split")
"""Entries that are read of a run's summary."""


def read_run(path: Path, seed: int, measure: Measure = RETURN, side: str = "") -> Run:
    """Read what one run left behind.

    Args:
        path: Run directory.
        seed: Seed of training.
        measure: What the values of the tasks are.
        side: End of the names of the files.

    Raises:
        UserError: The files are damaged, or of another version.
    """
    run = RunDirectory.open(path)
    remedy = f"delete {path / 'evaluated.json'}, and it is evaluated again"
    with understood(path, "was not evaluated as it should be", remedy):
        content: Any = read_json(path / f"adaptation{side}.json")
        order = np.argsort(content["task_ids"], kind="stable")
        values = np.array(content[measure.entry], np.float64)[order]
        result = AdaptationResult(
            _of_one(values),
            _more(content, "lengths", order),
            _more(content, "successes", order),
            tuple(content["experience"]),
        )
        ids = tuple(str(content["task_ids"][i]) for i in order)
        every = read_json(path / f"summary{side}.json")
        found = {"iteration": every["iteration"], "best": "oracle"}
        found |= {name: every.get(name) for name in OF_SUMMARY} | content.get("anchors", {})
        for name in ("floor_return", "oracle_return"):
            found[name] = None if found[name] is None else float(found[name])
        counted = every.get(measure.counter)
        if counted is None:
            counted = run.read_metrics()[measure.counter][-1]
    return Run(path, seed, result, ids, found, int(counted), cpu_seconds(path / "cost.json"))


def _more(content: Mapping[str, Any], name: str, order: NDArray[np.int64]) -> Any:
    """Further values of tasks; None where there are none."""
    found = content.get(name)
    return None if found is None else _of_one(np.array(found, np.float64)[order])


def _of_one(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values ``[N, K + 1, E]``, of which there may be one for each task, ``[N, K + 1]``."""
    return values if values.ndim == 3 else values[..., None]


def method_summary(
    method: str,
    runs: Sequence[Run],
    reference: Sequence[Run],
    anchors: dict[str, float | None],
    seed: int,
    measure: Measure = RETURN,
    at: NDArray[np.float64] | None = None,
) -> dict[str, Any]:
    """All numbers of a method; lists have an entry for every k.

    Args:
        method: Name of the method.
        runs: Seeds of the method.
        reference: Seeds of the method it is compared with; empty: none.
        anchors: ``floor`` and ``oracle``, None where they are not known.
        seed: Seed of the bootstraps.
        measure: What the values of the tasks are.
        at: Values that the performance profile looks at; None: those of these runs.

    Returns:
        What `adaptation_summary` returns, and: ``above_start``, value minus that at k = 0, and
        ``above_reference``, value minus the reference's at its last k (None for the reference
        itself), each with ``estimate``, ``low``, ``high`` (None of one task) and ``marked``:
        whether the interval excludes 0; ``better_than_reference``, the probability that a run does
        better on a task than one of the reference, likewise, marked where it excludes 0.5;
        `profile`; ``env_steps`` (or ``tasks_seen``) and ``cpu_seconds`` of training, means over the
        seeds.
    """
    curves = stacked(runs)
    rng = np.random.default_rng(seed)
    columns = np.moveaxis(curves, -1, 0)  # [K + 1, seeds, N]
    start = [bootstrap_ci(c - columns[0], rng=rng, resampling=crossed) for c in columns]
    versus = better = None
    num_seeds, num_tasks = columns[0].shape
    if reference and reference[0].path.parent != runs[0].path.parent:
        last, chance = stacked(reference)[..., -1], np.random.default_rng(seed)
        apart = (crossed_difference_ci(c, last, rng=rng) for c in columns)
        versus = [marked(one, num_seeds, num_tasks) for one in apart]
        sides = (measure.sign * c for c in (columns[-1], last))
        better = marked(probability_of_improvement(*sides, rng=chance), num_seeds, num_tasks, 0.5)
    seconds = [run.cpu_seconds for run in runs if run.cpu_seconds is not None]
    results = [run.result for run in runs]
    return {
        "method": method,
        "axis": runs[0].summary["axis"],
        "seeds": [run.seed for run in runs],
        **adaptation_summary(results, **anchors, seed=seed, of=measure),
        "above_start": [marked(d, num_seeds, num_tasks) for d in start],
        "above_reference": versus,
        "better_than_reference": better,
        "profile": profile(runs, thresholds(runs) if at is None else at, seed, measure),
        measure.counter: float(np.mean([run.learned_from for run in runs])),
        "cpu_seconds": float(np.mean(seconds)) if len(seconds) == len(runs) else None,
        "iterations": [run.summary["iteration"] for run in runs],
        "runs": [
            {"seed": run.seed, f"{measure.name}_mean": run.result.curve.mean(0).tolist()}
            for run in runs
        ],
    }


NUM_THRESHOLDS = 33
"""Values at which a performance profile is looked at."""


def thresholds(runs: Sequence[Run]) -> NDArray[np.float64]:
    """Return values from the lowest to the highest that any run has on a task in the end."""
    last = np.concatenate([run.result.curve[:, -1] for run in runs])
    found: NDArray[np.float64] = np.linspace(last.min(), last.max(), NUM_THRESHOLDS)
    return found


def profile(
    runs: Sequence[Run], at: NDArray[np.float64], seed: int, measure: Measure = RETURN
) -> dict[str, list[float]]:
    """Return the share of runs and tasks that do better than each of some values in the end.

    Args:
        runs: Seeds of a method.
        at: The values.
        seed: Seed of the bootstraps.
        measure: What the values are.

    Returns:
        ``at``, and of each ``share`` with the ends of its 95 % interval, ``low`` and ``high``.
    """
    last, rng = stacked(runs)[..., -1], np.random.default_rng(seed)
    found = performance_profile(measure.sign * last, measure.sign * at, rng=rng)
    share, low, high = (column.tolist() for column in found)
    return {"at": at.tolist(), "share": share, "low": low, "high": high}


def marked(
    difference: Interval, num_seeds: int, num_tasks: int, without: float = 0.0
) -> dict[str, Any]:
    """An interval, where there is one, and whether it excludes what no difference is."""
    low, high = interval_ends(difference, num_tasks) or (None, None)
    enough = num_tasks > 1 and num_seeds * num_tasks >= LEAST_VALUES
    excludes = difference.low > without or difference.high < without
    estimate = {"estimate": difference.estimate, "low": low, "high": high}
    return {**estimate, "marked": bool(enough and excludes)}


def stacked(runs: Sequence[Run]) -> np.ndarray:
    """Mean returns ``[seeds, N, K + 1]``.

    Raises:
        UserError: The seeds were measured differently.
    """
    shapes = {run.result.curve.shape for run in runs}
    if len(shapes) > 1:
        raise UserError(
            f"the seeds in {runs[0].path.parent} were not evaluated alike; "
            "give the same command without --report-only"
        )
    return np.stack([run.result.curve for run in runs])
