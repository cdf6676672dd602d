"""The picture of a comparison: adaptation by family of methods, and where all of them end.

On the left one small panel a family, all on the same axes, with the reference dotted in each and
the other families in grey; on the right every method in one line, from its return before adaptation
to that after it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

from experiments.maze_adapt.comparison.axes import (
    BEHIND,
    FAINT,
    INK,
    experience,
    label_ends,
    plain,
)
from experiments.maze_adapt.comparison.results import Compared
from metarl.plots.lines import COLOURS

FAMILIES: Mapping[str, tuple[str, ...]] = {
    "through the adaptation": ("maml", "anil", "metasgd", "warp"),
    "first order, implicit": ("fomaml", "reptile", "imaml"),
    "made for policies": ("emaml", "promp", "trpo-maml"),
    "recurrent, and without meta-learning": ("rl2", "warp-rnn", "ppo", "none"),
}
"""Methods that share a panel; what is not named here shares one of its own."""

FEW = 4
"""Methods that go into one panel together."""

Summary = Mapping[str, Any]


def draw(compared: Compared, title: str) -> Figure:
    """Draw all methods.

    Args:
        compared: Their numbers.
        title: Words above.
    """
    panels = families(compared.methods)
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    height = max(3.2 * lines, 1.6 + 0.34 * len(compared.methods), 4.4)
    figure = Figure(figsize=(4.1 * columns + 4.6, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.01, ha="left", color=INK, fontsize=13)
    widths = [1.0] * columns + [0.95]
    grid = GridSpec(lines, columns + 1, figure=figure, width_ratios=widths)
    colours = colours_of(panels)
    limits = heights(compared)
    axes: list[Axes] = []
    for index, (name, members) in enumerate(panels.items()):
        where = grid[index // columns, index % columns]
        axes.append(figure.add_subplot(where, sharex=axes[0] if axes else None))
        others = [s for s in compared.methods if s not in members]
        family(axes[-1], name, members, others, colours, compared, limits)
        if index % columns:
            axes[-1].tick_params(labelleft=False)
    for one in axes[::columns]:
        one.set_ylabel("return per episode", color=INK)
    for one in axes[-columns:]:
        one.set_xlabel("episodes of experience on the task", color=INK)
    endings(figure.add_subplot(grid[:, columns]), compared, colours)
    return figure


def families(methods: Sequence[Summary]) -> dict[str, list[Summary]]:
    """Panels: all in one where there are few, otherwise by family."""
    if len(methods) <= FEW:
        return {"": list(methods)}
    found: dict[str, list[Summary]] = {}
    for name, members in FAMILIES.items():
        here = [s for s in methods if s["method"] in members]
        if here:
            found[name] = here
    named = {method for members in FAMILIES.values() for method in members}
    others = [s for s in methods if s["method"] not in named]
    return {**found, "others": others} if others else found


def colours_of(panels: Mapping[str, Sequence[Summary]]) -> dict[str, str]:
    """A colour a method, different within its panel."""
    return {
        summary["method"]: COLOURS[index % len(COLOURS)]
        for members in panels.values()
        for index, summary in enumerate(members)
    }


def heights(compared: Compared) -> tuple[float, float]:
    """Lowest and highest return drawn: all intervals, the floor, and the oracle if it is near."""
    every = [end for s in compared.methods for ends in intervals(s) for end in ends]
    ends = np.array(every)
    low, high = min(ends.min(), compared.floor_return), ends.max()
    if compared.oracle_return <= high + 1.5 * (high - low):
        high = max(high, compared.oracle_return)
    margin = 0.06 * (high - low or 1.0)
    return low - margin, high + margin


def intervals(summary: Summary) -> list[Sequence[float]]:
    """For every k; where there is none, as of one task, the mean itself."""
    found = zip(summary["return_mean"], summary["return_mean_ci95"], strict=True)
    return [ends or (mean, mean) for mean, ends in found]


def family(
    axes: Axes,
    name: str,
    members: Sequence[Summary],
    others: Sequence[Summary],
    colours: Mapping[str, str],
    compared: Compared,
    limits: tuple[float, float],
) -> None:
    """One panel."""
    plain(axes)
    axes.set_title(name, loc="left", fontsize=10, color=INK)
    axes.set_ylim(*limits)
    for summary in others:
        axes.plot(summary["experience"], summary["return_mean"], color=BEHIND, linewidth=1.0)
    anchors(axes, compared, limits)
    for summary in members:
        colour, x = colours[summary["method"]], summary["experience"]
        low, high = zip(*intervals(summary), strict=True)
        axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(x, summary["return_mean"], color=colour, linewidth=1.8, marker="o", markersize=3)
    reference = [s for s in others if s["method"] == compared.reference]
    for summary in reference:
        axes.plot(summary["experience"], summary["return_mean"], ":", color=INK, linewidth=1.4)
    experience(axes, compared.methods)
    inks = {**colours, **{s["method"]: INK for s in reference}}
    label_ends(axes, [*members, *reference], inks, limits)


def anchors(axes: Axes, compared: Compared, limits: tuple[float, float]) -> None:
    """Dashed lines at the floor and the oracle; a word at the top where the oracle is far off.

    The words stand at the right end, outside of the two lines, where curves are least.
    """
    lines = {compared.floor: compared.floor_return, "oracle": compared.oracle_return}
    for name, value in lines.items():
        inside = limits[0] <= value <= limits[1]
        if inside:
            axes.axhline(value, color=FAINT, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)
        above = inside and name == "oracle"
        axes.annotate(
            f"{name} {value:.3g}" + ("" if inside else " ↑"),
            xy=(1.0, value if inside else limits[1]),
            xycoords=("axes fraction", "data"),
            xytext=(0, 2 if above else -2),
            textcoords="offset points",
            ha="right",
            va="bottom" if above else "top",
            fontsize=8,
            color=FAINT,
        )


def endings(axes: Axes, compared: Compared, colours: Mapping[str, str]) -> None:
    """Every method from k = 0 to its last k, best at the top."""
    plain(axes)
    axes.grid(axis="x", color="#e6e6e6", linewidth=0.8)
    axes.grid(visible=False, axis="y")
    found = sorted(compared.methods, key=lambda s: float(s["return_mean"][-1]))
    for place, summary in enumerate(found):
        colour, means = colours[summary["method"]], summary["return_mean"]
        low, high = intervals(summary)[-1]
        axes.plot((means[0], means[-1]), (place, place), color=BEHIND, linewidth=1.2, zorder=1)
        axes.plot((low, high), (place, place), color=colour, linewidth=3.2, alpha=0.35)
        axes.plot(means[0], place, "o", color="white", markeredgecolor=colour, markersize=5)
        axes.plot(means[-1], place, "o", color=colour, markersize=6)
        versus = summary["above_reference"]
        if versus is not None and versus[-1]["marked"]:
            sign = "▲" if versus[-1]["estimate"] > 0 else "▼"
            axes.annotate(
                sign,
                xy=(1.0, place),
                xycoords=("axes fraction", "data"),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
                color=INK,
                annotation_clip=False,
            )
    axes.set_yticks(range(len(found)), [s["method"] for s in found])
    axes.set_ylim(-0.7, len(found) - 0.3)
    lines = {compared.floor: compared.floor_return, "oracle": compared.oracle_return}
    low_end, high_end = heights(compared)
    for value in lines.values():
        if low_end <= value <= high_end:
            axes.axvline(value, color=FAINT, linewidth=1.0, linestyle=(0, (4, 3)), zorder=0)
    words = "○ before adaptation   ● after it, with its 95 % interval"
    if compared.reference is not None:
        words += f"\n▲ ▼ above, below {compared.reference} (paired; interval without 0)"
    axes.set_title(words, loc="left", fontsize=8.5, color=FAINT)
    axes.set_xlabel("return per episode", color=INK)
