"""The picture of a comparison: adaptation by family of methods, and where all of them end.

On the left one small panel per family, all on the same axes, with the reference dotted in each and
the other families in grey; on the right every method in one line, from its value before adaptation
to that after it, and below it the performance profiles: how many runs and tasks do better than each
value in the end (`metarl.stats.performance_profile`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from metarl.compare.results import Compared
from metarl.evaluate.measures import Measure
from metarl.plots.lines import COLOURS

WIDE = 20.0
"""Ratio of experience from which on its axis is logarithmic."""

INK, FAINT, BEHIND = "#333333", "#8a8a8a", "#d4d4d4"

FEW = 4
"""Methods that go into one panel together."""

STYLES = ("-", "--", ":", "-.")
"""Lines of one colour in one panel."""

Summary = Mapping[str, Any]


def draw(
    compared: Compared, title: str, named: Mapping[str, Sequence[str]] | None = None
) -> Figure:
    """Draw all methods.

    Args:
        compared: Their numbers.
        title: Words above.
        named: Methods that share a panel, by its title; what is not named shares one of its own.
    """
    panels = families(compared.methods, named or {})
    colours = colours_of(panels)
    if all(len(summary["steps"]) == 1 for summary in compared.methods):
        panels = {}  # nothing happens on the way
    columns = min(2, len(panels))
    lines = max(1, -(-len(panels) // max(columns, 1)))
    height = max(3.2 * lines, 3.6 + 0.34 * len(compared.methods), 5.4)
    figure = Figure(figsize=(4.1 * columns + 4.6, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.01, ha="left", color=INK, fontsize=13)
    widths = [1.0] * columns + [0.95]
    grid = GridSpec(lines, columns + 1, figure=figure, width_ratios=widths)
    right = grid[:, columns].subgridspec(2, 1, height_ratios=(1.5, 1.0))
    limits = heights(compared)
    axes: list[Axes] = []
    for index, (name, members) in enumerate(panels.items()):
        where = grid[index // columns, index % columns]
        axes.append(figure.add_subplot(where, sharex=axes[0] if axes else None))
        others = [s for s in compared.methods if s not in members]
        family(axes[-1], name, members, others, colours, compared, limits)
        if index % columns:
            axes[-1].tick_params(labelleft=False)
    for one in axes[:: columns or 1]:
        one.set_ylabel(compared.measure.axis, color=INK)
    for one in axes[-columns:]:
        one.set_xlabel(compared.measure.behind, color=INK)
    profiles(figure.add_subplot(right[1]), compared, colours)
    endings(figure.add_subplot(right[0]), compared, colours)
    return figure


def families(
    methods: Sequence[Summary], named: Mapping[str, Sequence[str]]
) -> dict[str, list[Summary]]:
    """Panels: all in one where there are few, otherwise by family."""
    if len(methods) <= FEW or not named:
        return {"": list(methods)}
    found: dict[str, list[Summary]] = {}
    for name, members in named.items():
        here = [s for s in methods if s["method"] in members]
        if here:
            found[name] = here
    placed = {method for members in named.values() for method in members}
    others = [s for s in methods if s["method"] not in placed]
    if others:
        found["others"] = [*found.get("others", ()), *others]
    return found


def colours_of(panels: Mapping[str, Sequence[Summary]]) -> dict[str, str]:
    """Colours of the methods, different within a panel."""
    return {
        summary["method"]: COLOURS[index % len(COLOURS)]
        for members in panels.values()
        for index, summary in enumerate(members)
    }


def heights(compared: Compared) -> tuple[float, float]:
    """Lowest and highest return drawn: all intervals, the floor, and the oracle if it is near."""
    of = compared.measure
    every = [end for s in compared.methods for ends in intervals(s, of) for end in ends]
    ends = np.array(every)
    low, high = ends.min(), ends.max()
    if compared.floor_return is not None:
        low = min(low, compared.floor_return)
    oracle = compared.oracle_return
    if oracle is not None and oracle <= high + 1.5 * (high - low):
        high = max(high, oracle)
    margin = 0.06 * (high - low or 1.0)
    return low - margin, high + margin


def means(summary: Summary, of: Measure) -> list[float]:
    """Means for every k."""
    found: list[float] = summary[f"{of.name}_mean"]
    return found


def intervals(summary: Summary, of: Measure) -> list[Sequence[float]]:
    """Intervals of the mean for every k; the mean itself where there is none."""
    found = zip(means(summary, of), summary[f"{of.name}_mean_ci95"], strict=True)
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
    """Draw one panel: a family of methods, all others in grey behind them."""
    of = compared.measure
    plain(axes)
    axes.set_title(name, loc="left", fontsize=10, color=INK)
    axes.set_ylim(*limits)
    for summary in others:
        axes.plot(summary["experience"], means(summary, of), color=BEHIND, linewidth=1.0)
    anchors(axes, compared, limits)
    for summary in members:
        colour, x = colours[summary["method"]], summary["experience"]
        low, high = zip(*intervals(summary, of), strict=True)
        axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(x, means(summary, of), color=colour, linewidth=1.8, marker="o", markersize=3)
    reference = [s for s in others if s["method"] == compared.reference]
    for summary in reference:
        axes.plot(summary["experience"], means(summary, of), ":", color=INK, linewidth=1.4)
    experience(axes, compared.methods)
    inks = {**colours, **{s["method"]: INK for s in reference}}
    last = {s["method"]: means(s, of)[-1] for s in [*members, *reference]}
    label_ends(axes, [*members, *reference], last, inks, limits)


def anchors(axes: Axes, compared: Compared, limits: tuple[float, float]) -> None:
    """Dashed lines at the floor and the oracle; a word at the top where the oracle is far off.

    The words stand at the right end, outside of the two lines, where curves are least.
    """
    for name, value in compared.anchors.items():
        inside = limits[0] <= value <= limits[1]
        if inside:
            axes.axhline(value, color=FAINT, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)
        above = inside and name == compared.best
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
    of = compared.measure
    plain(axes)
    axes.grid(axis="x", color="#e6e6e6", linewidth=0.8)
    axes.grid(visible=False, axis="y")
    found = sorted(compared.methods, key=lambda s: of.sign * means(s, of)[-1])
    for place, summary in enumerate(found):
        colour, values = colours[summary["method"]], means(summary, of)
        first, last = values[0], values[-1]
        low, high = intervals(summary, of)[-1]
        axes.plot((first, last), (place, place), color=BEHIND, linewidth=1.2, zorder=1)
        axes.plot((low, high), (place, place), color=colour, linewidth=3.2, alpha=0.35)
        axes.plot(first, place, "o", color="white", markeredgecolor=colour, markersize=5)
        axes.plot(last, place, "o", color=colour, markersize=6)
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
    low_end, high_end = heights(compared)
    for value in compared.anchors.values():
        if low_end <= value <= high_end:
            axes.axvline(value, color=FAINT, linewidth=1.0, linestyle=(0, (4, 3)), zorder=0)
    words = "○ before adaptation   ● after it, with its 95 % interval"
    if compared.reference is not None:
        words += f"\n▲ ▼ above, below {compared.reference} (paired; interval without 0)"
    axes.set_title(words, loc="left", fontsize=8.5, color=FAINT)
    axes.set_xlabel(of.axis, color=INK)


def profiles(axes: Axes, compared: Compared, colours: Mapping[str, str]) -> None:
    """Share of runs and tasks that do better than each value, of every method."""
    plain(axes)
    seen = Counter[str]()  # methods of one colour are in different panels
    for summary in compared.methods:
        colour, found = colours[summary["method"]], summary["profile"]
        style = STYLES[seen[colour] % len(STYLES)]
        seen[colour] += 1
        axes.plot(
            *(found["at"], found["share"]),
            color=colour,
            linestyle=style,
            linewidth=1.4,
            label=summary["method"],
        )
        axes.fill_between(found["at"], found["low"], found["high"], color=colour, alpha=0.1, lw=0)
    axes.set_ylim(-0.03, 1.03)
    axes.legend(fontsize=7, frameon=False, ncols=1 + (len(compared.methods) > FEW))
    what = "above" if compared.measure.higher_is_better else "below"
    axes.set_title(f"share of runs and tasks {what} it", loc="left", fontsize=8.5, color=FAINT)
    axes.set_xlabel(compared.measure.axis, color=INK)


def experience(axes: Axes, methods: Sequence[Summary]) -> None:
    """The axis of episodes: logarithmic after the first where some have seen many more."""
    seen = sorted({x for s in methods for x in s["experience"] if x > 0})
    last = max(seen, default=1)
    axes.xaxis.set_minor_locator(NullLocator())
    if seen and last / seen[0] > WIDE:
        axes.set_xscale("symlog", linthresh=1.0, linscale=0.4)
        axes.xaxis.set_major_locator(FixedLocator([0, 1, 3, 10, 30, 100, 300, 1000]))
        axes.set_xlim(-0.08, last * 2.6)
    else:
        ticks = seen if len(seen) <= 6 else seen[len(seen) % 2 :: -(-len(seen) // 5)]
        axes.xaxis.set_major_locator(FixedLocator([0, *ticks]))
        axes.set_xlim(-0.02 * last, last * 1.3)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def label_ends(
    axes: Axes,
    members: Sequence[Summary],
    last: Mapping[str, float],
    colours: Mapping[str, str],
    limits: tuple[float, float],
) -> None:
    """The name of each line beside its end, moved apart where names would overlap."""
    names = sorted(members, key=lambda s: last[s["method"]])
    wanted = [last[s["method"]] for s in names]
    for summary, height in zip(names, apart(wanted, 0.075 * (limits[1] - limits[0])), strict=True):
        axes.annotate(
            summary["method"],
            xy=(summary["experience"][-1], height),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=colours[summary["method"]],
        )


def apart(heights: Sequence[float], spacing: float) -> list[float]:
    """Rising heights, at least ``spacing`` apart, as near to those given as may be.

    Neighbours that are too near share a centre, and are merged with further ones as long as their
    places overlap.
    """
    blocks: list[tuple[float, int]] = []  # centre, number of labels
    for height in heights:
        blocks.append((height, 1))
        while len(blocks) > 1:
            (below, m), (above, n) = blocks[-2:]
            if above - below >= 0.5 * spacing * (m + n):
                break
            blocks[-2:] = [((m * below + n * above) / (m + n), m + n)]
    return [c + spacing * (i - 0.5 * (n - 1)) for c, n in blocks for i in range(n)]


def plain(axes: Axes) -> None:
    """The look of all pictures here."""
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)
    axes.tick_params(colors=INK, length=0)
