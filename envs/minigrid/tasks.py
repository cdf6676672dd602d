"""Minigrid tasks as values: a grid with all that is in it, the agent, and what is asked of it.

A seed is not a task: different seeds give the same grid, and the same seed another grid in another
version of Minigrid. A `MinigridTask` is what the seed gave. Its name is a hash of all that makes a
difference to an agent, so that tasks split by it are never the same behind two names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from ..base.checks import as_cell, whole_number
from ..base.tasks import Arrays, Task
from .codes import OPEN, TEXTS, WALL, is_kind, with_colours
from .rules import RULES, Cell

__all__ = ["CANVAS", "FACTS", "NUMBERED", "MinigridTask"]

CANVAS = 25
"""Rows and columns of the grids that the tensor twin plays, at most; Minigrid's have no more."""

WORDS = -(-(CANVAS**2) // 8)
"""int64 numbers that hold the codes of a canvas."""

FACTS = (
    *("agent", "direction", "max_steps", "see_through", "rule", "first_target", "second_target"),
    *("view_size", "height", "width", "key"),
)
"""What `MinigridTask.arrays` says beside the grid. Cells are ``y * CANVAS + x``; the key is 63 bits
of the task's hash."""

ARROWS = (">>", "vv", "<<", "^^")
"""The agent in a picture, by direction."""

NUMBERED: WeakValueDictionary[int, MinigridTask] = WeakValueDictionary()
"""Tasks that were made numbers, by their keys, as long as somebody has them: numbers do not say a
mission, nor an id."""

KNOWN = {text: code for code, text in TEXTS.items()}
MOST_SIDE, MOST_VIEW = 2**10, 2**6 + 1

WALKABLE = is_kind("empty", "floor", "goal", "lava")
WALKABLE[with_colours("door", OPEN)] = True


@dataclass(frozen=True)
class MinigridTask(Task):
    """One grid of Minigrid, with all that is in it.

    Args:
        grid: Rows of cells from the top, one line each, two characters for each cell; see
            `envs.minigrid.codes`.
        agent: (x, y), column and row where the agent starts.
        direction: Direction in which it looks, 0 right, 1 down, 2 left, 3 up.
        mission: What it is told to do.
        rule: What ends an episode and pays: a name of `envs.minigrid.rules.RULES`, or `env_id`
            where that has a rule of its own.
        targets: (x, y) of the cells that the rule is about.
        max_steps: Steps until the episode is cut off; the reward falls from 1 to 0.1 over them.
        see_through: Whether the agent sees through walls.
        view_size: Rows and columns of what it sees, odd.
        env_id: The id of Minigrid that it came from, and that plays it. No part of what makes two
            tasks the same: a grid of one id may be one of another too.
        seed: A seed with which it came, if it is known. No part of it either.

    Raises:
        ValueError: If the grid is no rectangle of known cells, the agent does not stand on a free
            one, or a number is out of range.
    """

    grid: str
    agent: Cell
    direction: int
    mission: str
    max_steps: int
    rule: str = "goal"
    targets: tuple[Cell, ...] = ()
    see_through: bool = False
    view_size: int = 7
    env_id: str = field(default="MiniGrid-Empty-5x5-v0", compare=False)
    seed: int | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        assert self.codes is not None  # a grid that is none is refused first
        for name, least, most in (
            ("direction", 0, 3),
            ("max_steps", 1, 2**31 - 1),
            ("view_size", 3, MOST_VIEW),
        ):
            number = whole_number(getattr(self, name), name, least=least, most=most)
            object.__setattr__(self, name, number)
        if self.view_size % 2 == 0:
            raise ValueError(f"view_size must be odd, got {self.view_size}")
        if self.seed is not None:
            object.__setattr__(self, "seed", whole_number(self.seed, "seed", least=0, most=2**63))
        object.__setattr__(self, "agent", self._cell(self.agent, "agent"))
        cells = tuple(self._cell(cell, "target") for cell in self.targets)
        object.__setattr__(self, "targets", cells)
        for name, kind in (("mission", str), ("env_id", str), ("see_through", bool)):
            if not isinstance(getattr(self, name), kind):
                raise ValueError(f"{name} must be a {kind.__name__}, got {getattr(self, name)!r}")
        x, y = self.agent
        if not WALKABLE[self.codes[y, x]]:
            raise ValueError(
                f"the agent at (x, y) = {self.agent} stands in {TEXTS[int(self.codes[y, x])]!r}: "
                "put it on a cell that it could walk onto"
            )
        self._check_rule()
        self._check_enclosed()

    def _cell(self, cell: Any, role: str) -> Cell:
        x, y = as_cell(cell, role)
        if not (0 <= x < self.width and 0 <= y < self.height):
            raise ValueError(
                f"{role} (x, y) = {(x, y)} is outside the grid of {self.width} columns and "
                f"{self.height} rows"
            )
        return x, y

    def _check_rule(self) -> None:
        rule = RULES.get(self.rule)
        if rule is None:
            if self.rule != self.env_id:
                raise ValueError(
                    f"rule must be one of {list(RULES)}, or the id that has a rule of its own, "
                    f"got {self.rule!r}"
                )
            if self.seed is None:
                raise ValueError(
                    f"{self.env_id} has a rule of its own, and is played from the seed alone: "
                    "give seed"
                )
            return
        if len(self.targets) != rule.num_targets:
            raise ValueError(
                f"the rule {self.rule!r} is about {rule.num_targets} targets, got "
                f"{len(self.targets)}"
            )
        for x, y in self.targets:
            code = int(self.codes[y, x])
            if rule.holds and not is_kind(*rule.holds)[code]:
                raise ValueError(
                    f"the rule {self.rule!r} is about a {' or '.join(rule.holds)}, but the target "
                    f"(x, y) = {(x, y)} holds {TEXTS[code]!r}"
                )

    def _check_enclosed(self) -> None:
        """Checks that the agent can never look past the rim, where Minigrid's step would fail."""
        if self.rule not in RULES:  # Minigrid made it, and it cannot be changed
            return
        blocked = is_kind("wall")
        if self.rule == "go to":  # whoever opens a door there has lost
            blocked = blocked | is_kind("door")
        open_to = (~blocked)[self.codes].tolist()
        waiting, seen = [self.agent], {self.agent}
        while waiting:
            x, y = waiting.pop()
            if not (0 < x < self.width - 1 and 0 < y < self.height - 1):
                raise ValueError(
                    f"the agent could come to (x, y) = {(x, y)}, at the rim of the grid: shut "
                    "it in by walls"
                )
            for cell in ((x + 1, y), (x, y + 1), (x - 1, y), (x, y - 1)):
                if cell not in seen and open_to[cell[1]][cell[0]]:
                    seen.add(cell)
                    waiting.append(cell)

    # What it is -----------------------------------------------------------------------------

    @cached_property
    def task_id(self) -> str:
        """16 hexadecimal digits, a hash of the contents: the same on every machine."""
        fields = {name: value for name, value in self._fields() if name not in ("env_id", "seed")}
        text = f"{type(self).__name__} {json.dumps(fields, sort_keys=True)}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def key(self) -> int:
        """63 bits of the hash, a number that tells tasks apart."""
        return int(self.task_id, 16) >> 1

    @cached_property
    def codes(self) -> NDArray[np.uint8]:
        """uint8 [H, W], the cells by row and column. Do not write into it."""
        return _codes(self.grid)

    @property
    def height(self) -> int:
        """Rows."""
        return len(self.codes)

    @property
    def width(self) -> int:
        """Columns."""
        return len(self.codes[0])

    def walls_id(self) -> str:
        """A hash of size and walls alone: the same for tasks that differ in all but these."""
        walls = is_kind("wall")[self.codes]
        text = f"{walls.shape} {np.packbits(walls).tobytes().hex()}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def named_cells(self) -> tuple[Cell, ...]:
        """(x, y) of the targets that the mission names by kind and colour."""
        rule = RULES.get(self.rule)
        return self.targets[: rule.named] if rule else ()

    # Ways out and back ----------------------------------------------------------------------

    def arrays(self) -> Arrays:
        """The grid and the `FACTS`, int64 [WORDS] and [len(FACTS)].

        The grid is a canvas of `CANVAS` rows and columns, eight cells to a number, with wall
        beside and below: grids of all sizes have the same form.

        Raises:
            ValueError: If the tensor twin cannot play the task.
        """
        self.check_twin()
        canvas = np.full((CANVAS, CANVAS), WALL, dtype=np.uint8)
        canvas[: self.height, : self.width] = self.codes
        grid = np.zeros(8 * WORDS, dtype=np.uint8)
        grid[: CANVAS**2] = canvas.ravel()
        cells = [y * CANVAS + x for x, y in (self.agent, *self.targets, (0, 0), (0, 0))][:3]
        rule = list(RULES).index(self.rule)
        facts = [cells[0], self.direction, self.max_steps, self.see_through, rule, *cells[1:]]
        facts += [self.view_size, self.height, self.width, self.key]
        NUMBERED[self.key] = self
        return grid.view("<i8"), np.array(facts, dtype=np.int64)

    def check_twin(self) -> None:
        """Checks that the tensor twin can play the task.

        Raises:
            ValueError: If it cannot.
        """
        instead = (
            'play it with Minigrid itself: gymnasium.make("metarl/Minigrid-v0", tasks=...), or '
            'gymnasium.make_vec(..., vectorization_mode="sync")'
        )
        rule = RULES.get(self.rule)
        if rule is None or not rule.twin:
            raise ValueError(
                f"the tensor environment does not play {self.env_id}, which has the rule "
                f"{self.rule!r} of its own: {instead}"
            )
        if max(self.height, self.width) > CANVAS:
            raise ValueError(
                f"the tensor environment plays grids of up to {CANVAS} rows and columns, got one "
                f"of {self.height} x {self.width}: {instead}"
            )
        if self.rule == "pick up":
            ((x, y),) = self.targets
            code = int(self.codes[y, x])
            like = int((self.codes == code).sum())
            if like > 1:
                raise ValueError(
                    f"{like} objects are like the one to pick up, {TEXTS[code]!r}, "
                    f"and the tensor environment cannot tell them apart: {instead}"
                )

    def _fields(self) -> list[tuple[str, Any]]:
        return [(name, getattr(self, name)) for name in self.__dataclass_fields__]

    def to_ascii(self, agent: Cell | None = None, direction: int | None = None) -> str:
        """A picture of the grid, with arrows on the agent, below lines that say the rest.

        An agent that stands on a floor, a goal or lava is not drawn. Read back by `from_ascii`.

        Args:
            agent: Draws it there instead of where it starts.
            direction: Draws it so instead of as it starts.
        """
        at, look = agent or self.agent, self.direction if direction is None else direction
        head = {name: value for name, value in self._fields() if name != "grid"}
        head |= {"agent": list(at), "direction": look, "targets": [list(c) for c in self.targets]}
        lines = [f"{name}: {json.dumps(value)}" for name, value in head.items()]
        return "\n".join((*lines, *picture(self.codes, at, look)))

    @classmethod
    def from_ascii(cls, text: str) -> Self:
        """Reads what `to_ascii` wrote.

        Lines with a colon say a field, others are rows of the grid. Arrows say where the agent
        stands and how it looks, unless its fields do.

        Raises:
            ValueError: If a line says no field, a field is missing, or the task is none.
        """
        fields: dict[str, Any] = {}
        rows: list[str] = []
        for line in text.splitlines():
            name, colon, value = line.partition(": ")
            if not colon:
                rows += [line] if line.strip() else []
                continue
            try:
                fields[name] = json.loads(value)
            except json.JSONDecodeError as error:
                raise ValueError(f"not a {cls.__name__}: {line!r} says no field") from error
        for y, row in enumerate(rows):
            for direction, arrow in enumerate(ARROWS):
                for x in range(0, len(row) - 1, 2):
                    if row[x : x + 2] == arrow:
                        fields = {"agent": [x // 2, y], "direction": direction} | fields
                        rows[y] = row[:x] + ".." + row[x + 2 :]
        return cls.from_json(json.dumps(fields | {"grid": "\n".join(rows)}))


def picture(codes: NDArray[np.uint8], agent: Cell, direction: int) -> list[str]:
    """Rows of text of a grid, with arrows on the agent where it stands on nothing."""
    rows = [[TEXTS[int(code)] for code in row] for row in codes]
    x, y = agent
    if rows[y][x] == "..":
        rows[y][x] = ARROWS[direction]
    return ["".join(row) for row in rows]


def _codes(grid: str) -> NDArray[np.uint8]:
    """uint8 [H, W] of the text of a grid.

    Raises:
        ValueError: If it is no rectangle of at least 3 x 3 known cells.
    """
    if not isinstance(grid, str):
        raise ValueError(f"a grid must be text, two characters a cell, got {grid!r}")
    rows: Sequence[str] = grid.split("\n")
    lengths = {len(row) for row in rows}
    if len(lengths) > 1:
        raise ValueError(f"the rows of a grid must be equally long, got {sorted(lengths)}")
    (length,) = lengths
    if length % 2 or not 6 <= length <= 2 * MOST_SIDE or not 3 <= len(rows) <= MOST_SIDE:
        raise ValueError(
            f"a grid must have 3 to {MOST_SIDE} rows, and as many columns of two characters each, "
            f"got {len(rows)} rows of {length} characters"
        )
    cells = [[row[at : at + 2] for at in range(0, length, 2)] for row in rows]
    unknown = {cell for row in cells for cell in row} - set(KNOWN)
    if unknown:
        raise ValueError(
            f"unknown cells {sorted(unknown)}: see envs.minigrid.codes; .. is nothing, ## a wall"
        )
    codes = np.array([[KNOWN[cell] for cell in row] for row in cells], dtype=np.uint8)
    codes.setflags(write=False)
    return codes
