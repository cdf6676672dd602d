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
from gymnasium.envs.registration import EnvSpec
from gymnasium.wrappers import MaxAndSkipObservation, RepeatAction, TimeLimit

from .checks import whole_number

__all__ = ["OneClock", "episode_horizon", "one_horizon"]


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


def episode_horizon(env: Any) -> int:
    """Steps that an episode of `env` has, at most: through wrappers that cut it or skip steps.

    Args:
        env: An environment of this package, or wrappers around one.
    """
    own = getattr(env, "horizon", None)
    if own is not None:
        return int(own)
    inner = episode_horizon(env.env)
    if isinstance(env, TimeLimit):
        return min(inner, env._max_episode_steps)
    skipped = 1
    if isinstance(env, RepeatAction):
        skipped = env.num_repeats
    elif isinstance(env, MaxAndSkipObservation):
        skipped = env._skip
    return -(-inner // skipped)


def _limits(frame: FrameType) -> tuple[Any, int | None]:
    """``max_episode_steps`` of the call of `gymnasium.make` in `frame`, and of what it makes."""
    if frame.f_code is not gymnasium.make.__code__:
        return None, None
    argument = frame.f_locals["max_episode_steps"]
    return None if argument == -1 else argument, (
        None if argument == -1 else frame.f_locals["env_spec"].max_episode_steps
    )
