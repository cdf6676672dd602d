"""Spaces of a problem, the view among them, and both in `config.json`, without the problem."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete, Space

from metarl.nn.view_encoder import ViewLayout
from metarl.rl.problem import Problem


def describe_spaces(problem: Problem) -> dict[str, Any]:
    """JSON value of a problem's spaces, for `config.json`."""
    actions = problem.actions
    match actions:
        case Discrete():
            size: Any = int(actions.n)
        case MultiDiscrete():
            size = actions.nvec.tolist()
        case _:
            size = list(actions.shape or ())
    observation = list(problem.observation.shape or ())
    spaces = {"observation": observation, "actions": {type(actions).__name__: size}}
    try:
        return {**spaces, "view": asdict(view_layout(problem))}
    except ValueError:  # these observations have none
        return spaces


def view_of(described: Mapping[str, Any]) -> ViewLayout:
    """View of a description."""
    values = described["values"]
    return ViewLayout(**{**described, "values": None if values is None else tuple(values)})


def space_of(described: Mapping[str, Any]) -> Space[Any]:
    """Action space of a description."""
    ((kind, size),) = described.items()
    match kind:
        case "Discrete":
            return Discrete(size)
        case "MultiDiscrete":
            return MultiDiscrete(size)
        case "MultiBinary":
            return MultiBinary(math.prod(size))  # plain, as `describe_spaces` was given it
        case "Box":
            return Box(-np.inf, np.inf, tuple(size), np.float32)
    raise ValueError(f"there are no actions of kind {kind!r}")


# The view -----------------------------------------------------------------------------------------


MOST_VALUES = 32
"""Whole numbers of a larger range are no kinds of things."""


def view_layout(problem: Any) -> ViewLayout:
    """The view at the beginning of a problem's observations.

    A problem that has a ``view_layout`` says it itself. Otherwise it is read off the space: a
    ``Box`` of rows, columns and channels; of rows and columns; or of the square of an odd side.
    Bounds that are whole, and few apart, say which values there are.

    Raises:
        ValueError: The space does not tell.
    """
    said = getattr(problem, "view_layout", None)
    if said is not None:
        layout: ViewLayout = said
        return layout
    space: Space[Any] = problem.observation
    shape = space.shape or ()
    if isinstance(space, Box):
        side = math.isqrt(math.prod(shape))
        if len(shape) in (2, 3):
            return _of_bounds(space, *shape)
        if len(shape) == 1 and side % 2 and side > 1 and side**2 == shape[0]:
            return _of_bounds(space, side, side)
    raise ValueError(
        f"{problem.name}: observations {space} do not say which of their numbers are a view: "
        "give the problem a view_layout (metarl.nn.ViewLayout), or take no encoder"
    )


def _of_bounds(space: Box[Any], rows: int, columns: int, channels: int = 1) -> ViewLayout:
    """The layout with the values between the bounds, where these say them."""
    low, high = float(np.min(space.low)), float(np.max(space.high))
    alike = bool(np.all(space.low == low) and np.all(space.high == high))
    whole = alike and low.is_integer() and high.is_integer()
    if whole and 0 < high - low < MOST_VALUES:
        values = (int(high - low) + 1,) * channels
        return ViewLayout(rows, columns, channels, values, int(low))
    return ViewLayout(rows, columns, channels)
