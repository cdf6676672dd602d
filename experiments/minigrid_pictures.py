"""Pictures of episodes in Minigrid, for films: Minigrid's own, with what the agent sees lighter."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from envs.minigrid.drawing import TILE, draw
from metarl.evaluate.film import Frame, Scene, captioned

WIDTH = 416
"""Pixels that a picture is made to fill, where no size of cells is asked for."""


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
            tile=cell_size or max(8, min(TILE, WIDTH // task.width)),
        )
        words = f"{task.mission}\nstep {t}  reward {scene.earned(t):g}"
        return captioned(frame, f"{scene.title}\n{words}")
