"""What becomes of an evaluation's summary: where it goes, and how it reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metarl.foreign_bytes import understood
from metarl.plots.references import REFERENCES
from metarl.runs.files import read_json

QUESTION = ("num_tasks", "seed", "greedy", "window")
"""What was asked of an agent: the same question has the same answer."""


def kept_instead(path: Path, summary: Mapping[str, Any]) -> str | None:
    """Why an earlier summary of the same agent stays, in words; None where the new one is written.

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
    if all(earlier.get(name) == summary[name] for name in QUESTION):
        return "it is of the same trials"
    return None


def describe(place: Path, summary: Mapping[str, Any]) -> str:
    """A summary in a few lines.

    Args:
        place: The run.
        summary: Its summary.
    """
    low, high = summary["ci95"]
    return "\n".join(
        (
            f"{place}: {summary['num_tasks']} trials, {summary['protocol']}"
            f" ({summary['num_goals']} goals), after {summary['iteration']} iterations",
            f"  return {summary['mean_return']:.1f} [{low:.1f}, {high:.1f}],"
            f" interquartile mean {summary['iqm']:.1f},"
            f" normalised score {_number(summary['normalised_score'], '.3f')}",
            "  beside: "
            + "; ".join(
                f"{words} {summary[f'{key}_return']:.1f}" for key, words in REFERENCES.items()
            ),
            f"  {_first_find(summary)};"
            f" steps from find to find: {_number(summary['find_interval_mean'], '.1f')}",
        )
    )


def describe_seeds(summary: Mapping[str, Any]) -> str:
    """The mean return over several runs, and its interval, in a line.

    Args:
        summary: Of all runs.
    """
    low, high = summary["mean_return_over_runs_ci95"]
    return (
        f"mean of {summary['num_runs']} runs: return {summary['mean_return']:.1f}"
        f" [{low:.1f}, {high:.1f}] (95 % t interval over the runs)"
    )


def _first_find(summary: Mapping[str, Any]) -> str:
    """When the goal is first found; half of the trials must find it, or there is no median."""
    rate = f"{100 * summary['first_find_rate']:.1f} % of the trials"
    if not summary["first_find_rate"]:
        return "first find: in none of the trials"
    mean = f"mean step {summary['first_find_mean']:.1f}"
    if summary["first_find_median"] is None:
        return f"first find: in {rate}, {mean} of these (too few for a median over all)"
    return f"first find: in {rate}, {mean} of these, median step {summary['first_find_median']:g}"


def _number(value: float | None, how: str) -> str:
    return "–" if value is None else format(value, how)
