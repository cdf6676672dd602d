"""Spanning trees: what is exactly known of them, and what tells their distributions apart.

Exact: the number of spanning trees (Kirchhoff), 192 of 3 x 3 rooms; the expected number of dead
ends of a uniformly random one, sum over rooms v of deg(v) trees(G - v) / trees(G); 88 trees that
depth-first walks can make, since every wall that is left must stand between a room and one that was
reached through it. Otherwise: figures of an independent implementation, given to two digits of
their own error.
"""

import numpy as np
import pytest
import torch

from envs.maze.bits import free_rows, pack_rows
from envs.maze.search import cell_masks, reachable
from tests.envs.maze.generators.trees import (
    CPU,
    assert_mean,
    dead_ends,
    degrees,
    draw,
    moves,
    passages,
    random_pairs,
)

TREES = ["dfs", "ust", "mst", "prim"]
every_tree = pytest.mark.parametrize("name", TREES)


@every_tree
@pytest.mark.parametrize("side", [5, 7, 13, 25, 61])
def test_perfect(name: str, side: int) -> None:
    """All k^2 rooms are connected by k^2 - 1 passages."""
    n = 2 if side == 61 else 64
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


# Small lattices, counted -----------------------------------------------------------------


def counts(name: str, n: int, side: int = 7) -> torch.Tensor:
    return pack_rows(draw(name, n, side)).unique(dim=0, return_counts=True)[1].double()


def chi_square(found: torch.Tensor, num_trees: int) -> float:
    expected = float(found.sum()) / num_trees
    missing = (num_trees - len(found)) * expected
    return float(((found - expected) ** 2 / expected).sum()) + missing


@every_tree
def test_all_four_trees_of_two_by_two_rooms(name: str) -> None:
    """3 degrees of freedom: 16.3 is exceeded once in a thousand. All are uniform by symmetry."""
    assert chi_square(counts(name, 4_000, side=5), 4) < 16.3


def test_uniform_trees_are_uniform() -> None:
    """192 trees of 3 x 3 rooms, 191 degrees of freedom: 255.6 is exceeded once in a thousand."""
    found = counts("ust", 48_000)
    assert len(found) == 192
    assert chi_square(found, 192) < 255.6


@pytest.mark.parametrize(
    ("name", "num_trees", "per_draw"),
    [("mst", 192, 2_899 / 96_000), ("prim", 192, 29_112 / 96_000), ("dfs", 88, 137_838 / 96_000)],
)
def test_other_trees_are_not_uniform(name: str, num_trees: int, per_draw: float) -> None:
    """Chi-square grows with the number of draws; measured for 96,000 by other code."""
    found = counts(name, 24_000)
    assert len(found) == num_trees
    assert chi_square(found, 192) == pytest.approx(24_000 * per_draw, rel=0.25)


def spanning_trees(rooms: list[tuple[int, int]]) -> float:
    """The number of spanning trees of some rooms of a grid: a minor of its Laplacian."""
    laplacian = np.zeros((len(rooms), len(rooms)))
    for i, (row, column) in enumerate(rooms):
        for j, other in enumerate(rooms):
            if abs(row - other[0]) + abs(column - other[1]) == 1:
                laplacian[i, i] += 1
                laplacian[i, j] -= 1
    return float(np.linalg.det(laplacian[1:, 1:]))


def expected_dead_ends(k: int) -> float:
    rooms = [(row, column) for row in range(k) for column in range(k)]
    total = 0.0
    for row, column in rooms:
        degree = (row > 0) + (row < k - 1) + (column > 0) + (column < k - 1)
        total += degree * spanning_trees([room for room in rooms if room != (row, column)])
    return total / spanning_trees(rooms)


@pytest.mark.parametrize(
    ("k", "expected"), [(2, 2.0), (3, 3.4375), (4, 5.3460), (5, 7.8413), (6, 10.9301)]
)
def test_dead_ends_of_uniform_trees_are_exact(k: int, expected: float) -> None:
    assert expected_dead_ends(k) == pytest.approx(expected, abs=5e-5)
    assert_mean(dead_ends(draw("ust", 6_000, 2 * k + 1)), expected_dead_ends(k), 1e-9)


# Shares and paths, measured --------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "side", "dead", "two", "three"),
    [
        ("dfs", 7, 0.2940, 0.634, 0.072),
        ("dfs", 9, 0.2103, 0.704, 0.085),
        ("dfs", 13, 0.1500, 0.756, 0.094),
        ("ust", 7, 0.3819, 0.467, 0.141),
        ("ust", 13, 0.3038, 0.471, 0.202),
        ("mst", 7, 0.3939, 0.446, 0.148),
        ("mst", 9, 0.3463, 0.452, 0.181),
        ("mst", 13, 0.3163, 0.451, 0.205),
        ("prim", 13, 0.3470, 0.403, 0.209),
    ],
)
def test_shares_of_rooms(name: str, side: int, dead: float, two: float, three: float) -> None:
    walls = draw(name, 6_000, side)
    rooms = (side // 2) ** 2
    assert_mean(dead_ends(walls) / rooms, dead, 0.0007)
    for degree, share in ((2, two), (3, three)):
        assert_mean((degrees(walls) == degree).sum((1, 2)) / rooms, share, 0.0007)


@pytest.mark.parametrize(
    ("name", "side", "between", "corners"),
    [
        ("dfs", 7, 5.59, 8.74),
        ("dfs", 9, 9.38, 14.63),
        ("dfs", 13, 19.40, 29.41),
        ("ust", 7, 5.05, 8.51),
        ("ust", 13, 13.79, 24.06),
        ("mst", 7, 4.98, 8.49),
        ("mst", 9, 7.57, 13.33),
        ("mst", 13, 13.20, 23.66),
        ("prim", 13, 11.78, 21.48),
    ],
)
def test_paths(name: str, side: int, between: float, corners: float) -> None:
    """Between two random free cells and from corner to corner."""
    walls = draw(name, 4_000, side)
    assert_mean(random_pairs(walls)[1], between, 0.05)
    start, goal = (torch.full((4_000,), row * side + row) for row in (1, side - 2))
    assert_mean(moves(walls, start, goal), corners, 0.05)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "dead", "between", "corners"),
    [
        ("dfs", 0.1136, 65.6, 96.6),
        ("ust", 0.2907, 35.2, 61.2),
        ("mst", 0.3037, 32.7, 59.1),
        ("prim", 0.3267, 26.7, 48.9),
    ],
)
def test_larger_mazes(name: str, dead: float, between: float, corners: float) -> None:
    walls = draw(name, 4_000, 25)
    assert_mean(dead_ends(walls) / 144, dead, 0.0007)
    assert_mean(random_pairs(walls)[1], between, 0.3)
    start, goal = (torch.full((4_000,), row * 25 + row) for row in (1, 23))
    assert_mean(moves(walls, start, goal), corners, 0.3)


def test_weights_never_tie() -> None:
    """Walls of mazes of the largest size: no circle among many, and the passages are a tree."""
    walls = draw("mst", 16, 61, seed=3)
    right, down = passages(walls)
    assert (right.sum((1, 2)) + down.sum((1, 2)) == 899).all()


def test_no_walk_is_unfinished() -> None:
    """Uniform trees of one maze, where nobody else keeps the walk going."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        assert dead_ends(draw("ust", 1, 9, int(torch.randint(9999, (), generator=generator)))) > 1
    assert CPU.type == "cpu"
