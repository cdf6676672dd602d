"""Anchors of Minigrid tasks against searches through Minigrid itself, and against closed forms."""

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from envs import MinigridTask, MinigridVectorEnv, minigrid_anchors, minigrid_tasks
from envs.minigrid.reading import make_minigrid, set_task
from envs.minigrid.returns import shortest_success, shortest_way
from envs.problems import Minigrid
from metarl.rl.problem import check_problem
from tests.envs.minigrid.ids import elsewhere, some

EXACT = [
    "MiniGrid-LavaGapS5-v0",
    "MiniGrid-DoorKey-5x5-v0",
    "MiniGrid-Empty-Random-5x5-v0",
    "MiniGrid-GoToDoor-5x5-v0",
    "MiniGrid-Fetch-5x5-N2-v0",
]


def searched(task: MinigridTask, most: int) -> float:
    """The fewest actions to success, by all seven in copies of Minigrid; infinity above `most`."""
    env = make_minigrid(task.env_id)
    set_task(env, task)
    now, seen = [env], set()
    for number in range(1, most + 1):
        later = []
        for before in now:
            for action in range(7):
                env = copy.deepcopy(before)
                _, reward, terminated, _, _ = env.step(action)
                if reward > 0:
                    return number
                held = env.carrying and env.carrying.encode()
                state = (env.hash(), held)
                if not terminated and state not in seen:
                    seen.add(state)
                    later.append(env)
        now = later
    return np.inf


@pytest.mark.parametrize("env_id", EXACT)
def test_the_oracle_is_no_worse_and_no_better_than_a_search(env_id: str) -> None:
    rng = np.random.default_rng(0)
    for task in some(env_id, 2):
        near = elsewhere(task, rng)
        fewest = shortest_success(near)
        if fewest <= 6:  # states multiply
            assert searched(near, 6) == fewest
        else:
            assert searched(near, 3) == np.inf


def corridor(row: str, **fields: Any) -> MinigridTask:
    wall = "##" * (len(row) // 2 + 2)
    grid = f"{wall}\n##{row}##\n{wall}"
    return MinigridTask(grid, (1, 1), fields.pop("direction", 0), "", 100, **fields)


@pytest.mark.parametrize(
    ("row", "fields", "fewest"),
    [
        ("....$$", {}, 2),
        ("....$$", {"direction": 2}, 4),
        ("..Dr..$$", {}, 4),  # toggle, and three steps
        ("..KyLy$$", {}, 5),  # pick up, step, toggle, step, step
        ("..KrLy$$", {}, np.inf),
        ("..~~$$", {}, np.inf),
        ("..##$$", {}, np.inf),
        ("..KyKyLy$$", {}, 12),  # the first key is dropped behind, the second opens the door
        ("..Dr..", {"rule": "open", "targets": ((2, 1),)}, 1),
        ("..Ky..Ly", {"rule": "open", "targets": ((4, 1),)}, 4),
        ("..Ag", {"rule": "pick up", "targets": ((2, 1),)}, 1),
        ("..KyAg", {"rule": "pick up", "targets": ((3, 1),)}, 8),
        ("..AgKy", {"rule": "fetch", "targets": ((2, 1),)}, 1),
        ("..KyAg", {"rule": "fetch", "targets": ((3, 1),)}, np.inf),
        ("......", {"rule": "memory", "targets": ((3, 1), (1, 1))}, 2),
        ("......", {"rule": "memory", "targets": ((3, 1), (2, 1))}, np.inf),
        ("....Dr", {"rule": "go to", "targets": ((3, 1),)}, 2),
        ("..Dr..", {"rule": "go to", "targets": ((2, 1),)}, 1),
        ("..Dr..Db", {"rule": "red then blue", "targets": ((2, 1), (4, 1))}, 4),
        ("..Db..Dr", {"rule": "red then blue", "targets": ((4, 1), (2, 1))}, np.inf),
        ("..KyAg", {"rule": "put near", "targets": ((2, 1), (3, 1))}, 2),
        ("..Ky..Ag", {"rule": "put near", "targets": ((2, 1), (4, 1))}, 3),
        ("..EyLy$$", {}, 6),  # the key is in the box
    ],
)
def test_fewest_actions(row: str, fields: dict[str, Any], fewest: float) -> None:
    task = corridor(row, **fields)
    np.testing.assert_equal(shortest_success(task), fewest)
    anchors = minigrid_anchors([task], num_episodes=4)
    known = 0.0 if fewest == np.inf else 1 - 0.9 * fewest / 100
    np.testing.assert_allclose(anchors.oracle, [known])


@pytest.mark.parametrize(
    "env_id",
    [
        "MiniGrid-KeyCorridorS3R1-v0",
        "MiniGrid-KeyCorridorS3R2-v0",
        "MiniGrid-MultiRoom-N4-S5-v1",
        "MiniGrid-DoorKey-6x6-v0",
        "MiniGrid-PutNear-6x6-N2-v0",
        "MiniGrid-MemoryS7-v0",
        "MiniGrid-RedBlueDoors-6x6-v0",
        "MiniGrid-Unlock-v0",
        "MiniGrid-ObstructedMaze-1Dlh-v0",
    ],
)
def test_the_way_of_the_oracle_succeeds_in_minigrid(env_id: str) -> None:
    env = make_minigrid(env_id)
    for task in some(env_id, 5):
        set_task(env, task)
        way = shortest_way(task)
        assert way is not None
        for action in way[:-1]:
            _, reward, terminated, _, _ = env.step(action)
            assert not terminated
            assert reward == 0
        _, reward, terminated, _, _ = env.step(way[-1])
        assert terminated
        assert reward == pytest.approx(1 - 0.9 * len(way) / task.max_steps)


def test_the_oracle_is_cut_off_like_anybody() -> None:
    task = corridor("......$$")
    assert minigrid_anchors([task], horizon=3).oracle.tolist() == [1 - 0.9 * 3 / 100]
    assert minigrid_anchors([task], horizon=2).oracle.tolist() == [0.0]
    assert minigrid_anchors([replace(task, max_steps=2)]).oracle.tolist() == [0.0]


def test_random_actions_earn_what_counting_says() -> None:
    """One step: 1 in 7 goes ahead. Nobody earns more than the oracle."""
    task = replace(corridor("..$$"), max_steps=1)
    anchors = minigrid_anchors([task], num_episodes=20_000)
    assert anchors.random[0] == pytest.approx(0.1 / 7, abs=4 * 0.1 * (6 / 49 / 20_000) ** 0.5)
    tasks = some("MiniGrid-LavaGapS5-v0", 5) + some("MiniGrid-DoorKey-5x5-v0", 5)
    several = minigrid_anchors(tasks, num_episodes=8)
    assert (several.random <= several.oracle).all()
    again = minigrid_anchors(tasks, num_episodes=8)
    np.testing.assert_array_equal(several.random, again.random)


@pytest.mark.parametrize(
    ("tasks", "arguments", "message"),
    [
        ([], {}, "no tasks to play"),
        ([corridor("..$$")], {"horizon": 0}, "horizon must be at least 1"),
        ([corridor("..$$")], {"num_episodes": 0}, "num_episodes must be at least 1"),
    ],
)
def test_refusals(tasks: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        minigrid_anchors(tasks, **arguments)


# As a problem ---------------------------------------------------------------------------------


def test_a_problem_of_any_id() -> None:
    problem: Any = check_problem(Minigrid("MiniGrid-Fetch-5x5-N2-v0", grids=200))
    assert problem.horizon == 125
    assert problem.observation.shape == (980 + 4 + 34,)
    env = problem.make_env(4, [torch.Generator()], torch.device("cpu"))
    assert isinstance(env, MinigridVectorEnv)
    assert env.single_observation_space == problem.observation
    assert set(problem.train) <= set(problem.tasks)
    floor, oracle, *_ = problem.anchors(tuple(problem.test)[:5])
    assert 0 < floor < oracle < 1


def test_settings_of_the_problem() -> None:
    short = Minigrid("MiniGrid-DoorKey-6x6-v0", grids=0, max_steps=9)
    assert (short.horizon, len(short.tasks)) == (9, 816)
    assert short.observation.shape == (984,)
    assert short.anchors([corridor("..KyKyLy$$")]) is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("envs.minigrid.search.MOST_STATES", 3)
        assert short.anchors([corridor("..KyKyKyLy$$")]) is None
    rooms = Minigrid("MiniGrid-FourRooms-v0", grids=100, by="walls")
    walls = [{task.walls_id() for task in side} for side in rooms.splits]
    assert not walls[0] & walls[2]
    for wrong in ({"grids": -1}, {"max_steps": -1}):
        with pytest.raises(ValueError, match="at least 0, got -1"):
            Minigrid(**wrong)  # type: ignore[arg-type]
    assert minigrid_tasks("MiniGrid-DoorKey-6x6-v0", seeds=None) == short.tasks
