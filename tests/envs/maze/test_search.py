"""Searches on bit masks, against the breadth-first search of single layouts."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from envs import Layout, pillar_maze
from envs.maze import search
from envs.maze.bits import free_rows, pack_rows, pad_rows, unpack_rows
from envs.maze.generators import GENERATORS
from tests.envs.maze.strategies import layouts

CPU = torch.device("cpu")


def batch(*several: Layout) -> torch.Tensor:
    height = max(layout.height for layout in several)
    return torch.stack([pad_rows(torch.tensor(x.packed), height) for x in several])


def masks(*cells: tuple[int, int], height: int) -> torch.Tensor:
    return search.cell_masks(torch.tensor(cells), height)


@given(layouts(), layouts(), st.data())
def test_distances_are_those_of_the_layouts(
    one: Layout, other: Layout, data: st.DataObject
) -> None:
    rows = batch(one, other)
    cells = [data.draw(st.sampled_from(layout.free_cells)) for layout in (one, other)]
    found = search.distances(rows, masks(*cells, height=rows.shape[1]))
    for layout, cell, grid in zip((one, other), cells, found.numpy(), strict=True):
        assert [grid[free] for free in layout.free_cells] == list(layout.distances_from(cell))
        assert (grid == -1).sum() == grid.size - layout.num_free


@given(layouts(), st.data())
def test_within_and_farthest(layout: Layout, data: st.DataObject) -> None:
    rows = batch(layout)
    cell = data.draw(st.sampled_from(layout.free_cells))
    mask = masks(cell, height=layout.height)
    by_cell = dict(zip(layout.free_cells, layout.distances_from(cell), strict=True))
    moves = data.draw(st.integers(0, 6))
    near = {free for free, far in by_cell.items() if far <= moves}
    assert cells_of(search.within(free_rows(rows), mask, moves)) == near
    most = max(by_cell.values())
    far_off = {free for free, far in by_cell.items() if far == most}
    assert cells_of(search.farthest(rows, mask)) == far_off
    assert cells_of(search.reachable(rows, mask)) == set(layout.free_cells)


def cells_of(mask: torch.Tensor) -> set[tuple[int, int]]:
    bits = (mask[0].unsqueeze(-1) >> torch.arange(62)) & 1
    return {(row, column) for row, column in torch.argwhere(bits == 1).tolist()}


def test_what_walls_keep_apart_is_not_reached() -> None:
    walls = torch.ones(1, 5, 7, dtype=torch.bool)
    walls[0, 1, 1:3] = walls[0, 3, 4:6] = False
    rows, mask = pack_rows(walls), masks((1, 1), height=5)
    assert cells_of(search.reachable(rows, mask)) == {(1, 1), (1, 2)}
    assert search.distances(rows, mask)[0, 3].tolist() == [-1] * 7
    assert cells_of(search.farthest(rows, mask)) == {(1, 2)}


def test_the_longest_way() -> None:
    """A snake through the largest maze: more moves than between two questions to the device."""
    walls = np.ones((61, 61), dtype=np.bool_)
    walls[1:-1:2, 1:-1] = False
    for row in range(2, 60, 2):
        walls[row, -2 if row % 4 == 2 else 1] = False
    rows = pack_rows(torch.tensor(walls))[None]
    free = int((~walls).sum())
    found = search.distances(rows, masks((1, 1), height=61))
    assert int(found.max()) == free - 1
    assert torch.equal(found[0] == -1, unpack_rows(rows)[0])
    assert len(cells_of(search.farthest(rows, masks((1, 1), height=61)))) == 1


def test_a_whole_maze_from_several_cells() -> None:
    layout = pillar_maze(9)
    ends = (1, 1), (7, 7)
    mask = masks(*ends, height=9).sum(0, keepdim=True)
    found = search.distances(batch(layout), mask)[0]
    nearest = np.minimum(*(layout.distances_from(end) for end in ends))
    assert [int(found[free]) for free in layout.free_cells] == nearest.tolist()


def test_many_random_mazes() -> None:
    walls = GENERATORS["dfs"](16, 13, torch.Generator().manual_seed(0), CPU)
    rows = pack_rows(walls)
    mask = masks(*[(1, 1)] * 16, height=13)
    found = search.distances(rows, mask).numpy()
    for grid, wall in zip(found, walls.numpy(), strict=True):
        layout = Layout.from_walls(wall)
        assert [grid[free] for free in layout.free_cells] == list(layout.distances_from((1, 1)))
