"""Rules of Minigrid's families: what ends an episode and pays, and what an episode is about.

A *rule* is what a class of Minigrid adds to the step that all of them share. It is found by the
class whose ``step`` an environment runs, so that a class of somebody else's, which draws other
grids and adds nothing, has a rule too. What an episode is about is one or two cells, the *targets*:
the door to open, the object to fetch, the cell to stand on.

A class with a step of its own that is not listed has no rule here. Minigrid itself plays its tasks,
and the tensor twin says that it does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["RULES", "Rule", "rule_of"]

Cell = tuple[int, int]
"""(x, y), column and row, as Minigrid counts."""

LOOSE = ("key", "ball", "box")
"""Kinds of objects that can be picked up."""

Read = Callable[[Any], tuple[Cell, ...]]
Write = Callable[[Any, tuple[Cell, ...]], None]


@dataclass(frozen=True)
class Rule:
    """Additions of some classes of Minigrid to the shared step.

    Attributes:
        classes: Names of the classes of Minigrid that define it.
        read: From an environment that was just reset to the targets.
        write: Makes an environment, whose grid is set, one with these targets.
        num_targets: Number of targets.
        holds: Kinds of objects that a target may hold; empty if it may hold anything.
        named: Number of targets that the mission names, by kind and colour.
        twin: Whether the tensor twin plays it.
    """

    classes: tuple[str, ...]
    read: Read
    write: Write
    num_targets: int = 0
    holds: tuple[str, ...] = ()
    named: int = 0
    twin: bool = True


def rule_of(env: Any) -> str | None:
    """Name of the rule of a Minigrid environment; None if it has one of its own."""
    own = type(env)
    for method in ("_reward", "gen_obs", "gen_obs_grid"):
        if getattr(own, method).__qualname__ != f"MiniGridEnv.{method}":
            return None
    step = own.step
    name = step.__qualname__.partition(".")[0]
    if step.__module__.partition(".")[0] != "minigrid":
        return None
    return next((key for key, rule in RULES.items() if name in rule.classes), None)


def _cells(env: Any) -> Iterator[tuple[Cell, Any]]:
    """Cells and what they hold, row by row."""
    for number, thing in enumerate(env.grid.grid):
        yield (number % env.grid.width, number // env.grid.width), thing


def _where(env: Any, wanted: Any) -> Cell:
    """The cell that holds an object."""
    return next(cell for cell, thing in _cells(env) if thing is wanted)


def _read_nothing(env: Any) -> tuple[Cell, ...]:
    return ()


def _write_nothing(env: Any, targets: tuple[Cell, ...]) -> None:
    """Leaves the environment as it is."""


def _things(*names: str) -> tuple[Read, Write]:
    """Targets that are objects of the grid, under names of the environment's."""

    def read(env: Any) -> tuple[Cell, ...]:
        return tuple(_where(env, getattr(env, name)) for name in names)

    def write(env: Any, targets: tuple[Cell, ...]) -> None:
        for name, target in zip(names, targets, strict=True):
            setattr(env, name, env.grid.get(*target))

    return read, write


def _positions(*names: str) -> tuple[Read, Write]:
    """Targets that are cells, under names of the environment's."""

    def read(env: Any) -> tuple[Cell, ...]:
        return tuple(_cell(getattr(env, name)) for name in names)

    def write(env: Any, targets: tuple[Cell, ...]) -> None:
        for name, target in zip(names, targets, strict=True):
            setattr(env, name, target)

    return read, write


def _write_go_to(env: Any, targets: tuple[Cell, ...]) -> None:
    thing = env.grid.get(*targets[0])
    env.target_pos, env.target_color, env.targetType = targets[0], thing.color, thing.type


def _read_fetch(env: Any) -> tuple[Cell, ...]:
    """The first object like the one asked for: Minigrid takes any of them."""
    wanted = (env.targetType, env.targetColor)
    return (next(c for c, t in _cells(env) if t is not None and (t.type, t.color) == wanted),)


def _write_fetch(env: Any, targets: tuple[Cell, ...]) -> None:
    thing = env.grid.get(*targets[0])
    env.targetType, env.targetColor = thing.type, thing.color


def _write_put_near(env: Any, targets: tuple[Cell, ...]) -> None:
    moved, target = (env.grid.get(*cell) for cell in targets)
    env.move_pos, env.move_type, env.moveColor = targets[0], moved.type, moved.color
    env.target_pos, env.target_type, env.target_color = targets[1], target.type, target.color


def _write_obstacles(env: Any, targets: tuple[Cell, ...]) -> None:
    env.obstacles = [t for _, t in _cells(env) if t is not None and t.type == "ball"]


def _cell(position: Any) -> Cell:
    x, y = position
    return int(x), int(y)


RULES = {
    "goal": Rule(("MiniGridEnv",), _read_nothing, _write_nothing),
    "open": Rule(("UnlockEnv",), *_things("door"), num_targets=1, holds=("door",)),
    "pick up": Rule(
        ("UnlockPickupEnv", "BlockedUnlockPickupEnv", "KeyCorridorEnv", "ObstructedMazeEnv"),
        *_things("obj"),
        num_targets=1,
        holds=LOOSE,
        named=1,
    ),
    "memory": Rule(("MemoryEnv",), *_positions("success_pos", "failure_pos"), num_targets=2),
    "red then blue": Rule(
        ("RedBlueDoorEnv",), *_things("red_door", "blue_door"), num_targets=2, holds=("door",)
    ),
    "go to": Rule(
        ("GoToDoorEnv", "GoToObjectEnv"),
        _positions("target_pos")[0],
        _write_go_to,
        num_targets=1,
        holds=(*LOOSE, "door"),
        named=1,
    ),
    "fetch": Rule(("FetchEnv",), _read_fetch, _write_fetch, num_targets=1, holds=LOOSE, named=1),
    "put near": Rule(
        ("PutNearEnv",),
        _positions("move_pos", "target_pos")[0],
        _write_put_near,
        num_targets=2,
        holds=LOOSE,
        named=2,
    ),
    "moving obstacles": Rule(("DynamicObstaclesEnv",), _read_nothing, _write_obstacles, twin=False),
}
"""Rules by name. In the tensor twin a rule is its place in this order."""
