"""What B mazes draw when their episodes start: tasks, starts, and the ways that agents look.

Each draw is by the generators that it is given, since an environment may change its own.
"""

from __future__ import annotations

import torch

from ..base.randomness import GeneratorBlocks
from ..base.tasks import Tensors
from .boards import Boards
from .numbers import UNSAID, FamilyDraws
from .settings import FACINGS, MOST_DRAWS, MazeSettings

__all__ = ["Draws"]


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
