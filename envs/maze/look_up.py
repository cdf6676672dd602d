"""Mazes handed over as tables, to whoever takes many steps at once; and the targets of finds.

An environment's `look_up` says all that its next steps depend on. Who has taken them by the tables
tells the environment where its agents have come to (`jump`), and goes on with ordinary steps: the
last step of an episode is always one of those, so that ends and resets stay in one place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch

from .boards import Boards
from .dynamics import NUM_ACTIONS, TURNING_ACTIONS
from .exploration import Explored
from .settings import MazeSettings

__all__ = ["HandsOver", "LookUp", "Targets"]

DEAREST = 4
"""Views computed for the tables, at most, by steps that are taken with them."""


class LookUp(NamedTuple):
    """The next steps of B mazes as tables.

    Attributes:
        num_steps: S, how many steps they hold for.
        next_place: [P * A], where action a leads from place p, at ``p * A + a``.
        num_actions: A.
        poses: Places of a cell: place p is on cell ``p // poses``.
        places: [B], where agents are.
        goals: [B], the cells of the goals.
        targets: [S, B], where a find in each step sends agents; or [1, B], always.
        views: float32 [V, D], what is seen.
        rows: int32 [P], the row of `views` of each place; None: its number.
        reward: Paid for a find.
        penalty: Taken off where a wall blocks a move.
        bumped: float32 [P * A], 1 where it does; None: where a place leads to itself.
        bonus: Paid for a cell entered for the first time before the first find; None: there is none
            to tell of.
        entered: bool, cells that were entered, to be written; None: no bonus is paid.
        entered_at: int64 [B], cell c of maze b is ``entered[entered_at[b] + c]``.
        found: bool [B], whether a goal was found, to be written.
        ended: bool [B], whether a find has ended an episode, which then waits where it is and pays
            nothing, to be written; None: finds lead on.
        tells_end: Whether such an end is one of the whole stretch.
        told: float32 [S, A, W], what wrappers tell behind the view after each step, by its action;
            None: nothing.
        reward_column: Which of the W numbers the reward replaces.
        tells_bonus: Whether with the bonus.
    """

    num_steps: int
    next_place: torch.Tensor
    num_actions: int
    poses: int
    places: torch.Tensor
    goals: torch.Tensor
    targets: torch.Tensor
    views: torch.Tensor
    rows: torch.Tensor | None
    reward: float
    penalty: float
    bumped: torch.Tensor | None
    bonus: float | None
    entered: torch.Tensor | None = None
    entered_at: torch.Tensor | None = None
    found: torch.Tensor | None = None
    ended: torch.Tensor | None = None
    tells_end: bool = True
    told: torch.Tensor | None = None
    reward_column: int = 0
    tells_bonus: bool = True


class Targets:
    """The places to which finds send agents, step by step, drawn in blocks.

    Args:
        draw: The next block, [T', B]; none: `next` and `take` are not called.
    """

    def __init__(self, draw: Callable[[], torch.Tensor] | None = None) -> None:
        self._draw = draw
        self._block = torch.zeros(0, 0, device="meta") if draw is None else draw()
        self._next = 0
        self._rows: Iterator[torch.Tensor] | None = None  # of the block, from `_next` on

    def next(self) -> torch.Tensor:
        """Targets of the next step, [B]."""
        if self._next == len(self._block):
            self._begin_block()
        if self._rows is None:
            self._rows = iter(self._block[self._next :].unbind(0))
        self._next += 1
        return next(self._rows)

    def take(self, num_steps: int) -> torch.Tensor:
        """Targets of the next S steps, [S, B]."""
        parts = []
        while num_steps:
            if self._next == len(self._block):
                self._begin_block()
            part = self._block[self._next : self._next + num_steps]
            self._next += len(part)
            num_steps -= len(part)
            parts.append(part)
        self._rows = None
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _begin_block(self) -> None:
        assert self._draw is not None
        self._block, self._next, self._rows = self._draw(), 0, None


class HandsOver:
    """A maze environment that hands itself over as tables. A mixin for it alone."""

    settings: MazeSettings
    _boards: Boards
    _places: torch.Tensor
    _starts: torch.Tensor
    _goal_cells: torch.Tensor
    _targets: Targets
    _goes_back: bool
    _explored: Explored | None
    _told: dict[str, torch.Tensor]
    _elapsed: int | None
    _ended: torch.Tensor
    _out_of_step: bool
    may_terminate: bool
    horizon: int
    device: torch.device

    def look_up(self, num_steps: int) -> LookUp | None:
        """The next steps as tables, as many as are asked for, but not the last of the episode.

        None, and nothing is drawn, where there are no such steps, where each episode begins in its
        own time, on other devices than the CPU, where the tables cost more than the steps, and of
        a derived class, whose steps may be others.
        """
        own = HandsOver in type(self).__bases__
        if not own or self._elapsed is None or self._out_of_step or self.device.type != "cpu":
            return None
        num_steps = min(num_steps, self.horizon - self._elapsed - 1)
        bank = self._boards.bank
        seen = bank.seen(DEAREST * num_steps * len(self._places)) if num_steps > 0 else None
        if seen is None:
            return None
        turning, explored = self.settings.sight.turning, self._explored
        fixed = self._goes_back or self.may_terminate  # where finds lead: nowhere, if they end
        tables = LookUp(
            num_steps=num_steps,
            next_place=bank.next_place,
            num_actions=TURNING_ACTIONS if turning else NUM_ACTIONS,
            poses=self.settings.sight.poses,
            places=self._places,
            goals=self._goal_cells,
            targets=self._starts[None] if fixed else self._targets.take(num_steps),
            views=seen[0],
            rows=seen[1],
            reward=self.settings.reward,
            penalty=self.settings.wall_penalty,
            bumped=bank.bumped,
            bonus=0.0 if "bonus" in self._told else None,
        )
        if self.may_terminate:
            self._ended = self._ended.clone()
            tables = tables._replace(ended=self._ended)
        if explored is None:
            return tables
        return tables._replace(
            bonus=explored.bonus,
            entered=explored.entered,
            entered_at=explored.first - self._boards.first_cells,
            found=explored.found,
        )

    def jump(self, places: torch.Tensor, num_steps: int) -> None:
        """Takes what `num_steps` steps by the tables have come to.

        Args:
            places: int64 [B], where agents are.
            num_steps: As many as `look_up` has said.
        """
        assert self._elapsed is not None
        self._places = places.to(self._places.dtype)
        self._elapsed += num_steps
