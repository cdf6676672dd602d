import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given

from envs import Layout, pillar_maze
from tests.envs.maze.strategies import layouts

CORRIDOR = Layout(("#####", "#...#", "#####"))


@given(layouts())
def test_ascii_round_trip(layout: Layout) -> None:
    again = Layout.from_ascii(layout.to_ascii())
    assert again == layout
    assert hash(again) == hash(layout)


def test_ascii_ignores_indentation_and_reads_spaces_as_free() -> None:
    text = """
        #####
        # . #
        #####
    """
    assert Layout.from_ascii(text) == CORRIDOR


def test_free_cells_are_row_major_and_numbered() -> None:
    layout = pillar_maze(7)
    assert list(layout.free_cells) == sorted(layout.free_cells)
    assert [layout.cell_number(cell) for cell in layout.free_cells] == list(range(layout.num_free))
    assert layout.is_free((1, 1))
    assert not layout.is_free((0, 0))
    assert not layout.is_free((-1, 5))


@given(layouts())
def test_start_is_the_free_cell_nearest_to_the_centre(layout: Layout) -> None:
    def far(cell: tuple[int, int]) -> int:
        return (cell[0] - layout.centre[0]) ** 2 + (cell[1] - layout.centre[1]) ** 2

    assert layout.is_free(layout.start)
    assert far(layout.start) == min(map(far, layout.free_cells))
    assert not layout.is_free(layout.centre) or layout.start == layout.centre


def test_start_of_a_maze_with_a_wall_in_its_middle() -> None:
    ring = Layout.from_ascii("#####\n#...#\n#.#.#\n#...#\n#####")
    assert ring.start == (1, 2)  # the first of four
    far_off = Layout.from_ascii("#######\n#..####\n#######\n#######\n#######")
    assert far_off.start == (1, 2)
    assert pillar_maze(13).start == pillar_maze(13).centre


def test_layout_is_immutable() -> None:
    with pytest.raises(AttributeError):
        CORRIDOR.rows = ("###",)  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        CORRIDOR.walls[0, 0] = False


def test_pickle_round_trip() -> None:
    assert pickle.loads(pickle.dumps(CORRIDOR)) == CORRIDOR


def test_neighbours_are_in_action_order() -> None:
    assert pillar_maze(5).neighbours((2, 2)) == ((1, 2), (3, 2), (2, 1), (2, 3))
    assert CORRIDOR.neighbours((1, 1)) == ((1, 2),)


def test_distances_by_hand() -> None:
    ring = Layout.from_ascii(
        """
        #####
        #...#
        #.#.#
        #...#
        #####
        """
    )
    assert ring.distances_from((1, 1)).tolist() == [0, 1, 2, 1, 3, 2, 3, 4]


@given(layouts())
def test_distances_are_a_metric_whose_neighbours_are_one_apart(layout: Layout) -> None:
    distances = layout.distances
    assert np.array_equal(distances, distances.T)
    assert (distances.diagonal() == 0).all()
    for number, cell in enumerate(layout.free_cells):
        ones = {layout.cell_number(other) for other in layout.neighbours(cell)}
        assert set(np.flatnonzero(distances[number] == 1)) == ones


@given(layouts())
def test_shortest_path_has_the_length_of_the_distance(layout: Layout) -> None:
    start, end = layout.free_cells[0], layout.free_cells[-1]
    path = layout.shortest_path(start, end)
    assert (path[0], path[-1]) == (start, end)
    assert len(path) - 1 == layout.distances[0, -1]
    assert all(b in layout.neighbours(a) for a, b in pairwise(path))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ((), "at least one row"),
        (("####", "#..#", "###"), "row 2 has 3 cells"),
        (("####", "#.S#", "####"), "'S' at \\(1, 2\\).*MazeTask.from_ascii"),
        (("####", "...#", "####"), "border is open at \\(1, 0\\)"),
        (("###", "#.#", "###"), "at least 2 free cells.*got 1"),
        (("#####", "#.#.#", "#####"), "\\(1, 3\\) cannot be reached from \\(1, 1\\)"),
    ],
)
def test_bad_layouts_are_refused(rows: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Layout(rows)


@pytest.mark.parametrize(
    ("cell", "message"),
    [((0, 0), "goal \\(0, 0\\) is in a wall"), ((1, 9), "goal \\(1, 9\\) is outside the 3 x 5")],
)
def test_cell_number_names_the_cell_and_its_role(cell: tuple[int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CORRIDOR.cell_number(cell, "goal")
