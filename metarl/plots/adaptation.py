"""The picture of adaptation: return on unseen tasks against steps of adaptation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from metarl.evaluate.returns import AdaptationResult
from metarl.plots.lines import Curves, learning_curves


def draw_adaptation(
    methods: Mapping[str, Sequence[AdaptationResult]],
    *,
    control: Sequence[AdaptationResult],
    anchors: Mapping[str, float],
    axis: str,
    title: str,
) -> Figure:
    """One line per method, with its interval over tasks, or over seeds where there are several.

    Args:
        methods: Results by name, one per seed.
        control: Results of learners that were not trained.
        anchors: Returns to judge by.
        axis: Name of the steps.
        title: Words above.
    """
    lines = []
    for name, results in {**methods, "no meta-training": control}.items():
        curves = np.stack([result.curve for result in results])  # [seeds, N, K + 1]
        values = curves.mean(1) if len(results) > 1 else curves[0]
        lines.append(Curves(name, np.arange(values.shape[1]), values))
    return learning_curves(
        lines,
        anchors=anchors,
        xlabel=axis,
        ylabel="return per episode",
        title=title,
        over="seeds" if len(control) > 1 else "tasks",
    )
