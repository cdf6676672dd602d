"""Spaces of a problem in `config.json`: what a run's agent sees and does, without the problem."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete, Space

from metarl.nn import ViewLayout
from metarl.rl.problem import Problem
from metarl.rl.views import view_layout


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
            return MultiBinary(size)
        case "Box":
            return Box(-np.inf, np.inf, tuple(size), np.float32)
    raise ValueError(f"there are no actions of kind {kind!r}")
