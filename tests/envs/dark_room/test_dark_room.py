"""Dark Room and Key-to-Door: published optima, twins, and what pays when."""

from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from hypothesis import given, settings
from hypothesis import strategies as st

from envs import (
    DarkRoomEnv,
    DarkRoomTask,
    DarkRoomVectorEnv,
    dark_room_reference_returns,
    dark_room_tasks,
    key_to_door_tasks,
)
from envs.dark_room.tasks import DarkRoomReturns, next_cells
from envs.problems import DarkRoom, KeyToDoor
from metarl.evaluate.returns import outcomes

UP, DOWN, LEFT, RIGHT, STAY = range(5)


def test_published_optima() -> None:
    small = dark_room_reference_returns(dark_room_tasks(9), horizon=20, start="centre")
    large = dark_room_reference_returns(dark_room_tasks(10), horizon=100, start="corner")
    assert (round(small.oracle, 2), round(large.oracle, 2)) == (16.54, 91.99)
    assert small.oracle == pytest.approx(20 + 1 - 40 / 9 - 1 / 81)
    assert large.oracle == pytest.approx(100 + 1 - 9 - 1 / 100)


@pytest.mark.parametrize("size", [8, 9])
def test_every_key_and_its_door_can_be_reached(size: int) -> None:
    tasks = key_to_door_tasks(size)
    assert len(tasks) == size**4
    few = tasks.filter(lambda task: sum(task.goal) % 4 == 0)
    assert dark_room_reference_returns(few, horizon=50, start="random").oracle == 2
    assert dark_room_reference_returns(few, horizon=5, start="random").oracle < 2


def walk(env: DarkRoomVectorEnv, targets: torch.Tensor) -> torch.Tensor:
    """Actions on the shortest ways to cells."""
    row, column = env.cells // env.size, env.cells % env.size
    to_row, to_column = targets // env.size, targets % env.size
    across = torch.where(column < to_column, RIGHT, torch.where(column > to_column, LEFT, STAY))
    return torch.where(row < to_row, DOWN, torch.where(row > to_row, UP, across))


@pytest.mark.parametrize(
    ("key", "size", "start", "horizon"),
    [
        (False, 9, "centre", 20),
        (False, 10, "corner", 100),
        (False, 5, "random", 9),
        (True, 9, "centre", 50),
        (True, 4, "corner", 6),
    ],
)
def test_the_environment_pays_what_the_anchors_say(key, size, start, horizon) -> None:
    every = key_to_door_tasks(size) if key else dark_room_tasks(size)
    copies = 1 if size == 9 and key else 200
    tasks = [*every] * copies
    env = DarkRoomVectorEnv(len(tasks), size=size, key=key, start=start, horizon=horizon)
    env.reset(seed=0, options={"tasks": tasks})
    rng = torch.Generator().manual_seed(0)
    total = torch.zeros(len(tasks))
    for _ in range(horizon):
        total += env.step(torch.randint(5, (len(tasks),), generator=rng))[1]
    error = total.std().item() / len(tasks) ** 0.5
    anchors = dark_room_reference_returns(every, horizon=horizon, start=start)
    assert abs(total.mean().item() - anchors.random) < 5 * error
    env.reset()
    total = torch.zeros(len(tasks))
    goals, keys, _ = env.task_parameters
    has_key = torch.full((len(tasks),), not key)
    for _ in range(horizon):
        _, rewards, *_ = env.step(walk(env, torch.where(has_key, goals, keys)))
        total += rewards
        has_key = has_key | (rewards > 0)
    if start == "random":
        assert total.mean().item() == pytest.approx(anchors.oracle, abs=5 * total.std().item() / 70)
    else:
        assert total.mean().item() == pytest.approx(anchors.oracle, abs=1e-4)


def test_random_returns_by_hand() -> None:
    """Two steps in a room of two rows: the goal beside the start is met with chance 1/5."""
    task = DarkRoomTask((0, 1), None, 2)
    returns = dark_room_reference_returns([task], horizon=2, start="corner")
    # Step 1 on it: 1/5. Step 2: from it by up, right, stay (3/5), from elsewhere as from the start
    # (1/5) or, from below the goal's neighbour, never.
    after_one = 1 / 5
    start_again, below = 3 / 5, 1 / 5
    after_two = after_one * 3 / 5 + start_again * 1 / 5 + below * 0
    assert returns == DarkRoomReturns(pytest.approx(after_one + after_two), 2.0)


@settings(max_examples=60, deadline=None)
@given(
    st.booleans(),
    st.integers(0, 4**4 - 1),
    st.lists(st.integers(0, 4), min_size=1, max_size=25),
    st.integers(0, 2**16),
)
def test_twins_step_for_step(key: bool, number: int, actions: list[int], seed: int) -> None:
    tasks = key_to_door_tasks(4) if key else dark_room_tasks(4)
    task = tasks[number % len(tasks)]
    single = DarkRoomEnv(tasks=[task], horizon=len(actions), start="corner")
    many = DarkRoomVectorEnv(3, tasks=[task], horizon=len(actions), start="corner")
    seen, _ = single.reset(seed=seed)
    rows, _ = many.reset(options={"tasks": [task] * 3})
    np.testing.assert_array_equal(rows[1].numpy(), seen)
    for action in actions:
        seen, reward, terminated, truncated, _ = single.step(action)
        rows, rewards, ends, cuts, _ = many.step(torch.full((3,), action))
        np.testing.assert_array_equal(rows[1].numpy(), seen)
        assert (reward, terminated) == (rewards[1].item(), ends[1].item())
        if terminated:
            break
        assert truncated == cuts[1].item()
    total = single._return
    oracle = dark_room_reference_returns([task], horizon=len(actions), start="corner").oracle
    assert total <= oracle


def test_a_key_pays_once_then_its_door_and_the_episode_ends() -> None:
    env = DarkRoomEnv(tasks=[DarkRoomTask((0, 0), (0, 1), 3)], start="corner", horizon=9)
    env.reset()
    steps = [env.step(action)[1:3] for action in (STAY, RIGHT, STAY, RIGHT, LEFT, LEFT)]
    assert steps == [(0, False), (1, False), (0, False), (0, False), (0, False), (1, True)]
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(STAY)
    same = DarkRoomEnv(tasks=[DarkRoomTask((0, 0), (0, 0), 3)], start="corner", horizon=9)
    same.reset()
    assert [same.step(STAY)[1:3] for _ in range(2)] == [(1, False), (1, True)]


def test_a_goal_pays_as_long_as_one_stays() -> None:
    env = DarkRoomEnv(size=3, start="centre", horizon=6, render_mode="ansi")
    first, _ = env.reset(options={"task": DarkRoomTask((1, 2), None, 3)})
    assert first.tolist() == [0, 0]
    paid = [env.step(action)[1] for action in (STAY, RIGHT, RIGHT, STAY, UP, DOWN)]
    assert paid == [0, 1, 1, 1, 0, 1]
    assert env.position == (1, 2)
    assert env.render().splitlines()[:3] == ["...", "..A", "..."]


def test_random_starts_are_everywhere_and_every_generator_has_its_own() -> None:
    generators = [torch.Generator().manual_seed(n) for n in range(2)]
    env = DarkRoomVectorEnv(2000, size=3, start="random", generator=generators)
    env.reset()
    counts = env.cells.bincount(minlength=9)
    assert counts.min() > 150
    alone = DarkRoomVectorEnv(
        1000, size=3, start="random", generator=torch.Generator().manual_seed(1)
    )
    alone.reset()
    assert torch.equal(alone.cells, env.cells[1000:])
    single = DarkRoomEnv(size=3, start="random")
    places = {single.reset(seed=seed) and single.position for seed in range(80)}
    assert len(places) == 9


def test_doors_end_episodes_in_their_own_time() -> None:
    env = DarkRoomVectorEnv(
        50, size=3, key=True, horizon=12, start="random", autoreset_mode=AutoresetMode.NEXT_STEP
    )
    env.reset(seed=0)
    rng = torch.Generator().manual_seed(0)
    ends = [env.step(torch.randint(5, (50,), generator=rng))[2] for _ in range(40)]
    assert 0 < torch.stack(ends).float().mean() < 0.3


def test_one_hot_observations_name_the_cell() -> None:
    env = DarkRoomEnv(size=3, one_hot=True, start="corner")
    env.reset(seed=0)
    observation, *_ = env.step(DOWN)
    assert observation.shape == env.observation_space.shape == (9,)
    assert observation.argmax() == 3
    assert next_cells(3)[0].tolist() == [0, 3, 0, 1, 0]


@pytest.mark.parametrize("problem", [DarkRoom(), KeyToDoor(), DarkRoom(size=10, start="corner")])
def test_problems_deal_all_tasks_out(problem) -> None:
    sides = [set(side) for side in (problem.train, problem.validation, problem.test)]
    total = problem.size ** (4 if problem.keyed else 2)
    assert sum(len(side) for side in sides) == len(set.union(*sides)) == total
    assert 0.6 < len(sides[0]) / total < 0.8
    floor, oracle, _ = problem.anchors(list(problem.test)[:50])
    assert 0 < floor < oracle


def test_who_fetches_the_key_alone_has_not_succeeded() -> None:
    env = DarkRoomVectorEnv(2, tasks=[DarkRoomTask((0, 2), (0, 1), 3)], horizon=3, start="corner")
    env.reset(seed=0)
    moves = ([RIGHT, RIGHT], [RIGHT, STAY], [STAY, STAY])
    steps = [env.step(torch.tensor(actions)) for actions in moves]
    rewards, terminated = (torch.stack([step[part] for step in steps]) for part in (1, 2))
    played = SimpleNamespace(
        rewards=rewards[None],
        terminated=terminated[None],
        returns=rewards.sum(0)[None],
        lengths=torch.tensor([[2.0, 3.0]]),
    )
    assert played.returns.tolist() == [[2.0, 1.0]]
    found = outcomes(played, KeyToDoor.has_goal)
    assert found["successes"].tolist() == [[True, False]]
    assert found["lengths"].tolist() == [[2.0, 3.0]]
    assert outcomes(played, DarkRoom.has_goal)["successes"].all(), "where what pays is the goal"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DarkRoomTask((0, 9)), r"goal \(0, 9\) must lie in the 9 x 9 room"),
        (lambda: DarkRoomTask((0, 1), (-1, 0)), r"key \(-1, 0\) must lie"),
        (lambda: DarkRoomEnv(start="middle"), "start must be one of"),
        (
            lambda: DarkRoomEnv(tasks=[DarkRoomTask((0, 0)), DarkRoomTask((0, 0), None, 3)]),
            r"rooms of sizes \[3, 9\]",
        ),
        (
            lambda: DarkRoomEnv(tasks=[DarkRoomTask((0, 0)), DarkRoomTask((0, 0), (0, 1))]),
            "with keys or without",
        ),
        (lambda: dark_room_reference_returns([]), "no goals"),
        (lambda: dark_room_reference_returns(dark_room_tasks(3), horizon=0), "got 0"),
    ],
)
def test_bad_questions_are_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_tasks_of_other_rooms_are_refused() -> None:
    env, many = DarkRoomEnv(), DarkRoomVectorEnv(1)
    for task in (DarkRoomTask((0, 0), None, 3), DarkRoomTask((0, 0), (0, 1))):
        with pytest.raises(ValueError, match="this environment of rooms of size 9 without a key"):
            env.reset(options={"task": task})
    for row in ([81, -1, 9], [0, 3, 9], [0, -1, 8]):
        with pytest.raises(ValueError, match="is none of this environment of size 9"):
            many.reset(options={"tasks": torch.tensor([row])})
