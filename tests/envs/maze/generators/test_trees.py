"""Spanning trees: what is exactly known of them, and what tells their distributions apart.

Exact: 192 spanning trees of 3 x 3 rooms (Kirchhoff); 88 of them by depth-first walks, since every
wall that is left must stand between a room and one that was reached through it.
"""

import pytest
import torch

from envs.maze.bits import free_rows, pack_rows
from envs.maze.generators import GENERATORS
from envs.maze.search import cell_masks, reachable
from tests.envs.maze.generators.trees import CPU, assert_mean, dead_ends, degrees, passages

TREES = ["dfs", "mst"]
every_tree = pytest.mark.parametrize("name", TREES)


def draw(name: str, n: int, side: int, seed: int = 0) -> torch.Tensor:
    return GENERATORS[name](n, side, torch.Generator().manual_seed(seed), CPU)


@every_tree
@pytest.mark.parametrize("side", [5, 7, 13, 25, 61])
def test_perfect(name: str, side: int) -> None:
    """All k^2 rooms are connected by k^2 - 1 passages."""
    n = 4 if side == 61 else 64
    walls, k = draw(name, n, side), side // 2
    right, down = passages(walls)
    assert not walls[:, 1::2, 1::2].any()
    assert walls[:, 2:-1:2, 2:-1:2].all()
    assert (right.sum((1, 2)) + down.sum((1, 2)) == k * k - 1).all()
    rows = pack_rows(walls)
    first = cell_masks(torch.ones(n, 2, dtype=torch.int64), side)
    assert torch.equal(reachable(rows, first), free_rows(rows))


@every_tree
def test_even_sides_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"must be odd.*got 12: use 11 or 13"):
        draw(name, 1, 12)


def counts(name: str, n: int) -> torch.Tensor:
    return pack_rows(draw(name, n, 7)).unique(dim=0, return_counts=True)[1].double()


def test_depth_first_reaches_88_trees() -> None:
    assert len(counts("dfs", 20_000)) == 88


def test_minimum_trees_are_all_but_not_equally_likely() -> None:
    """Chi-square against uniform, 191 degrees of freedom: 2,899 per 96,000 draws were measured."""
    found = counts("mst", 48_000)
    assert len(found) == 192
    chi = float(((found - 250) ** 2 / 250).sum())
    assert 1_000 < chi < 2_000


@pytest.mark.parametrize(
    ("name", "side", "dead", "two", "three"),
    [
        ("dfs", 7, 0.2940, 0.634, 0.072),
        ("dfs", 9, 0.2103, 0.704, 0.085),
        ("dfs", 13, 0.1500, 0.756, 0.094),
        ("mst", 7, 0.3939, 0.446, 0.148),
        ("mst", 9, 0.3463, 0.452, 0.181),
        ("mst", 13, 0.3163, 0.451, 0.205),
    ],
)
def test_shares_of_rooms(name: str, side: int, dead: float, two: float, three: float) -> None:
    walls = draw(name, 6_000, side)
    rooms = (side // 2) ** 2
    assert_mean(dead_ends(walls) / rooms, dead, 0.0007)
    for degree, share in ((2, two), (3, three)):
        assert_mean((degrees(walls) == degree).sum((1, 2)) / rooms, share, 0.0007)
