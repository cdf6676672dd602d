"""Learning curves of run directories: what is one line, what it is drawn over, and anchors.

Runs of one method and preset are one line, the mean over their seeds. Where such runs differ in
another setting they are lines of their own, and the legend names the setting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from metarl.errors import UserError
from metarl.evaluate.references import REFERENCES
from metarl.plots.lines import Curves
from metarl.runs.directory import RunDirectory

METRICS = ("return", "validation_accuracy", "query_loss", "last_support_loss", "support_loss")
"""Metrics to draw where none is asked for: the first that all runs have."""

BOOKKEEPING = {
    *("seed", "seeds", "run_dir", "resume", "device", "data", "provenance", "anchors"),
    *("iterations", "log_every", "checkpoint_every", "resumed", "native", "native_ran"),
    *("config", "log", "film_every"),
}
"""Settings that may differ between the seeds of one line."""


def group_runs(runs: Sequence[RunDirectory]) -> dict[str, list[RunDirectory]]:
    """Put the runs that differ in nothing but their seed together, by a name for the legend."""
    flat = [
        {k: v for k, v in _flatten(_method_settings(run.config)).items() if not _of_execution(k)}
        for run in runs
    ]
    names = [_name(run.config) for run in runs]
    groups: dict[str, list[RunDirectory]] = {}
    for run, settings, name in zip(runs, flat, names, strict=True):
        alike = [other for other, label in zip(flat, names, strict=True) if label == name]
        keys = {key for other in alike for key in other}
        telling = [k for k in sorted(keys) if any(o.get(k) != settings.get(k) for o in alike)]
        label = ", ".join([name, *(f"{key}={settings.get(key)}" for key in telling)])
        groups.setdefault(label, []).append(run)
    return groups


def curves(label: str, runs: Sequence[RunDirectory], x: str, metric: str) -> Curves:
    """Curves of one line: a row per run, at the iterations that all of them have logged."""
    columns = [_columns(run, x, metric) for run in runs]
    common = set.intersection(*(set(c["iteration"].tolist()) for c in columns))
    if not common:
        raise UserError(
            f"the runs of {label!r} have no iteration in common; "
            "plot them one at a time, or train them on"
        )
    chosen = [np.isin(c["iteration"], sorted(common)) for c in columns]
    values = [c[metric][rows] for c, rows in zip(columns, chosen, strict=True)]
    return Curves(label, columns[0][x][chosen[0]], np.stack(values).astype(np.float64))


def common_anchors(runs: Sequence[RunDirectory]) -> dict[str, float] | None:
    """Anchors of the runs by their names in the legend; None where the runs have different ones."""
    anchors = [run.config["anchors"] for run in runs if run.config.get("anchors")]
    if any(other != anchors[0] for other in anchors):
        return None
    first = anchors[0] if anchors else {}
    return {
        REFERENCES.get(name, name.replace("_", " ")): value
        for name, value in first.items()
        if value is not None
    }


def usual_metric(runs: Sequence[RunDirectory]) -> str:
    """The most telling metric that all runs have."""
    logged = [run.read_metrics() for run in runs]
    found = [m for m in METRICS if all(_has_numbers(columns, m) for columns in logged)]
    return found[0] if found else METRICS[0]


def _has_numbers(columns: Mapping[str, Any], metric: str) -> bool:
    return metric in columns and bool(np.isfinite(columns[metric].astype(np.float64)).any())


def usual_x(runs: Sequence[RunDirectory]) -> str:
    """Environment steps or tasks seen, where all runs count them; else iterations."""
    logged = [run.read_metrics() for run in runs]
    for x in ("env_steps", "tasks_seen"):
        if all(x in columns for columns in logged):
            return x
    return "iteration"


def _columns(run: RunDirectory, x: str, metric: str) -> dict[str, Any]:
    columns = run.read_metrics()
    if not columns:
        raise UserError(f"{run.path} has no metrics yet; train it a little longer")
    for name in (metric, x):
        if name not in columns:
            raise UserError(f"{run.path} has no metric {name!r}; it has {', '.join(columns)}")
    finite = np.isfinite(columns[metric].astype(np.float64))
    if not finite.any():
        raise UserError(f"{run.path} has no finite value of {metric!r}")
    return {name: columns[name][finite] for name in ("iteration", x, metric)}


def _method_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that the runs of one line share; under a schedule their length is one of them."""
    decays = [v for name, v in _flatten(config).items() if name.rpartition(".")[2] == "decay"]
    scheduled = any(decay != "constant" for decay in decays)
    ignored = BOOKKEEPING - {"iterations"} if scheduled else BOOKKEEPING
    return {key: value for key, value in config.items() if key not in ignored}


def _of_execution(key: str) -> bool:
    """Whether a setting only says how tasks are stacked, which changes nothing learned."""
    _, _, name = key.removeprefix("learner.execution.").rpartition(".")
    return key.startswith("learner.") and name in ("chunk_size", "num_threads", "compile")


def _name(config: Mapping[str, Any]) -> str:
    preset = config.get("preset")
    method = str(config.get("method", "run"))
    return method if preset in (None, "default") else f"{method} ({preset})"


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
