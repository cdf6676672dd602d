"""Facts that a wrapper has to know of the environment inside it, ours or anybody's."""

from __future__ import annotations

from math import inf
from typing import Any

import gymnasium
from gymnasium.vector import (
    AsyncVectorEnv,
    AutoresetMode,
    SyncVectorEnv,
    VectorActionWrapper,
    VectorEnv,
    VectorObservationWrapper,
    VectorWrapper,
)
from gymnasium.wrappers import (
    Autoreset,
    HumanRendering,
    OrderEnforcing,
    PassiveEnvChecker,
    RecordEpisodeStatistics,
    RecordVideo,
    RenderCollection,
    TimeLimit,
    vector,
)

__all__ = [
    "autoreset_mode",
    "check_single",
    "check_vector",
    "has_tasks",
    "reward_bounds",
    "step_option_names",
]

REWARDS_PASS = (
    gymnasium.ObservationWrapper,
    gymnasium.ActionWrapper,
    Autoreset,
    HumanRendering,
    OrderEnforcing,
    PassiveEnvChecker,
    RecordEpisodeStatistics,
    RecordVideo,
    RenderCollection,
    TimeLimit,
    VectorObservationWrapper,
    VectorActionWrapper,
    vector.RecordEpisodeStatistics,
)
"""Wrappers of Gymnasium's that hand rewards on as they are."""


def has_tasks(env: Any) -> bool:
    """Whether `env` has tasks as those of this package have, and knows the option ``same_task``."""
    base = env.unwrapped
    if isinstance(base, SyncVectorEnv):
        return all(has_tasks(one) for one in base.envs)
    if isinstance(base, AsyncVectorEnv):
        return all(base.call("has_wrapper_attr", "step_options"))
    return hasattr(base, "step_options")


def step_option_names(env: Any) -> tuple[str, ...]:
    """The reset options of `env` that have an entry for each step of an episode."""
    if not has_tasks(env):
        return ()
    base = env.unwrapped
    if isinstance(base, SyncVectorEnv | AsyncVectorEnv):
        return tuple(base.get_attr("step_options")[0])
    return tuple(base.step_options)


def reward_bounds(env: Any) -> tuple[float, float]:
    """The least and the largest reward of a step; infinite where nobody says so.

    An environment's ``reward_range`` counts through wrappers that are known to hand rewards on:
    ours say ``passes_rewards``.
    """
    inner = env
    while isinstance(inner, gymnasium.Wrapper | VectorWrapper):
        if not (isinstance(inner, REWARDS_PASS) or getattr(inner, "passes_rewards", False)):
            return -inf, inf
        inner = inner.env
    if isinstance(inner, SyncVectorEnv):
        return reward_bounds(inner.envs[0])
    low, high = getattr(inner, "reward_range", (-inf, inf))
    return float(low), float(high)


def check_single(env: Any, name: str) -> None:
    """Checks that `env` is one environment of Gymnasium's.

    Raises:
        TypeError: If it is not.
    """
    if not isinstance(env, gymnasium.Env):
        remedy = f": take Vector{name}" if isinstance(env, VectorEnv) else ""
        raise TypeError(f"{name} is for a single Gymnasium environment, got {env}{remedy}")


def check_vector(env: Any, name: str) -> None:
    """Checks that `env` is a vector environment of Gymnasium's.

    Raises:
        TypeError: If it is not.
    """
    if not isinstance(env, VectorEnv):
        remedy = f": take {name}" if isinstance(env, gymnasium.Env) else ""
        raise TypeError(f"Vector{name} is for a Gymnasium vector environment, got {env}{remedy}")


def autoreset_mode(env: Any) -> AutoresetMode:
    """Mode of a vector environment at the end of an episode.

    Raises:
        ValueError: If it does not say so.
    """
    mode = env.metadata.get("autoreset_mode")
    if not isinstance(mode, AutoresetMode):
        raise ValueError(
            f"{env} must say what it does at the end of an episode, in metadata['autoreset_mode'] "
            f"(an AutoresetMode), got {mode!r}"
        )
    return mode
