"""Anchors of Minigrid tasks: what random actions earn, and who knows the grid.

The oracle takes the fewest actions that end in success, found by breadth-first search over cell and
direction, the doors that were opened, and the key that was taken; ``1 - 0.9 * actions / max_steps``
if that is within the episode, else 0. It never drops anything. That is exact where nothing has to
be dropped: in grids where at most one thing can be taken, and under rules where taking another one
ends the episode or is not possible. Of others (KeyCorridor, UnlockPickup, ObstructedMaze, PutNear)
the oracle is not known, and is NaN. Random actions, all seven alike, are simulated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..base.checks import check_horizon, whole_number
from ..base.tasks import TaskSet
from .codes import CLOSED, LOCKED, NUM_COLOURS, is_kind, with_colours
from .dynamics import NUM_ACTIONS
from .rules import LOOSE, Cell
from .tasks import WALKABLE, MinigridTask
from .tensor import MinigridVectorEnv

__all__ = ["MinigridAnchors", "minigrid_anchors", "shortest_success"]

SEED = 0
"""Of the random actions."""

MOST_STEPS = 2**22
"""Environments times steps that are simulated at once, at most."""

MOVES = ((1, 0), (0, 1), (-1, 0), (0, -1))
"""(dx, dy) by direction."""

FIXED_RULES = ("memory", "fetch")
"""Rules under which nothing else than the target can be taken without losing."""

OPENED, LEAST_KEY = frozenset[Cell](), with_colours("key")[0]

State = tuple[Cell, int, int | None, frozenset[Cell]]
"""Cell, direction, code of what was taken, cells that were opened or emptied."""


class MinigridAnchors(NamedTuple):
    """Expected returns of an episode, task by task.

    Attributes:
        random: Of random actions, float64 [N], estimated.
        oracle: Of the fewest actions to success, float64 [N]; NaN where they are not known.
        shortest: These actions, float64 [N]; infinity where there is no way, NaN likewise.
    """

    random: NDArray[np.float64]
    oracle: NDArray[np.float64]
    shortest: NDArray[np.float64]


def minigrid_anchors(
    tasks: TaskSet[MinigridTask] | Sequence[MinigridTask],
    *,
    horizon: int | None = None,
    num_episodes: int = 32,
) -> MinigridAnchors:
    """Returns of random actions and of the oracle.

    Args:
        tasks: N tasks that the tensor environment plays.
        horizon: Steps in an episode, at most; by default each task's own.
        num_episodes: Episodes of random actions for each task. The same numbers give the same
            estimates.

    Raises:
        ValueError: If there are no tasks, a number is out of range, or the tensor environment
            cannot play a task.
    """
    several = tuple(tasks)
    if not several:
        raise ValueError("there are no tasks to play: give at least one")
    most = None if horizon is None else check_horizon(horizon)
    count = whole_number(num_episodes, "num_episodes")
    limits = np.array([min(task.max_steps, most or task.max_steps) for task in several])
    shortest = np.array([shortest_success(task) for task in several])
    paid = 1 - 0.9 * shortest / [task.max_steps for task in several]
    oracle = np.where(np.isnan(shortest), np.nan, np.where(shortest <= limits, paid, 0.0))
    return MinigridAnchors(_random_returns(several, most, count), oracle, shortest)


def _random_returns(
    tasks: tuple[MinigridTask, ...], horizon: int | None, num_episodes: int
) -> NDArray[np.float64]:
    """Means over episodes, a part of the tasks after another."""
    longest = max(task.max_steps for task in tasks) if horizon is None else horizon
    size = max(1, MOST_STEPS // (longest * num_episodes))
    generator = torch.Generator().manual_seed(SEED)
    returns = []
    for first in range(0, len(tasks), size):
        part = tasks[first : first + size]
        many = [task for task in part for _ in range(num_episodes)]
        env = MinigridVectorEnv(len(many), tasks=tuple(dict.fromkeys(part)), horizon=horizon)
        env.reset(options={"tasks": many})
        earned = torch.zeros(len(many), dtype=torch.float64)
        for _ in range(env.horizon):
            actions = torch.randint(NUM_ACTIONS, (len(many),), generator=generator)
            _, rewards, terminated, truncated, _ = env.step(actions)
            earned += rewards
            if bool((terminated | truncated).all()):
                break
        returns.append(earned.view(-1, num_episodes).mean(1))
    values: NDArray[np.float64] = torch.cat(returns).numpy()
    return values


# The oracle -----------------------------------------------------------------------------------


@lru_cache(maxsize=2**16)
def shortest_success(task: MinigridTask) -> float:
    """The fewest actions that end in success.

    Returns:
        Infinity if there is no way; NaN if it could take dropping something, which is not searched.
    """
    if not _is_known(task):
        return np.nan
    search = _Search(task)
    start: State = (task.agent, task.direction, None, OPENED)
    seen, now, actions = {start}, [start], 0
    while now:
        actions += 1
        later = []
        for state in now:
            for reached, won in search.steps(state):
                if won:
                    return actions
                if reached not in seen:
                    seen.add(reached)
                    later.append(reached)
        now = later
    return np.inf


def _is_known(task: MinigridTask) -> bool:
    """Whether the search without dropping is exact."""
    if task.rule == "put near":
        return False
    loose = int(is_kind(*LOOSE)[task.codes].sum())
    box = bool(is_kind("box")[task.codes].any())
    return not box and (loose <= 1 or task.rule in FIXED_RULES)


class _Search:
    """Steps of the search on one task."""

    def __init__(self, task: MinigridTask) -> None:
        codes = task.codes
        self.rule, self.codes = task.rule, codes
        self.walkable = WALKABLE[codes].tolist()
        self.loose = is_kind(*LOOSE)[codes].tolist()
        self.closed = np.isin(codes, with_colours("door", CLOSED)).tolist()
        self.locked = np.isin(codes, with_colours("door", LOCKED)).tolist()
        self.goal, self.lava = (is_kind(kind)[codes].tolist() for kind in ("goal", "lava"))
        self.first, self.second = (*task.targets, None, None)[:2]

    def steps(self, state: State) -> Iterator[tuple[State, bool]]:
        """The states that one action leads to, and whether it succeeds."""
        cell, direction, taken, changed = state
        yield (cell, (direction + 1) % 4, taken, changed), False
        yield (cell, (direction - 1) % 4, taken, changed), False
        dx, dy = MOVES[direction]
        front = x, y = cell[0] + dx, cell[1] + dy
        if self.rule == "go to" and self._beside(cell):
            yield state, True
        if front in changed or self.walkable[y][x]:
            yield from self._forward(front, state)
        elif self.loose[y][x]:
            yield from self._pickup(front, state)
        elif self.closed[y][x] or (self.locked[y][x] and self._opens(taken, front)):
            yield from self._toggle(front, state)

    def _forward(self, front: Cell, state: State) -> Iterator[tuple[State, bool]]:
        x, y = front
        lost = self.lava[y][x] or (self.rule == "memory" and front == self.second)
        won = self.goal[y][x] or (self.rule == "memory" and front == self.first)
        if not lost:
            yield (front, *state[1:]), bool(won)

    def _pickup(self, front: Cell, state: State) -> Iterator[tuple[State, bool]]:
        cell, direction, taken, changed = state
        if self.rule == "memory" or taken is not None:
            return
        code = int(self.codes[front[::-1]])
        wanted = self.first is not None and code == int(self.codes[self.first[::-1]])
        if self.rule in ("pick up", "fetch") and wanted:
            yield state, True
        elif self.rule != "fetch":
            yield (cell, direction, code, changed | {front}), False

    def _toggle(self, front: Cell, state: State) -> Iterator[tuple[State, bool]]:
        cell, direction, taken, changed = state
        if self.rule == "go to":
            return
        blue = self.rule == "red then blue" and front == self.second
        if blue and not self._is_open(self.first, changed):
            return
        won = blue or (self.rule == "open" and front == self.first)
        yield (cell, direction, taken, changed | {front}), won

    def _opens(self, taken: int | None, door: Cell) -> bool:
        number = int(self.codes[door[::-1]]) - with_colours("door", LOCKED)[0]
        return taken is not None and taken - LEAST_KEY == number < NUM_COLOURS

    def _is_open(self, door: Cell | None, changed: frozenset[Cell]) -> bool:
        assert door is not None
        return door in changed or bool(self.walkable[door[1]][door[0]])

    def _beside(self, cell: Cell) -> bool:
        assert self.first is not None
        return abs(cell[0] - self.first[0]) + abs(cell[1] - self.first[1]) == 1
