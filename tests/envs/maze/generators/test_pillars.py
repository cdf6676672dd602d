import numpy as np
import pytest

from envs import pillar_maze


@pytest.mark.parametrize(("size", "num_free"), [(5, 9), (7, 21), (9, 41), (11, 65), (13, 97)])
def test_number_of_free_cells(size: int, num_free: int) -> None:
    assert pillar_maze(size).num_free == num_free


@pytest.mark.parametrize("size", [5, 7, 9, 13, 15])
def test_pillars_border_and_centre(size: int) -> None:
    layout = pillar_maze(size)
    assert (layout.height, layout.width) == (size, size)
    assert layout.is_free(layout.centre)
    for row in range(1, size - 1):
        for column in range(1, size - 1):
            pillar = row % 2 == 0 and column % 2 == 0 and (row, column) != layout.centre
            assert layout.walls[row, column] == pillar


def test_thirteen_has_24_pillars_inside() -> None:
    assert np.count_nonzero(pillar_maze(13).walls[1:-1, 1:-1]) == 24


def test_seven_in_ascii() -> None:
    assert pillar_maze(7).to_ascii().splitlines() == [
        "#######",
        "#.....#",
        "#.#.#.#",
        "#.....#",
        "#.#.#.#",
        "#.....#",
        "#######",
    ]


@pytest.mark.parametrize(
    ("size", "message"),
    [(12, "must be odd.*got 12: use 11 or 13"), (3, "at least 5, got 3"), (-7, "at least 5")],
)
def test_bad_sizes_are_refused(size: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pillar_maze(size)


def test_fractional_size_is_refused() -> None:
    with pytest.raises(TypeError, match=r"whole number, got 13\.5"):
        pillar_maze(13.5)  # type: ignore[arg-type]
