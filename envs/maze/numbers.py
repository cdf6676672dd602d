"""Maze tasks as numbers: cells by their numbers, and the walls as rows of bits.

A task in an environment's one layout is (goal, start). One in a layout of its own has the rows
beside them: bit c of row r is 1 for a wall at (r, c). The tensor environment reads and writes tasks
as such rows of numbers, draws them from a set, and hands out fresh ones where episodes restart.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from ..base.randomness import GeneratorBlocks
from ..base.tasks import TaskSource, Tensors
from .bank import LARGEST_SIDE
from .layout import FREE, WALL, Layout
from .tasks import MazeTask

__all__ = [
    "ABSENT",
    "DrawnAhead",
    "Sizes",
    "TaskTable",
    "check_closed",
    "layout_of_rows",
    "rows_of",
    "task_numbers",
]

ABSENT = -1
"""Stands for a row below a layout, where others have one: wall in all columns."""


class Sizes(tuple[int, int, int]):
    """Free cells, rows and columns that some layouts have, at most."""

    __slots__ = ()

    @classmethod
    def of_layouts(cls, layouts: Sequence[Layout]) -> Sizes:
        """The sizes of layouts.

        Raises:
            ValueError: If one is too large to be padded.
        """
        for layout in layouts:
            if max(layout.height, layout.width) > LARGEST_SIDE:
                raise ValueError(
                    f"mazes of different layouts have at most {LARGEST_SIDE} rows and columns, "
                    f"got one of {layout.height} x {layout.width}: make an environment with this "
                    f"layout alone"
                )
        return cls(
            max(values)
            for values in zip(*((x.num_free, x.height, x.width) for x in layouts), strict=True)
        )

    @classmethod
    def of_rows(cls, rows: torch.Tensor) -> Sizes:
        """The sizes of layouts given as rows, int64 [n, H]. Waits for the device."""
        free = ~(rows | ~rows[:, :1])  # [n, H], bits
        bits = free[:, :, None] >> torch.arange(LARGEST_SIDE, device=rows.device) & 1
        cells = bits.sum((1, 2)).amax()
        used = (bits.sum((0, 1)) > 0).nonzero().amax() if bool(cells) else cells
        most, last = torch.stack((cells, used)).tolist()
        return cls((most, rows.shape[1], last + 2))

    def joined(self, other: Sizes) -> Sizes:
        """Sizes that hold both."""
        return Sizes(max(pair) for pair in zip(self, other, strict=True))


@lru_cache(maxsize=4096)
def rows_of(layout: Layout, height: int) -> tuple[int, ...]:
    """The walls as bits, one number a row, `ABSENT` below."""
    columns = np.arange(layout.width, dtype=np.int64)
    rows = (layout.walls.astype(np.int64) << columns).sum(1).tolist()
    return (*rows, *[ABSENT] * (height - layout.height))


def layout_of_rows(rows: NDArray[np.int64]) -> Layout:
    """The layout that these rows say, without padding."""
    numbers = [number for number in rows.tolist() if number != ABSENT]
    width = numbers[0].bit_length()
    used = max(number.bit_length() for number in (~n & numbers[0] for n in numbers)) + 1
    last = max(r for r, number in enumerate(numbers) if ~number & numbers[0]) + 1
    width = min(width, used)
    return Layout(
        tuple(
            "".join(WALL if number >> column & 1 else FREE for column in range(width))
            for number in numbers[: last + 1]
        )
    )


def task_numbers(
    tasks: Sequence[MazeTask], height: int | None, device: torch.device
) -> torch.Tensor:
    """The numbers of N tasks: int64 [N, 2], goal and start, or with their rows [N, 2 + height]."""
    width = 2 + (height or 0)
    numbers = [
        (t.goal_number, t.start_number, *(rows_of(t.layout, height) if height else ()))
        for t in tasks
    ]
    return torch.tensor(numbers, dtype=torch.int64, device=device).view(len(numbers), width)


def check_closed(rows: torch.Tensor) -> None:
    """Checks that layouts given as rows, int64 [n, H], are closed and not too wide.

    Raises:
        ValueError: If a border is open: the agent could leave the grid.
    """
    top = rows[:, :1]
    free = ~(rows | ~top)
    inside = top >> 1 & ~1  # the columns but the first and the last
    open_ = ((free & ~inside) != 0).any(1) | (free[:, -1] != 0)
    open_ |= (top >> LARGEST_SIDE != 0).any(1) & (top != ABSENT).any(1)
    if bool(open_.any()):
        number = int(open_.nonzero()[0])
        raise ValueError(
            f"the walls of task {number} leave a border open, or are wider than {LARGEST_SIDE}: "
            f"rows {rows[number].tolist()}; make the numbers of tasks with task_tensor"
        )


class TaskTable:
    """The tasks of a set on a device, drawn like the set itself, but as goal, start and layout.

    Attributes:
        layouts: The L different layouts, in the order in which they come.

    Args:
        tasks: The tasks.
        device: Device of the draws.
    """

    def __init__(self, tasks: Sequence[MazeTask], device: torch.device) -> None:
        self.layouts = tuple(dict.fromkeys(task.layout for task in tasks))
        numbers = {layout: number for number, layout in enumerate(self.layouts)}
        columns: list[list[int]] = [
            [task.goal_number for task in tasks],
            [task.start_number for task in tasks],
        ]
        if len(self.layouts) > 1:
            columns.append([numbers[task.layout] for task in tasks])
        self._columns = tuple(torch.tensor(column, device=device) for column in columns)
        self._length = len(tasks)

    def sample(self, n: int, rng: np.random.Generator | torch.Generator) -> tuple[MazeTask, ...]:
        """Raises NotImplementedError: tasks themselves are drawn from the set."""
        raise NotImplementedError

    def draw(self, n: int, generator: torch.Generator, device: torch.device) -> Tensors:
        """Goal and start of `n` tasks, and the number of the layout if there are several."""
        rows = torch.randint(self._length, (n,), generator=generator, device=device)
        return tuple(column.index_select(0, rows) for column in self._columns)


class DrawnAhead:
    """Fresh tasks for mazes that restart at different times, drawn a batch at a time.

    Each generator has a stock of its own, so that its mazes see what they would see alone.

    Args:
        source: A source whose draws cost enough to be worth keeping.
    """

    def __init__(self, source: TaskSource[MazeTask]) -> None:
        self._source = source
        self._stocks: dict[int, Tensors] = {}

    def clear(self) -> None:
        """Throws away what has been drawn."""
        self._stocks = {}

    def take(self, where: torch.Tensor, blocks: GeneratorBlocks, old: Tensors) -> Tensors:
        """The arrays `old`, [B, ...] each, with fresh tasks `where`, bool [B]. Waits for it."""
        counts = where.view(len(blocks.generators), -1).sum(1).tolist()
        if not any(counts):
            return old
        taken = [self._next(number, count, blocks) for number, count in enumerate(counts)]
        fresh = tuple(torch.cat(column) for column in zip(*taken, strict=True))
        index = where.nonzero()[:, 0]
        return tuple(
            array.index_copy(0, index, new) for array, new in zip(old, fresh, strict=True)
        )

    def _next(self, number: int, count: int, blocks: GeneratorBlocks) -> Tensors:
        """The next `count` tasks of a generator."""
        stock = self._stocks.get(number)
        if stock is None or len(stock[0]) < count:
            drawn = self._source.draw(blocks.block_size, blocks.generators[number], blocks.device)
            stock = (
                drawn
                if stock is None
                else tuple(torch.cat(pair) for pair in zip(stock, drawn, strict=True))
            )
        self._stocks[number] = tuple(array[count:] for array in stock)
        return tuple(array[:count] for array in stock)
