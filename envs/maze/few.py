"""Finitely many layouts of a family, each with any goal: for how much an agent has to see."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from ..base.checks import whole_number
from ..base.tasks import Arrays, TaskFamily, Tensors, check_count
from .bits import num_free
from .dynamics import teleport_targets
from .family import MazeFamily
from .identity import layout_hash
from .layout import Layout
from .tasks import MazeTask

__all__ = ["FewLayouts"]

PATIENCE = 50
"""Draws of as many mazes as are asked for, after which a family is held to have no more."""


@dataclass(frozen=True)
class FewLayouts(TaskFamily[MazeTask]):
    """The first different layouts that a family draws, with a uniform goal in each task.

    Args:
        family: The family; its rule for goals is not asked.
        number: Number of layouts, at least 1.
        seed: Another one gives other layouts.

    Raises:
        ValueError: The family has fewer layouts, or a number is out of range.
    """

    family: MazeFamily
    number: int
    seed: int = 0
    rows: torch.Tensor = field(init=False, repr=False, compare=False)
    """int64 [number, H], packed walls."""
    starts: torch.Tensor = field(init=False, repr=False, compare=False)
    """int64 [number], cell numbers."""

    def __post_init__(self) -> None:
        whole_number(self.number, "number")
        generator = torch.Generator().manual_seed(self.seed)
        found: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        for _ in range(PATIENCE):
            _, starts, rows = self.family.draw(self.number, generator, "cpu")
            for name, start, walls in zip(layout_hash(rows).tolist(), starts, rows, strict=True):
                if len(found) < self.number:
                    found.setdefault(name, (start, walls))
        if len(found) < self.number:
            raise ValueError(
                f"{self.number} different layouts were asked for, and "
                f"{PATIENCE * self.number} draws had {len(found)}: ask for fewer, or larger mazes"
            )
        columns = [torch.stack(column) for column in zip(*found.values(), strict=True)]
        object.__setattr__(self, "starts", columns[0])
        object.__setattr__(self, "rows", columns[1])

    @property
    def task_type(self) -> type[MazeTask]:
        """The class of the tasks."""
        return MazeTask

    @property
    def size(self) -> int | tuple[int, int]:
        """The family's size."""
        return self.family.size

    def draw(self, n: int, generator: torch.Generator, device: torch.device | str) -> Tensors:
        """Goals, starts and layouts of n tasks, as `MazeFamily.draw`."""
        check_count(n)
        device = torch.device(device)
        which = torch.randint(self.number, (n,), generator=generator, device=device)
        rows, starts = (x.to(device).index_select(0, which) for x in (self.rows, self.starts))
        draws = torch.randint(2**31, (n,), generator=generator, device=device)
        return teleport_targets(draws % (num_free(rows) - 1), starts), starts, rows

    def draw_arrays(self, n: int, rng: np.random.Generator) -> Arrays:
        """Draw tasks as arrays, by a torch generator that `rng` seeds."""
        generator = torch.Generator().manual_seed(int(rng.integers(2**32)))
        return tuple(column.numpy() for column in self.draw(n, generator, "cpu"))

    def contains(self, maze: MazeTask | Layout) -> bool:
        """Whether a layout is one of these."""
        layout = maze.layout if isinstance(maze, MazeTask) else maze
        return layout_hash(layout) in layout_hash(self.rows).tolist()
