"""Breadth-first search over all that an agent can make of a grid: the fewest actions to something.

A state is where the agent stands and looks, what it carries, and the grid as it has changed it.
Nothing that could shorten a way is left out: open doors are not closed again, which opens no way,
and things are dropped only where a search is asked to, since every cell to drop one on multiplies
the states.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from .codes import BOX_OF_KEY, CLOSED, LOCKED, NOTHING, NUM_COLOURS, OPEN, is_kind, with_colours
from .dynamics import DONE, DROP, FORWARD, LEFT, PICKUP, RIGHT, TOGGLE
from .rules import LOOSE
from .tasks import WALKABLE

__all__ = ["NOWHERE", "Move", "Search", "State", "TooManyStatesError"]

MOST_STATES = 2**16
"""States that are looked at before a search is given up: a few tenths of a second."""

NOWHERE = -1
"""Place of a target that is not known, or that there is not."""

WALKS, TAKES = WALKABLE.tolist(), is_kind(*LOOSE).tolist()
BURNS, WINS = is_kind("lava").tolist(), is_kind("goal").tolist()
CLOSED_DOORS, LOCKED_DOORS = with_colours("door", CLOSED), with_colours("door", LOCKED)
OPEN_DOORS, KEYS, BOXES = with_colours("door", OPEN), with_colours("key"), with_colours("box")


class TooManyStatesError(Exception):
    """A search that was given up."""


class State(NamedTuple):
    """State of an agent and its grid.

    Attributes:
        place: Its cell, an index into the grid.
        direction: Where it looks.
        hand: Code of what it carries; `NOTHING` too is a code.
        grid: Codes of all cells.
    """

    place: int
    direction: int
    hand: int
    grid: bytes


class Move(NamedTuple):
    """An action, the state that it leads to, and whether it succeeds."""

    action: int
    state: State
    won: bool = False


class Search:
    """All that can be done under a rule.

    Attributes:
        first, second: Places of the targets; `NOWHERE` as long as they are not known.
        drops: Whether things are dropped where that does not end the episode.

    Args:
        rule: Name of the rule (`envs.minigrid.rules`).
        wanted: Code of what the first target holds at the start.
        stride: Cells from one row of a grid to the next.
        drops: As above.
    """

    def __init__(self, rule: str, wanted: int, stride: int, *, drops: bool) -> None:
        self.first = self.second = NOWHERE
        self.drops = drops
        self._rule, self._wanted, self._stride = rule, wanted, stride
        self._ahead = (1, stride, -1, -stride)

    def front(self, state: State) -> int:
        """The place before an agent."""
        return state.place + self._ahead[state.direction]

    def way(self, start: State, found: Callable[[Move], bool]) -> list[Move] | None:
        """The fewest moves to something; None if there is no way.

        Args:
            start: Where it begins.
            found: Whether a move is what is looked for.

        Raises:
            TooManyStatesError: More than `MOST_STATES` would have to be looked at.
        """
        came: dict[State, tuple[State, Move] | None] = {start: None}
        now = [start]
        while now:
            later = []
            for state in now:
                for move in self.moves(state):
                    if found(move):
                        return _back(came, state, move)
                    if move.state not in came and not move.won:
                        came[move.state] = (state, move)
                        later.append(move.state)
            if len(came) > MOST_STATES:
                raise TooManyStatesError
            now = later
        return None

    def moves(self, state: State) -> Iterator[Move]:
        """Moves that can be made, but for those that lose and those of no use."""
        place, direction, hand, grid = state
        front = self.front(state)
        code = grid[front]
        if WALKS[code]:
            yield from self._forward(state, front, code)
        elif TAKES[code] and hand == NOTHING:
            yield from self._pickup(state, front, code)
        yield from self._toggle(state, front, code)
        if hand != NOTHING and code == NOTHING:
            yield from self._drop(state, front)
        if self._rule == "go to" and abs(self.first - place) in (1, self._stride):
            yield Move(DONE, state, True)
        yield Move(LEFT, State(place, (direction - 1) % 4, hand, grid))
        yield Move(RIGHT, State(place, (direction + 1) % 4, hand, grid))

    def _forward(self, state: State, front: int, code: int) -> Iterator[Move]:
        memory = self._rule == "memory"
        if not (BURNS[code] or (memory and front == self.second)):
            won = WINS[code] or (memory and front == self.first)
            yield Move(FORWARD, state._replace(place=front), won)

    def _pickup(self, state: State, front: int, code: int) -> Iterator[Move]:
        wanted = code == self._wanted
        if self._rule == "memory" or (self._rule in ("fetch", "put near") and not wanted):
            return
        won = wanted and self._rule in ("pick up", "fetch")
        yield Move(PICKUP, State(*state[:2], code, _put(state.grid, front, NOTHING)), won)

    def _drop(self, state: State, front: int) -> Iterator[Move]:
        if self._rule == "put near":
            apart = abs(front - self.second)
            near = apart <= 1 or abs(apart - self._stride) <= 1
            if near and self.second != NOWHERE:
                yield Move(DROP, state, True)
        elif self.drops:
            yield Move(DROP, State(*state[:2], NOTHING, _put(state.grid, front, state.hand)))

    def _toggle(self, state: State, front: int, code: int) -> Iterator[Move]:
        made = _toggled(code, state.hand)
        blue = self._rule == "red then blue" and front == self.second
        red = self.first != NOWHERE and state.grid[self.first] in OPEN_DOORS
        if made is None or self._rule == "go to" or (blue and not red):
            return
        won = blue or (self._rule == "open" and front == self.first)
        yield Move(TOGGLE, state._replace(grid=_put(state.grid, front, made)), won)


def _toggled(code: int, hand: int) -> int | None:
    """Code that a toggle makes of a code; None if nothing, or nothing of use."""
    if code in CLOSED_DOORS:
        return OPEN_DOORS[code - CLOSED_DOORS[0]]
    if code in LOCKED_DOORS:
        colour = code - LOCKED_DOORS[0]
        return OPEN_DOORS[colour] if hand == KEYS[colour] else None
    if code >= BOX_OF_KEY:
        return KEYS[(code - BOX_OF_KEY) % NUM_COLOURS]
    return NOTHING if code in BOXES else None


def _put(grid: bytes, place: int, code: int) -> bytes:
    """The grid with another code in one place."""
    return b"".join((grid[:place], bytes((code,)), grid[place + 1 :]))


def _back(came: dict[State, tuple[State, Move] | None], state: State, last: Move) -> list[Move]:
    """The moves that led to a state, and a last one."""
    moves = [last]
    while (step := came[state]) is not None:
        state, move = step
        moves.append(move)
    return moves[::-1]
