"""The axes of a comparison's picture: their look, experience, names at the ends of lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

WIDE = 20.0
"""Ratio of experience from which on its axis is logarithmic."""

INK, FAINT, BEHIND = "#333333", "#8a8a8a", "#d4d4d4"

Summary = Mapping[str, Any]


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
    colours: Mapping[str, str],
    limits: tuple[float, float],
) -> None:
    """The name of each line beside its end, moved apart where names would overlap."""
    names = sorted(members, key=lambda s: float(s["return_mean"][-1]))
    wanted = [float(s["return_mean"][-1]) for s in names]
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
