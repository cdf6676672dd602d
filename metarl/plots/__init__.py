"""Figures without global state: learning curves over seeds, within-trial curves.

    >>> from metarl.plots import Curves, learning_curves, save_figure

They are imported when they are first used: other modules here draw nothing, and have no use for the
drawing library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from metarl.plots.lines import Curves, learning_curves, save_figure, within_trial_curve

__all__ = ["Curves", "learning_curves", "save_figure", "within_trial_curve"]


def __getattr__(name: str) -> object:
    """Import what is asked for."""
    if name in __all__:
        return getattr(import_module("metarl.plots.lines"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
