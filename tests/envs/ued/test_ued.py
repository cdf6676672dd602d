"""Levels of the papers on environment design: as published, as numbers, and their anchors."""

import gymnasium
import numpy as np
import pytest
import torch

from envs import named_mazes
from envs.maze.bits import check_rows
from envs.maze.search import cell_masks, reachable
from envs.minigrid.tensor import MinigridVectorEnv
from envs.problems import UEDMazes
from envs.ued import grid_of, maze_of

CPU = torch.device("cpu")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def problem():
    return UEDMazes()


def test_levels_as_numbers_are_those_of_the_tasks(problem):
    """A level written as a grid by the tensor program, and by way of values, is the same."""
    source = problem.test
    tasks = source.sample(20, generator())
    numbers = source._solvable.numbers(source._solvable.draw(20, generator()))
    expected = [np.concatenate([array.ravel() for array in task.arrays()]) for task in tasks]
    key = numbers.shape[1] - 1  # a number of its own
    assert torch.equal(numbers[:, :key], torch.tensor(np.stack(expected))[:, :key])
    assert len(set(numbers[:, key].tolist())) == 20
    assert [grid_of(maze_of(task), 250) for task in tasks] == list(tasks)


def test_a_level_is_the_published_one(problem):
    """13 x 13 cells in a border, 5 x 5 seen through walls, 1 - 0.9 t / 250."""
    task = problem.test.sample(1, generator())[0]
    assert (task.height, task.width, task.view_size, task.max_steps) == (15, 15, 5, 250)
    assert task.see_through
    env = gymnasium.make("metarl/Minigrid-v0", tasks=[task])
    observation, _ = env.reset(seed=0)
    assert observation.shape == (5, 5, 3)
    maze = maze_of(task)
    assert maze.goal != maze.start


def test_drawn_levels_are_played_as_levels_that_are_set(problem):
    """The same draws, by the environment and from outside, lead through the same episodes."""
    drawn = problem.make_env(32, [generator(3)], CPU)
    given = problem.make_env(32, [generator(4)], CPU)
    levels = problem.levels.draw(32, generator(3))
    first, _ = drawn.reset_tensors()
    other, _ = given.reset_tensors(options={"tasks": levels})
    assert torch.equal(first, other)
    twin = MinigridVectorEnv(
        32, tasks=problem.test.sample(1, generator()), observe="maze", direction=True
    )
    third, _ = twin.reset_tensors(options={"tasks": problem.levels.numbers(levels)})
    assert torch.equal(first, third)
    for _ in range(60):
        actions = torch.randint(3, (32,))
        steps = [env.step_tensors(actions)[:4] for env in (drawn, given, twin)]
        for one, *others in zip(*steps, strict=True):
            assert all(torch.equal(one, x) for x in others)


def test_what_is_seen_is_all_that_minigrid_shows_of_a_level(problem):
    """Walls and goal of the view, of what Minigrid's one-hot wrapper has in 20 numbers per cell."""
    levels = problem.levels
    numbers = levels.numbers(levels.draw(64, generator()))
    seen = {}
    for observe in ("maze", "onehot"):
        env = MinigridVectorEnv(64, tasks=problem.test.sample(1, generator()), observe=observe)
        env.reset_tensors(options={"tasks": numbers})
        for action in (2, 0, 2, 1, 2):
            cells = env.step_tensors(torch.full((64,), action))[0]
        seen[observe] = cells
    assert seen["maze"].shape == (64, 5, 5, 2)
    wall, goal = seen["onehot"][..., 2], seen["onehot"][..., 8]
    assert torch.equal(seen["maze"], torch.stack((wall, goal), -1))
    assert goal.any()
    nothing = 1 - wall - goal
    shown = torch.stack((nothing, wall, goal), -1).flatten(0, 2)  # [n, 3]
    assert len(torch.unique(seen["onehot"].flatten(0, 2), dim=0)) == 3
    assert torch.equal(shown.sum(1), torch.ones(len(shown)))


def test_training_levels_need_not_be_solvable_and_others_are():
    """84.4 % of the levels of 60 walls can be solved (measured over random pairs of cells)."""
    problem = UEDMazes()
    levels = problem.levels.draw(4000, generator())
    opened = problem.levels._open(levels)
    here, there = (
        cell_masks(torch.stack((cell // 15, cell % 15), 1), 15)
        for cell in (opened.start, opened.goal)
    )
    rows = levels[:, 2:17].contiguous()
    share = (reachable(rows, here) & there).any(1).double().mean()
    assert float(share) == pytest.approx(0.844, abs=0.02)
    assert check_rows(rows).shape == (4000,)
    only = UEDMazes(solvable=True).levels.draw(500, generator())
    opened = problem.levels._open(only)
    assert (only[:, 0] >= 0).all()
    for task in problem.validation.sample(50, generator()):
        assert maze_of(task)  # which refuses what comes in pieces


def test_sides_are_apart(problem):
    train, test = problem.train.family, problem.test.family
    for task in problem.test.sample(40, generator()):
        layout = maze_of(task).layout
        assert test.contains(layout)
        assert not train.contains(layout)
    assert problem.num_trained_on(problem.test.sample(40, generator())) == 0
    assert problem.num_trained_on(problem.train.sample(5, generator())) == 5


def test_anchors_of_the_named_mazes_are_the_known_ones():
    """Eight mazes at T = 250: the explorer solves all, in 134 actions; optimal returns 0.7417."""
    problem = UEDMazes("named")
    known = problem.known(problem.every_task)
    eight = [n for n, (family, _) in enumerate(known.mazes) if family != "corridors"]
    assert known.first_find[eight].mean() == 134
    assert known.each["explorer"][eight].mean() == pytest.approx(0.5176, abs=1e-4)
    assert known.each["oracle"][eight].mean() == pytest.approx(0.7417, abs=1e-4)
    assert (known.each["right_hand"][eight] > 0).sum() == 6 or (
        known.each["left_hand"][eight] > 0
    ).sum() == 6
    later = UEDMazes("named", horizon=450)
    assert later.every_task[0].max_steps == 450
    more = later.known(later.every_task)
    assert more.more["solved"]["explorer"] == 1.0
    assert len(problem.every_task) == len(named_mazes())


def test_random_actions_earn_little(problem):
    tasks = problem.test.sample(8, generator())
    known = problem.known(tasks)
    anchors = problem.anchors(tasks)
    assert 0 <= known.returns["random"] < 0.3
    assert known.returns["explorer"] > known.returns["right_hand"]
    assert anchors.oracle == pytest.approx(known.returns["oracle"])
    assert known.returns["oracle"] <= 1


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"mazes": "labyrinth"}, "mazes must be named or one of"),
        ({"size": 4}, "size"),
        ({"size": 27}, "size"),
        ({"horizon": 0}, "horizon"),
    ],
)
def test_bad_settings_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        UEDMazes(**options)


def test_named_levels_are_for_tests_alone():
    with pytest.raises(ValueError, match="which are for tests"):
        UEDMazes("named").check_sides()
