"""The picture of learning inside of a trial: steps from find to find, over the shortest way."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from metarl.evaluate.finds import FindStatistics
from metarl.evaluate.references import explained
from metarl.plots.lines import canvas, legend, look, save_figure

FEWEST = 0.05
"""Share of the trials that must have a find for it to be drawn: few are no curve."""


def draw_finds(path: Path, agents: Mapping[str, FindStatistics], *, explorer: float) -> None:
    """Draw the curve: flat for an agent that does not remember, 1 for one that goes straight.

    Args:
        path: Of the picture.
        agents: What they did, by name.
        explorer: Steps to the explorer's first find over the shortest way; its later finds, and all
            of the oracle's, are at 1.
    """
    figure, axes = canvas(
        "within one trial, find by find", "find", "steps since the last ÷ shortest"
    )
    most = 2
    for index, (name, found) in enumerate(agents.items()):
        colour, dashes = look(index)
        enough = FEWEST * max(found.gap_num_trials)
        kept = [k for k, n in enumerate(found.gap_num_trials) if n and n >= enough]
        most = max([most, *(k + 1 for k in kept)])
        values = np.array([found.gap_over_shortest[k] for k in kept], float)
        ends = np.array([found.gap_over_shortest_ci95[k] for k in kept], float).reshape(-1, 2)
        finds = np.array(kept) + 1
        axes.plot(finds, values, dashes, color=colour, marker="o", markersize=4, label=name)
        axes.fill_between(finds, ends[:, 0], ends[:, 1], color=colour, alpha=0.18, linewidth=0)
    finds = np.arange(1, most + 1)
    axes.plot(
        finds,
        [explorer, *[1.0] * (most - 1)],
        color="#8a8a8a",
        linestyle="--",
        linewidth=1.4,
        label="explorer",
    )
    axes.plot(finds, np.ones(most), color="#8a8a8a", linestyle=":", linewidth=1.4, label="oracle")
    axes.set_xlim(0.8, most + 0.2)
    axes.set_ylim(bottom=0.0)
    legend(
        axes,
        "mean over the trials that have the find, 95 % interval",
        explained(("explorer", "oracle")),
    )
    save_figure(figure, path)
