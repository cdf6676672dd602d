"""The hash of layouts, against the same formula in plain Python."""

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from envs import Layout, MazeTask, layout_hash, pillar_maze
from envs.maze.bits import pack_rows, pad_rows
from tests.envs.maze.strategies import layouts

MASK = 2**64 - 1


def mix(x: int) -> int:
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & MASK
    return x ^ (x >> 31)


def plain_hash(layout: Layout, salt: str = "") -> int:
    top, left = (min(cell[axis] for cell in layout.free_cells) for axis in (0, 1))
    rows: dict[int, int] = {}
    for row, column in layout.free_cells:
        rows[row - top] = rows.get(row - top, 0) | 1 << (column - left)
    total = int.from_bytes(hashlib.sha256(salt.encode()).digest()[:8], "big")
    for row, free in rows.items():
        total += mix((free + (row + 1) * 0x9E3779B97F4A7C15) & MASK)
    number = mix(total & MASK)
    return number - 2**64 if number >= 2**63 else number


def turned(layout: Layout, quarter: int, mirrored: bool) -> Layout:
    walls = np.rot90(layout.walls, quarter)
    walls = walls.T if mirrored else walls
    return Layout(tuple("".join(".#"[int(wall)] for wall in row) for row in walls))


def packed(layout: Layout) -> torch.Tensor:
    return torch.tensor(layout.packed)


@given(layouts(), st.text(max_size=3))
def test_the_same_in_torch_and_in_plain_python(layout: Layout, salt: str) -> None:
    assert layout_hash(layout, salt=salt) == plain_hash(layout, salt)


def test_stays_as_it_is() -> None:
    assert layout_hash(pillar_maze(13)) == plain_hash(pillar_maze(13)) == -3871400202091322818


@given(layouts(), layouts())
def test_padding_and_company_do_not_count(one: Layout, other: Layout) -> None:
    height = max(one.height, other.height) + 2
    rows = torch.stack([pad_rows(packed(layout), height) for layout in (one, other)])
    assert layout_hash(rows).tolist() == [layout_hash(one), layout_hash(other)]
    with_ones = torch.ones(height, 12, dtype=torch.bool)
    with_ones[: one.height, : one.width] = torch.tensor(one.walls)
    assert layout_hash(pack_rows(with_ones)[None]).tolist() == [layout_hash(one)]


@given(layouts())
def test_a_shift_does_not_count(layout: Layout) -> None:
    shifted = np.pad(layout.walls, ((1, 0), (2, 0)), constant_values=True)
    rows = pack_rows(torch.tensor(shifted))[None]
    assert layout_hash(rows).tolist() == [layout_hash(layout)]


@given(layouts(), st.integers(0, 3), st.booleans())
def test_symmetries(layout: Layout, quarter: int, mirrored: bool) -> None:
    other = turned(layout, quarter, mirrored)
    assert layout_hash(other, up_to_symmetry=True) == layout_hash(layout, up_to_symmetry=True)
    every = {layout_hash(turned(layout, k, m)) for k in range(4) for m in (False, True)}
    assert layout_hash(layout, up_to_symmetry=True) % 2**64 == mix(min(every) % 2**64)


def test_an_l_and_its_mirror_image_are_two_but_one_up_to_symmetry() -> None:
    one = Layout.from_ascii("#####\n#...#\n#.###\n#####")
    other = turned(one, 1, True)
    assert layout_hash(one) != layout_hash(other)
    assert layout_hash(one, up_to_symmetry=True) == layout_hash(other, up_to_symmetry=True)


def test_no_collision_among_a_hundred_thousand() -> None:
    generator = torch.Generator().manual_seed(0)
    walls = torch.ones(100_000, 7, 7, dtype=torch.bool)
    walls[:, 1:-1, 1:-1] = torch.rand((100_000, 5, 5), generator=generator) < 0.5
    rows = pack_rows(walls)
    several = layout_hash(rows).unique()
    # Layouts that differ by a shift alone are one: count them by their trimmed contents.
    different = {trimmed(grid) for grid in (~walls).numpy()}
    assert len(several) == len(different) > 95_000


def trimmed(free: np.ndarray) -> tuple[tuple[int, ...], bytes]:
    rows, columns = np.flatnonzero(free.any(1)), np.flatnonzero(free.any(0))
    if not len(rows):
        return (0, 0), b""
    inner = free[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return inner.shape, inner.tobytes()


@pytest.mark.parametrize("up_to_symmetry", [False, True])
def test_bits_of_the_hash_are_even(up_to_symmetry: bool) -> None:
    """Every bit is set in half of near-identical layouts, which differ in single walls."""
    generator = torch.Generator().manual_seed(0)
    walls = torch.ones(4096, 8, 8, dtype=torch.bool)
    walls[:, 1:-1, 1:-1] = torch.rand((4096, 6, 6), generator=generator) < 0.1
    hashes = layout_hash(pack_rows(walls), up_to_symmetry=up_to_symmetry).unique()
    bits = (hashes[:, None] >> torch.arange(64)) & 1
    error = (bits.double().mean(0) - 0.5).abs() * 2 * len(hashes) ** 0.5
    assert error.max() < 4.5


def test_layouts_wider_than_a_number_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 62 columns have a hash, got 101"):
        layout_hash(pillar_maze(101))


def test_what_is_no_layout_is_refused() -> None:
    with pytest.raises(ValueError, match=r"int64 \[n, H\], got torch.bool of shape \(2, 5, 5\)"):
        layout_hash(torch.ones(2, 5, 5, dtype=torch.bool))
    for thing in (MazeTask(pillar_maze(5), (1, 1)), "#####", None):
        with pytest.raises(TypeError, match="give a Layout or a tensor"):
            layout_hash(thing)  # type: ignore[call-overload]


def test_salt_gives_other_numbers() -> None:
    layout = pillar_maze(9)
    assert len({layout_hash(layout, salt=salt) for salt in ("", "a", "b", "ab")}) == 4


def test_waits_for_no_device() -> None:
    rows = torch.zeros(5, 9, dtype=torch.int64, device="meta")
    assert layout_hash(rows).shape == (5,)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("up_to_symmetry", [False, True])
def test_the_same_on_the_gpu(up_to_symmetry: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    walls = torch.ones(4096, 15, 15, dtype=torch.bool)
    walls[:, 1:-1, 1:-1] = torch.rand((4096, 13, 13), generator=generator) < 0.4
    rows = pack_rows(walls)
    here = layout_hash(rows, up_to_symmetry=up_to_symmetry)
    there = layout_hash(rows.cuda(), up_to_symmetry=up_to_symmetry)
    assert torch.equal(here, there.cpu())
