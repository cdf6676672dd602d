"""Maze tasks as rows of numbers that can be drawn, told apart, and changed a little.

A level is a row of `GridMazeVectorEnv.task_tensor`: the cell numbers of goal and start, the walls
as rows of bits, and of agents that turn the direction at the start. Curricula replay and edit such
rows. Whatever is drawn or edited belongs to the part of the layouts that may be trained on: an edit
that leads out of it, or to a goal that cannot be reached where that is asked, is not made.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

import torch

from .bits import free_rows, pack_rows, unpack_rows
from .boards import FamilyDraws
from .family import MazeFamily
from .generators.blocks import empty
from .identity import layout_hash, mix
from .parts import holds
from .search import cell_masks, reachable
from .tasks import UNSAID

__all__ = ["MazeLevels"]

ODD = 0x632BE59BD9B4E019
"""A factor by which goals, starts and directions become parts of a key."""


TRIES = 4
"""Times that a level's changes are drawn, until they lead to a level of training."""


class _Opened(NamedTuple):
    """Levels that can be changed: cells are row * S + column.

    Attributes:
        walls: bool [n, S * S].
        goal: int64 [n].
        start: int64 [n].
    """

    walls: torch.Tensor
    goal: torch.Tensor
    start: torch.Tensor


class MazeLevels:
    """Levels of a family of mazes.

    Attributes:
        width: Numbers of a level, D.

    Args:
        family: The mazes of training, square ones.
        turning: Whether agents turn, so that levels say a direction.
    """

    def __init__(self, family: MazeFamily, *, turning: bool = False) -> None:
        self._family, self._turning = family, turning
        self._side = family.sides[-1]
        self._draws = FamilyDraws(family, turning)
        self.width = 2 + self._side + turning

    def draw(self, n: int, generator: torch.Generator) -> torch.Tensor:
        """Fresh levels, int64 [n, D], on the generator's device; directions all equally likely."""
        drawn = self._draws.draw(n, generator, generator.device)
        return self._with_directions(drawn, generator)

    def bare(self, n: int, generator: torch.Generator) -> torch.Tensor:
        """Rooms with one wall or none, int64 [n, D]: the plainest layouts of training's part."""
        drawn = self._bare.draw(n, generator, generator.device)
        return self._with_directions(drawn, generator)

    def edited(
        self, levels: torch.Tensor, num_edits: int, generator: torch.Generator
    ) -> torch.Tensor:
        """Levels with some changes, int64 [n, D]; those that none is found for stay as they are.

        Each change is, with equal chances: none; a wall more or less on a random cell inside the
        border, other than start and goal; the goal on a random cell inside the border, other than
        the start, which becomes free (the changes of the published ACCEL on minimax's mazes).

        Args:
            levels: int64 [n, D].
            num_edits: Changes, one after the other.
            generator: Draws them.
        """
        kept, left = levels, torch.ones(len(levels), dtype=torch.bool, device=levels.device)
        for _ in range(TRIES):
            new = self._tried(levels, num_edits, generator)
            fit = left & holds(self._family.parts, new[:, 2 : 2 + self._side]) & (new[:, 0] >= 0)
            kept, left = torch.where(fit.unsqueeze(1), new, kept), left & ~fit
        return kept

    def keys(self, levels: torch.Tensor) -> torch.Tensor:
        """Numbers that are equal where layout, goal, start and direction are: int64 [n]."""
        key = layout_hash(levels[:, 2 : 2 + self._side].contiguous())
        others = [levels[:, 0], levels[:, 1], *([levels[:, -1]] if self._turning else [])]
        for column in others:
            key = mix(key * ODD + column)
        return key

    @cached_property
    def _bare(self) -> MazeFamily:
        return replace(self._family, generator=nearly_empty, options=(), loops=0.0)

    def _with_directions(
        self, arrays: tuple[torch.Tensor, ...], generator: torch.Generator
    ) -> torch.Tensor:
        goals, starts, rows, *said = arrays
        columns = [goals[:, None], starts[:, None], rows]
        if self._turning:
            usual = torch.randint(4, goals.shape, generator=generator, device=goals.device)
            way = torch.where(said[0] == UNSAID, usual, said[0]) if said else usual
            columns.append(way[:, None])
        return torch.cat(columns, 1)

    def _tried(
        self, levels: torch.Tensor, num_edits: int, generator: torch.Generator
    ) -> torch.Tensor:
        """Levels with some changes, whatever part they belong to; goal -1 where there is no way."""
        opened, n, side = self._open(levels), len(levels), self._side
        own_side = (levels[:, 2 : 2 + side] != 0).sum(1, keepdim=True)  # [n, 1]
        for _ in range(num_edits):
            what = torch.randint(3, (n,), generator=generator, device=levels.device)
            draws = torch.rand((n, 2), generator=generator, device=levels.device)
            inside = own_side - 2  # in float32 a draw just below 1 may come to the number itself
            cells = torch.minimum((draws * inside).to(torch.int64), inside - 1) + 1  # [n, 2]
            opened = _changed(opened, what, cells[:, 0] * side + cells[:, 1])
        return self._closed(opened, levels)

    def _open(self, levels: torch.Tensor) -> _Opened:
        """Levels as sets of cells; a number of a cell is its rank among the free ones."""
        walls = unpack_rows(levels[:, 2 : 2 + self._side], self._side).flatten(1)  # [n, S * S]
        ranks = (~walls).cumsum(1) - 1
        ranks = ranks.masked_fill(walls, -1)
        goal, start = (
            (ranks == levels[:, column : column + 1]).to(torch.int64).argmax(1) for column in (0, 1)
        )
        return _Opened(walls, goal, start)

    def _closed(self, opened: _Opened, like: torch.Tensor) -> torch.Tensor:
        """The inverse of `_open`; goal -1 where it cannot be reached, if that is asked."""
        side = self._side
        rows = pack_rows(opened.walls.view(-1, side, side))  # [n, side^2] to [n, side, side]
        cannot = None
        if self._family.solvable:
            here, there = (
                cell_masks(torch.stack((cell // side, cell % side), 1), side)
                for cell in (opened.start, opened.goal)
            )
            reached = reachable(rows, here)
            cannot = ~(there & reached).any(1)
            rows = rows | (free_rows(rows) & ~reached)  # what cannot be reached is walled up
        ranks = (~unpack_rows(rows, side).flatten(1)).cumsum(1) - 1
        goal, start = (ranks.gather(1, cell[:, None]) for cell in (opened.goal, opened.start))
        if cannot is not None:
            goal = goal.masked_fill(cannot[:, None], -1)
        return torch.cat((goal, start, rows, like[:, 2 + side :]), 1)


def nearly_empty(
    n: int, side: int, generator: torch.Generator, device: torch.device
) -> torch.Tensor:
    """Rooms with a wall on one random cell, or with none, with equal chances."""
    room = empty(n, side, generator, device)
    cells = torch.randint(1, side - 1, (n, 2), generator=generator, device=device)
    walled = torch.randint(2, (n,), generator=generator, device=device) == 1
    room[torch.arange(n, device=device), cells[:, 0], cells[:, 1]] |= walled
    return room


def _changed(levels: _Opened, what: torch.Tensor, cell: torch.Tensor) -> _Opened:
    """Levels after one change each.

    Args:
        levels: The levels.
        what: int64 [n]: 0 none, 1 a wall, 2 the goal.
        cell: int64 [n], where.
    """
    walls, goal, start = levels
    at_start, at_goal = cell == start, cell == goal
    flips = (what == 1) & ~at_start & ~at_goal
    moves = (what == 2) & ~at_start
    there = walls.gather(1, cell[:, None])[:, 0]
    wall = torch.where(flips, ~there, there & ~moves)
    walls = walls.scatter(1, cell[:, None], wall[:, None])
    return _Opened(walls, torch.where(moves, cell, goal), start)
