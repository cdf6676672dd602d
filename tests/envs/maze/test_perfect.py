"""Perfect mazes in two definitions, as families and one by one."""

import numpy as np
import pytest

from envs import MazeTask, layout_anchors
from envs.maze.perfect import Definition, perfect_maze, perfect_mazes

# Mean of 13 x 13 mazes: the share of dead ends among the rooms.
DEAD_ENDS: dict[Definition, float] = {"dcd": 0.3163, "minimax": 0.1500}


def opposite(task: MazeTask) -> bool:
    return task.start[0] != task.goal[0] and task.start[1] != task.goal[1]


@pytest.mark.parametrize("size", [11, 15, 21])
def test_spanning_trees_and_places(size: int) -> None:
    last = size - 2
    for definition in DEAD_ENDS:
        family = perfect_mazes(definition, size).sample(5, np.random.default_rng(0))
        for task in (*family, *(perfect_maze(definition, size, seed) for seed in range(5))):
            assert (task.layout.height, task.layout.width) == (size, size)
            assert task.layout.num_free == 2 * (size // 2) ** 2 - 1
            if definition == "dcd":
                assert {*task.start, *task.goal} <= {1, last}


@pytest.mark.parametrize("definition", DEAD_ENDS)
def test_one_by_one_and_family_are_the_same_distribution(definition: Definition) -> None:
    family = perfect_mazes(definition, 13).sample(200, np.random.default_rng(0))
    single = [perfect_maze(definition, 13, seed) for seed in range(200)]
    ways = [layout_anchors(tasks, horizon=1).shortest for tasks in (family, single)]
    error = (ways[0].var() / 200 + ways[1].var() / 200) ** 0.5
    assert abs(ways[0].mean() - ways[1].mean()) < 4 * error
    for tasks in (family, single):
        shares = [
            np.mean([len(t.layout.neighbours(c)) == 1 for c in t.layout.free_cells]) * 71 / 36
            for t in tasks
        ]
        assert abs(np.mean(shares) - DEAD_ENDS[definition]) < 4 * np.std(shares) / 200**0.5


def test_mean_ways_as_counted() -> None:
    """13 x 13: from corner to opposite corner of the one, between any two cells of the other."""
    tasks = [perfect_maze("dcd", 13, seed) for seed in range(200)]
    ways = layout_anchors([task for task in tasks if opposite(task)], horizon=1).shortest
    assert abs(ways.mean() - 23.66) < 4 * ways.std() / len(ways) ** 0.5
    tasks = [perfect_maze("minimax", 13, seed) for seed in range(200)]
    ways = layout_anchors(tasks, horizon=1).shortest
    assert abs(ways.mean() - 19.40) < 4 * ways.std() / len(ways) ** 0.5


@pytest.mark.parametrize("definition", DEAD_ENDS)
def test_large_mazes_have_anchors(definition: Definition) -> None:
    task = perfect_maze(definition, 101, seed=3)
    assert task == perfect_maze(definition, 101, seed=3)
    assert task != perfect_maze(definition, 101, seed=4)
    assert task.layout.num_free == 4999
    anchors = layout_anchors([task], horizon=2000, reward=1.0)
    assert anchors.shortest == task.layout.distances_from(task.start)[task.goal_number]
    assert anchors.shortest <= anchors.first_find < 2 * 4999


@pytest.mark.parametrize("definition", ["dcd", "minimax"])
def test_a_size_may_be_a_whole_number_as_json_has_it(definition: Definition) -> None:
    assert perfect_maze(definition, 13.0, seed=1) == perfect_maze(definition, 13, seed=1)  # type: ignore[arg-type]


def test_bad_questions_are_refused() -> None:
    for make in (perfect_maze, perfect_mazes):
        with pytest.raises(ValueError, match=r"definition must be one of .*, got 'kruskal'"):
            make("kruskal", 11)  # type: ignore[operator]
    with pytest.raises(ValueError, match="size must be at most 62, got 63"):
        perfect_mazes("dcd", 63)
    with pytest.raises(ValueError, match=r"size must be odd, .* use 63 or 65"):
        perfect_maze("dcd", 64)
    with pytest.raises(ValueError, match="size must be at least 5, got 3"):
        perfect_maze("minimax", 3)
