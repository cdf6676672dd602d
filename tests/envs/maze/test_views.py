"""What an agent sees of a maze: walls, and a place that can be told from all others.

Egocentric views are held against a plain-Python port of their definition and against Minigrid.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from minigrid.core.grid import Grid
from minigrid.core.world_object import Wall
from numpy.typing import NDArray

from envs import GridMazeVectorEnv, pillar_maze
from envs.maze.dynamics import FACING, compile_layout
from envs.maze.layout import Layout
from envs.maze.views import (
    UNSEEN,
    Sight,
    View,
    row_patterns,
    seen_cells,
    shadowed,
    views,
    written_places,
)
from tests.envs.maze.strategies import layouts


@pytest.mark.parametrize("size", [5, 9, 13])
def test_the_place_is_seen_and_can_be_read(size: int) -> None:
    layout = pillar_maze(size)
    env = GridMazeVectorEnv(50, layout=layout, horizon=30, position=True)
    observation, _ = env.reset(seed=0)
    for step in range(20):
        assert observation.shape == (50, 23)
        assert env.single_observation_space.contains(observation[0].numpy())
        assert torch.equal(seen_cells(observation, layout), env.agent_positions), step
        actions = torch.randint(4, (50,), generator=torch.Generator().manual_seed(step))
        observation, *_ = env.step(actions)


def test_a_place_is_written_as_waves() -> None:
    place = torch.tensor([[0.5, -1.0]], dtype=torch.float64)
    expected = [0.5, -1.0]
    for k in (1, 2, 3):
        expected += [math.sin(k * math.pi * x) for x in (0.5, -1.0)]
        expected += [math.cos(k * math.pi * x) for x in (0.5, -1.0)]
    assert torch.allclose(written_places(place)[0], torch.tensor(expected, dtype=torch.float64))


def test_neighbours_differ_clearly() -> None:
    """In a 13 x 13 maze two coordinates move by 1/6 a cell; the waves by more than 1."""
    cells = torch.cartesian_prod(torch.arange(1.0, 12.0), torch.arange(1.0, 12.0)) / 6 - 1
    written = written_places(cells)
    distances = torch.cdist(written, written).fill_diagonal_(math.inf)
    assert distances.min() > 1.0


Lit = Callable[[NDArray[np.bool_]], NDArray[np.bool_]]


def lit_by_sweeps(walls: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What an agent in the middle of the last row sees, cell by cell, as Minigrid defines it.

    From the agent's row to the farthest, first from left to right, then back: a lit cell that is
    no wall lights its neighbour in that direction, the cell ahead, and that neighbour's.
    """
    side = len(walls)
    lit = np.zeros((side, side), dtype=np.bool_)
    lit[side - 1, side // 2] = True
    for row in range(side - 1, -1, -1):
        for columns, step in ((range(side - 1), 1), (range(side - 1, 0, -1), -1)):
            for column in columns:
                if not lit[row, column] or walls[row, column]:
                    continue
                lit[row, column + step] = True
                if row > 0:
                    lit[row - 1, column] = True
                    lit[row - 1, column + step] = True
    return lit


def lit_by_minigrid(walls: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The same by Minigrid's own code, whose grids are counted column first."""
    side = len(walls)
    grid = Grid(side, side)
    for row, column in np.argwhere(walls):
        grid.set(int(column), int(row), Wall())
    return np.asarray(grid.process_vis((side // 2, side - 1)), dtype=np.bool_).T


def lit_by_tables(walls: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The same by the closed form."""
    side = len(walls)
    rows = (walls[::-1].astype(np.int32) << np.arange(side, dtype=np.int32)).sum(1)
    codes = shadowed(torch.tensor(rows, dtype=torch.int32), side).flip(0)
    seen = row_patterns(side)[codes.long()].numpy()
    assert np.array_equal(seen[seen != UNSEEN] == 1, walls[seen != UNSEEN])
    lit: NDArray[np.bool_] = seen != UNSEEN
    return lit


@pytest.mark.parametrize("side", [3, 5, 7])
@pytest.mark.parametrize("other", [lit_by_sweeps, lit_by_minigrid])
def test_the_closed_form_is_the_definition(other: Lit, side: int) -> None:
    rng = np.random.default_rng(side)
    for _ in range(600):
        walls = rng.random((side, side)) < rng.choice([0.1, 0.3, 0.5, 0.7])
        walls[side - 1, side // 2] = False
        assert np.array_equal(lit_by_tables(walls), other(walls)), f"{walls.astype(int)}"


@pytest.mark.slow
@pytest.mark.parametrize("side", [3, 5, 7])
def test_the_closed_form_is_minigrids_in_many_views(side: int) -> None:
    rng = np.random.default_rng(side)
    for _ in range(20_000):
        walls = rng.random((side, side)) < rng.random()
        walls[side - 1, side // 2] = False
        assert np.array_equal(lit_by_tables(walls), lit_by_minigrid(walls))


def view_from(
    layout: Layout, cell: tuple[int, int], direction: int, side: int
) -> NDArray[np.bool_]:
    """The walls ahead of an agent, [side, side], True outside of the maze."""
    (down, right), walls = FACING[direction], np.ones((side, side), dtype=np.bool_)
    for row in range(side):
        for column in range(side):
            ahead, across = side - 1 - row, column - side // 2
            at = (
                cell[0] + ahead * down + across * right,
                cell[1] + ahead * right - across * down,
            )
            walls[row, column] = not layout.is_free(at)
    return walls


@settings(max_examples=25)
@given(layouts())
@pytest.mark.parametrize("see_through", [False, True])
@pytest.mark.parametrize("view", ["egocentric-5", "egocentric-7"])
def test_every_place_sees_what_lies_ahead(view: View, see_through: bool, layout: Layout) -> None:
    sight = Sight(view, see_through=see_through)
    tables = compile_layout(layout, turning=True)
    seen = views(tables, sight)
    for place, cell in enumerate(tables.places):
        walls = view_from(layout, cell, place % 4, sight.side)
        lit = np.ones_like(walls) if see_through else lit_by_sweeps(walls)
        expected = np.where(lit, walls, UNSEEN).reshape(-1)
        assert np.array_equal(seen[place], expected.astype(np.float32))


@given(layouts())
def test_the_square_views_are_the_walls_around(layout: Layout) -> None:
    tables = compile_layout(layout)
    for view, reach in (("3x3", 1), ("5x5", 2)):
        seen = views(tables, Sight(view))  # type: ignore[arg-type]
        around = np.pad(layout.walls, reach, constant_values=True)
        for place, (row, column) in enumerate(tables.places):
            square = around[row : row + 2 * reach + 1, column : column + 2 * reach + 1]
            assert np.array_equal(seen[place], square.reshape(-1).astype(np.float32))
    assert np.array_equal(views(tables, Sight("3x3")), tables.patch)
