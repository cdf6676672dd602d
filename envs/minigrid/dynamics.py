"""Minigrid's step as tables of codes, and its rules, for B agents at once.

A step looks at the cell in front of the agent and at what it carries. What then becomes of the two,
whether the agent moves and turns, and what it stands on after is one table over action, front and
hand; all else is arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from .codes import (
    BOX_OF_KEY,
    CLOSED,
    COLOURS,
    LIGHT,
    LOCKED,
    NOTHING,
    NUM_CODES,
    NUM_COLOURS,
    OPEN,
    code_of,
    is_kind,
    with_colours,
)
from .tasks import WALKABLE

__all__ = ["ENDINGS", "NUM_ACTIONS", "Ending", "Happening", "State", "transition_table"]

ACTIONS = ("left", "right", "forward", "pickup", "drop", "toggle", "done")
LEFT, RIGHT, FORWARD, PICKUP, DROP, TOGGLE, DONE = range(7)
NUM_ACTIONS = len(ACTIONS)

HANDS = 128
"""What is carried is numbered by the low bits of its code: light passes all of it."""

EMPTY_HAND = NOTHING - LIGHT

HAND_SHIFT, TURN_SHIFT = 8, 15
MOVES, WINS, BURNS = 1 << 17, 1 << 18, 1 << 19
"""Bits of an entry: new front 8, new hand 7, turn 2, and what comes of the step."""


@lru_cache(maxsize=1)
def transition_table() -> NDArray[np.int64]:
    """int64 [7 * 256 * 128]: what becomes of action, front and hand. Do not write into it.

    Entry ``(action * 256 + front) * 128 + hand`` holds, from the lowest bit, the code then in
    front (8 bits), the hand (7), quarter turns to the right (2), and whether the agent moves,
    reaches the goal, and falls into lava.
    """
    action, front, hand = np.ix_(range(NUM_ACTIONS), range(NUM_CODES), range(HANDS))
    shape = (NUM_ACTIONS, NUM_CODES, HANDS)
    new_front = np.broadcast_to(front, shape).copy()
    new_hand = np.broadcast_to(hand, shape).copy()
    takes = is_kind("key", "ball", "box")
    taken = (action == PICKUP) & takes[front] & (hand == EMPTY_HAND)
    new_hand = np.where(taken, front - LIGHT, new_hand)
    dropped = (action == DROP) & (front == NOTHING) & (hand != EMPTY_HAND)
    new_front = np.where(dropped, hand + LIGHT, np.where(taken, NOTHING, new_front))
    new_hand = np.where(dropped, EMPTY_HAND, new_hand)
    new_front[TOGGLE] = _toggled()
    moves = (action == FORWARD) & WALKABLE[front]
    entry = new_front | new_hand << HAND_SHIFT
    entry |= np.where(action == LEFT, 3, action == RIGHT).astype(np.int64) << TURN_SHIFT
    entry |= moves * MOVES
    entry |= ((action == FORWARD) & is_kind("goal")[front]) * WINS
    entry |= ((action == FORWARD) & is_kind("lava")[front]) * BURNS
    table: NDArray[np.int64] = np.ascontiguousarray(entry.reshape(-1), dtype=np.int64)
    table.setflags(write=False)
    return table


def _toggled() -> NDArray[np.int64]:
    """int64 [256, 128]: what a toggle makes of front and hand."""
    made = np.repeat(np.arange(NUM_CODES)[:, None], HANDS, axis=1)
    made[with_colours("door", OPEN)] = np.array(with_colours("door", CLOSED))[:, None]
    made[with_colours("door", CLOSED)] = np.array(with_colours("door", OPEN))[:, None]
    for number, colour in enumerate(COLOURS):
        locked = with_colours("door", LOCKED)[number]
        made[locked, code_of("key", colour) - LIGHT] = with_colours("door", OPEN)[number]
    made[with_colours("box")] = NOTHING
    for number in range(NUM_COLOURS**2):
        made[BOX_OF_KEY + number] = with_colours("key")[number % NUM_COLOURS]
    return made


class State(NamedTuple):
    """State of B episodes but for their grids. All [B] and int64, unless said otherwise.

    Attributes:
        position: Places of the agents among all cells.
        direction: Their directions.
        hand: What they carry, as a number of `HANDS`.
        steps: Steps so far.
        first, second: Places of the targets.
        wanted: What the first target held, as such a number.
        limit: Steps after which the episode is truncated.
        max_steps: Steps over which the reward falls.
        rule: Number of the rule.
        see_through: Whether the agent sees through walls, bool.
        named: Kind and colour of the objects that the mission names, float32 [B, NAMED].
    """

    position: torch.Tensor
    direction: torch.Tensor
    hand: torch.Tensor
    steps: torch.Tensor
    first: torch.Tensor
    second: torch.Tensor
    wanted: torch.Tensor
    limit: torch.Tensor
    max_steps: torch.Tensor
    rule: torch.Tensor
    see_through: torch.Tensor
    named: torch.Tensor


class Happening(NamedTuple):
    """Events of a step, as the rules ask for them. All [B], cells as places in the grids.

    Attributes:
        action: int64.
        position: int64, the cell where the agent is now.
        front: int64, the cell it faced before the step.
        front_before: uint8, the code that was there.
        had, hand: int64, what it carried and carries, as numbers of `HANDS`.
        first, second: int64, the targets.
        wanted: int64, what the first target held at the start, as a number of `HANDS`.
        cells: uint8 [M], the codes of all grids now.
        stride: Cells from one row of a grid to the next, int.
    """

    action: torch.Tensor
    position: torch.Tensor
    front: torch.Tensor
    front_before: torch.Tensor
    had: torch.Tensor
    hand: torch.Tensor
    first: torch.Tensor
    second: torch.Tensor
    wanted: torch.Tensor
    cells: torch.Tensor
    stride: int

    def opened(self, cell: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Whether a cell holds an open door, before the step and after, bool [B]."""
        after = self.cells.index_select(0, cell)
        before = torch.where(self.front == cell, self.front_before, after)
        return _is_open(before), _is_open(after)


Ending = Callable[[Happening], tuple[torch.Tensor, torch.Tensor]]
"""Whether a step succeeds, and whether it ends the episode, bool [B] each; success ends it too."""


def _is_open(codes: torch.Tensor) -> torch.Tensor:
    first = with_colours("door", OPEN)[0]
    return (codes >= first) & (codes < first + NUM_COLOURS)


def _open(h: Happening) -> tuple[torch.Tensor, torch.Tensor]:
    won = (h.action == TOGGLE) & h.opened(h.first)[1]
    return won, won


def _pick_up(h: Happening) -> tuple[torch.Tensor, torch.Tensor]:
    won = (h.action == PICKUP) & (h.hand == h.wanted)
    return won, won


def _memory(h: Happening) -> tuple[torch.Tensor, torch.Tensor]:
    won = h.position == h.first
    return won, won | (h.position == h.second)


def _red_then_blue(h: Happening) -> tuple[torch.Tensor, torch.Tensor]:
    red_before, red_after = h.opened(h.first)
    blue_before, blue_after = h.opened(h.second)
    return blue_after & red_before, blue_after | (red_after & blue_before)


def _go_to(h: Happening) -> tuple[torch.Tensor, torch.Tensor]:
    apart = (h.position - h.first).abs()
    done = h.action == DONE
    return done & ((apart == 1) | (apart == h.stride)), done | (h.action == TOGGLE)


def _fetch(h: Happening) -> tuple[torch.Tensor, torch.Tensor]:
    return h.hand == h.wanted, h.hand != EMPTY_HAND


def _put_near(h: Happening) -> tuple[torch.Tensor, torch.Tensor]:
    apart = (h.front - h.second).abs()
    near = (apart <= 1) | ((apart - h.stride).abs() <= 1)
    carried = (h.action == DROP) & (h.had != EMPTY_HAND)
    wrong = (h.action == PICKUP) & (h.hand != EMPTY_HAND) & (h.hand != h.wanted)
    return carried & (h.hand == EMPTY_HAND) & near, wrong | carried


ENDINGS: dict[str, Ending] = {
    "open": _open,
    "pick up": _pick_up,
    "memory": _memory,
    "red then blue": _red_then_blue,
    "go to": _go_to,
    "fetch": _fetch,
    "put near": _put_near,
}
"""By the names of `envs.minigrid.rules`. The rule "goal" adds nothing to the step."""
