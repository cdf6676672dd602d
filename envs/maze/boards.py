"""The boards of B mazes: which layout each of them is played on, in which bank.

Drawn tasks are played in the environment's own bank: of its one layout, of all layouts of a task
set, or of B fresh ones, rewritten whenever tasks are drawn. Tasks that are set from outside may
have any layouts: they are written into a second bank, of one slot per maze, made when needed.
"""

from __future__ import annotations

from functools import lru_cache

import torch

from ..base.tasks import TaskSet
from .bank import LayoutBank
from .dynamics import teleport_targets
from .layout import Layout
from .numbers import FamilyDraws, Sizes, TaskTable
from .settings import MazeSettings

__all__ = ["Boards"]


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
