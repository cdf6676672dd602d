import numpy as np
import pytest
import torch
from hypothesis import given

from envs import Layout, pillar_maze
from envs.maze.bits import MOST_SIDE, free_rows, pack_rows, pad_rows, unpack_rows
from tests.envs.maze.strategies import layouts

CORRIDOR = Layout(("#####", "#...#", "#####"))


def test_a_bit_is_a_wall() -> None:
    walls = torch.tensor(CORRIDOR.walls)
    assert pack_rows(walls).tolist() == [0b11111, 0b10001, 0b11111]
    assert free_rows(pack_rows(walls)).tolist() == [0, 0b01110, 0]
    one_wall = torch.zeros(3, 4, dtype=torch.bool)
    one_wall[1, 2] = True
    assert pack_rows(one_wall).tolist() == [0, 0b0100, 0]


@given(layouts())
def test_walls_come_back(layout: Layout) -> None:
    walls = torch.tensor(layout.walls)
    rows = pack_rows(walls)
    assert rows.tolist() == layout.packed.tolist()
    assert torch.equal(unpack_rows(rows), walls)
    assert torch.equal(unpack_rows(rows, layout.width), walls)
    assert Layout.from_packed(layout.packed) == layout


@given(layouts(), layouts())
def test_smaller_layouts_are_padded_with_wall(one: Layout, other: Layout) -> None:
    height = max(one.height, other.height)
    rows = torch.stack([pad_rows(torch.tensor(x.packed), height) for x in (one, other)])
    walls = unpack_rows(rows)
    assert walls.shape == (2, height, max(one.width, other.width))
    for layout, grid, numbers in zip((one, other), walls, rows, strict=True):
        inside = grid[: layout.height, : layout.width]
        assert np.array_equal(inside, layout.walls)
        assert int((~grid).sum()) == layout.num_free
        free = [tuple(cell) for cell in torch.argwhere(~grid).tolist()]
        assert free == list(layout.free_cells)  # cell numbers stay
        assert Layout.from_packed(numbers.numpy()) == layout


def test_padding_with_ones_is_wall_too() -> None:
    walls = torch.ones(5, 9, dtype=torch.bool)
    walls[:3, :5] = torch.tensor(CORRIDOR.walls)
    assert free_rows(pack_rows(walls)).tolist() == [0, 0b01110, 0, 0, 0]
    assert torch.equal(unpack_rows(pack_rows(walls)), walls)


def test_the_widest_row() -> None:
    walls = torch.ones(3, MOST_SIDE, dtype=torch.bool)
    walls[1, 1:-1] = False
    rows = pack_rows(walls)
    assert (rows > 0).all()
    assert torch.equal(unpack_rows(rows), walls)
    with pytest.raises(ValueError, match=r"at most 62 cells.*got 63"):
        pack_rows(torch.ones(3, MOST_SIDE + 1, dtype=torch.bool))


def test_a_layout_too_wide_for_a_number_has_no_rows() -> None:
    assert pillar_maze(61).packed.shape == (61,)
    assert pillar_maze(63).packed.shape == (0,)


def test_no_layout_comes_of_no_rows() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        Layout.from_packed([])
    with pytest.raises(ValueError, match="border is open"):
        Layout.from_packed([0b1111, 0b0001, 0b1111])


def test_packing_waits_for_no_device() -> None:
    walls = torch.ones(4, 9, 9, dtype=torch.bool, device="meta")
    assert unpack_rows(pack_rows(walls), 9).shape == (4, 9, 9)
