"""Many mazes as tables of the places an agent can be in, and distances in all of them at once.

A place is a cell, or of an agent that turns a cell and a direction, ``4 * cell + direction`` (0
right, 1 down, 2 left, 3 up). Mazes of different sizes are padded to P cells, which are numbered as
in their layouts. For what is computed once per maze and looked at often; fresh mazes for every
trial are the work of `envs.maze.search`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from .tasks import MazeTask

__all__ = ["AHEAD", "FAR", "Mazes", "compile_mazes", "pair_distances"]

FAR = 2**30
"""Distance of a cell that cannot be reached, and the time of a visit that is never made."""

MOST_CELLS = 2**13
"""Free cells of mazes whose distances between all pairs are asked for."""

UP, DOWN, LEFT, RIGHT = range(4)
"""The moves, in the order of the actions."""

AHEAD, BEHIND = (RIGHT, DOWN, LEFT, UP), (LEFT, UP, RIGHT, DOWN)
"""The moves ahead and back by direction."""


class Mazes(NamedTuple):
    """N mazes, each with a start and a goal.

    Attributes:
        poses: Places of a cell: 1, or 4 for agents that turn.
        next_place: int64 [N, P * poses, A], the place an action leads to; the same one if a wall
            blocks it. Actions are up, down, left, right, or turn left, turn right, ahead.
        free: bool [N, P], True for the free cells.
        start: int64 [N], a place.
        goal: int64 [N], a cell.
        distance: int64 [N, P], actions from the start; `FAR` if there is no way.
        keys: N numbers, each a maze's own whatever mazes are beside it.
    """

    poses: int
    next_place: torch.Tensor
    free: torch.Tensor
    start: torch.Tensor
    goal: torch.Tensor
    distance: torch.Tensor
    keys: list[int]

    def rows(self, chosen: torch.Tensor) -> Mazes:
        """The mazes of a mask, bool [N]."""
        keys = [key for key, kept in zip(self.keys, chosen.tolist(), strict=True) if kept]
        tensors = (self.next_place, self.free, self.start, self.goal, self.distance)
        next_place, free, start, goal, distance = (x[chosen] for x in tensors)
        return Mazes(self.poses, next_place, free, start, goal, distance, keys)

    @property
    def goal_distance(self) -> torch.Tensor:
        """int64 [N], actions from the start to the goal."""
        return self.distance.gather(1, self.goal[:, None])[:, 0]

    @property
    def goal_places(self) -> torch.Tensor:
        """int64 [N, poses], the places on the goal."""
        return self.poses * self.goal[:, None] + torch.arange(self.poses)

    @property
    def perfect(self) -> torch.Tensor:
        """Whether the cells in reach are a tree, bool [N]; for an agent that does not turn."""
        reached = self.distance < FAR
        ways = (self.next_place != torch.arange(reached.shape[1])[:, None]).sum(-1)  # [N, P]
        return (ways * reached).sum(1) // 2 == reached.sum(1) - 1


def compile_mazes(tasks: Sequence[MazeTask], *, turning: bool = False) -> Mazes:
    """The mazes of tasks, for agents that turn or for those that do not.

    An agent that turns starts in the task's direction; to the right if the task says none.
    """
    walls = _padded([task.layout.walls for task in tasks])
    num_mazes, _, width = walls.shape
    free = torch.from_numpy(~walls).reshape(num_mazes, -1)  # [N, H * W]
    numbers = free.long().cumsum(1) - 1
    num_free = numbers[:, -1] + 1
    num_cells = int(num_free.max())
    where = torch.argsort(~free, dim=1, stable=True)[:, :num_cells]  # [N, P], free ones first
    inside = torch.arange(num_cells) < num_free[:, None]  # [N, P]
    where = torch.where(inside, where, width + 1)  # any cell but the border's
    beside = [where - width, where + width, where - 1, where + 1]
    steps = [
        torch.where(inside & free.gather(1, cell), numbers.gather(1, cell), torch.arange(num_cells))
        for cell in beside
    ]
    start = torch.tensor([task.start_number for task in tasks])
    if turning:
        start = 4 * start + torch.tensor([task.direction or 0 for task in tasks])
        next_place, before = _turning(steps, AHEAD, -1), _turning(steps, BEHIND, 1)
    else:
        next_place = before = torch.stack(steps, -1)
    poses = 4 if turning else 1
    # [N, P * poses] to [N, P]
    distance = _distances(before, start).reshape(num_mazes, num_cells, poses).amin(-1)
    cells = (np.array(task.layout.free_cells, dtype=np.int16) for task in tasks)
    keys = [int.from_bytes(own.tobytes(), "little") for own in cells]
    goal = torch.tensor([task.goal_number for task in tasks])
    return Mazes(poses, next_place, inside, start, goal, distance, keys)


def _padded(walls: Sequence[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    """Walls of layouts of any shapes, bool [N, H, W]."""
    height, width = (max(one.shape[axis] for one in walls) for axis in range(2))
    padded = np.ones((len(walls), height, width), dtype=np.bool_)
    for one, rows in zip(walls, padded, strict=True):
        rows[: one.shape[0], : one.shape[1]] = one
    return padded


def _turning(steps: Sequence[torch.Tensor], ways: Sequence[int], left: int) -> torch.Tensor:
    """Places by place, int64 [N, P * 4, 3]: turned to one side, to the other, and a step away.

    Args:
        steps: int64 [N, P] of the cells up, down, left and right.
        ways: Which of them is a step away, by direction.
        left: What is added to a direction by the turn that comes first.
    """
    num_mazes, num_cells = steps[0].shape
    direction = torch.arange(4)
    cells = 4 * torch.arange(num_cells)[:, None]
    turned = [(cells + (direction + side) % 4).expand(num_mazes, -1, -1) for side in (left, -left)]
    away = torch.stack([4 * steps[way] + looks for looks, way in enumerate(ways)], -1)
    # [N, P, 4, 3] to [N, P * 4, 3]
    return torch.stack((*turned, away), -1).reshape(num_mazes, -1, 3)


def _distances(before: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
    """Actions from the starts to every place, int64 [N, Q].

    Args:
        before: int64 [N, Q, A], the places from which an action leads to a place.
        start: int64 [N].
    """
    num_mazes, places, num_actions = before.shape
    distance = torch.full((num_mazes, places), FAR)
    distance.scatter_(1, start[:, None], 0)
    sources = before.reshape(num_mazes, -1)  # [N, Q, A] to [N, Q * A]
    for step in range(1, places):
        last = (distance == step - 1).gather(1, sources).reshape(num_mazes, places, num_actions)
        new = last.any(-1) & (distance == FAR)
        if not new.any():
            break
        distance[new] = step
    return distance


def pair_distances(mazes: Mazes) -> torch.Tensor:
    """Actions from every place to every cell, int32 [N, P * poses, P]; `FAR` if there is no way.

    Raises:
        ValueError: If there are more cells than `MOST_CELLS`.
    """
    num_mazes, num_cells = mazes.free.shape
    if num_cells > MOST_CELLS:
        raise ValueError(
            f"anchors of mazes with loops, of agents that turn, and of finds that lead to random "
            f"cells are computed for mazes of at most {MOST_CELLS} free cells, got {num_cells}"
        )
    places = num_cells * mazes.poses
    reached = torch.eye(num_cells, dtype=torch.bool).repeat_interleave(mazes.poses, 0)
    reached = reached.repeat(num_mazes, 1)  # [N * Q, P]
    offset = places * torch.arange(num_mazes)[:, None]
    after = [(following + offset).reshape(-1) for following in mazes.next_place.unbind(-1)]
    distance = torch.zeros(reached.shape, dtype=torch.int32)
    while True:
        distance += ~reached
        spread = reached.clone()
        for place in after:
            spread |= reached[place]
        if torch.equal(spread, reached):
            break
        reached = spread
    distance[~reached] = FAR
    return distance.reshape(num_mazes, places, num_cells)
