"""Report of an evaluation of trials: its summary in lines, pictures, values by layout."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metarl.evaluate.measures import TRIAL_RETURN, write_values
from metarl.evaluate.references import REFERENCES, References, in_digits, or_dash
from metarl.evaluate.trials import Array, first_finds, window_returns


def describe(place: Path, summary: Mapping[str, Any], references: References) -> str:
    """A summary in a few lines."""
    low, high = summary["ci95"]
    return "\n".join(
        (
            f"{place}: {summary['num_tasks']} trials, {summary['protocol']}"
            f"{_number_of(summary)}, after {summary['iteration']} iterations",
            f"  return {in_digits(summary['mean_return'])} [{in_digits(low)}, {in_digits(high)}],"
            f" interquartile mean {in_digits(summary['iqm'])},"
            f" normalised score {or_dash(summary['normalised_score'], '.3f')}",
            f"  beside: {references.beside(summary)}{no_scale(summary)}",
            f"  {_first_find(summary)};"
            f" steps from find to find: {or_dash(summary['find_interval_mean'], '.1f')}",
            *_maze_by_maze(summary),
        )
    )


def no_scale(summary: Mapping[str, Any]) -> str:
    """Reason why there is no score, as the end of a line; empty where there is one."""
    known = all(summary.get(f"{name}_return") is not None for name in ("random", "explorer"))
    none = known and summary["normalised_score"] is None
    return "; no score: explorers earn no more than random actions" if none else ""


def _maze_by_maze(summary: Mapping[str, Any]) -> Iterator[str]:
    """Lines about the named mazes, if there are some."""
    for maze, figures in summary.get("per_maze", {}).items():
        score = or_dash(figures["normalised_score"], ".3f")
        yield (
            f"    {maze} ({figures['num_trials']}): return {in_digits(figures['mean_return'])},"
            f" floor {in_digits(figures['random_return'])},"
            f" explorer {in_digits(figures['explorer_return'])},"
            f" score {score}, found {100 * figures['success']:.0f} %"
        )
    for family, figures in summary.get("per_family", {}).items():
        score, found = figures["normalised_score"], figures["success"]
        yield f"    {family}: score {or_dash(score, '.3f')}, found {100 * found:.0f} %"
    if "per_family" in summary:
        score, found = (summary[f"{n}_over_families"] for n in ("normalised_score", "success"))
        yield f"    every family alike: score {or_dash(score, '.3f')}, found {100 * found:.0f} %"


def _number_of(summary: Mapping[str, Any]) -> str:
    """Number of tasks that there were to draw from, in words, where it is said."""
    known = (n for n in ("layouts", "goals") if f"num_{n}" in summary)
    return "".join(f" ({summary[f'num_{n}']} {n})" for n in known)


def describe_seeds(summary: Mapping[str, Any]) -> str:
    """The mean return over several runs, and its interval, in a line.

    Args:
        summary: Of all runs.
    """
    low, high = summary["mean_return_over_runs_ci95"]
    return (
        f"mean of {summary['num_runs']} runs: return {in_digits(summary['mean_return'])}"
        f" [{in_digits(low)}, {in_digits(high)}] (95 % t interval over the runs)"
    )


def _first_find(summary: Mapping[str, Any]) -> str:
    """Time of the first find, in words; half of the trials must find it, or there is no median."""
    rate = f"{100 * summary['first_find_rate']:.1f} % of the trials"
    if not summary["first_find_rate"]:
        return "first find: in none of the trials"
    mean = f"mean step {summary['first_find_mean']:.1f}"
    if summary["first_find_median"] is None:
        return f"first find: in {rate}, {mean} of these (too few for a median over all)"
    return f"first find: in {rate}, {mean} of these, median step {summary['first_find_median']:g}"


def draw_within_trial(
    place: Path, rewards: Mapping[str, Array], references: References, window: int
) -> None:
    """Write `within_trial.png`, the picture of learning to learn: return in each whole window.

    Args:
        place: The folder.
        rewards: Of trials, ``[T, B]`` by name.
        references: What they are judged by.
        window: Steps a point.
    """
    # Half a second, of which training has no need.
    from metarl.plots.lines import Curves, save_figure, within_trial_curve

    curves = []
    width = min(window, *map(len, rewards.values()))
    for name, trials in {**rewards, **references.curves}.items():  # [T, B]
        values = window_returns(trials, width).T[:, : len(trials) // width]  # [B, windows]
        ends = width * np.arange(1, values.shape[1] + 1)
        curves.append(Curves(name, ends, values))
    picture = place / "within_trial.png"
    title = "within one trial"
    save_figure(
        within_trial_curve(curves, window=width, title=title, note=references.note), picture
    )
    print(f"  drawn: {picture}")


def write_trials(
    place: Path, rewards: Array, names: Sequence[str], summary: Mapping[str, Any]
) -> None:
    """Write what was earned in every trial, and when its goal was first found.

    Args:
        place: The folder.
        rewards: Of the trials, ``[T, B]``.
        names: Of their tasks.
        summary: Of the trials.
    """
    first, success = first_finds(rewards, len(rewards))
    anchors = {
        **{"axis": "trials", "floor": REFERENCES["random"], "best": REFERENCES["explorer"]},
        "floor_return": summary.get("random_return"),
        "oracle_return": summary.get("explorer_return"),
    }
    write_values(
        place / "adaptation.json",
        TRIAL_RETURN,
        rewards.sum(0)[:, None],
        names,
        (0,),
        lengths=first[:, None],
        successes=success[:, None].astype(int),
        anchors=anchors,
    )


def write_layouts(place: Path, rewards: Mapping[str, Array], references: References) -> None:
    """Write the values of every layout, and the picture of learning find by find.

    Args:
        place: The folder.
        rewards: Of trials, ``[T, B]`` by name; the first are written layout by layout.
        references: What they are judged by, as far as there are layouts and shortest ways.
    """
    known = references.known
    if known.layouts is None:
        return
    columns = references.by_layout(next(iter(rewards.values())))
    names = {name: n for n, name in reversed(list(enumerate(known.layouts)))}  # the first of each
    table = place / "layouts.csv"
    with table.open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(("layout", *known.facts, *columns))
        for row, name in enumerate(dict.fromkeys(known.layouts)):
            facts = (numbers[names[name]] for numbers in known.facts.values())
            values = (column[row] for column in columns.values())
            lines.writerow((name, *facts, *("" if v != v else f"{v:.6g}" for v in values)))
    print(f"  written: {table}")
    if known.shortest is not None and known.first_find is not None:
        from metarl.plots.finds import draw_finds

        picture = place / "finds.png"
        draw_finds(
            picture,
            {name: references.finds(each) for name, each in rewards.items()},
            explorer=float(known.first_find.sum() / known.shortest.sum()),
        )
        print(f"  written: {picture}")
