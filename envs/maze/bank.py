"""A bank of layouts: the tables of many mazes in one, so that every maze can be another one.

The bank has L slots of P cells each, and a place (`envs.maze.dynamics`) is known by its number in
the whole bank: place p of slot s is ``s * P * poses + p``. The tables say such numbers too, so that
mazes of different layouts step together, by the same two gathers as those of one.

Layouts are written as rows of bits (bit c of row r: a wall at (r, c)), by a tensor program on the
device, without a Python object per layout and without waiting for it: a whole batch of fresh
layouts costs less than an episode on them. Smaller ones are padded with wall, which changes no
cell's number: that is its rank among the free cells, row by row.
"""

from __future__ import annotations

import torch

from .bits import unpack_rows
from .dynamics import FACING, NEW, NUM_ACTIONS, TURNING_ACTIONS, MazeTables, StepRoom
from .layout import MOVES, Sizes
from .views import LONGEST_SIDE, Sight, patterns, row_codes, views, written_coordinates

__all__ = ["LayoutBank"]

MOST_WIDE = 2**20
"""Entries of a table of int64, at most: larger ones are int32, which costs a small batch more and a
large one less, whose table does not fit the cache."""

CHUNK = 2**16
"""Cells compiled at once, about: what is computed on the way stays in the cache."""


class LayoutBank:
    """L slots of tables for one kind of agent.

    Attributes:
        num_slots: L.
        sizes: Free cells (P), rows and columns of the layouts, at most.
        sight: What the agent sees, and whether it turns.
        next_place: [L * P * poses * A] of `place_type`, where an action leads.
        place_type: The type of places, int64 or in large banks int32.
        num_free: int64 [L], the free cells of each layout.
        rows: int64 [L, H], the layouts as they were written last; None before.
        whole: float32 [C, I], the views from all places, of one shared layout; else None.
        bumped: float32 [C * A], 1 where a wall blocks an action, likewise.

    Args: see above, and
        device: Device of the tables.
    """

    def __init__(
        self,
        num_slots: int,
        sizes: Sizes,
        sight: Sight,
        device: torch.device,
    ) -> None:
        self.num_slots, self.sizes = num_slots, sizes
        self.num_cells, self.height, self.width = sizes
        self.rows: torch.Tensor | None = None
        self.sight, self.device = sight, device
        self.whole: torch.Tensor | None = None
        self.bumped: torch.Tensor | None = None
        cells = num_slots * self.num_cells
        num_actions = TURNING_ACTIONS if sight.turning else NUM_ACTIONS
        entries = cells * sight.poses * num_actions
        self.place_type = torch.int64 if entries <= MOST_WIDE else torch.int32
        self.next_place = self._empty(entries, dtype=self.place_type)
        self.num_free = self._empty(num_slots, dtype=torch.int64)
        # Of each cell, the numbers of its row and its column in `written_coordinates`.
        self._spots = self._empty(cells, 2, dtype=torch.int32)
        self._patterns = patterns(sight).to(device)
        self._coordinates = written_coordinates().to(device) if sight.position else None
        self._facing = torch.eye(sight.poses, device=device)
        ways = FACING if sight.turning else MOVES
        steps = [down * self.width + right for down, right in ways]
        self._steps = torch.tensor(steps, device=device)
        if sight.view == "3x3":  # few patterns: a place keeps the number of its own
            self._patterns = self._patterns.to(torch.float32)
            self._seen = self._empty(cells, dtype=torch.int32)
        else:
            self._seen = self._empty(cells * sight.poses, sight.side**2, dtype=torch.int8)

    @classmethod
    def shared(cls, tables: MazeTables, sight: Sight, device: torch.device) -> LayoutBank:
        """A bank of the one compiled layout, of any size, with places outside its free cells."""
        layout, num_cells = tables.layout, len(tables.places) // tables.poses
        bank = cls(1, Sizes(num_cells, layout.height, layout.width), sight, device)
        bank.place_type = torch.int64
        bank.next_place = torch.tensor(tables.next_cell.reshape(-1), device=device)
        bank.num_free.fill_(layout.num_free)
        bank._spots = torch.tensor(tables.places[:: tables.poses], device=device)
        bank.whole = torch.tensor(views(tables, sight), device=device)
        bank.bumped = torch.tensor(tables.bumped.reshape(-1), device=device, dtype=torch.float32)
        return bank

    # What the mazes are asked ---------------------------------------------------------------

    def room(self, num_envs: int) -> StepRoom:
        """Memory for the steps of B mazes on this bank."""
        with torch.inference_mode(False):  # it is written into wherever steps are taken
            index = self._empty(num_envs, dtype=torch.int64)
            reached, cells = (self._empty(num_envs, dtype=self.place_type) for _ in range(2))
            hits = self._empty(num_envs, dtype=torch.bool)
            seen = self._seen.new_empty(num_envs, *self._seen.shape[1:])
            return StepRoom(index, reached, cells, hits, seen)

    def observe(self, places: torch.Tensor, room: StepRoom = NEW) -> torch.Tensor:
        """The views from B places: float32 [B, I], a new tensor."""
        if self.whole is not None:
            return torch.index_select(self.whole, 0, places)
        seen = torch.index_select(self._seen, 0, places, out=room.seen)
        if self.sight.view == "3x3":
            seen = torch.index_select(self._patterns, 0, seen)
        else:
            seen = seen.float()
        if self._coordinates is None:
            return seen
        return torch.cat((seen, *self._written(places)), 1)

    def seen(self, most: int) -> tuple[torch.Tensor, torch.Tensor | None] | None:
        """The views from all places: float32 [V, I], and the row of each place, int32 or None.

        Args:
            most: Views that may be computed for it; None is returned where there would be more.
        """
        if self.whole is not None:
            return self.whole, None
        if self.sight.view == "3x3" and self._coordinates is None:
            return self._patterns, self._seen
        num_places = self.num_slots * self.num_cells * self.sight.poses
        if num_places > most:
            return None
        return self.observe(torch.arange(num_places, device=self.device)), None

    def blocked(
        self, index: torch.Tensor, before: torch.Tensor, reached: torch.Tensor
    ) -> torch.Tensor:
        """Flags of moves that walls have blocked: 1 there, float32 [B].

        Args:
            index: int64 [B], the rows of `next_place` of these moves.
            before: int64 [B], the places before.
            reached: int64 [B], the places reached: only a wall holds an agent where it is.
        """
        if self.bumped is not None:
            return torch.index_select(self.bumped, 0, index)
        return torch.eq(reached, before).to(torch.float32)

    def positions(self, places: torch.Tensor) -> torch.Tensor:
        """(row, column) of B places: int64 [B, 2]."""
        spots = torch.index_select(self._spots, 0, self.cells(places)).to(torch.int64)
        return spots if self.whole is not None else spots % LONGEST_SIDE

    def cells(self, places: torch.Tensor) -> torch.Tensor:
        """The cells of places, by their numbers in the bank."""
        return places // self.sight.poses if self.sight.turning else places

    # Writing --------------------------------------------------------------------------------

    def write(self, rows: torch.Tensor, slots: torch.Tensor | None = None) -> None:
        """Compiles layouts into their slots.

        Args:
            rows: int64 [L, H], the walls as bits (`envs.maze.bits`), with closed borders and no
                larger than `sizes`.
            slots: int64 [n], the slots to write, each once; the others hold their layouts already.
                All of them if None.
        """
        self.rows = rows
        rows = rows if slots is None else rows.index_select(0, slots)
        size = max(1, CHUNK // self.num_cells)
        for start in range(0, len(rows), size):
            where = None if slots is None else slots[start : start + size]
            self._write(rows[start : start + size], start, where)

    def _write(self, rows: torch.Tensor, start: int, slots: torch.Tensor | None) -> None:
        """`write` for some of the layouts: into slots from `start` on, or into `slots`."""
        walls = self._walls(rows)
        free = ~walls.flatten(1)  # [n, H * W]
        ranks = free.cumsum(1)
        # Where the host may look, only as many cells as there are; else all that there can be.
        most = int(ranks[:, -1].amax()) if self.device.type == "cpu" else self.num_cells
        cells = self._free_cells(free, ranks - 1, most)
        numbers = torch.arange(start, start + len(rows), device=self.device)
        numbers = numbers if slots is None else slots
        following = self._moves(torch.where(free, ranks - 1, -1), cells)  # [n, P * poses * A]
        following += (numbers * (self.num_cells * self.sight.poses))[:, None]
        codes = row_codes(walls, cells, self.sight)  # [n, P * poses, R]
        seen: torch.Tensor = codes[..., 0]
        if self.sight.view != "3x3":
            # codes [B, rows] to cells [B, rows, width]
            seen = self._patterns.index_select(0, codes.flatten()).view(*codes.shape[:2], -1)
        for table, values in (
            (self.next_place, following),
            (self.num_free, ranks[:, -1:]),
            (self._spots, self._coordinate_numbers(rows, cells)),
            (self._seen, seen),
        ):
            values = values.flatten(1)
            by_slot = table.view(self.num_slots, -1)[:, : values.shape[1]]
            if slots is None:
                by_slot[start : start + len(rows)] = values
            else:
                by_slot.index_copy_(0, slots, values.to(table.dtype))

    def _walls(self, rows: torch.Tensor) -> torch.Tensor:
        """Bool [n, H, W] of the bank's size; outside of a layout is wall."""
        walls = unpack_rows(rows[:, : self.height], self.width)
        missing = self.height - walls.shape[1]
        return torch.nn.functional.pad(walls, (0, 0, 0, missing), value=True) if missing else walls

    def _free_cells(self, free: torch.Tensor, ranks: torch.Tensor, most: int) -> torch.Tensor:
        """int64 [n, most], the cells in the order of their numbers, and any inner cell behind."""
        num, size = free.shape
        cells = torch.full((num, most + 1), self.width + 1, device=self.device)
        at = torch.where(free, ranks, most)  # walls go to a column that is cut off
        cells.scatter_(1, at, torch.arange(size, device=self.device).expand(num, -1))
        return cells[:, :-1]

    def _moves(self, ranks: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
        """int64 [n, P * poses * A], where actions lead within a slot; ranks [n, H * W] or -1."""
        num, poses = len(cells), self.sight.poses
        beside = cells[:, :, None] + self._steps  # [n, P, 4]
        there = ranks.gather(1, beside.flatten(1)).view(num, cells.shape[1], -1)
        own = torch.arange(cells.shape[1], device=self.device)[:, None]  # [P, 1]
        ahead = torch.where(there < 0, own, there)  # [n, P, 4], cells
        if not self.sight.turning:
            return ahead.flatten(1)
        way = torch.arange(poses, device=self.device)
        turns = torch.stack(((way - 1) % poses, (way + 1) % poses), 1)  # [4, 2]
        turned = (poses * own[..., None] + turns).expand(num, -1, -1, -1)  # [n, P, 4, 2]
        return torch.cat((turned, (poses * ahead + way)[..., None]), 3).flatten(1)

    def _coordinate_numbers(self, rows: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
        """int64 [n, P, 2], ``64 * side + index`` of each cell's row and column."""
        columns = torch.arange(self.width, device=self.device)
        sides = (rows != 0).sum(1), (rows[:, :1] >> columns & 1).sum(1)  # padding is 0
        index = torch.stack((cells // self.width, cells % self.width), 2)
        return index + LONGEST_SIDE * torch.stack(sides, 1)[:, None]

    # Helpers --------------------------------------------------------------------------------

    def _written(self, places: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The written places, [B, 14], and, of an agent that turns, the way it faces, [B, 4]."""
        assert self._coordinates is not None
        spots = torch.index_select(self._spots, 0, self.cells(places))  # [B, 2]
        axes = torch.index_select(self._coordinates, 0, spots.flatten()).view(len(places), 2, -1)
        written = axes.transpose(1, 2).flatten(1)
        if not self.sight.turning:
            return (written,)
        return written, torch.index_select(self._facing, 0, places % self.sight.poses)

    def _empty(self, *shape: int, dtype: torch.dtype) -> torch.Tensor:
        return torch.zeros(shape, dtype=dtype, device=self.device)
