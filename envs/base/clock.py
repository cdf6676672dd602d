"""The one clock of an episode: an environment's `horizon` and Gymnasium's ``max_episode_steps``.

Our environments end at a horizon of their own, which may be any, and Gymnasium counts steps too:
``gymnasium.make(..., max_episode_steps=n)`` puts a `TimeLimit` around an environment, which can
only cut an episode short. So that n is what it says, it becomes the environment's horizon:

    max_episode_steps alone       the horizon, instead of the default one
    with a horizon of n or more   the horizon is shortened to n
    with a shorter horizon        refused: the episode would end before n

``spec.max_episode_steps`` is always the horizon, and `episode_horizon` finds the number of steps
that a stack of wrappers leaves of it.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorWrapper
from gymnasium.wrappers import MaxAndSkipObservation, RepeatAction, TimeLimit

from .checks import whole_number

__all__ = ["OneClock", "cuts", "episode_horizon", "one_horizon"]


class OneClock:
    """An environment whose `spec` and `horizon` agree. A mixin, before Gymnasium's class."""

    _spec: EnvSpec | None = None

    @property
    def spec(self) -> EnvSpec | None:
        """The specification it was made from, with the horizon as ``max_episode_steps``."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        self._spec = spec
        if spec is None:
            return
        # Gymnasium's `make` tells `max_episode_steps` to nobody but the `TimeLimit` that it puts
        # around the environment next. This is the only place before it, and `make` our caller.
        argument, registered = _limits(sys._getframe(1))
        given = int(self.horizon) if "horizon" in spec.kwargs else None
        if argument is not None:
            self._set_horizon(one_horizon(given, argument))
        elif registered is not None:
            self._set_horizon(min(registered, given or registered))
        spec.max_episode_steps = int(self.horizon)

    @property
    def horizon(self) -> int:
        """Steps in an episode."""
        raise NotImplementedError

    def _set_horizon(self, horizon: int) -> None:
        """Changes the number of steps in an episode, before anything else is asked."""
        raise NotImplementedError


def one_horizon(horizon: int | None, max_episode_steps: Any) -> int:
    """The number of steps that both names say.

    Raises:
        ValueError: If `max_episode_steps` is no whole number of at least 1, or episodes of
            `horizon` steps end before it.
    """
    limit = whole_number(max_episode_steps, "max_episode_steps")
    if horizon is not None and horizon < limit:
        raise ValueError(
            f"horizon={horizon} ends an episode before max_episode_steps={limit}: they are one "
            f"number, give only one of them"
        )
    return limit


def episode_horizon(env: Any, given: Any = None) -> int:
    """Steps that an episode of `env` has, at most: through wrappers that cut it or skip steps.

    Args:
        env: An environment, single or vector, or wrappers around one.
        given: The number that its user says, if it is less than is known or nothing is known.

    Raises:
        ValueError: If nothing says it, or episodes end before `given`.
    """
    known = _known_horizon(env)
    if given is None:
        if known is None:
            raise ValueError(
                f"there is no telling how long an episode of {env} is: give horizon=, the steps "
                f"that it has at most, or make the environment with max_episode_steps="
            )
        return known
    limit = whole_number(given, "horizon")
    if known is not None and known < limit:
        raise ValueError(
            f"horizon={limit} is more than the {known} steps after which the episodes of {env} "
            f"end: give at most {known}, or leave it out"
        )
    return limit


def cuts(env: Any, horizon: int) -> bool:
    """Whether `env` is certain to end its episodes within `horizon` steps.

    Environments of this package do, and those in a `TimeLimit`; of others one knows only what they
    say.
    """
    inner = env
    while isinstance(inner, gymnasium.Wrapper):
        if isinstance(inner, TimeLimit):
            return episode_horizon(env) <= horizon
        inner = inner.env
    return isinstance(inner, OneClock) and episode_horizon(env) <= horizon


def _known_horizon(env: Any) -> int | None:
    """Steps of an episode, at most, as an environment and its wrappers say."""
    if isinstance(env, gymnasium.Wrapper | VectorWrapper):
        own = _whole(getattr(env, "horizon", None))
        return own or _through(env, _known_horizon(env.env))
    if isinstance(env, SyncVectorEnv):
        return _known_horizon(env.envs[0])
    if isinstance(env, AsyncVectorEnv):
        return _known_elsewhere(env)
    return _least(
        getattr(env, "horizon", None),
        getattr(env, "max_steps", None),
        getattr(env.spec, "max_episode_steps", None),
    )


def _through(env: Any, inner: int | None) -> int | None:
    """Steps that a wrapper leaves of the `inner` ones."""
    if isinstance(env, TimeLimit):
        return _least(inner, env._max_episode_steps)
    skipped = 1
    if isinstance(env, RepeatAction):
        skipped = env.num_repeats
    elif isinstance(env, MaxAndSkipObservation):
        skipped = env._skip
    return None if inner is None else -(-inner // skipped)


def _known_elsewhere(env: AsyncVectorEnv) -> int | None:
    """Steps of an episode of environments in other processes."""
    said = {
        name: env.get_attr(name)[0]
        for name in ("horizon", "max_steps", "spec")
        if all(env.call("has_wrapper_attr", name))
    }
    own = _whole(said.get("horizon"))
    return own or _least(
        said.get("max_steps"), getattr(said.get("spec"), "max_episode_steps", None)
    )


def _least(*numbers: Any) -> int | None:
    """The least of those that are whole numbers above 0, None if none is."""
    return min((found for found in map(_whole, numbers) if found), default=None)


def _whole(number: Any) -> int | None:
    """A number of steps; None for what is none."""
    if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 1:
        return None
    return int(number)


def _limits(frame: FrameType) -> tuple[Any, int | None]:
    """``max_episode_steps`` of the call of `gymnasium.make` in `frame`, and of what it makes."""
    if frame.f_code is not gymnasium.make.__code__:
        return None, None
    argument = frame.f_locals["max_episode_steps"]
    return None if argument == -1 else argument, (
        None if argument == -1 else frame.f_locals["env_spec"].max_episode_steps
    )
