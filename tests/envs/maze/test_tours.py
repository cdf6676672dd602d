import itertools

import numpy as np
import pytest
from hypothesis import given, settings

from envs import Layout, pillar_maze
from envs.maze.tours import NEVER, first_visits, symmetries
from tests.envs.maze.strategies import layouts


def falling_worth(layout: Layout, horizon: int) -> np.ndarray:  # type: ignore[type-arg]
    return np.repeat(np.linspace(2.0, 1.0, horizon + 1)[:, None], layout.num_free, axis=1)


def best_worth(layout: Layout, start: int, worth: np.ndarray) -> float:  # type: ignore[type-arg]
    """The best tour by brute force over the orders in which cells are first visited."""
    others = [cell for cell in range(layout.num_free) if cell != start]
    best = 0.0
    for order in itertools.permutations(others):
        total, time, here = 0.0, 0, start
        for cell in order:
            time += int(layout.distances[here, cell])
            here = cell
            total += worth[time, cell] if time < len(worth) else 0.0
        best = max(best, total)
    return best


@pytest.mark.parametrize(
    "picture",
    [
        "#####\n#...#\n#.#.#\n#...#\n#####",
        "######\n#.#..#\n#....#\n###.##\n######",
        "#########\n#.......#\n#########",
    ],
)
def test_finds_the_best_tour_of_small_mazes(picture: str) -> None:
    layout = Layout.from_ascii(picture)
    worth = falling_worth(layout, 30)
    for start in (0, layout.num_free // 2):
        visits = first_visits(layout, start, worth)
        total = sum(worth[t, cell] for cell, t in enumerate(visits) if t != NEVER)
        assert total == pytest.approx(best_worth(layout, start, worth))


@settings(max_examples=30)
@given(layouts(max_side=7))
def test_visits_are_those_of_a_walk(layout: Layout) -> None:
    horizon = 6 * layout.num_free
    visits = first_visits(layout, 0, falling_worth(layout, horizon), width=50)
    assert visits[0] == NEVER
    assert (visits[1:] != NEVER).all()
    order = np.argsort(visits)
    for before, after in itertools.pairwise(order):
        assert visits[after] - visits[before] >= layout.distances[before, after]


def test_short_tours_leave_cells_out() -> None:
    layout = pillar_maze(7)
    start = layout.cell_number(layout.centre)
    visits = first_visits(layout, start, falling_worth(layout, 5))
    assert np.count_nonzero(visits) == 5
    assert sorted(visits[visits > 0]) == [1, 2, 3, 4, 5]


def test_same_seed_same_tour() -> None:
    layout = pillar_maze(9)
    worth = falling_worth(layout, 100)
    first, again = (first_visits(layout, 0, worth, width=100) for _ in range(2))
    assert np.array_equal(first, again)


def test_a_tour_does_not_keep_the_beam_in_memory() -> None:
    layout = pillar_maze(9)
    visits = first_visits(layout, 0, falling_worth(layout, 100), width=100)
    assert visits.base is None or visits.base.size == layout.num_free


def test_symmetries_of_the_square_and_of_a_corridor() -> None:
    layout = pillar_maze(7)
    centre = layout.cell_number(layout.centre)
    turns = symmetries(layout, centre)
    assert len({tuple(turn) for turn in turns}) == 8
    for turn in turns:
        assert sorted(turn) == list(range(layout.num_free))
        assert np.array_equal(layout.distances[np.ix_(turn, turn)], layout.distances)
    assert len(symmetries(layout, 0)) == 2
    corridor = Layout(("#####", "#...#", "#####"))
    assert len({tuple(turn) for turn in symmetries(corridor, 1)}) == 2
    assert symmetries(corridor, 0)[0].tolist() == [0, 1, 2]
