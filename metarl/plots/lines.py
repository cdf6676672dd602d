"""Figures: learning curves over seeds, and the within-trial curve, the picture of fast learning.

Every function returns a `matplotlib.figure.Figure` of its own (no pyplot, no global state, no
window). The colours are those of Okabe and Ito, which colour-blind readers can tell apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, StrMethodFormatter
from numpy.typing import NDArray

from metarl.stats import mean_and_interval

DASHES = ("-", "--", ":")
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def look(index: int) -> tuple[str, str]:
    """Colour and dashes of line ``index``: where colours begin again, lines are broken."""
    turn, place = divmod(index, len(COLOURS))
    return COLOURS[place], DASHES[turn % len(DASHES)]


_INK = "#333333"
_FAINT = "#8a8a8a"

WIDEST = 3.0
"""Height of a picture in heights of its lines, at most.

A wider band is cut, and the legend says so: the band of two seeds may be a hundred times as high as
the lines, which would be flat in it.
"""

SPACING = 0.05
"""Between the names of anchors, in heights of the picture."""

CUT = "intervals reach beyond the picture"


@dataclass(frozen=True)
class Curves:
    """The curves of one method, one row per seed (or trial).

    Attributes:
        label: Name in the legend.
        x: [n], rising: environment steps, iterations, or the last step of each window of a trial.
        values: [num_seeds, n], finite.
    """

    label: str
    x: NDArray[Any]
    values: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Check the shapes."""
        if self.values.ndim != 2 or self.x.shape != self.values.shape[1:] or not self.values.size:
            raise ValueError(
                f"curves {self.label!r} need x [n] and values [num_seeds, n], "
                f"got {self.x.shape} and {self.values.shape}"
            )


def learning_curves(
    methods: Sequence[Curves],
    *,
    anchors: Mapping[str, float] | None = None,
    smoothing: int = 1,
    confidence: float = 0.95,
    xlabel: str = "environment steps",
    ylabel: str = "return per trial",
    title: str = "",
    over: str = "seeds",
    log: bool = False,
    note: str = "",
) -> Figure:
    """Draw one line and one band per method: the mean over its seeds, and its t interval.

    Args:
        methods: Methods to compare. A method with one seed gets a line without a band.
        anchors: Horizontal lines to judge by, name → value, such as the random policy. One that is
            far above or below the curves is named at the edge, with an arrow.
        smoothing: Each seed's curve is averaged over its last `smoothing` points (at the start,
            over those there are) before the mean is taken. The legend says so.
        confidence: Confidence of the band.
        xlabel: Words under the picture.
        ylabel: Words beside it.
        title: Words above it.
        over: Name of the rows, for the legend: seeds, or tasks.
        log: The values are positive, and their logarithm is drawn.
        note: A further line of the legend, such as what the anchors are.
    """
    figure, axes = canvas(title, xlabel, ylabel)
    if log:
        axes.set_yscale("log")
        axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(StrMethodFormatter("{x:g}"))
    for index, method in enumerate(methods):
        smooth = Curves(method.label, method.x, running_mean(method.values, smoothing))
        _line_and_band(axes, smooth, look(index), confidence, over)
    cut = _fit_height(axes)
    _anchor_lines(axes, anchors or {})
    # A single point would be cut in half by the edge.
    lasts = [float(method.x[-1]) * (1.0 if len(method.x) > 1 else 1.05) for method in methods]
    axes.set_xlim(0, max(lasts) or 1.0)
    notes = [f"mean and {100 * confidence:g} % t interval over {over}"] if _several(methods) else []
    if smoothing > 1:
        notes.append(f"running mean of {smoothing} points")
    if cut:
        notes.append(CUT)
    legend(axes, ", ".join(notes), note)
    return figure


def within_trial_curve(
    agents: Sequence[Curves],
    *,
    window: int,
    anchors: Mapping[str, float] | None = None,
    references: Sequence[Curves] = (),
    confidence: float = 0.95,
    over: str = "trials",
    title: str = "",
    note: str = "",
) -> Figure:
    """Draw the return in each window of a trial: flat for an agent that does not learn in it.

    Args:
        agents: Agents to compare; `x` is the last step of each window, `values`
            [num_trials, windows] the return within the window.
        window: Steps in a window.
        anchors: Horizontal lines, name → return in a window.
        references: Curves to judge by, one row each, drawn broken and grey.
        confidence: Confidence of the bands.
        over: Name of the rows, for the legend: trials, or seeds.
        title: Words above it.
        note: A further line of the legend, such as what the references are.
    """
    figure, axes = canvas(title, "step of the trial", f"return in {window} steps")
    for index, agent in enumerate(agents):
        middle = Curves(agent.label, agent.x - 0.5 * window, agent.values)
        _line_and_band(axes, middle, look(index), confidence, over, "o")
    for line, dashes in zip(references, cycle(("--", ":", "-."))):
        middles, values = line.x - 0.5 * window, line.values[0]
        axes.plot(middles, values, color=_FAINT, linewidth=1.4, linestyle=dashes, label=line.label)
    cut = _fit_height(axes)
    _anchor_lines(axes, anchors or {})
    axes.set_xlim(0, max(float(agent.x[-1]) for agent in agents))
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    notes = [f"mean and {100 * confidence:g} % interval over {over}"] if _several(agents) else []
    legend(axes, ", ".join([*notes, CUT] if cut else notes), note)
    return figure


def save_figure(figure: Figure, path: Path | str) -> None:
    """Write a figure; the ending of `path` (.png, .svg, .pdf) says in which format."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=160)


def running_mean(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Average each value with the `window - 1` before it; at the start, with those there are.

    Args:
        values: [..., n].
        window: At least 1.

    Returns:
        [..., n]. Entry i covers entries max(0, i - window + 1) to i.
    """
    if window < 1:
        raise ValueError(f"a running mean needs a window of at least 1, got {window}")
    n = values.shape[-1]
    zero = np.zeros((*values.shape[:-1], 1))
    sums = np.concatenate([zero, np.cumsum(values, axis=-1)], axis=-1)  # [..., n + 1]
    end = np.arange(1, n + 1)
    start = np.maximum(end - window, 0)
    result: NDArray[np.float64] = (sums[..., end] - sums[..., start]) / (end - start)
    return result


def canvas(title: str, xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    """An empty picture in the style of all of them."""
    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", color=_INK, fontsize=12)
    axes.set_xlabel(xlabel, color=_INK)
    axes.set_ylabel(ylabel, color=_INK)
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_FAINT)
    axes.tick_params(which="both", colors=_INK, length=0)
    # Steps, tasks, iterations: all are counted.
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    return figure, axes


def _line_and_band(
    axes: Axes,
    curves: Curves,
    style: tuple[str, str],
    confidence: float,
    rows: str,
    marker: str = "",
) -> None:
    colour, dashes = style
    mean, low, high = mean_and_interval(curves.values, confidence=confidence)
    count, single = len(curves.values), len(curves.x) == 1
    label = f"{curves.label} ({count} {rows})" if count > 1 else curves.label
    axes.plot(
        curves.x,
        mean,
        color=colour,
        linestyle=dashes,
        linewidth=1.8,
        marker="o" if single else marker,
        markersize=6 if single else 4,
        label=label,
    )
    if count > 1:
        axes.fill_between(curves.x, low, high, color=colour, alpha=0.18, linewidth=0)
    if count > 1 and single:  # a band of no width
        axes.vlines(curves.x, low, high, color=colour, alpha=0.4, linewidth=3)


def _several(curves: Sequence[Curves]) -> bool:
    """Whether there is any interval to speak of."""
    return any(len(one.values) > 1 for one in curves)


def _fit_height(axes: Axes) -> bool:
    """Fit the axes to the lines and their bands; whether a band is wider than `WIDEST` allows."""
    log = axes.get_yscale() == "log"
    lines = _scaled([np.asarray(line.get_ydata(), float) for line in axes.get_lines()], log=log)
    paths = [path for band in axes.collections for path in band.get_paths()]
    bands = [np.asarray(path.vertices, float).reshape(-1, 2)[:, 1] for path in paths]
    if not lines.size:  # nothing finite
        return False
    low, high = float(lines.min()), float(lines.max())
    every = np.concatenate([lines, _scaled(bands, log=log)])
    room = 0.5 * (WIDEST - 1.0) * (high - low) or np.inf
    bottom, top = max(float(every.min()), low - room), min(float(every.max()), high + room)
    margin = 0.06 * (top - bottom) or (0.08 if log else 0.06)
    cut = bool(every.min() < bottom or every.max() > top)
    cut |= log and any(bool((band <= 0).any()) for band in bands)
    ends = bottom - margin, top + margin
    axes.set_ylim(*(10.0**end for end in ends) if log else ends)
    return cut


def _scaled(heights: Sequence[NDArray[Any]], *, log: bool) -> NDArray[np.float64]:
    """All finite heights, as the axis has them: a logarithm drops what is not above 0."""
    every = np.concatenate([*heights, np.empty(0)]).astype(np.float64)
    every = every[np.isfinite(every)]
    return np.log10(every[every > 0]) if log else every


def _anchor_lines(axes: Axes, anchors: Mapping[str, float]) -> None:
    """Dashed lines with their names at the right edge, moved apart where they would overlap.

    What would press the curves flat is no line: its name stands at the edge, with an arrow.
    """
    if not anchors:
        return
    log = axes.get_yscale() == "log"
    low, high = _scaled([np.array(axes.get_ylim())], log=log)
    reach, margin = 1.5 * (high - low), 0.06 * (high - low)
    for value in anchors.values():
        place = _scaled([np.array([value], float)], log=log)  # none: it has no logarithm
        if place.size and low - reach <= place[0] <= high + reach:
            axes.axhline(value, color=_FAINT, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)
            ends = _scaled([np.array(axes.get_ylim())], log=log)
            ends = np.array([min(ends[0], place[0] - margin), max(ends[1], place[0] + margin)])
            axes.set_ylim(*(10.0**ends if log else ends))
    _anchor_names(axes, anchors)


def _anchor_names(axes: Axes, anchors: Mapping[str, float]) -> None:
    """Names and values from the bottom up, the topmost inside of the picture."""
    (bottom, top), log = axes.get_ylim(), axes.get_yscale() == "log"
    ordered = sorted(anchors.items(), key=lambda anchor: anchor[1])
    heights: list[float] = []  # in shares of the axes
    for _, value in ordered:
        inside = min(max(value, bottom), top)
        low, here, high = np.log([bottom, inside, top]) if log else (bottom, inside, top)
        heights.append(float((here - low) / (high - low)))
    for i in range(1, len(heights)):
        heights[i] = max(heights[i], heights[i - 1] + SPACING)
    for i in range(len(heights) - 1, -1, -1):
        above = heights[i + 1] - SPACING if i + 1 < len(heights) else 1.0
        heights[i] = min(heights[i], above)
    for (name, value), height in zip(ordered, heights, strict=True):
        arrow = " ↑" if value > top else " ↓" if value < bottom else ""
        axes.annotate(
            f"{name} {value:.4g}{arrow}",
            xy=(1.0, height),
            xycoords="axes fraction",
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=_FAINT,
            annotation_clip=False,
        )


def legend(axes: Axes, title: str, note: str) -> None:
    """The legend below a picture, with a title and a note of its own lines."""
    labels = axes.get_legend_handles_labels()[1]
    drawn = axes.figure.legend(
        loc="outside lower left",
        ncols=4 if max(map(len, labels), default=0) <= 24 else 2,
        frameon=False,
        fontsize=9,
        labelcolor=_INK,
        title="\n".join(filter(None, (title, note))),
        title_fontsize=9,
        alignment="left",
    )
    drawn.get_title().set_color(_FAINT)
