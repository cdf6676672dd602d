"""Spaces of an environment against a policy: one check, where the two meet.

A policy draws plain actions: they count from 0 and lie in one row (``Discrete(4)``, a ``Box`` with
one axis). What an environment takes may count from elsewhere, have other axes or have bounds;
`PlainActions` translates, and is what `HostVectorEnv` and the bridge to Stable-Baselines3 send
their actions through; `TakesPlainActions` does it for one environment in anybody's loop.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space, Tuple
from numpy.typing import NDArray

from metarl.rl.distributions import Bernoulli, Categorical, Distribution, Gaussian, MultiCategorical

Arrays = NDArray[Any]


def distribution_for(space: Space[Any]) -> Distribution:
    """The distribution whose samples are the actions of a space.

    Args:
        space: Plain, as `HostVectorEnv.single_action_space` is; of one environment.

    Raises:
        ValueError: There is none, or the actions are not plain.
    """
    if isinstance(space, Box) and not np.issubdtype(space.dtype, np.floating):
        raise ValueError(
            f"the actions of {space} are whole numbers, which no Gaussian draws: declare them as "
            "MultiDiscrete(high - low + 1, start=low), or wrap the environment in an ActionWrapper "
            "that takes a float Box and rounds"
        )
    if not isinstance(space, Box | Discrete | MultiDiscrete | MultiBinary):
        raise ValueError(no_policy(space))
    if space != plain(space):
        raise ValueError(
            f"policies draw the actions of {plain(space)}, not of {space}: put HostVectorEnv or "
            "another translation between them"
        )
    match space:
        case Discrete():
            return Categorical(int(space.n))
        case MultiDiscrete():
            return MultiCategorical(tuple(int(n) for n in space.nvec))
        case MultiBinary():
            return Bernoulli(math.prod(space.shape))
        case _:
            return Gaussian(math.prod(space.shape or ()))


def no_policy(space: Space[Any]) -> str:
    """The message about actions that are not arrays."""
    return (
        f"no policy draws the actions of {space}: wrap the environment in an ActionWrapper that "
        "makes them of one Discrete, MultiDiscrete, MultiBinary or float Box space"
    )


def check_spaces(env: object, distribution: Distribution, num_inputs: int | None) -> None:
    """Check that a policy and an environment fit; one that declares no spaces is not checked.

    Args:
        env: May have ``single_action_space`` and ``single_observation_space``.
        distribution: The policy's.
        num_inputs: Number of inputs of the policy; None: not known.

    Raises:
        ValueError: The actions drawn are not those of the space, or the observations are not arrays
            of ``num_inputs`` numbers.
    """
    actions = getattr(env, "single_action_space", None)
    if actions is not None:
        check_actions(distribution, actions)
    observations = getattr(env, "single_observation_space", None)
    if observations is None:
        return
    if not isinstance(observations, Box):
        raise ValueError(
            f"a policy looks at arrays, not at {observations}: {array_remedy(observations)}"
        )
    size = math.prod(observations.shape)
    if num_inputs is not None and size != num_inputs:
        raise ValueError(
            f"the policy looks at {num_inputs} numbers, an observation of {observations} has "
            f"{size}: make the policy with {size} inputs"
        )


def check_actions(distribution: Distribution, space: Space[Any]) -> None:
    """Check that the actions which a policy draws are those of a plain space.

    Raises:
        ValueError: They are not, or nothing draws such actions.
    """
    fitting = distribution_for(space)
    if not distribution.draws(space):
        raise ValueError(
            f"{distribution} does not draw the actions of {space}: make the policy with {fitting}"
        )


def array_remedy(space: Space[Any]) -> str:
    """The remedy that turns observations of a space into arrays."""
    if isinstance(space, Dict):
        if any(type(part).__module__.startswith("minigrid") for part in space.values()):
            return (
                "wrap each environment in minigrid.wrappers.ImgObsWrapper, or in FlatObsWrapper, "
                "which keeps the mission"
            )
        keys = [key for key, part in space.items() if flattens(part)]
        if 0 < len(keys) < len(space):
            return (
                "keep what is made of numbers, "
                f"FlattenObservation(FilterObservation(env, {keys})) of gymnasium.wrappers"
            )
    if flattens(space):
        return "wrap each environment in gymnasium.wrappers.FlattenObservation"
    return "wrap each environment in an ObservationWrapper whose space is one Box"


def flattens(space: Space[Any]) -> bool:
    """Whether Gymnasium flattens all observations of a space to arrays of one length."""
    if isinstance(space, Dict):
        return all(flattens(part) for part in space.values())
    if isinstance(space, Tuple):
        return all(flattens(part) for part in space)
    return isinstance(space, Box | Discrete | MultiDiscrete | MultiBinary)


def plain(space: Space[Any]) -> Space[Any]:
    """Return the actions as policies draw them: from 0, in one row; other kinds as they are."""
    match space:
        case Discrete():
            return Discrete(space.n)
        case MultiDiscrete():
            return MultiDiscrete(space.nvec.ravel())
        case MultiBinary():
            return MultiBinary(math.prod(space.shape))
        case Box():
            low, high = space.low.ravel(), space.high.ravel()
            return Box(low, high, dtype=space.dtype.type)
    return space


@dataclass(frozen=True)
class PlainActions:
    """The way of actions from a policy into a space.

    Attributes:
        space: Actions of one environment, as it declares them.
    """

    space: Space[Any]

    @cached_property
    def plain(self) -> Space[Any]:
        """The space of actions that a policy draws."""
        return plain(self.space)

    def taken(self, actions: Arrays) -> Arrays:
        """Actions as the environments take them.

        They are shifted to where a space counts from, clipped to a ``Box`` and given its axes. A
        clipped action is what the environment does; its log-probability stays that of the sample,
        as if clipping were the environment's.

        Args:
            actions: ``[B, ...]``, as a policy draws them, or with the axes of the space.

        Returns:
            ``[B, ...]`` in the dtype of the space.

        Raises:
            ValueError: They are not actions of the space.
        """
        space, expected = self.space, self.plain.shape
        if expected is None or space.shape is None:
            raise ValueError(no_policy(space))
        if actions.shape[1:] not in (expected, space.shape):
            raise ValueError(
                f"actions have shape {actions.shape}, those of {space} must have "
                f"{(len(actions), *expected)}: make the policy with {distribution_for(self.plain)}"
            )
        shaped = actions.reshape(len(actions), *space.shape)  # [B, *shape]
        if isinstance(space, Box) and np.issubdtype(space.dtype, np.floating):
            bounded: Arrays = np.clip(shaped, space.low, space.high).astype(space.dtype)
            return bounded
        low, high, start = _counts(space)
        wrong = (np.trunc(shaped) != shaped) | (shaped < low) | (shaped > high)
        if wrong.any():
            row = wrong.reshape(len(wrong), -1).any(1).argmax()
            raise ValueError(
                f"environment {row} got the action {shaped[row].tolist()}, which is not one of "
                f"{self.plain}: make the policy with {distribution_for(self.plain)}"
            )
        counted: Arrays = (shaped.astype(np.int64) + start).astype(space.dtype)
        return counted


def _counts(space: Space[Any]) -> tuple[Any, Any, Any]:
    """Smallest and largest plain action, and what is added to it."""
    match space:
        case Discrete():
            return 0, space.n - 1, space.start
        case MultiDiscrete():
            return 0, space.nvec - 1, space.start
        case MultiBinary():
            return 0, 1, 0
        case Box():
            return space.low, space.high, 0
    raise ValueError(no_policy(space))


class TakesPlainActions(
    gymnasium.ActionWrapper[Any, Any, Any], gymnasium.utils.RecordConstructorArgs
):
    """An environment that takes actions as policies draw them, e.g. those of `metarl.load`.

    It goes around the environment itself, inside `envs.Trial` and `envs.MetaObservation`.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        """Wrap one environment.

        Raises:
            ValueError: No policy draws its actions.
        """
        gymnasium.utils.RecordConstructorArgs.__init__(self)
        super().__init__(env)
        self._actions = PlainActions(env.action_space)
        distribution_for(self._actions.plain)
        self.action_space = self._actions.plain

    def action(self, action: Any) -> Any:
        """The action as the environment takes it."""
        taken = self._actions.taken(np.asarray(action)[None])[0, ...]
        return int(taken) if isinstance(self._actions.space, Discrete) else taken
