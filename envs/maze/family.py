"""Endless mazes: every task another layout, and layouts that training never sees.

A family draws a maze with a generator (`envs.maze.generators`), opens loops in it, draws a start
and a goal, and draws again what is not as it should be. `MazeFamily.split` parts it by a hash of
the layout: whatever the seeds are, no layout of the test is ever drawn in training.

    >>> family = MazeFamily("dfs", 9)
    >>> train, _, test = family.split(train=0.8, test=0.2)
    >>> test.contains(train.sample(1, np.random.default_rng(0))[0])
    False
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from numbers import Real
from typing import Any, get_args

import numpy as np
import torch

from ..base.checks import json_object, whole_number
from ..base.tasks import Arrays, Splits, TaskFamily, Tensors, check_count
from .bits import MOST_SIDE, pad_rows
from .generators import GENERATORS, Generator
from .generators.lattice import braid
from .identity import layout_hash
from .layout import Layout
from .parts import Part, cut, holds, share
from .placement import GoalPlace, Placement, StartPlace, place
from .tasks import MazeTask

__all__ = ["MazeFamily"]

PROBES = 256
"""Layouts drawn to see how many different ones there are."""

FEWEST, FEW = 16, 160
"""Different ones among the probes: with fewer than the first a split is refused. With fewer than
the second it is warned of: then the family has less than about 350, if all are equally likely."""

MOST_TRIES = 1000
"""Draws in a row, among those that fall into a part, of which none can be used."""

MOST_CELLS = 2**24
"""Cells of the mazes that are drawn at once."""


@dataclass(frozen=True)
class MazeFamily(TaskFamily[MazeTask]):
    """Mazes drawn by a rule, each with a start and a hidden goal.

    Args:
        generator: A name of `envs.maze.generators.GENERATORS`, or a function like those there.
        size: Side of the mazes, border included, at most 62; or (low, high) for the sides low,
            low + 2, ..., high, all equally likely. Odd for mazes with rooms on a lattice.
        loops: Probability with which a dead end is opened (`envs.maze.generators.lattice`).
        goal: The rule for goals, see `envs.maze.placement.GoalPlace`.
        start: The rule for starts, see `envs.maze.placement.StartPlace`.
        min_distance: Least number of moves from the start to the goal.
        solvable: Whether mazes whose goal cannot be reached are drawn again, and cells that cannot
            be reached are walled up. If not, such mazes can be drawn as tensors alone: they are no
            `Layout`.
        options: Options of the generator, by name.
        parts: The parts of all layouts to which it is confined, see `split`.

    Raises:
        ValueError: If there is no such generator, a value is out of range, or no maze of the
            smallest side is as it should be.
    """

    generator: str | Generator = "dfs"
    size: int | tuple[int, int] = 13
    loops: float = 0.0
    goal: GoalPlace = "uniform"
    start: StartPlace = "room"
    min_distance: int = 1
    solvable: bool = True
    options: Mapping[str, Any] | tuple[tuple[str, Any], ...] = ()
    parts: tuple[Part, ...] = ()

    def __post_init__(self) -> None:
        try:
            options = tuple(sorted(dict(self.options).items()))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"options must be those of the generator, by name, got {self.options!r}"
            ) from error
        object.__setattr__(self, "options", options)
        object.__setattr__(self, "parts", tuple(self.parts))
        object.__setattr__(self, "size", _checked_size(self.size))
        if not (callable(self.generator) or self.generator in GENERATORS):
            raise ValueError(
                f"generator must be one of {list(GENERATORS)} or a function like those, got "
                f"{self.generator!r}"
            )
        for name, kind in (("goal", GoalPlace), ("start", StartPlace)):
            if getattr(self, name) not in get_args(kind):
                raise ValueError(
                    f"{name} must be one of {get_args(kind)}, got {getattr(self, name)!r}"
                )
        if not isinstance(self.solvable, bool):
            raise ValueError(f"solvable must be True or False, got {self.solvable!r}")
        loops: Any = self.loops
        if isinstance(loops, bool) or not (isinstance(loops, Real) and 0 <= float(loops) <= 1):
            raise ValueError(f"loops is a probability, in [0, 1], got {loops!r}")
        most = max((self.sides[0] - 2) ** 2 - 1, 1)  # other cells of the smallest maze
        object.__setattr__(self, "loops", float(loops))
        distance = whole_number(self.min_distance, "min_distance", most=most)
        object.__setattr__(self, "min_distance", distance)
        if not self.parts:
            self._probe()

    @property
    def task_type(self) -> type[MazeTask]:
        """The class of the tasks."""
        return MazeTask

    @property
    def sides(self) -> tuple[int, ...]:
        """The sides that mazes may have, the smallest first."""
        low, high = self.size if isinstance(self.size, tuple) else (self.size, self.size)
        return tuple(range(low, high + 1, 2))

    def draw(self, n: int, generator: torch.Generator, device: torch.device | str) -> Tensors:
        """Goals and starts int64 [n] each, cell numbers, and packed walls int64 [n, H].

        H is the largest side; smaller layouts have rows of 0 below.

        Args:
            n: Number of mazes, at least 0.
            generator: Source of everything random, on `device`.
            device: Device of the results.

        Raises:
            ValueError: If `n` is negative, the family is an empty part, or mazes as they should be
                are too rare.
        """
        check_count(n)
        device, sides = torch.device(device), self.sides
        if len(sides) == 1:
            return self._fill(n, sides[0], generator, device)
        which = torch.randint(len(sides), (n,), generator=generator, device=device)
        goals, starts = torch.zeros_like(which), torch.zeros_like(which)
        rows = torch.zeros((n, sides[-1]), dtype=torch.int64, device=device)
        for number, side in enumerate(sides):
            slots = (which == number).nonzero().squeeze(1)
            goal, start, lower = self._fill(len(slots), side, generator, device)
            goals[slots], starts[slots] = goal, start
            rows[slots] = pad_rows(lower, sides[-1])
        return goals, starts, rows

    def draw_arrays(self, n: int, rng: np.random.Generator) -> Arrays:
        """Draw tasks as arrays, by a torch generator that `rng` seeds."""
        generator = torch.Generator().manual_seed(int(rng.integers(2**32)))
        return tuple(column.numpy() for column in self.draw(n, generator, "cpu"))

    # Parts ----------------------------------------------------------------------------------

    def split(
        self,
        *,
        train: float = 0.8,
        validation: float = 0.0,
        test: float = 0.2,
        salt: str = "",
        up_to_symmetry: bool = False,
    ) -> Splits[MazeFamily]:
        """Parts the layouts by their hash: a layout of one part is never drawn in another.

        A part may be split again.

        Args:
            train: Fraction of the layouts to train on, at least 0.
            validation: Fraction to choose settings by, at least 0.
            test: Fraction to report on, at least 0; the three sum to 1.
            salt: Another string gives another split.
            up_to_symmetry: Whether a layout's 8 turns and reflections stay together.

        Raises:
            ValueError: If a fraction is negative, they do not sum to 1, or there are too few
                different layouts to part.

        Warns:
            UserWarning: If there are only a few hundred different layouts: training will soon have
                met every one of its part.
        """
        parts = cut(self.parts, (train, validation, test), salt, up_to_symmetry=up_to_symmetry)
        side = self.sides[0]
        generator = torch.Generator().manual_seed(0)
        _, _, rows = self._fill(PROBES, side, generator, torch.device("cpu"))
        different = len(set(layout_hash(rows, up_to_symmetry=up_to_symmetry).tolist()))
        symmetric = " up to symmetry" if up_to_symmetry else ""
        if different < FEWEST:
            raise ValueError(
                f"{PROBES} draws of {self._name(side)} gave {different} different layouts"
                f"{symmetric}, too few to part: take a larger size, or split the goals of one "
                f"layout, maze_tasks(layout).split()"
            )
        if different < FEW:
            warnings.warn(
                f"{PROBES} draws of {self._name(side)} gave only {different} different layouts"
                f"{symmetric}: there are few of them, and training will meet every one of its part",
                stacklevel=2,
            )
        return Splits(*(replace(self, parts=part) for part in parts))

    def contains(self, maze: MazeTask | Layout) -> bool:
        """Whether a layout fits into the largest mazes and belongs to this part by its hash.

        False says that it is never drawn. True does not say that the generator can make it.
        """
        layout = maze.layout if isinstance(maze, MazeTask) else maze
        if max(layout.extents) > self.sides[-1]:
            return False
        return bool(holds(self.parts, torch.tensor(layout.packed).unsqueeze(0)))

    # Stored form ----------------------------------------------------------------------------

    def to_json(self) -> str:
        """A JSON object with the settings and the parts.

        Raises:
            ValueError: If the generator is a function that has no name.
        """
        if not isinstance(self.generator, str):
            raise ValueError(
                f"a family whose generator is a function has no stored form, got "
                f"{self.generator!r}: give the function a name in envs.maze.generators.GENERATORS"
            )
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values["options"] = dict(self.options)
        values["parts"] = [vars(part) for part in self.parts]
        return json.dumps({"kind": type(self).__name__, **values})

    @classmethod
    def from_json(cls, text: str) -> MazeFamily:
        """Reads what `to_json` wrote.

        Raises:
            ValueError: If it is something else.
        """
        values = json_object(text, "family of mazes")
        known = {field.name for field in fields(cls)}
        kind, given = values.pop("kind", None), values.keys()
        if (
            kind != cls.__name__
            or not given <= known
            or not isinstance(values.get("options", {}), dict)
        ):
            raise ValueError(f"not a family of mazes: expected {sorted(known)}, got {text[:80]!r}")
        return cls.of_fields(values)

    @classmethod
    def of_fields(cls, fields: Mapping[str, Any]) -> MazeFamily:
        """The family with these fields, which may be JSON values.

        Raises:
            ValueError: If one is unknown or out of range.
        """
        values = dict(fields)
        if isinstance(values.get("size"), list):
            values["size"] = tuple(values["size"])
        values["parts"] = tuple(map(Part.of_fields, values.get("parts", ())))
        return super().of_fields(values)

    # Drawing --------------------------------------------------------------------------------

    def _fill(self, n: int, side: int, generator: torch.Generator, device: torch.device) -> Tensors:
        """`draw` of one side: candidates are drawn until n of them can be used."""
        expected = share(self.parts)
        if n and not expected:
            raise ValueError(
                "cannot draw from an empty part of a family of mazes: give the part a fraction "
                "above 0"
            )
        most = max(MOST_CELLS // side**2, 1)
        found: list[Placement] = []
        missing, tried, used, since = n, 0, 0, 0
        while missing or not found:
            rate = max(used, 0.5) / tried if tried else expected
            wanted = missing if rate == 1 else math.ceil(1.05 * missing / rate) + 8
            drawn = self._candidates(min(wanted, most), side, generator, device)
            slots = drawn.possible.nonzero().squeeze(1)[:missing]
            found.append(Placement(*(column.index_select(0, slots) for column in drawn)))
            tried, used = tried + len(drawn.possible), used + len(slots)
            since = 0 if len(slots) else since + len(drawn.possible)
            missing -= len(slots)
            if since * expected > MOST_TRIES:
                raise ValueError(self._none_found(since, side))
        goals, starts, rows, _ = (torch.cat(column) for column in zip(*found, strict=True))
        return goals, starts, rows

    def _candidates(
        self, n: int, side: int, generator: torch.Generator, device: torch.device
    ) -> Placement:
        """Mazes with starts and goals, as they come."""
        make = GENERATORS[self.generator] if isinstance(self.generator, str) else self.generator
        walls = make(n, side, generator, device, **dict(self.options))
        if self.loops:
            walls = braid(walls, self.loops, generator)
        drawn = place(
            walls,
            self.start,
            self.goal,
            self.min_distance,
            solvable=self.solvable,
            generator=generator,
        )
        return drawn._replace(possible=drawn.possible & holds(self.parts, drawn.rows))

    def _probe(self) -> None:
        """Draws a few of the smallest mazes, to refuse before work what cannot be drawn at all."""
        side, device = self.sides[0], torch.device("cpu")
        generator = torch.Generator().manual_seed(0)
        if callable(self.generator):
            walls = self.generator(2, side, generator, device, **dict(self.options))
            _check_walls(walls, side)
        self._fill(1, side, generator, device)

    def _name(self, side: int) -> str:
        name = self.generator if isinstance(self.generator, str) else "the generator's"
        where = "a part of " if self.parts else ""
        return f"{where}{name} mazes of side {side}"

    def _none_found(self, tried: int, side: int) -> str:
        reasons = [
            f"a goal of rule {self.goal!r} at least {self.min_distance} moves from the start"
        ]
        reasons += ["all of it solvable"] * self.solvable
        return (
            f"none of {tried} draws of {self._name(side)} can be used ({', '.join(reasons)}): ask "
            f"for a smaller min_distance, a larger part or a larger size"
        )


def _checked_size(size: Any) -> int | tuple[int, int]:
    """The side, or the least and the greatest one.

    Raises:
        ValueError: If it is neither.
    """
    if not isinstance(size, tuple | list):
        return whole_number(size, "size", least=3, most=MOST_SIDE)
    if len(size) != 2:
        raise ValueError(f"size must be a side or (low, high), got {size!r}")
    low, high = (whole_number(side, "size", least=3, most=MOST_SIDE) for side in size)
    if low > high or (high - low) % 2:
        raise ValueError(
            f"size (low, high) stands for the sides low, low + 2, ..., high: low must be at most "
            f"high and both odd or both even, got {(low, high)}"
        )
    return (low, high) if low < high else low


def _check_walls(walls: Any, side: int) -> None:
    """Checks what a foreign generator made of two mazes.

    Raises:
        ValueError: If it is something else, or a border is open.
    """
    shape = (2, side, side)
    if not isinstance(walls, torch.Tensor) or walls.dtype != torch.bool or walls.shape != shape:
        got = f"{walls.dtype} {tuple(walls.shape)}" if isinstance(walls, torch.Tensor) else walls
        raise ValueError(f"a generator must return a tensor of bool {shape} here, got {got!r}")
    if not (walls[:, [0, -1]].all() and walls[:, :, [0, -1]].all()):
        raise ValueError("a generator must close the border of its mazes with wall")
