"""The explorer's search: exact in perfect mazes, and as it is walked."""

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from envs.maze import batch, explorers
from envs.maze.batch import Mazes, compile_mazes, pair_distances
from envs.maze.explorers import find_times, first_finds, tours
from envs.maze.generators import GENERATORS
from envs.maze.layout import Layout
from envs.maze.tasks import MazeTask, maze_tasks
from tests.envs.maze.strategies import layouts


def compiled(*layouts: Layout, start: int = 0, goal: int | None = None) -> Mazes:
    """Mazes with this start, and this goal or any other cell."""
    goal = (1 if start == 0 else 0) if goal is None else goal
    return compile_mazes([MazeTask.of_numbers(layout, goal, start) for layout in layouts])


def perfect(kind: str, side: int, n: int) -> list[Layout]:
    walls = GENERATORS[kind](n, side, torch.Generator().manual_seed(0), torch.device("cpu"))
    return [Layout.from_walls(one) for one in walls.numpy()]


@given(layouts())
def test_tables_say_what_the_layout_says(layout: Layout) -> None:
    mazes = compiled(layout, Layout(("#####", "#...#", "#####")), start=1)
    assert mazes.free[0].sum() == layout.num_free
    pairs = pair_distances(mazes)
    for number, cell in enumerate(layout.free_cells):
        beside = {layout.cell_numbers[other] for other in layout.neighbours(cell)}
        assert set(mazes.next_place[0, number].tolist()) - {number} == beside
        assert pairs[0, number, : layout.num_free].tolist() == layout.distances[number].tolist()
    assert mazes.distance[0, : layout.num_free].tolist() == layout.distances[1].tolist()
    ways = sum(len(layout.neighbours(cell)) for cell in layout.free_cells) // 2
    assert bool(mazes.perfect[0]) == (ways == layout.num_free - 1)
    assert mazes.perfect[1]


@pytest.mark.parametrize("kind", ["dfs", "mst"])
@pytest.mark.parametrize("start", [0, 12])
def test_the_first_find_takes_n_minus_d_steps(kind: str, start: int) -> None:
    """Over the goals of a perfect maze, whatever it is: the closed form."""
    for layout in perfect(kind, 9, 10):
        tasks = maze_tasks(layout, layout.free_cells[start])
        mazes = compile_mazes(tasks)
        assert mazes.perfect.all()
        _, expected = first_finds(mazes, 10)
        assert layout.num_free == 31
        np.testing.assert_allclose(expected.mean(), 31 - mazes.goal_distance.double().mean())


FORKS = Layout(
    (
        "#########",
        "##.#.####",
        "##.#.####",
        "#.......#",
        "####.##.#",
        "#....####",
        "#########",
    )
)
"""A tree with forks of three and four ways."""


def test_first_finds_against_all_orders() -> None:
    start = FORKS.cell_number((3, 4))
    assert compiled(FORKS, start=start).perfect.all()
    horizon = 40
    counts = np.zeros((FORKS.num_free, horizon + 1))
    orders = _orders(FORKS, start, None)
    for visits in orders:
        for time, cell in visits:
            counts[cell, time] += 1
    for goal in range(FORKS.num_free):
        if goal != start:
            found, expected = first_finds(compiled(FORKS, start=start, goal=goal), horizon)
            np.testing.assert_allclose(found[0], counts[goal] / len(orders), atol=1e-12)
            np.testing.assert_allclose(expected, found @ torch.arange(horizon + 1.0).double())


def _orders(layout: Layout, cell: int, parent: int | None) -> list[list[tuple[int, int]]]:
    """First visits below a cell, (time after it, cell), of every order of a depth-first search."""
    here = layout.free_cells[cell]
    children = [layout.cell_numbers[c] for c in layout.neighbours(here)]
    walks = []
    for order in permutations([child for child in children if child != parent]):
        branches = [[]]
        for child in order:
            below = _orders(layout, child, cell)
            branches = [[*walk, (child, one)] for walk in branches for one in below]
        for branch in branches:
            visits, time = [], 0
            for child, below in branch:
                visits += [(time + 1, child), *((time + 1 + t, c) for t, c in below)]
                time += 2 * (len(below) + 1)
            walks.append(visits)
    return walks


def test_what_comes_after_the_horizon_is_lost() -> None:
    mazes = compiled(FORKS, start=FORKS.cell_number((3, 4)))
    long, expected = first_finds(mazes, 40)
    short, same = first_finds(mazes, 10)
    torch.testing.assert_close(short, long[:, :11])
    assert short.sum() < long.sum() == pytest.approx(1.0)
    assert expected == same


def test_in_a_tree_the_nearest_new_cell_is_the_next_of_a_depth_first_search() -> None:
    """Two ways to walk with the same ties broken alike."""
    mazes = compiled(*perfect("mst", 11, 10), start=3)
    priority = torch.rand(10, 5, mazes.free.shape[1], generator=torch.Generator().manual_seed(0))
    deep = explorers._depth_first(mazes, priority)
    nearest = explorers._nearest_first(mazes, pair_distances(mazes), priority)
    assert torch.equal(deep, nearest)


def test_tours_of_perfect_mazes_find_as_the_exact_form_says() -> None:
    goals = [5, 12, 20, 30]
    chosen = zip(perfect("dfs", 9, 4), goals, strict=True)
    mazes = compile_mazes([MazeTask.of_numbers(layout, goal, 0) for layout, goal in chosen])
    at = tours(mazes, None, 4000, seed=0)[torch.arange(4), :, mazes.goal]  # [4, 4000]
    exact, expected = first_finds(mazes, 60)
    assert (find_times(at, 60) - exact).abs().max() < 5 * 0.5 / 4000**0.5
    error = at.double().std(1) / 4000**0.5
    assert ((at.double().mean(1) - expected).abs() < 4 * error + 1e-9).all()


@settings(max_examples=20)
@given(layouts(max_side=8))
def test_tours_go_to_the_nearest_cell_that_is_new(layout: Layout) -> None:
    mazes = compiled(layout)
    pairs = pair_distances(mazes)
    for visits in tours(mazes, pairs, 5, seed=1)[0]:
        order = visits.argsort().tolist()
        assert sorted(visits.tolist()) == sorted(set(visits.tolist())), "one cell at a time"
        time = 0
        for rank in range(1, len(order)):
            at, new = order[rank - 1], order[rank:]
            nearest = min(int(pairs[0, at, cell]) for cell in new)
            assert int(pairs[0, at, order[rank]]) == nearest
            time += nearest
            assert visits[order[rank]] == time


@settings(max_examples=20)
@given(layouts(max_side=8))
def test_agents_that_turn_walk_as_far_as_their_actions_take_them(layout: Layout) -> None:
    mazes = compile_mazes([MazeTask.of_numbers(layout, 1, 0, 3)], turning=True)
    pairs = pair_distances(mazes)
    assert torch.equal(pairs[0, mazes.start[0]].long(), mazes.distance[0])
    for slack in (1, 3):
        for visits in tours(mazes, pairs, 5, seed=1, slack=slack)[0]:
            order = visits.argsort().tolist()
            assert sorted(visits.tolist()) == sorted(set(visits.tolist()))
            assert visits[0] == 0
            for rank in range(1, len(order)):
                step = pairs[0, 4 * order[rank - 1] : 4 * order[rank - 1] + 4, order[rank]].min()
                assert visits[order[rank]] - visits[order[rank - 1]] >= step


def test_tours_do_not_depend_on_the_mazes_beside() -> None:
    room = Layout(("######", "#....#", "#....#", "######"))
    alone, beside = compiled(room), compiled(FORKS, room)
    one = tours(alone, pair_distances(alone), 8, seed=0)
    two = tours(beside, pair_distances(beside), 8, seed=0)
    assert torch.equal(one[0], two[1, :, : room.num_free])
    other = tours(alone, pair_distances(alone), 8, seed=1)
    assert not torch.equal(one, other)


def test_mazes_with_too_many_cells_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "MOST_CELLS", 5)
    with pytest.raises(ValueError, match="at most 5 free cells, got 17"):
        pair_distances(compiled(FORKS))
