"""The boards of B mazes: the layouts that they are played on, and what is drawn for them.

Drawn tasks are played in the environment's own bank: of its one layout, of all layouts of a task
set, or of B fresh ones, rewritten whenever tasks are drawn. Tasks that are set from outside may
have any layouts: they are written into a second bank, of one slot per maze, made when needed.

`Draws` are of tasks, of starts and of the ways that agents look when episodes start, each by the
generators that it is given, since an environment may change its own. Tasks come as arrays, see
`envs.maze.numbers`: from the table of a set, or fresh from a family.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch

from ..base.randomness import GeneratorBlocks
from ..base.tasks import TaskSet, TaskSource, Tensors
from .bank import LayoutBank
from .dynamics import teleport_targets
from .layout import Layout, Sizes
from .settings import FACINGS, MOST_DRAWS, MazeSettings
from .tasks import UNSAID, MazeTask

__all__ = ["Boards", "Draws", "FamilyDraws", "TaskTable"]


MOST_PLACES = 2**23
"""Places of the layouts of a task set that are kept compiled, at most; of larger sets the layouts
of the tasks that are drawn are compiled whenever they are, as those of a family."""


class Boards:
    """The layouts of B mazes.

    Attributes:
        source: Where tasks are drawn from, as arrays.
        layouts: The layouts of the task set, by the numbers that `source` gives them.
        bank: The bank with the mazes' layouts.
        slots: int64 [B], the mazes' slots in it; None where all share the one layout.

    Args:
        num_envs: Number of mazes, B.
        settings: The environment's settings.
        device: Device of the tables.
    """

    def __init__(self, num_envs: int, settings: MazeSettings, device: torch.device) -> None:
        self.sight, self.device, self.num_envs = settings.sight, device, num_envs
        turning = self.sight.turning
        self.layouts: tuple[Layout, ...] = ()
        self.source: TaskTable | FamilyDraws
        num_slots = num_envs
        if isinstance(settings.tasks, TaskSet):
            most = MOST_PLACES // (settings.sizes.cells * self.sight.poses)
            table = TaskTable(settings.tasks.tasks, turning, device, most)
            num_slots = len(table.layouts) if table.by_number else num_envs
            self.source, self.layouts = table, table.layouts
        else:
            self.source = FamilyDraws(settings.tasks, turning)
        if settings.tables is not None:
            self._home = LayoutBank.shared(settings.tables, self.sight, device)
        else:
            self._home = LayoutBank(num_slots, settings.sizes, self.sight, device)
            if isinstance(self.source, TaskTable) and self.source.by_number:
                self._home.write(self.source.rows)
        self._guests: LayoutBank | None = None
        self._own_slots = torch.arange(num_envs, device=device)
        self.bank = self._home
        self.slots: torch.Tensor | None = None
        self._first: torch.Tensor | None = None  # [B], cells of the bank before the mazes' own

    def settle(
        self, layouts: torch.Tensor | None, drawn: bool, where: torch.Tensor | None
    ) -> LayoutBank:
        """Takes the layouts of the tasks at hand.

        Args:
            layouts: Their rows, int64 [B, H], or numbers, int64 [B]; None for the one layout.
            drawn: Whether the tasks were drawn here, not set from outside.
            where: The mazes whose tasks may have changed, bool [B]; all of them if None.

        Returns:
            `bank`.
        """
        if layouts is None:
            self.bank, self.slots, self._first = self._home, None, None
            return self.bank
        if layouts.dim() == 1:
            self.bank, self.slots = self._home, layouts
        else:
            self.bank = self._home if drawn else self._room_for(layouts)
            self.slots = self._own_slots
            if self.bank.rows is not layouts:
                chosen = None if where is None else where.nonzero()[:, 0]
                self.bank.write(layouts, chosen)
        self._first = self.slots * self.bank.sizes.cells
        return self.bank

    @property
    def first_cells(self) -> torch.Tensor | int:
        """Cells of the bank before each maze's own: int64 [B], or 0 where all share one layout."""
        return 0 if self._first is None else self._first

    @property
    def num_free(self) -> torch.Tensor:
        """The free cells of each maze: int64 [B], or [1] of the one layout."""
        num_free = self.bank.num_free
        return num_free if self.slots is None else num_free.index_select(0, self.slots)

    def rows(self, layouts: torch.Tensor) -> torch.Tensor:
        """The rows of layouts that are given by number: int64 [B, H]."""
        if layouts.dim() > 1:
            return layouts
        assert self._home.rows is not None
        return self._home.rows.index_select(0, layouts)

    def layout(self, said: list[int] | int) -> Layout:
        """The layout that has these rows, or this number."""
        return self.layouts[said] if isinstance(said, int) else _layout(tuple(said))

    def cells(self, numbers: torch.Tensor) -> torch.Tensor:
        """Cell numbers int64 [..., B] of the mazes' own layouts as cells of the bank."""
        if self._first is None:
            return numbers
        return (numbers + self._first).to(self.bank.place_type)

    def own_cells(self, places: torch.Tensor) -> torch.Tensor:
        """The inverse, of places of the bank: int64."""
        cells = self.bank.cells(places)
        return cells if self._first is None else cells - self._first

    def places(self, numbers: torch.Tensor) -> torch.Tensor:
        """Places int64 [..., B] of the mazes' own layouts as places of the bank."""
        if self._first is None:
            return numbers
        return (numbers + self.sight.poses * self._first).to(self.bank.place_type)

    def other_cells(self, draws: torch.Tensor, goals: torch.Tensor) -> torch.Tensor:
        """The cell numbers that draws stand for, int64 [..., B]: all but the goals', int64 [B].

        Where layouts differ, draws are taken modulo each maze's number of other cells.
        """
        if self.slots is not None:
            draws = draws % (self.num_free - 1)
        return teleport_targets(draws, goals)

    def targets(self, draws: torch.Tensor, goals: torch.Tensor) -> torch.Tensor:
        """The places, [..., B] of the bank, that draws stand for likewise: none is on a goal."""
        poses = self.sight.poses
        if self.slots is not None:
            draws = draws % (poses * (self.num_free - 1))
        return self.places(teleport_targets(draws, goals, poses))

    def _room_for(self, rows: torch.Tensor) -> LayoutBank:
        """The bank of layouts that are set from outside, large enough."""
        guests = self._guests
        if guests is not None and (guests.rows is rows or _is_captured(self.device)):
            return guests
        sizes = Sizes.of_rows(rows)
        if guests is None or guests.sizes.joined(sizes) != guests.sizes:
            sizes = sizes if guests is None else sizes.joined(guests.sizes)
            self._guests = guests = LayoutBank(self.num_envs, sizes, self.sight, self.device)
        return guests


@lru_cache(maxsize=4096)
def _layout(rows: tuple[int, ...]) -> Layout:
    return Layout.from_packed(rows)


def _is_captured(device: torch.device) -> bool:
    """Whether what is done is recorded in a CUDA graph, where the host cannot look at numbers."""
    return device.type == "cuda" and torch.cuda.is_current_stream_capturing()


# What is drawn ------------------------------------------------------------------------------------


class Draws:
    """Draws of B mazes.

    Args:
        settings: The environment's settings.
        boards: The layouts that the mazes are played on, and the source of tasks.
    """

    def __init__(self, settings: MazeSettings, boards: Boards) -> None:
        self._settings, self._boards = settings, boards
        source = boards.source
        self._ahead = DrawnAhead(source) if isinstance(source, FamilyDraws) else None

    def tasks(self, blocks: GeneratorBlocks, where: torch.Tensor | None, old: Tensors) -> Tensors:
        """The arrays of B tasks, [B, ...] each.

        Args:
            blocks: The generators.
            where: The mazes that need one, bool [B]; all of them if None.
            old: The arrays of the tasks at hand.
        """
        if self._ahead is None:
            return blocks.tasks(self._boards.source)
        if where is None:
            self._ahead.clear()
            return blocks.tasks(self._boards.source)
        return self._ahead.take(where, blocks, old)

    def starts(
        self, blocks: GeneratorBlocks, goals: torch.Tensor, where: torch.Tensor | None
    ) -> torch.Tensor:
        """int64 [B], cell numbers other than the goals', int64 [B]; `where` as above."""
        settings, alike = self._settings, self._boards.slots is None
        if alike and where is None:
            # For nothing: so drew version 0.1, whose runs are resumed to the same numbers.
            blocks.integers(settings.num_draws, settings.horizon)
        most = settings.sizes.cells - 1 if alike else MOST_DRAWS
        return self._boards.other_cells(blocks.integers(most, 1)[0], goals)

    def directions(self, blocks: GeneratorBlocks, said: torch.Tensor) -> torch.Tensor:
        """int64 [B], the ways that agents look at first.

        Args:
            blocks: The generators.
            said: What the tasks say of it, int64 [B].
        """
        facing = self._settings.facing
        if facing == "random":
            usual = blocks.integers(self._settings.sight.poses, 1)[0]
        else:
            usual = torch.full_like(said, FACINGS.index(facing))
        return torch.where(said == UNSAID, usual, said)


class DrawnAhead:
    """Fresh tasks for mazes that restart at different times, drawn a batch at a time.

    Each generator has a stock of its own, so that its mazes see what they would see alone.

    Args:
        source: Fresh mazes: a draw of one costs nearly as much as one of many.
    """

    def __init__(self, source: FamilyDraws) -> None:
        self._source = source
        self._stocks: dict[int, Tensors] = {}

    def clear(self) -> None:
        """Throws away what is in stock."""
        self._stocks = {}

    def take(self, where: torch.Tensor, blocks: GeneratorBlocks, old: Tensors) -> Tensors:
        """The arrays `old`, [B, ...] each, with fresh tasks `where`, bool [B]. Waits for it."""
        if blocks.share:  # how many were drawn before depends on mazes that are elsewhere
            raise ValueError(
                "mazes that restart in their own time draw fresh ones as they need them: they "
                "cannot be a share of more (`use_share`)"
            )
        counts = where.view(len(blocks.generators), -1).sum(1).tolist()
        if not any(counts):
            return old
        taken = [self._next(number, count, blocks) for number, count in enumerate(counts)]
        index = where.nonzero()[:, 0]
        return tuple(
            array.index_copy(0, index, torch.cat(new))
            for array, new in zip(old, zip(*taken, strict=True), strict=True)
        )

    def _next(self, number: int, count: int, blocks: GeneratorBlocks) -> Tensors:
        """The next `count` tasks of a generator."""
        stock = self._stocks.get(number)
        if stock is None or len(stock[0]) < count:
            drawn = self._source.draw(blocks.block_size, blocks.generators[number], blocks.device)
            old = tuple(array[:0] for array in drawn) if stock is None else stock
            stock = tuple(torch.cat(pair) for pair in zip(old, drawn, strict=True))
        self._stocks[number] = tuple(array[count:] for array in stock)
        return tuple(array[:count] for array in stock)


class TaskTable:
    """The tasks of a set on a device, drawn as the set draws them.

    Attributes:
        layouts: The different layouts, in the order in which they come.
        rows: Their walls, int64 [L, H].
        by_number: Whether tasks have the numbers of their layouts in place of the rows.

    Args:
        tasks: The tasks.
        turning: Whether directions are in.
        device: Device of the draws.
        most_numbers: Layouts that may be said by number, at most.
    """

    def __init__(
        self, tasks: Sequence[MazeTask], turning: bool, device: torch.device, most_numbers: int
    ) -> None:
        self.layouts = tuple(dict.fromkeys(task.layout for task in tasks))
        height = max(layout.height for layout in self.layouts)
        packed = [[*x.packed.tolist(), *[0] * (height - x.height)] for x in self.layouts]
        self.rows = torch.tensor(packed, device=device)
        numbers = {layout: number for number, layout in enumerate(self.layouts)}
        columns = [[task.goal_number for task in tasks], [task.start_number for task in tasks]]
        if len(self.layouts) > 1:
            columns.append([numbers[task.layout] for task in tasks])
        if turning:
            columns.append([UNSAID if t.direction is None else t.direction for t in tasks])
        self._columns = [torch.tensor(column, device=device) for column in columns]
        self.by_number = len(self.layouts) <= most_numbers
        if len(self.layouts) > 1 and not self.by_number:
            self._columns[2] = self.rows.index_select(0, self._columns[2])
        self._length = len(tasks)

    def draw(self, n: int, generator: torch.Generator, device: torch.device) -> Tensors:
        """The arrays of `n` tasks drawn independently and uniformly, [n] each."""
        rows = torch.randint(self._length, (n,), generator=generator, device=device)
        return tuple(column.index_select(0, rows) for column in self._columns)


class FamilyDraws:
    """The tasks of a family of mazes, with layouts as rows.

    Args:
        family: The family.
        turning: Whether directions are in.
    """

    def __init__(self, family: TaskSource[MazeTask], turning: bool) -> None:
        self._family, self._turning = family, turning

    def draw(self, n: int, generator: torch.Generator, device: torch.device) -> Tensors:
        """The arrays of `n` tasks drawn independently, [n, ...] each."""
        goals, starts, rows, *said = self._family.draw(n, generator, device)
        if not self._turning:
            return goals, starts, rows
        return goals, starts, rows, said[0] if said else torch.full_like(goals, UNSAID)
