"""Runs of a sweep summed up by their `summary.json`: lines of seeds, their numbers and curves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metarl.errors import UserError
from metarl.foreign_bytes import understood
from metarl.plots.lines import Curves
from metarl.runs.directory import RunDirectory
from metarl.stats import mean_and_interval

Summary = Mapping[str, Any]


def read_summaries(
    folder: Path, row: Callable[[Summary], Summary | None], what: str = "run"
) -> list[Summary]:
    """Summaries of the evaluated runs under a folder.

    Args:
        folder: Where.
        row: Makes the row of a run of its summary; None of one that does not belong there. What it
            raises of a damaged summary is told with the file.
        what: What such a run is called.

    Raises:
        UserError: There is no run, or a summary is damaged.
    """
    found = []
    for path in sorted(folder.rglob("summary.json")):
        if (path.parent / "config.json").exists():
            summary = RunDirectory.open(path.parent).read_summary()
            with understood(path, "is not a summary", "evaluate the run again"):
                found.append(row(summary))
    rows = [one for one in found if one is not None]
    if not rows:
        raise UserError(f"there is no evaluated {what} in {folder}")
    return rows


def seeds_of_lines(
    summaries: Sequence[Summary], judged: Mapping[str, str], *names: str
) -> dict[tuple[Any, ...], list[Summary]]:
    """Runs that differ in nothing but their seed, by ``names`` and a name for the legend.

    Args:
        summaries: Summaries of all runs; each has a ``method``.
        judged: Entries that say how a run was judged, in words; what differs in them is not
            averaged. The name for the legend is the method, and what of these differs within it.
        names: Further entries that tell lines apart.
    """
    lines: dict[tuple[Any, ...], list[Summary]] = {}
    for summary in summaries:
        alike = [s for s in summaries if s["method"] == summary["method"]]
        telling = [k for k in judged if len({s[k] for s in alike}) > 1]
        words = [f"{judged[k]} {summary[k]}" for k in telling]
        label = ", ".join([summary["method"], *words])
        lines.setdefault((*(summary[n] for n in names), label), []).append(summary)
    return lines


def over_seeds(runs: Sequence[Summary], name: str, scale: float, digits: int) -> str:
    """Mean of a number over runs with half its 95 % t interval, as ``94.0 ± 1.2``."""
    mean, _, high = mean_and_interval([scale * run[name] for run in runs])
    half = f" ± {float(high - mean):.{digits}f}" if len(runs) > 1 else ""
    return f"{float(mean):.{digits}f}{half}"


def curve_within(label: str, runs: Sequence[Summary], x: str, y: str) -> Curves:
    """Curves of runs: a list ``y`` of each summary, at the places ``x`` that all of them have."""
    common = sorted(set.intersection(*(set(run[x]) for run in runs)))
    at = [dict(zip(run[x], run[y], strict=True)) for run in runs]
    return Curves(label, np.asarray(common), np.array([[one[k] for k in common] for one in at]))


def curve_across(
    label: str, runs: Sequence[Summary], x: str, y: str, seed: str = "run_seed"
) -> Curves | None:
    """Curves of seeds: a number ``y`` of the runs of each against another, ``x``.

    Seeds that lack a run are left out; None where all do.
    """
    places = sorted({run[x] for run in runs})
    found = {(run[seed], run[x]): run[y] for run in runs}
    seeds = sorted({run[seed] for run in runs})
    whole = [s for s in seeds if all((s, place) in found for place in places)]
    values = np.array([[found[s, place] for place in places] for s in whole])
    return Curves(label, np.asarray(places), values) if whole else None
