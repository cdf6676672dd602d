"""What agents are judged by in grids of Minigrid: known, or said to be unknown."""

import numpy as np
import pytest

from envs.minigrid.explorer import explorer_returns
from envs.minigrid.problem import Minigrid
from envs.minigrid.returns import minigrid_anchors
from envs.minigrid.task_set import By
from metarl.evaluate.references import References
from tests.envs.minigrid.ids import some

few_grids = pytest.mark.filterwarnings("ignore:.*too few to say much:UserWarning")


@few_grids
def test_a_trial_of_two_episodes_is_judged_by_two_episodes() -> None:
    problem = Minigrid("MiniGrid-FourRooms-v0", grids=60, by="walls")
    first, second = tuple(problem.test)[:2]
    known = problem.known([first, second, first], num_episodes=2)
    one = minigrid_anchors([first, second])
    rows = [0, 1, 0]
    np.testing.assert_allclose(known.each["oracle"], 2 * one.oracle[rows])
    np.testing.assert_allclose(known.each["random"], 2 * one.random[rows])
    explored = explorer_returns([first, second], num_episodes=2)
    np.testing.assert_allclose(known.each["explorer"], explored.sum(1)[rows])
    assert (explored[:, 0] < explored[:, 1]).all()  # it has to search, and then knows the way
    assert known.told == ("random", "explorer", "oracle")
    assert (known.num_layouts, known.returns["ceiling"]) == (2, None)
    rewards = np.zeros((200, 3))
    rewards[0] = known.each["explorer"]
    figures = References(known, 0, 2).figures(rewards)
    assert figures["normalised_score"] == pytest.approx(1.0)
    assert figures["explorer_success_by_episode"] == [1.0, 1.0]
    rewards[0] = known.each["random"]
    assert References(known, 0, 2).figures(rewards)["normalised_score"] == pytest.approx(0.0)


@few_grids
def test_layouts_are_what_tasks_are_dealt_out_by() -> None:
    tasks = some("MiniGrid-DoorKey-6x6-v0", 40)
    walls = Minigrid("MiniGrid-DoorKey-6x6-v0", grids=200, by="walls")
    grids = Minigrid("MiniGrid-DoorKey-6x6-v0", grids=200, by="task")
    assert walls.known(tasks).num_layouts == len({task.walls_id() for task in tasks}) < 15
    assert grids.known(tasks).num_layouts == len(tasks)
    assert walls.num_trained_on(tuple(walls.test)) == 0
    assert grids.num_trained_on(tuple(grids.test)) == 0
    assert walls.num_trained_on(tuple(walls.train)) == walls.train.num_walls
    assert (walls.question["layouts_are"], grids.question["layouts_are"]) == ("walls", "grids")


def test_who_is_not_known_is_said_to_be_unknown() -> None:
    problem = Minigrid("MiniGrid-MemoryS7-v0", grids=60)
    known = problem.known(problem.tasks[:3], num_episodes=2)
    assert known.told == ("random", "oracle")
    figures = References(known, 0, 2).figures(np.zeros((2 * problem.horizon, 3)))
    assert figures["explorer_return"] is None
    assert figures["normalised_score"] is None
    assert figures["explorer"].startswith("none: it would have to guess")


@few_grids
@pytest.mark.parametrize(
    ("by", "remedy"),
    [("walls", r"part them by .*by=task"), ("task", "take an id whose grids differ more")],
)
def test_a_remedy_is_one_that_was_not_taken_yet(by: By, remedy: str) -> None:
    problem = Minigrid("MiniGrid-Empty-5x5-v0", grids=3, by=by)
    with pytest.raises(ValueError, match=rf"grids would be .*: read more grids, or {remedy}"):
        problem.check_sides()
