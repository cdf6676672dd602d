"""Scores of levels: how much is still to be learned from each.

    max_mc           mean_t (R_max - V_t): the highest return ever earned on the level, less what
                     the critic expects (Jiang et al. 2021b, "Replay-guided adversarial environment
                     design"). A bound from below on regret, where a level is one episode
    positive_value   mean_t max(A_t, 0), of the generalised advantages (likewise): what came out
                     better than expected
    learnability     p (1 - p), with the share p of the trials in which the level is solved
                     (Rutherford et al. 2024, "No regrets"): 0 where it always is, or never

Regret by these scores follows the rate of success as much as regret (Rutherford et al. 2024).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor

from .sampler import Outcome

ScoreName = Literal["max-mc", "positive-value"]


def max_mc(outcome: Outcome, highest: Tensor) -> Tensor:
    """The highest return ever, less what the critic expects, ``[n]``.

    Args:
        outcome: What came of the levels.
        highest: Highest return that was earned on each until then, this one included, ``[n]``.
    """
    return highest - outcome.values


def positive_value(outcome: Outcome, highest: Tensor) -> Tensor:
    """The mean over time of advantages above 0, ``[n]``."""
    return outcome.surprise


def learnability(solved: Tensor) -> Tensor:
    """``p (1 - p)`` of each level, ``[n]``.

    Args:
        solved: 1 where a trial solved its level, else 0, ``[n, attempts]``.
    """
    share = solved.double().mean(1)
    return share * (1 - share)


SCORES: dict[ScoreName, Callable[[Outcome, Tensor], Tensor]] = {
    "max-mc": max_mc,
    "positive-value": positive_value,
}
