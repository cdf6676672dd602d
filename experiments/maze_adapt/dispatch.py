"""From a method's name to the module of its kind."""

from __future__ import annotations

from experiments.maze_adapt.kinds import Kind
from experiments.maze_adapt.methods import Method, kind_name


def kind_of(method: Method) -> Kind:
    """The kind of a method; imports no other."""
    match kind_name(method):
        case "gradient":
            from experiments.maze_adapt import gradient

            return gradient
        case "recurrent":
            from experiments.maze_adapt import recurrent

            return recurrent
        case "mixture":
            from experiments.maze_adapt import ppo

            return ppo
