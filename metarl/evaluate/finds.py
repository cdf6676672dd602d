"""Statistics of finds: what an agent learns within a trial, find by find, and where it fails.

In a trial the same hidden goal pays again and again. The steps up to the first find are those of a
search; the steps between later ones, over the shortest way, say how well the agent has remembered:
1 is the shortest way itself. Find by find they are the learning curve inside of the trial.

Trials that are judged layout by layout hide nothing in a mean: the conditional value at risk
(CVaR) is the mean over the worst share of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

NUM_FINDS = 8
"""Finds that are looked at one by one."""

RISKS = (1, 5, 10)
"""Percentages of the worst layouts."""


def steps_between_finds(rewards: Array, num_finds: int = NUM_FINDS) -> Array:
    """Steps of each of the first finds since the one before, NaN where there is none.

    Args:
        rewards: ``[T, B]``; a positive one is a find.
        num_finds: K.

    Returns:
        ``[B, K]``; entry 0 is the step of the first find, from 1.
    """
    trials, steps = (rewards > 0).T.nonzero()  # by trial, then by step
    index = np.arange(len(trials)) - np.searchsorted(trials, trials)  # 0 for a trial's first
    times = np.full((rewards.shape[1], num_finds), np.nan)
    kept = index < num_finds
    times[trials[kept], index[kept]] = steps[kept] + 1.0
    return np.diff(times, axis=1, prepend=0.0)


def steps_of_episodes(rewards: Array, horizon: int, num_finds: int = NUM_FINDS) -> Array:
    """Steps to the find of each of the first episodes, NaN where it has none.

    Args:
        rewards: ``[T, B]``, of episodes that a find ends.
        horizon: Steps that each of them has in the trial.
        num_finds: K; at most as many episodes as there are.

    Returns:
        ``[B, K]``, steps from 1.
    """
    found = rewards.reshape(-1, horizon, rewards.shape[1])[:num_finds] > 0  # [E, H, B]
    steps = np.where(found.any(1), found.argmax(1) + 1.0, np.nan).T  # [B, E]
    return np.pad(steps, ((0, 0), (0, num_finds - steps.shape[1])), constant_values=np.nan)


@dataclass(frozen=True)
class FindStatistics:
    """Statistics of B trials, find by find.

    Attributes:
        success: Fraction of the trials with a find.
        first_find_censored_mean: Mean step of the first find; T + 1 where there is none.
        steps_per_find: Mean steps from find to find, after the first; None where there are none.
        shortest: Mean length of the shortest way, over the same trials as `steps_per_find`.
        gap_over_shortest: Steps since the find before over the shortest way, for each of the first
            finds: a ratio of means over the trials that have it; None where none has.
        gap_over_shortest_ci95: 95 % intervals, by the delta method; None likewise.
        gap_num_trials: Trials behind each entry.
        second_over_first: Mean steps to the second find over those to the first, in the trials
            that have both; None where none has.
        second_is_shorter: Fraction of these whose second takes fewer steps.
    """

    success: float
    first_find_censored_mean: float
    steps_per_find: float | None
    shortest: float | None
    gap_over_shortest: tuple[float | None, ...]
    gap_over_shortest_ci95: tuple[tuple[float, float] | None, ...]
    gap_num_trials: tuple[int, ...]
    second_over_first: float | None
    second_is_shorter: float | None


def find_statistics(
    rewards: Array, shortest: Array, *, ends_at: int | None = None
) -> FindStatistics:
    """Sum up trials, find by find.

    Args:
        rewards: ``[T, B]``.
        shortest: Length of the shortest way to the goal in each trial, ``[B]``.
        ends_at: Steps of an episode, where a find ends it; None: a trial goes on.
    """

    def steps(num_finds: int) -> Array:
        if ends_at is None:
            return steps_between_finds(rewards, num_finds)
        return steps_of_episodes(rewards, ends_at, num_finds)

    gaps = steps(NUM_FINDS)  # [B, K]
    ever = steps_between_finds(rewards, 1)[:, 0]  # [B], in the trial, whatever its episodes
    found = ~np.isnan(gaps)
    both = found[:, 0] & found[:, 1]
    first, second = gaps[both, 0], gaps[both, 1]
    every = steps(max(2, len(rewards) if ends_at is None else len(rewards) // ends_at))[:, 1:]
    later = ~np.isnan(every)
    ratios = [ratio(gaps[there, k], shortest[there]) for k, there in enumerate(found.T)]
    return FindStatistics(
        success=float((~np.isnan(ever)).mean()),
        first_find_censored_mean=float(np.nan_to_num(ever, nan=len(rewards) + 1.0).mean()),
        steps_per_find=_mean(every[later]),
        shortest=_mean(np.broadcast_to(shortest[:, None], every.shape)[later]),
        gap_over_shortest=tuple(None if r is None else r[0] for r in ratios),
        gap_over_shortest_ci95=tuple(None if r is None else r[1] for r in ratios),
        gap_num_trials=tuple(found.sum(0).tolist()),
        second_over_first=float(second.sum() / first.sum()) if both.any() else None,
        second_is_shorter=_mean((second < first).astype(float)),
    )


def ratio(above: Array, below: Array) -> tuple[float, tuple[float, float]] | None:
    """Ratio of two means over the same trials ``[B]``, and its 95 % interval by the delta method.

    None where there are no trials.
    """
    if not len(above):
        return None
    value = float(above.sum() / below.sum())
    spread = (above - value * below).std(ddof=1) if len(above) > 1 else np.inf
    half = 1.96 * float(spread) / (np.sqrt(len(above)) * float(below.mean()))
    return value, (value - half, value + half)


def worst(values: Array, percent: float) -> float | None:
    """Conditional value at risk: mean over the lowest so many percent of values ``[B]``.

    At least one value counts; NaN does not. None where there are none.
    """
    known = np.sort(values[~np.isnan(values)])
    return _mean(known[: max(1, round(len(known) * percent / 100))])


def by_layout(layouts: NDArray[Any], values: Mapping[str, Array]) -> dict[str, Array]:
    """Means over the trials of each layout, in the order in which layouts first come.

    Args:
        layouts: Identity of the layout of each trial, ``[B]``.
        values: Numbers of each trial, ``[B]`` by name.

    Returns:
        The same by name, ``[L]``, and ``trials``, how many each layout has.
    """
    _, first, index, counts = np.unique(
        layouts, return_index=True, return_inverse=True, return_counts=True
    )
    order = np.argsort(first)
    found = {
        name: (np.bincount(index, weights=each) / counts)[order] for name, each in values.items()
    }
    return {"trials": counts[order].astype(np.float64), **found}


def _mean(values: Array) -> float | None:
    return float(values.mean()) if values.size else None
