"""Other mazes for agents that have learned some."""

import pytest
import torch

from envs.maze.elsewhere import any_maze, elsewhere, horizon_in, rule_of, unseen_maze
from envs.problems import HiddenGoals, Maze, RandomMazes


def test_what_is_not_said_is_as_in_training_but_for_bonus_schedule_and_few_layouts():
    learned = RandomMazes("dfs", "9", reward=2.0, num_layouts=7, exploration_bonus=0.2)
    same = elsewhere(learned)
    assert (same.exploration_bonus, same.num_layouts, same.horizon) == (0.0, 7, learned.horizon)
    other = elsewhere(learned, "prim", "13")
    assert (other.mazes, other.size, other.reward, other.num_layouts) == ("prim", "13", 2.0, 0)
    assert other.horizon == 2 * learned.horizon  # 100 at 9 x 9, 200 at 13 x 13
    assert elsewhere(learned, horizon=5).horizon == 5


def test_an_agent_of_the_room_keeps_its_pay_and_its_side():
    found = elsewhere(HiddenGoals(size=9, reward=3.0), "dfs")
    assert (found.size, found.reward, found.exploration_bonus) == ("9", 3.0, 0.0)
    with pytest.raises(ValueError, match="mazes must be named"):
        elsewhere(HiddenGoals(), size="9")


def test_written_mazes_have_the_sizes_they_have():
    assert elsewhere(RandomMazes("dfs", "9"), "named").is_named
    with pytest.raises(ValueError, match="size must be left out, got 9"):
        elsewhere(RandomMazes("dfs", "9"), "named", "9")


def test_rules_and_horizons_in_any_walls():
    assert [rule_of(one) for one in (RandomMazes(respawn="end"), Maze(), HiddenGoals())] == [
        "end",
        "random",
        "random",
    ]
    played = any_maze(Maze(), "end", 30)
    assert (played.respawn, played.position, played.horizon, played.reward) == ("end", True, 30, 1)
    learned = RandomMazes("dfs", "9")
    assert [horizon_in(learned, side) for side in (5, 9, 13)] == [100, 100, 200]


def test_a_maze_to_look_at_is_none_that_training_draws():
    random = torch.Generator().manual_seed(0)
    task, unseen = unseen_maze("dfs", 9, random)
    assert unseen
    assert not RandomMazes("dfs", "9").train.contains(task.layout)
    with pytest.raises(ValueError, match="size"):
        unseen_maze("dfs", 4, random)


def test_an_agent_of_the_room_keeps_its_steps_and_what_walls_cost():
    learned = HiddenGoals(size=9, horizon=120, wall_penalty=0.1)
    same = elsewhere(learned, "dfs")
    assert (same.size, same.horizon, same.wall_penalty) == ("9", 120, 0.1)
    assert elsewhere(learned, "dfs", "13").horizon == 240  # in proportion
    assert elsewhere(learned, "dfs", "13", 77).horizon == 77


@pytest.mark.parametrize("generator", ["pillars", "empty"])
def test_a_goal_of_a_maze_that_is_always_the_same_is_none_of_training(generator):
    random, train = torch.Generator().manual_seed(0), RandomMazes(generator, "9").train
    for _ in range(50):
        task, unseen = unseen_maze(generator, 9, random)
        assert unseen
        assert task not in train


@pytest.mark.parametrize("generator", ["pillars", "empty"])
def test_where_there_are_too_few_goals_to_deal_out_none_is_said_to_be_unseen(generator):
    task, unseen = unseen_maze(generator, 5, torch.Generator().manual_seed(0))
    assert not unseen
    assert task.layout.height == 5
