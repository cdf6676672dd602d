"""Returns of policies on unseen tasks after 0, 1, ... steps of adaptation, with honest intervals.

One result for all agents, ``[task, k, episode]``. For a learner that adapts by gradient, k counts
gradient steps, and its episodes at k are those that step k + 1 learns from. For an agent that
adapts through its hidden state, k counts the episodes of a trial, and several trials are played on
each task. `AdaptationResult.experience` says how many episodes lie behind each k.

What is estimated from the tasks stays an estimate: intervals are of bootstraps over tasks, and over
seeds where there are several (`metarl.stats`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarl.core import TaskBatch, share
from metarl.evaluate.adaptation import Array, Stage, measure
from metarl.evaluate.measures import RETURN, Measure
from metarl.evaluate.trials import first_finds, play, play_in_own_time
from metarl.meta import MetaLearner, NonFiniteLossError
from metarl.rl.agents import Agent
from metarl.rl.collector import TensorVectorEnv
from metarl.rl.problem import Goal
from metarl.rl.trajectory import ScoredTrajectory, Trajectory
from metarl.stats import Interval, bootstrap_ci, crossed, iqm, mean, normalised_score


@dataclass(frozen=True, eq=False)
class AdaptationResult:
    """Episodes on N tasks after each of 0 to K steps, E per task and step, all ``[N, K + 1, E]``.

    Attributes:
        returns: Undiscounted returns; of learners from data the values of their `Measure`.
        lengths: Steps until the episode succeeded, or ended; None where nothing has a length.
        successes: 1 for an episode that succeeded, else 0; None where nothing is a success.
        experience: Episodes on the task that lie behind each k, ``[K + 1]``.
    """

    returns: Array
    lengths: Array | None
    successes: Array | None
    experience: tuple[int, ...]

    def __post_init__(self) -> None:
        """Check that the shapes go together and the returns are finite."""
        shape = self.returns.shape
        if len(shape) != 3 or not self.returns.size or len(self.experience) != shape[1]:
            raise ValueError(
                f"need returns [N, K + 1, E] and K + 1 counts of episodes, got {shape} and "
                f"{len(self.experience)}"
            )
        others = [each for each in (self.lengths, self.successes) if each is not None]
        if any(other.shape != shape for other in others):
            raise ValueError(f"lengths and successes must be {shape}, as the returns are")
        if not np.isfinite(self.returns).all():
            raise NonFiniteLossError(
                "the returns are not finite: the policy or the environment has failed"
            )

    @property
    def curve(self) -> Array:
        """Mean return of every task after every step, ``[N, K + 1]``."""
        result: Array = self.returns.mean(-1)
        return result


def evaluate_learner(
    learner: MetaLearner,
    tasks: TaskBatch[ScoredTrajectory],
    num_steps: int,
    *,
    has_goal: Goal = True,
    chunk_size: int | None = None,
) -> AdaptationResult:
    """Adapt to tasks and look at the episodes on the way; leaves the learner untouched.

    Args:
        learner: Whose initialisation and update rule.
        tasks: N tasks; divisible where N exceeds ``chunk_size``.
        num_steps: K, at least 0.
        has_goal: When an episode succeeds.
        chunk_size: Tasks that are stacked; None: all.
    """

    def look(part: TaskBatch[ScoredTrajectory]) -> Callable[[Stage], dict[str, Tensor]]:
        slow = share(learner.slow, part.num_tasks)

        def at_stage(stage: Stage) -> dict[str, Tensor]:
            last = stage.batch is None
            batch = part.sample(stage.fast, slow, "support") if last else stage.batch
            return outcomes(batch.trajectory, has_goal)

        return at_stage

    found = measure(learner, tasks, num_steps, look, chunk_size=chunk_size).figures
    num_episodes = found["returns"].shape[-1]
    experience = tuple(k * num_episodes for k in range(num_steps + 1))
    successes = found["successes"] if has_goal else None
    return AdaptationResult(found["returns"], found["lengths"], successes, experience)


def evaluate_agent(
    agent: Agent,
    env: TensorVectorEnv,
    num_tasks: int,
    num_episodes: int,
    horizon: int,
    *,
    has_goal: Goal = True,
    options: dict[str, Any] | None = None,
) -> AdaptationResult:
    """Play trials of several episodes; k is the number of the episode in its trial.

    Args:
        agent: Plays, and remembers from episode to episode.
        env: N * E trials, task-major, of episodes of one length that follow one another; or that
            end in their own time (`TrialEnv.own_time`).
        num_tasks: N.
        num_episodes: K + 1, episodes per trial.
        horizon: Steps of an episode.
        has_goal: When an episode succeeds.
        options: For the environment's ``reset``, e.g. its tasks.
    """
    if env.num_envs % num_tasks:
        raise ValueError(f"{env.num_envs} trials cannot be shared evenly by {num_tasks} tasks")
    ends: list[tuple[Tensor, Tensor]] = []

    def note(terminated: Tensor, truncated: Tensor) -> None:
        over = terminated, truncated
        ends.append(getattr(env, "episode_ends", over))  # of a trial's episodes, where it has some

    num_steps, own_time = num_episodes * horizon, getattr(env, "own_time", False)
    if own_time:
        rewards, numbers = play_in_own_time(agent, env, num_steps, options, after_step=note)
    else:
        rewards = play(agent, env, num_steps, options, after_step=note)
    columns = [rewards]  # and what was terminated, and what truncated: [T, B] each
    columns += [torch.stack(c).cpu().numpy().astype(float) for c in zip(*ends, strict=True)]
    if own_time:
        columns = [_by_episode(column, numbers, num_episodes, horizon) for column in columns]
    paid, terminated, truncated = (
        column.reshape(num_episodes, horizon, num_tasks, -1)  # [K + 1, T, N, E]
        for column in columns
    )
    over, _ = first_finds(terminated + truncated, horizon, axis=1)
    steps, success = first_finds(_successes(paid > 0, terminated > 0, has_goal), over, axis=1)
    returns, lengths, successes = (_tasks_first(x) for x in (paid.sum(1), steps, success))
    experience = tuple(range(num_episodes))
    return AdaptationResult(returns, lengths, successes if has_goal else None, experience)


BoolT = TypeVar("BoolT", Tensor, NDArray[np.bool_])


def _successes(paid: BoolT, terminated: BoolT, has_goal: Goal) -> BoolT:
    """Steps that are successes, of those that paid and of those that ended their episode."""
    if has_goal == "pays":
        return paid
    if has_goal == "ends":
        return terminated
    return paid | terminated if has_goal else paid & ~paid


def _by_episode(
    rewards: Array, episodes: NDArray[np.int64], num_episodes: int, horizon: int
) -> Array:
    """Rewards ``[T, B]`` of trials as those of their first episodes, ``[K, horizon, B]``.

    Args:
        rewards: Of every step.
        episodes: Number of the episode that each step is of, ``[T, B]``, from 0.
        num_episodes: K.
        horizon: Steps of an episode, at most.

    Returns:
        What each step of an episode paid, 0 behind its end.
    """
    found = np.zeros((num_episodes, horizon, rewards.shape[1]))
    step, before = np.zeros_like(episodes[0]), episodes[0]
    for now, paid in zip(episodes, rewards, strict=True):
        step = np.where(now == before, step, 0)
        (some,) = np.nonzero(now < num_episodes)
        found[now[some], step[some], some] = paid[some]
        step, before = step + 1, now
    return found


def adaptation_summary(
    results: Sequence[AdaptationResult],
    *,
    floor: float | None = None,
    oracle: float | None = None,
    seed: int = 0,
    of: Measure = RETURN,
) -> dict[str, Any]:
    """Report on learners of one method, one per seed, on the same tasks.

    Args:
        results: One result per seed.
        floor: Return of normalised score 0.
        oracle: Return of normalised score 1.
        seed: Seed of the bootstrap.
        of: What the values are.

    Returns:
        JSON values; lists have an entry for every k from 0 to K. ``return_mean`` and ``return_iqm``
        (interquartile mean over tasks and seeds) with their 95 % intervals (None of one task, which
        is no sample); ``percentile20`` of the tasks, and ``percent_improved``, the tasks with a
        higher return than at k = 0, both of the tasks' means over seeds; ``length_mean``,
        ``length_ratio`` (to k = 0), ``success_rate``, where there are such; ``normalised_score``,
        where floor and oracle are known: None where the oracle earns no more than the floor. Of
        another measure they have its name, and of one of which less is better the percentile is
        ``percentile80``.
    """
    rng = np.random.default_rng(seed)
    curves = np.stack([result.curve for result in results])  # [seeds, N, K + 1]
    columns = np.moveaxis(curves, -1, 0)  # [K + 1, seeds, N]
    of_tasks = columns.mean(1)  # [K + 1, N]
    means = [bootstrap_ci(c, rng=rng, resampling=crossed, statistic=mean) for c in columns]
    middles = [bootstrap_ci(c, rng=rng, resampling=crossed, statistic=iqm) for c in columns]
    first, better = results[0], of.sign * of_tasks
    summary: dict[str, Any] = {
        "steps": list(range(curves.shape[-1])),
        "experience": list(first.experience),
        f"{of.name}_mean": [m.estimate for m in means],
        f"{of.name}_mean_ci95": [interval_ends(m, curves.shape[1]) for m in means],
        f"{of.name}_iqm": [m.estimate for m in middles],
        f"{of.name}_iqm_ci95": [interval_ends(m, curves.shape[1]) for m in middles],
        f"percentile{of.percentile}": np.quantile(of_tasks, of.percentile / 100, axis=1).tolist(),
        "percent_improved": (100.0 * (better > better[0]).mean(1)).tolist(),
        "num_seeds": len(results),
        "num_tasks": curves.shape[1],
        "episodes_per_step": first.returns.shape[-1],
    }
    lengths = [result.lengths for result in results if result.lengths is not None]
    if len(lengths) == len(results):
        every = np.stack(lengths).mean((0, 1, 3))
        summary |= {"length_mean": every.tolist(), "length_ratio": (every / every[0]).tolist()}
    successes = [result.successes for result in results if result.successes is not None]
    if len(successes) == len(results):
        summary["success_rate"] = np.stack(successes).mean((0, 1, 3)).tolist()
    if floor is not None and oracle is not None:
        scores = [normalised_score(m.estimate, floor, oracle) for m in means]
        summary["normalised_score"] = None if None in scores else scores
    return summary


def interval_ends(interval: Interval, num_tasks: int) -> list[float] | None:
    """Ends of an interval; None below two tasks, whose resamples are all the same."""
    return [interval.low, interval.high] if num_tasks > 1 else None


def _tasks_first(values: NDArray[Any]) -> Array:
    """``[K + 1, N, E]`` to ``[N, K + 1, E]``, float64."""
    return np.ascontiguousarray(values.swapaxes(0, 1), np.float64)


def outcomes(played: Trajectory, has_goal: Goal = True) -> dict[str, Tensor]:
    """Returns, steps until success or end, and successes, each ``[N, E]``."""
    found = _successes(played.rewards > 0, played.terminated, has_goal)
    success = found.any(1)
    steps = torch.where(success, found.to(torch.int8).argmax(1) + 1, played.lengths)
    return {"returns": played.returns, "lengths": steps, "successes": success}
