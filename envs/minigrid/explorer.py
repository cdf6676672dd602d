"""The explorer: who searches a grid of Minigrid with nothing but the agent's own view.

It keeps a map of what its view has shown, with its own place on it, and knows the rules: that keys
open locked doors, that lava ends the episode, what the mission names. If the map shows a way to
success it takes the shortest. Else it goes the shortest way, through doors and with keys if need
be, to where it faces a cell that it has not seen. Whatever is new on the map makes it think again.
In later episodes on the same grid it still has the map.

It is given nothing that an agent could not know, and forgets nothing; going to what is nearest, it
is not the best search there is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ..base.checks import check_horizon, whole_number
from ..base.tasks import TaskSet
from .codes import BOX_OF_KEY, NOTHING, SHOWN, is_kind
from .dynamics import DONE, LEFT
from .search import NOWHERE, Move, Search, State, TooManyStatesError
from .tasks import MinigridTask
from .tensor import MinigridVectorEnv

__all__ = ["Explorer", "explorer_returns", "is_explored"]

UNSEEN = 0
EXPLORED = ("goal", "open", "pick up", "red then blue", "go to", "fetch")
"""Rules that it plays: those whose mission says what the targets look like."""

AT_ONCE = 256
"""Grids that are played side by side."""

GOAL = is_kind("goal").tolist()


def is_explored(task: MinigridTask) -> bool:
    """Whether the explorer plays a task: it does not guess what boxes hold, nor which door."""
    codes = task.codes
    if task.rule not in EXPLORED or bool((codes >= BOX_OF_KEY).any()):
        return False
    return task.rule != "open" or int(is_kind("door")[codes].sum()) == 1


class Explorer:
    """Explorer of one grid.

    Args:
        task: What is known of it is what the mission says; places are counted from where the agent
            starts.
    """

    def __init__(self, task: MinigridTask) -> None:
        side = 2 * max(task.height, task.width) + 2 * task.view_size  # wherever it starts
        self._begin = (side // 2) * (side + 1), task.direction
        self._map = bytearray(side * side)
        self._map[self._begin[0]] = NOTHING
        self._around = view_offsets(task.view_size, side)
        self._own = task.view_size * (task.view_size // 2) + task.view_size - 1
        self._rule = task.rule
        self._looks = [int(SHOWN[task.codes[y, x]]) for x, y in task.targets]
        wanted = self._looks[0] if self._looks else NOTHING
        self._search = Search(task.rule, wanted, side, drops=False)
        self._seen_goal = False
        self.start()

    def start(self) -> None:
        """Begin an episode, with the map of those before."""
        self._state = State(*self._begin, NOTHING, bytes(self._map))
        self._way: list[Move] = []
        self._lost = False

    def see(self, view: NDArray[np.uint8]) -> None:
        """Put on the map what is in view.

        Args:
            view: uint8 ``[V * V]``, as ``observe="codes"`` gives it.
        """
        places = self._state.place + self._around[self._state.direction]
        grid = np.frombuffer(self._state.grid, np.uint8)
        new = (view != UNSEEN) & (grid[places] == UNSEEN)
        new[self._own] = False  # where the hand is shown
        if not new.any():
            return
        seen = grid.copy()
        seen[places[new]] = view[new]
        for place, code in zip(places[new].tolist(), view[new].tolist(), strict=True):
            self._map[place] = code  # nobody but the agent changes what it has not yet seen
            self._notice(place, code)
        self._state = self._state._replace(grid=seen.tobytes())
        self._way, self._lost = [], False

    def _notice(self, place: int, code: int) -> None:
        """Notice a target."""
        search = self._search
        self._seen_goal |= GOAL[code]
        if code in self._looks[:1] and search.first == NOWHERE:
            search.first = place
        if code in self._looks[1:] and search.second == NOWHERE:
            search.second = place

    def act(self) -> int:
        """The next action; to stay and turn if it knows no way to anything."""
        if not self._way and not self._lost:
            self._way = self._think()
            self._lost = not self._way
        if self._lost:
            self._way = [move for move in self._search.moves(self._state) if move.action == LEFT]
        move = self._way.pop(0)
        self._state = move.state
        return move.action

    def _think(self) -> list[Move]:
        """The way to success, or else to something new; none if there is neither."""
        knows = {"goal": self._seen_goal, "red then blue": self._search.second != NOWHERE}
        way = None
        if knows.get(self._rule, self._search.first != NOWHERE):
            way = self._way_to(lambda move: move.won)
        return way or self._way_to(self._shows_something) or []

    def _way_to(self, found: Callable[[Move], bool]) -> list[Move] | None:
        """The shortest way on the map; at first without dropping anything, which is soon found."""
        for drops in (False, True) if self._rule == "pick up" else (False,):
            self._search.drops = drops
            try:
                way = self._search.way(self._state, found)
            except TooManyStatesError:
                continue
            if way is not None:
                return way
        return None

    def _shows_something(self, move: Move) -> bool:
        return move.state.grid[self._search.front(move.state)] == UNSEEN


def view_offsets(view_size: int, stride: int) -> NDArray[np.int64]:
    """int64 ``[4, V * V]``: cells of a view, counted from the agent's, by its direction."""
    steps = np.array([1, stride, -1, -stride])
    across, ahead = np.divmod(np.arange(view_size**2), view_size)
    forward = view_size - 1 - ahead
    sideways = across - view_size // 2
    offsets: NDArray[np.int64] = np.outer(steps, forward) + np.outer(np.roll(steps, -1), sideways)
    return offsets


def explorer_returns(
    tasks: TaskSet[MinigridTask] | Sequence[MinigridTask],
    *,
    horizon: int | None = None,
    num_episodes: int = 1,
) -> NDArray[np.float64]:
    """Returns of the explorer, episode by episode on the same grids.

    Args:
        tasks: N tasks that the tensor environment plays.
        horizon: Steps in an episode, at most; by default each task's own.
        num_episodes: E.

    Returns:
        float64 ``[N, E]``; NaN for tasks that it does not play (`is_explored`).

    Raises:
        ValueError: If there are no tasks, a number is out of range, or the tensor environment
            cannot play a task.
    """
    several = some_tasks(tasks)
    most = None if horizon is None else check_horizon(horizon)
    whole_number(num_episodes, "num_episodes")
    returns = np.full((len(several), num_episodes), np.nan)
    played = [n for n, task in enumerate(several) if is_explored(task)]
    for first in range(0, len(played), AT_ONCE):
        part = played[first : first + AT_ONCE]
        returns[part] = _play([several[n] for n in part], most, num_episodes)
    return returns


def some_tasks(tasks: TaskSet[MinigridTask] | Sequence[MinigridTask]) -> tuple[MinigridTask, ...]:
    """The tasks.

    Raises:
        ValueError: If there are none.
    """
    several = tuple(tasks)
    if not several:
        raise ValueError("there are no tasks to play: give at least one")
    return several


def _play(tasks: list[MinigridTask], horizon: int | None, num_episodes: int) -> NDArray[np.float64]:
    """Returns ``[N, E]`` on N tasks, side by side."""
    longest = max(task.max_steps for task in tasks) if horizon is None else horizon
    unlike = tuple(dict.fromkeys(tasks))
    env = MinigridVectorEnv(len(tasks), tasks=unlike, horizon=longest, observe="codes")
    explorers = [Explorer(task) for task in tasks]
    returns = np.zeros((len(tasks), num_episodes))
    for episode in range(num_episodes):
        seen, _ = env.reset(options={"tasks": tasks})
        for explorer in explorers:
            explorer.start()
        over = np.zeros(len(tasks), dtype=bool)
        while not over.all():
            actions = np.full(len(tasks), DONE)
            for n in np.flatnonzero(~over):
                explorers[n].see(seen[n].numpy())
                actions[n] = explorers[n].act()
            seen, rewards, terminated, truncated, _ = env.step(torch.from_numpy(actions))
            returns[:, episode] += rewards.double().numpy()
            over |= (terminated | truncated).numpy()
    return returns
