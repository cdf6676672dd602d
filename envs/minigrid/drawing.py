"""Minigrid's own pictures of grids that the tensor twin plays, and of episodes in them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..base.pictures import PICTURE_WIDTH, Frame, Scene, panel
from .codes import NOTHING
from .reading import build_grid, make_minigrid, new_object
from .rules import Cell

__all__ = ["TILE", "MinigridPictures", "draw"]

TILE = 32
"""Pixels of a cell, as in Minigrid."""


def draw(
    codes: NDArray[np.uint8],
    agent: Cell,
    direction: int,
    *,
    hand: int = NOTHING,
    see_through: bool = False,
    view_size: int = 7,
    tile: int = TILE,
) -> Frame:
    """A picture of a grid; what the agent sees is lighter.

    Args:
        codes: uint8 [H, W], the cells.
        agent: (x, y), column and row of the agent.
        direction: Where it looks, 0 right, 1 down, 2 left, 3 up.
        hand: Code of what it carries.
        see_through: Whether it sees through walls.
        view_size: Rows and columns of what it sees.
        tile: Pixels of a cell.

    Returns:
        uint8 [H * tile, W * tile, 3].
    """
    env = _artist()
    build_grid(env, codes)
    env.agent_pos, env.agent_dir = agent, direction
    env.carrying, env.see_through_walls = new_object(hand), see_through
    env.agent_view_size = view_size
    frame: Frame = env.get_frame(True, tile)
    return frame


@lru_cache(maxsize=1)
def _artist() -> Any:
    """A Minigrid environment to put grids into."""
    return make_minigrid("MiniGrid-Empty-5x5-v0")


class MinigridPictures:
    """Pictures that films ask of a problem of Minigrid (`metarl.evaluate.film.Filmed`)."""

    def watch(self, env: Any) -> Tensor:
        """Height, position, direction, hand and cells of every grid, ``[B, 5 + H * W]``."""
        twin = env.unwrapped
        cells = twin.grids  # [B, H, W]
        facts = [torch.full_like(twin.hands, cells.shape[1]), *twin.agent_positions.unbind(1)]
        facts += [twin.agent_directions, twin.hands]
        return torch.cat([torch.stack(facts, dim=1), cells.flatten(1)], dim=1)

    def pictures(self, scene: Scene, t: int, cell_size: int | None) -> tuple[Frame, ...]:
        """The grid after t steps."""
        return (self.whole(scene, t, cell_size),)

    def whole(self, scene: Scene, t: int, cell_size: int | None) -> Frame:
        """The grid after t steps."""
        task = scene.task
        seen = np.asarray(scene.seen[t], np.int64)
        height, x, y, direction, hand = seen[:5].tolist()
        cells = seen[5:].astype(np.uint8).reshape(height, -1)
        frame = draw(
            cells[: task.height, : task.width],
            (x, y),
            direction,
            hand=hand,
            see_through=task.see_through,
            view_size=task.view_size,
            tile=cell_size or max(8, min(TILE, PICTURE_WIDTH // task.width)),
        )
        words = f"{task.mission}\nstep {t}  reward {scene.earned(t):g}"
        width = max(frame.shape[1], PICTURE_WIDTH // 2)  # words need room
        wide = np.pad(frame, ((0, 0), (0, width - frame.shape[1]), (0, 0)), constant_values=255)
        return np.concatenate((wide, panel(f"{scene.title}\n{words}", width, TILE)))
