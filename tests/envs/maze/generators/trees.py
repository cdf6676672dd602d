"""What is counted about mazes, many at once."""

import torch

from envs.maze.bits import pack_rows
from envs.maze.generators import GENERATORS
from envs.maze.placement import Placement, place
from envs.maze.search import cell_masks, distances

CPU = torch.device("cpu")


def draw(name: str, n: int, side: int, seed: int = 0) -> torch.Tensor:
    return GENERATORS[name](n, side, torch.Generator().manual_seed(seed), CPU)


def passages(walls: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """`right` [n, k, k - 1] and `down` [n, k - 1, k], read from the walls."""
    return ~walls[:, 1::2, 2:-1:2], ~walls[:, 2:-1:2, 1::2]


def degrees(walls: torch.Tensor) -> torch.Tensor:
    """Passages of every room, [n, k, k]."""
    right, down = (part.long() for part in passages(walls))
    pad = torch.nn.functional.pad
    beside = pad(right, (0, 1)) + pad(right, (1, 0))
    return beside + pad(down, (0, 0, 0, 1)) + pad(down, (0, 0, 1, 0))


def dead_ends(walls: torch.Tensor) -> torch.Tensor:
    """Rooms with one passage, float64 [n]."""
    return (degrees(walls) == 1).sum((1, 2)).double()


def random_pairs(walls: torch.Tensor, seed: int = 1) -> tuple[Placement, torch.Tensor]:
    """Two random free cells of each maze, and the moves between them (-1 where no way leads)."""
    generator = torch.Generator().manual_seed(seed)
    placed = place(walls, "uniform", "uniform", 1, solvable=False, generator=generator)
    free = (~walls).flatten(1)  # [n, cells]
    rank = free.cumsum(1) - 1
    cells = [
        ((rank == number.unsqueeze(1)) & free).long().argmax(1)
        for number in (placed.start, placed.goal)
    ]
    return placed, moves(walls, *cells)


def moves(walls: torch.Tensor, start: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
    """Moves between two cells of each maze, given as row * side + column: int64 [n]."""
    n, side, _ = walls.shape
    mask = cell_masks(torch.stack((start // side, start % side), 1), side)
    found = distances(pack_rows(walls), mask, side)
    return found[torch.arange(n), goal // side, goal % side]


def assert_mean(values: torch.Tensor, expected: float, slack: float = 0.0) -> None:
    """The mean lies within 4 standard errors, and `slack`, of what is expected."""
    values = values.double()
    error = float(values.std()) / len(values) ** 0.5
    assert abs(float(values.mean()) - expected) < 4 * error + slack, (values.mean(), error)
