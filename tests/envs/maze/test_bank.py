"""A bank of layouts holds the tables of each, whatever its company and whenever written."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.maze.bank import LayoutBank
from envs.maze.bits import num_free
from envs.maze.dynamics import compile_layout
from envs.maze.layout import Layout, Sizes
from envs.maze.views import Sight, views
from tests.envs.maze.strategies import layouts

CPU = torch.device("cpu")

SIGHTS = [
    Sight(view, position, see_through)  # type: ignore[arg-type]
    for view in ("3x3", "5x5", "egocentric-5", "egocentric-7")
    for position in (False, True)
    for see_through in (False, True)
    if view.startswith("ego") or not see_through
]


def rows_of(several: list[Layout]) -> torch.Tensor:
    """int64 [n, H]."""
    height = max(layout.height for layout in several)
    rows = torch.zeros(len(several), height, dtype=torch.int64)
    for row, layout in zip(rows, several, strict=True):
        row[: layout.height] = torch.from_numpy(layout.packed.copy())
    return rows


def check(bank: LayoutBank, slot: int, layout: Layout) -> None:
    """Checks the slot against the tables of the layout alone."""
    tables = compile_layout(layout, turning=bank.sight.turning)
    size = bank.sizes.cells * tables.poses
    places = torch.arange(len(tables.places)) + slot * size
    following = bank.next_place.view(-1, tables.next_cell.shape[1])[places]
    assert np.array_equal(following.numpy() - slot * size, tables.next_cell)
    assert bank.positions(places).tolist() == [list(cell) for cell in tables.places]
    assert np.array_equal(bank.observe(places).numpy(), views(tables, bank.sight))
    assert int(bank.num_free[slot]) == layout.num_free


@settings(max_examples=15)
@given(st.lists(layouts(), min_size=1, max_size=5))
@pytest.mark.parametrize("sight", SIGHTS, ids=str)
def test_each_slot_is_its_layout(sight: Sight, several: list[Layout]) -> None:
    bank = LayoutBank(len(several), Sizes.of_layouts(several), sight, CPU)
    bank.write(rows_of(several))
    for slot, layout in enumerate(several):
        check(bank, slot, layout)


def test_sizes_of_rows_are_those_of_the_layouts() -> None:
    several = [Layout(("####", "#..#", "####")), Layout(("###", "#.#", "#.#", "###"))]
    assert Sizes.of_layouts(several) == (2, 4, 4) == Sizes.of_rows(rows_of(several))


def test_slots_are_rewritten_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("envs.maze.bank.CHUNK", 1)  # layout by layout
    flat = Layout(("#####", "#...#", "#####"))
    high = Layout(("###", "#.#", "#.#", "###"))
    square = Layout(("####", "#..#", "#..#", "####"))
    bank = LayoutBank(3, Sizes(4, 4, 5), Sight("3x3"), CPU)
    bank.write(rows_of([flat, high, square]))
    bank.write(rows_of([square, high, flat]), torch.tensor([0, 2]))
    for slot, layout in enumerate([square, high, flat]):
        check(bank, slot, layout)


def test_a_layout_of_the_largest_size() -> None:
    wide = Layout(("#" * 62, "#" + 60 * "." + "#", "#" * 62))
    for sight in (Sight("3x3"), Sight("egocentric-7", position=True)):
        bank = LayoutBank(2, Sizes.of_layouts([wide]), sight, CPU)
        bank.write(rows_of([wide, Layout(("####", "#..#", "####"))]))
        check(bank, 0, wide)
    with pytest.raises(ValueError, match="at most 62 rows and columns, got one of 3 x 63"):
        Sizes.of_layouts([Layout(("#" * 63, "#" + 61 * "." + "#", "#" * 63))])


@given(st.lists(layouts(), min_size=1, max_size=4))
def test_free_cells_are_counted_in_rows(several: list[Layout]) -> None:
    assert num_free(rows_of(several)).tolist() == [layout.num_free for layout in several]
    full = Layout(("#" * 62, *["#" + 60 * "." + "#"] * 3, "#" * 62))
    assert num_free(rows_of([full])).tolist() == [180]
