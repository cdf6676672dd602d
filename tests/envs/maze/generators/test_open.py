"""Rooms with doors, random walls, caves, loops: mazes that are no trees."""

import pytest
import torch

from envs.maze.bits import free_rows, pack_rows
from envs.maze.generators import GENERATORS
from envs.maze.generators.blocks import random_walls
from envs.maze.generators.caves import largest_piece, smoothed
from envs.maze.generators.lattice import braid
from envs.maze.generators.rooms import rooms_with_doors
from envs.maze.search import cell_masks, reachable
from tests.envs.maze.generators.trees import CPU, assert_mean, dead_ends, draw, random_pairs


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def connected(walls: torch.Tensor) -> torch.Tensor:
    """Whether all free cells are one piece, bool [n]."""
    rows = pack_rows(walls)
    first = (~walls).flatten(1).long().argmax(1)
    side = walls.shape[1]
    mask = cell_masks(torch.stack((first // side, first % side), 1), side)
    return (reachable(rows, mask & free_rows(rows)) == free_rows(rows)).all(1)


# Loops -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "probability", "path", "free"),
    [
        ("dfs", 0.5, 15.4, 73.6),
        ("dfs", 1.0, 12.8, 76.2),
        ("mst", 0.5, 11.1, 76.3),
        ("mst", 1.0, 9.8, 80.8),
    ],
)
def test_braided_mazes(name: str, probability: float, path: float, free: float) -> None:
    walls = draw(name, 4_000, 13)
    braided = braid(walls, probability, seeded())
    assert (braided <= walls).all()  # walls are opened, none is built
    assert connected(braided).all()
    assert_mean((~braided).sum((1, 2)), free, 0.05)
    assert_mean(random_pairs(braided)[1], path, 0.1)
    if probability == 1:
        assert (dead_ends(braided) == 0).all()


def test_no_loops_with_probability_0() -> None:
    walls = draw("dfs", 50, 13)
    assert torch.equal(braid(walls, 0.0, seeded()), walls)


def test_border_stays_closed_and_the_opening_is_uniform() -> None:
    """The one dead end of an L in 2 x 2 rooms has one wall to open; in the middle there are 3."""
    one = torch.ones(3_000, 7, 7, dtype=torch.bool)
    one[:, 3, 3] = one[:, 3, 4] = one[:, 3, 5] = False
    braided = braid(one, 1.0, seeded())
    opened = [~braided[:, row, column] for row, column in ((2, 3), (4, 3), (3, 2))]
    assert (torch.stack(opened).sum(0) == 1).all()
    for place in opened:
        assert_mean(place, 1 / 3)
    assert braided[:, [0, -1]].all()
    assert braided[:, :, [0, -1]].all()


def test_loops_need_a_lattice() -> None:
    with pytest.raises(ValueError, match="size must be odd, got 12"):
        braid(torch.ones(1, 12, 12, dtype=torch.bool), 0.5, seeded())


# Rooms with doors ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "across", "doors", "path"),
    [(17, 4, 0.0, 18.2), (17, 4, 0.5, 13.3), (15, 2, 1.0, 10.3)],
)
def test_rooms(side: int, across: int, doors: float, path: float) -> None:
    walls = rooms_with_doors(3_000, side, seeded(), CPU, across=across, doors=doors)
    assert connected(walls).all()
    assert_mean(random_pairs(walls)[1], path, 0.1)
    free = ~walls
    beside = free[:, :-2, 1:-1].long() + free[:, 2:, 1:-1] + free[:, 1:-1, :-2] + free[:, 1:-1, 2:]
    assert (beside[free[:, 1:-1, 1:-1]] >= 2).all()  # no dead ends


def test_number_of_doors() -> None:
    standing = draw("empty", 1, 15)
    standing[:, [4, 7, 10]] = True
    standing[:, :, [4, 7, 10]] = True
    for doors, expected in ((0.0, 15.0), (1.0, 24.0), (0.5, 15 + 4.5)):
        walls = rooms_with_doors(2_000, 15, seeded(1), CPU, across=4, doors=doors)
        assert (walls <= standing).all()
        assert_mean((standing & ~walls).sum((1, 2)), expected, 1e-9)


def test_sizes_of_rooms() -> None:
    for side, across in ((9, 2), (13, 3), (15, 4), (25, 6), (6, 2)):
        walls = rooms_with_doors(64, side, seeded(), CPU)
        straight = (~walls).double().mean(0)[1:-1, 1:-1].mean(1) < 0.7  # rows of wall and doors
        assert int(straight.sum()) == across - 1
        assert connected(walls).all()
    one = rooms_with_doors(2, 9, seeded(), CPU, across=1)
    assert torch.equal(one, draw("empty", 2, 9))
    narrow = rooms_with_doors(50, 9, seeded(), CPU, across=4, doors=0.0)
    assert ((~narrow).sum((1, 2)) == 31).all()  # a perfect maze


def test_doors_are_uniform_along_their_wall() -> None:
    walls = rooms_with_doors(7_000, 15, seeded(), CPU, across=2, doors=1.0)
    for place in range(1, 7):
        assert_mean(~walls[:, place, 7], 1 / 6)
        assert_mean(~walls[:, 7, 7 + place], 1 / 6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"across": 0}, "across must be at least 1"),
        ({"across": 8}, "across must be at most 7"),
        ({"doors": 1.1}, "doors is a probability"),
        ({"doors": float("nan")}, "doors is a probability"),
    ],
)
def test_bad_rooms_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rooms_with_doors(1, 15, seeded(), CPU, **options)  # type: ignore[arg-type]


# Random walls ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "distinct", "solvable", "distance"),
    [
        ("walls-25", 23.3, 0.995, 9.1),
        ("walls-60", 50.6, 0.844, 10.6),
        ("walls-60-distinct", 60.0, 0.662, 10.6),
        ("walls-0-59", 26.4, 0.970, 9.4),
    ],
)
def test_published_walls(name: str, distinct: float, solvable: float, distance: float) -> None:
    walls = draw(name, 6_000, 15)
    assert_mean(walls[:, 1:-1, 1:-1].sum((1, 2)), distinct, 0.1)
    found = random_pairs(walls)[1]
    assert_mean(found >= 0, solvable, 0.003)
    assert_mean(found[found >= 0], distance, 0.1)


def test_walls_of_other_sides_are_as_dense() -> None:
    share = 1 - (1 - 1 / 169) ** 60
    for side in (9, 25):
        walls = draw("walls", 1_000, side)
        assert_mean(walls[:, 1:-1, 1:-1].double().mean((1, 2)), share, 0.01)
    assert torch.equal(draw("walls", 5, 15), draw("walls-60", 5, 15))
    assert torch.equal(random_walls(3, 9, seeded(), CPU, walls=0), draw("empty", 3, 9))


def test_mean_path_of_the_empty_room() -> None:
    assert_mean(random_pairs(draw("empty", 6_000, 15))[1], 8.65 * 169 / 168, 0.02)


def test_bad_numbers_of_walls_are_refused() -> None:
    for number in (-1, 170, 2.5):
        with pytest.raises(ValueError, match="walls must be"):
            random_walls(1, 15, seeded(), CPU, walls=number)  # type: ignore[arg-type]


# Caves -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("walls", "free", "one_piece"), [(0.40, 133, 0.87), (0.45, 102, 0.66)])
def test_caves(walls: float, free: float, one_piece: float) -> None:
    grid = smoothed(2_000, 17, seeded(), CPU, walls=walls, rounds=4)
    assert_mean((~grid).sum((1, 2)), free, 0.5)
    assert_mean(connected(grid), one_piece, 0.005)
    kept = GENERATORS["caves"](2_000, 17, seeded(), CPU, walls=walls)
    assert torch.equal(kept, largest_piece(grid))
    assert connected(kept).all()
    assert (kept >= grid).all()
    whole = connected(grid)
    assert torch.equal(kept[whole], grid[whole])


def test_largest_piece() -> None:
    walls = torch.ones(3, 6, 7, dtype=torch.bool)
    walls[0, 1, 1:3] = walls[0, 3, 1:4] = False  # 2 cells and 3
    walls[1, 1, 1:3] = walls[1, 4, 4:6] = False  # 2 and 2; the third maze has none
    kept = largest_piece(walls)
    assert (~kept).sum((1, 2)).tolist() == [3, 2, 0]
    assert not kept[0, 3, 1:4].any()
    assert not kept[1, 4, 4:6].any()


def test_a_winding_piece_is_one() -> None:
    walls = draw("dfs", 4, 25)
    assert torch.equal(largest_piece(walls), walls)


def test_bad_caves_are_refused() -> None:
    for options in ({"walls": 1.5}, {"walls": "half"}, {"rounds": -1}):
        with pytest.raises(ValueError, match=r"is a probability|rounds must be at least 0"):
            GENERATORS["caves"](1, 15, seeded(), CPU, **options)
