"""Evaluation of adaptation: what an agent earns within trials on tasks it is given.

The same evaluator serves every agent (`metarl.rl.Agent`). It reports what a mean hides: the
interval, the interquartile mean, how long the first find takes, and the curve within the trial,
which is the picture of learning to learn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarl.rl.agents import Agent
from metarl.rl.collector import TensorVectorEnv, in_tensors
from metarl.stats import bootstrap_ci, interquartile_mean

Array = NDArray[np.float64]


@torch.no_grad()
def play(
    agent: Agent,
    env: TensorVectorEnv,
    num_steps: int,
    options: dict[str, Any] | None = None,
    *,
    before_step: Callable[[], object] = lambda: None,
    after_step: Callable[[Tensor, Tensor], object] = lambda terminated, truncated: None,
) -> Array:
    """Play one trial in every environment.

    Args:
        agent: The agent that plays.
        env: B environments.
        num_steps: Steps T of a trial.
        options: For the environment's ``reset``, e.g. its tasks.
        before_step: Called before every step, to look at the environments.
        after_step: Called after every step with what it terminated and truncated, ``[B]`` each.

    Returns:
        Rewards ``[T, B]``; ``rewards[t]`` is the consequence of the action at time t.
    """
    agent.begin(env.num_envs)
    observation, _ = in_tensors(env)[0](options=options)
    _, step = in_tensors(env)  # a reset may choose another way of stepping
    rewards = []
    for _ in range(num_steps):
        before_step()
        observation, reward, terminated, truncated, _ = step(agent.act(observation))
        agent.observe(reward, terminated, truncated)
        after_step(terminated, truncated)
        rewards.append(reward)
    return torch.stack(rewards).cpu().to(torch.float64).numpy()


def play_in_own_time(
    agent: Agent,
    env: Any,
    num_steps: int,
    options: dict[str, Any] | None = None,
    *,
    after_step: Callable[[Tensor, Tensor], object] = lambda terminated, truncated: None,
) -> tuple[Array, NDArray[np.int64]]:
    """`play` in trials whose episodes end in their own time; arguments likewise.

    Returns:
        Rewards ``[T, B]``, and the number of the episode of each step, from 0.
    """
    episodes: list[torch.Tensor] = []
    rewards = play(
        agent,
        env,
        num_steps,
        options,
        before_step=lambda: episodes.append(env.episodes),
        after_step=after_step,
    )
    return rewards, torch.stack(episodes).cpu().numpy()


def play_episodes(
    agent: Agent,
    env: Any,
    horizon: int,
    num_episodes: int,
    options: dict[str, Any] | None = None,
) -> Array:
    """Play trials of some episodes, each in its place whether or not it follows at once.

    Args:
        agent: The agent that plays.
        env: B trials (`metarl.rl.trial_env.TrialEnv`).
        horizon: Steps of an episode, at most, H.
        num_episodes: E.
        options: For the environment's ``reset``.

    Returns:
        Rewards ``[E * H, B]``; those of episode e from row e * H on, and 0 after its end.
    """
    num_steps = horizon * num_episodes
    if not env.own_time:
        return play(agent, env, num_steps, options)
    rewards, episodes = play_in_own_time(agent, env, num_steps, options)
    apart = np.zeros((num_episodes, horizon, rewards.shape[1]))
    for episode, rows in enumerate(apart):
        at = episodes == episode  # [T, B]
        step = at.cumsum(0) - 1
        t, b = at.nonzero()
        rows[step[t, b], b] = rewards[t, b]
    return apart.reshape(num_steps, -1)


@dataclass(frozen=True)
class TrialStatistics:
    """Statistics of B trials of T steps.

    Attributes:
        mean_return: Mean of the trials' returns.
        ci95: 95 % bootstrap interval of that mean, over trials.
        iqm: Interquartile mean of the returns.
        first_find_rate: Fraction of trials with any positive reward.
        first_find_median: Median step (from 1) of the first positive reward, over all trials; None
            where most trials have none.
        first_find_mean: Mean step of the first positive reward, over the trials that have one; None
            where none has.
        find_interval_mean: Mean number of steps from one positive reward to the next within a
            trial, over all such pairs; what the end of the trial cut off does not count. None
            where there are none.
        window: Steps per point of `within_trial`.
        within_trial: Mean reward in each window of the trial.
        within_trial_ci95: Its 95 % bootstrap intervals, one pair per window.
    """

    mean_return: float
    ci95: tuple[float, float]
    iqm: float
    first_find_rate: float
    first_find_median: float | None
    first_find_mean: float | None
    find_interval_mean: float | None
    window: int
    within_trial: tuple[float, ...]
    within_trial_ci95: tuple[tuple[float, float], ...]


def trial_statistics(rewards: Array, *, window: int, seed: int = 0) -> TrialStatistics:
    """Sum up rewards ``[T, B]``.

    Args:
        rewards: ``rewards[t]`` is the consequence of the action at time t.
        window: Steps per point of the within-trial curve; the last one may be shorter.
        seed: Seed of the bootstrap.

    Returns:
        The statistics.

    Raises:
        ValueError: There are no trials, or the window is not positive.
    """
    if rewards.ndim != 2 or rewards.shape[1] < 1 or window < 1:
        raise ValueError(f"need rewards [T, B] and a window of at least 1, got {rewards.shape}")
    rng = np.random.default_rng(seed)
    returns = rewards.sum(0)
    steps, ever = first_finds(rewards, np.inf)
    median = float(np.median(steps))
    windows = window_returns(rewards, window)
    return TrialStatistics(
        mean_return=float(returns.mean()),
        ci95=_interval(returns, rng),
        iqm=float(interquartile_mean(returns)),
        first_find_rate=float(ever.mean()),
        first_find_median=median if np.isfinite(median) else None,
        first_find_mean=float(steps[ever].mean()) if ever.any() else None,
        find_interval_mean=_mean_interval(rewards > 0),
        window=window,
        within_trial=tuple(float(w.mean()) for w in windows),
        within_trial_ci95=tuple(_interval(w, rng) for w in windows),
    )


def first_finds(
    rewards: NDArray[Any], otherwise: float | NDArray[Any], axis: int = 0
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Times at which something was first earned, and whether it ever was.

    Args:
        rewards: Of every step.
        otherwise: The step where nothing was; one for all, or one each.
        axis: Of the steps.

    Returns:
        Steps from 1 on, and whether; both without that axis.
    """
    found = np.asarray(rewards > 0)
    ever = np.asarray(found.any(axis))
    return np.where(ever, found.argmax(axis) + 1, otherwise), ever


def window_returns(rewards: Array, window: int) -> Array:
    """Sums of rewards ``[T, B]`` over windows of a trial, ``[ceil(T / window), B]``.

    Entry k covers times ``k * window`` to ``(k + 1) * window - 1``; the last one may end sooner.
    """
    return np.stack([rewards[t : t + window].sum(0) for t in range(0, len(rewards), window)])


def _mean_interval(found: NDArray[np.bool_]) -> float | None:
    """Mean steps from find to find within the trials ``[T, B]``."""
    trial, step = found.T.nonzero()
    within = trial[1:] == trial[:-1]
    return float(np.diff(step)[within].mean()) if within.any() else None


def _interval(values: Array, rng: np.random.Generator) -> tuple[float, float]:
    interval = bootstrap_ci(values, rng=rng)
    return float(interval.low), float(interval.high)
