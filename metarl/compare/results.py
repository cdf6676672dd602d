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

from metarl.compare.settings import Comparison
from metarl.compare.work import cpu_seconds
from metarl.errors import UserError, understood
from metarl.evaluate.returns import (
    AdaptationResult,
    adaptation_summary,
    interval_ends,
)
from metarl.runs.directory import RunDirectory
from metarl.runs.files import read_json
from metarl.stats import Interval, bootstrap_ci, crossed, crossed_difference_ci

LEAST_VALUES = 5
"""Means of a seed on a task, without which no difference is marked."""


@dataclass(frozen=True, eq=False)
class Run:
    """One seed of a method.

    Attributes:
        path: Run directory.
        seed: Seed of training.
        result: Episodes on the unseen tasks, ordered by name.
        task_ids: Names of the tasks.
        summary: Entries of `summary.json` that are read.
        env_steps: Environment steps of training.
        cpu_seconds: CPU seconds of training; None where they were not counted.
    """

    path: Path
    seed: int
    result: AdaptationResult
    task_ids: tuple[str, ...]
    summary: dict[str, Any]
    env_steps: int
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
    """

    methods: list[dict[str, Any]]
    missing: list[str]
    reference: str | None
    floor: str | None
    floor_return: float | None
    oracle_return: float | None
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def anchors(self) -> dict[str, float]:
        """Returns to judge by, as far as they are known, by name."""
        lines = {self.floor or "floor": self.floor_return, "oracle": self.oracle_return}
        return {name: value for name, value in lines.items() if value is not None}

    @property
    def failed_methods(self) -> list[str]:
        """Methods of which nothing is there but failures."""
        failed = dict.fromkeys(name.partition("/")[0] for name in self.failures)
        return [m for m in failed if m not in [s["method"] for s in self.methods]]


def measured(folder: Path, comparison: Comparison, failures: Mapping[str, str]) -> Compared:
    """Sum up what has been evaluated.

    Args:
        folder: Folder of the comparison.
        comparison: What is compared.
        failures: Runs that failed now, and of what: what they left earlier does not count.

    Raises:
        UserError: Nothing has been evaluated, or not on the same tasks.
    """
    runs: dict[str, list[Run]] = {}
    missing, failures = [], dict(failures)
    for method in comparison.methods:
        for seed in comparison.seeds:
            name, path = f"{method}/seed-{seed}", folder / method / f"seed-{seed}"
            there = (path / "summary.json").exists() and (path / "adaptation.json").exists()
            try:
                if there and name not in failures:
                    runs.setdefault(method, []).append(read_run(path, seed))
                    continue
            except UserError as error:
                failures[name] = str(error)
            missing.append(name)
    runs = {method: found for method, found in runs.items() if found}
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
    anchors = {"floor": every[0].summary["floor_return"]}
    anchors["oracle"] = every[0].summary["oracle_return"]
    seed = comparison.evaluate.seed
    beside = runs.get(reference, []) if reference is not None else []
    return Compared(
        [method_summary(m, found, beside, anchors, seed) for m, found in runs.items()],
        missing,
        reference if beside else None,
        every[0].summary["floor"],
        anchors["floor"],
        anchors["oracle"],
        failures,
    )


OF_SUMMARY = ("axis", "floor", "floor_return", "oracle_return", "iteration")
"""Entries that are read of a run's `summary.json`."""


def read_run(path: Path, seed: int) -> Run:
    """Read what one run left behind.

    Raises:
        UserError: The files are damaged, or of another version.
    """
    run = RunDirectory.open(path)
    remedy = f"delete {path / 'evaluated.json'}, and it is evaluated again"
    with understood(path, "was not evaluated as it should be", remedy):
        content: Any = read_json(path / "adaptation.json")
        order = np.argsort(content["task_ids"], kind="stable")
        successes = content["successes"]
        result = AdaptationResult(
            np.array(content["returns"], np.float64)[order],
            np.array(content["lengths"], np.float64)[order],
            None if successes is None else np.array(successes, np.float64)[order],
            tuple(content["experience"]),
        )
        ids = tuple(str(content["task_ids"][i]) for i in order)
        summary = {name: run.read_summary()[name] for name in OF_SUMMARY}
        for name in ("floor_return", "oracle_return"):
            summary[name] = None if summary[name] is None else float(summary[name])
        steps = int(run.read_metrics()["env_steps"][-1])
    return Run(path, seed, result, ids, summary, steps, cpu_seconds(path / "cost.json"))


def method_summary(
    method: str,
    runs: Sequence[Run],
    reference: Sequence[Run],
    anchors: dict[str, float | None],
    seed: int,
) -> dict[str, Any]:
    """All numbers of a method; lists have an entry for every k.

    Args:
        method: Name of the method.
        runs: Seeds of the method.
        reference: Seeds of the method it is compared with; empty: none.
        anchors: ``floor`` and ``oracle``, None where they are not known.
        seed: Seed of the bootstraps.

    Returns:
        What `adaptation_summary` returns, and: ``above_start``, return minus that at k = 0, and
        ``above_reference``, return minus the reference's at its last k (None for the reference
        itself), each with ``estimate``, ``low``, ``high`` (None of one task) and ``marked``:
        whether the interval excludes 0; ``env_steps`` and ``cpu_seconds`` of training, means over
        the seeds.
    """
    curves = stacked(runs)
    rng = np.random.default_rng(seed)
    columns = np.moveaxis(curves, -1, 0)  # [K + 1, seeds, N]
    start = [bootstrap_ci(c - columns[0], rng=rng, resampling=crossed) for c in columns]
    versus = None
    if reference and reference[0].path.parent != runs[0].path.parent:
        last = stacked(reference)[..., -1]
        versus = [crossed_difference_ci(c, last, rng=rng) for c in columns]
    num_seeds, num_tasks = columns[0].shape
    seconds = [run.cpu_seconds for run in runs if run.cpu_seconds is not None]
    return {
        "method": method,
        "axis": runs[0].summary["axis"],
        "seeds": [run.seed for run in runs],
        **adaptation_summary([run.result for run in runs], **anchors, seed=seed),
        "above_start": [marked(d, num_seeds, num_tasks) for d in start],
        "above_reference": None
        if versus is None
        else [marked(d, num_seeds, num_tasks) for d in versus],
        "env_steps": float(np.mean([run.env_steps for run in runs])),
        "cpu_seconds": float(np.mean(seconds)) if len(seconds) == len(runs) else None,
        "iterations": [run.summary["iteration"] for run in runs],
        "runs": [
            {"seed": run.seed, "return_mean": run.result.curve.mean(0).tolist()} for run in runs
        ],
    }


def marked(difference: Interval, num_seeds: int, num_tasks: int) -> dict[str, Any]:
    """An interval, where there is one, and whether it excludes 0."""
    low, high = interval_ends(difference, num_tasks) or (None, None)
    enough = num_tasks > 1 and num_seeds * num_tasks >= LEAST_VALUES
    excludes = difference.low > 0 or difference.high < 0
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
