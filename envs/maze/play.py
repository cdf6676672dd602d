"""Mazes played by keys: arrows or wasd move, n is another maze, q leaves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from ..base.pictures import Frame, Window
from .drawing import draw
from .random_mazes import RandomMazes

__all__ = ["Play"]

MOVES = {"up": 0, "w": 0, "down": 1, "s": 1, "left": 2, "a": 2, "right": 3, "d": 3}
"""Actions by key."""

TURNS = {"left": 0, "a": 0, "right": 1, "d": 1, "up": 2, "w": 2}
"""Actions of an agent that turns by key."""

LEAVE, NEXT = ("escape", "q"), ("n", "return")
"""Keys that close the window, and that go on to another maze."""

FRAMES_PER_SECOND = 30


class Play:
    """A maze that keys are played in.

    It begins in a maze that nobody has trained on.

    Args:
        mazes: The mazes.
        seed: Of the mazes.
        show_goal: Show the goal from the beginning, not from the first find on.
        cell_size: Pixels of a cell; None: by the size of the maze.

    Attributes:
        returns: What each trial has earned so far, the one at hand last.
    """

    def __init__(
        self,
        mazes: RandomMazes,
        *,
        seed: int = 0,
        show_goal: bool = False,
        cell_size: int | None = None,
    ) -> None:
        maze = replace(mazes, exploration_bonus=0.0)
        self._show_goal, self._cell_size = show_goal, cell_size
        self._random = torch.Generator().manual_seed(seed)
        self._env: Any = maze.make_env(1, [self._random], torch.device("cpu"))
        self._mazes, self._horizon = maze.test, maze.horizon
        inner: Any = self._env.unwrapped
        self._turning = inner.settings.sight.turning
        self._keys = TURNS if self._turning else MOVES
        self.returns: list[float] = []
        self.begin()

    def begin(self) -> None:
        """Go on to another maze."""
        (self.task,) = self._mazes.sample(1, self._random)
        self._env.reset_tensors(options={"tasks": [self.task]})
        self.step, self.over, self._found = 0, False, self._show_goal
        self._trail = [self._cell]
        self.returns.append(0.0)

    def press(self, key: str) -> None:
        """Act on a key; at the end of a trial every move begins another one."""
        if key in NEXT or (self.over and key in self._keys):
            self.begin()
        elif key in self._keys:
            action = torch.tensor([self._keys[key]])
            _, reward, terminated, truncated, _ = self._env.step_tensors(action)
            self.step += 1
            self.returns[-1] += float(reward)
            if float(reward) > 0:
                self._found, self._trail = True, []
            self._trail.append(self._cell)
            self.over = bool(terminated | truncated)

    def picture(self) -> Frame:
        """The maze as it is."""
        task, what = self.task, "over: any move for another" if self.over else "n: another maze"
        return draw(
            task.layout,
            agent=self._trail[-1],
            goal=task.goal if self._found else None,
            trail=self._trail,
            caption=f"{what}, q: leave\nstep {self.step}/{self._horizon}  "
            f"reward {self.returns[-1]:g}",
            cell_size=self._cell_size,
            facing=int(self._env.unwrapped.agent_directions) if self._turning else None,
        )

    def run(self) -> None:
        """Play in a window until it is closed."""
        window = Window("Find the hidden goal", FRAMES_PER_SECOND)
        try:
            while True:
                window.show(self.picture())
                for key in window.pressed():
                    if key in LEAVE:
                        return
                    self.press(key)
        finally:
            window.close()

    @property
    def _cell(self) -> tuple[int, int]:
        row, column = self._env.unwrapped.agent_positions[0].tolist()
        return row, column
