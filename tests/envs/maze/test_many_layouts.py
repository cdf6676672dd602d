"""Mazes of many layouts: drawn, sampled, set, padded; and equal in the single and tensor twin."""

import copy
import itertools
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from envs import (
    GridMazeEnv,
    GridMazeVectorEnv,
    MazeFamily,
    MazeTask,
    TaskSet,
    VectorTrial,
    pillar_maze,
)
from envs.base.tasks import Tensors
from envs.maze import bank, boards
from envs.maze.layout import Layout


def dug(side: int, rng: np.random.Generator, depth: int = 60) -> Layout:
    """A layout dug by a random walk from the centre."""
    walls = np.ones((side, side), dtype=np.bool_)
    row = column = side // 2
    for _ in range(depth):
        walls[row, column] = False
        down, right = ((-1, 0), (1, 0), (0, -1), (0, 1))[rng.integers(4)]
        row = min(max(row + down, 1), side - 2)
        column = min(max(column + right, 1), side - 2)
    walls[side // 2, side // 2 - 1] = False
    return Layout(tuple("".join(".#"[int(wall)] for wall in row) for row in walls))


def dug_task(
    side: int, rng: np.random.Generator, depth: int = 60, *, turning: bool = False
) -> MazeTask:
    layout = dug(side, rng, depth)
    goal, start = rng.choice(layout.num_free, 2, replace=False)
    direction = int(rng.integers(4)) if turning and rng.integers(2) else None
    return MazeTask.of_numbers(layout, int(goal), int(start), direction)


class DugMazes:
    """A family of mazes like those of the package: fresh layouts at each draw."""

    task_type = MazeTask
    size = (5, 9)

    def __init__(self) -> None:
        self.draws: list[int] = []

    def sample(self, n: int, rng: Any) -> tuple[MazeTask, ...]:
        if isinstance(rng, torch.Generator):
            rng = np.random.default_rng(int(torch.randint(2**40, (), generator=rng)))
        return tuple(dug_task(int(rng.choice([5, 7, 9])), rng) for _ in range(n))

    def draw(self, n: int, generator: torch.Generator, device: torch.device) -> Tensors:
        self.draws.append(n)
        goals, starts, rows = MazeTask.stack([task.arrays() for task in self.sample(n, generator)])
        rows = np.pad(rows, ((0, 0), (0, 9 - rows.shape[1])))
        return tuple(torch.from_numpy(array).to(device) for array in (goals, starts, rows))


OPTIONS = [
    {"respawn": respawn, "view": view, "position": position, "see_through": see_through}
    for respawn, view, position, see_through in itertools.product(
        ("random", "start", "end"),
        ("3x3", "5x5", "egocentric-5", "egocentric-7"),
        (False, True),
        (False, True),
    )
    if view.startswith("ego") or not see_through
]


def play_both(num_envs: int, episodes: int, options: dict[str, Any], seed: int) -> None:
    """Plays both twins on the same tasks, actions and teleports, and compares all they say."""
    rng = np.random.default_rng(seed)
    turning = options["view"].startswith("ego")
    arguments = {
        "horizon": 50,
        "wall_penalty": float(rng.choice([0.0, 0.25])),
        "reward": float(rng.choice([10.0, -1.0])),
        "exploration_bonus": float(rng.choice([0.0, 0.5])),
        "facing": str(rng.choice(["right", "down", "left", "up"])),
        **options,
    }
    many = GridMazeVectorEnv(num_envs, **arguments)
    for _ in range(episodes):
        tasks = [
            dug_task(int(rng.choice([5, 7, 9])), rng, turning=turning) for _ in range(num_envs)
        ]
        teleports = rng.integers(2**31, size=(50, num_envs))
        seen, info = many.reset(options={"tasks": tasks, "teleports": torch.from_numpy(teleports)})
        assert many.tasks == tuple(tasks)
        ones = [GridMazeEnv(**arguments) for _ in tasks]
        first = [
            env.reset(options={"task": task, "teleports": teleports[:, b]})[0]
            for b, (env, task) in enumerate(zip(ones, tasks, strict=True))
        ]
        np.testing.assert_array_equal(seen.numpy(), np.stack(first))
        running = np.ones(num_envs, dtype=np.bool_)
        actions = rng.integers(3 if turning else 4, size=(50, num_envs))
        for action in actions:
            seen, rewards, terminated, truncated, info = many.step(torch.from_numpy(action))
            positions = many.agent_positions.tolist()
            for b in np.flatnonzero(running):
                expected = ones[b].step(action[b])
                got = (float(rewards[b]), bool(terminated[b]), bool(truncated[b]))
                assert got == expected[1:4]
                assert np.array_equal(seen[b].numpy(), expected[0])
                assert tuple(positions[b]) == ones[b].agent_position
                if arguments["exploration_bonus"]:
                    assert float(info["bonus"][b]) == expected[4]["bonus"]
                running[b] = not (expected[2] or expected[3])


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_twins_agree_with_another_layout_in_each_maze(options: dict[str, Any]) -> None:
    play_both(6, 1, options, seed=0)


def test_large_banks_of_smaller_numbers_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bank, "MOST_WIDE", 0)
    for number, options in enumerate(OPTIONS[::5]):
        play_both(6, 1, options, seed=number)
    family = MazeFamily("dfs", (5, 9))
    env = GridMazeVectorEnv(8, tasks=family, view="egocentric-5", respawn="end", horizon=20)
    env.reset()
    assert (env.agent_cells.dtype, env.agent_positions.dtype) == (torch.int64, torch.int64)
    assert env.agent_directions.dtype == torch.int64


# Where tasks come from ------------------------------------------------------------------------


def rollout(env: GridMazeVectorEnv, steps: int) -> torch.Tensor:
    """All that some steps of random actions show, as one tensor with mazes first."""
    rng = torch.Generator().manual_seed(3)
    seen = []
    for _ in range(steps):
        actions = torch.randint(4, (env.num_envs,), generator=rng)
        observations, rewards, terminated, truncated, _ = env.step(actions)
        seen += [observations, rewards[:, None], terminated[:, None], truncated[:, None]]
        seen.append(env.agent_positions)
    return torch.cat(seen, 1)


def test_a_task_set_of_many_layouts_is_sampled() -> None:
    rng = np.random.default_rng(0)
    tasks = TaskSet(tuple(dug_task(side, rng) for side in (5, 7, 9) * 4))
    env = GridMazeVectorEnv(200, tasks=tasks, horizon=30)
    _, info = env.reset(seed=0)
    assert set(env.tasks) == set(tasks)
    sampled = tasks.draw(200, torch.Generator().manual_seed(0), torch.device("cpu"))
    for drawn, wanted in zip(info["task_parameters"], sampled, strict=True):
        assert torch.equal(drawn, wanted)
    played = rollout(env, 30)
    twin = GridMazeVectorEnv(200, horizon=30)  # of one layout, where others are set
    twin.reset(seed=0, options={"tasks": env.tasks})
    assert twin.tasks == env.tasks
    starts = GridMazeVectorEnv(200, tasks=tasks, horizon=30, respawn="start")
    for mazes in (starts, twin := GridMazeVectorEnv(200, horizon=30, respawn="start")):
        mazes.reset(options={"tasks": env.tasks})
    assert torch.equal(rollout(starts, 30), rollout(twin, 30))
    assert played.shape == (200, 30 * 14)


def test_a_set_of_too_many_layouts_to_keep_is_played_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    tasks = TaskSet(tuple(dug_task(side, rng) for side in (5, 7, 9) * 4))
    played = []
    for most in (boards.MOST_PLACES, 0):
        monkeypatch.setattr(boards, "MOST_PLACES", most)
        env = GridMazeVectorEnv(9, tasks=tasks, horizon=30)
        _, info = env.reset(seed=0)
        assert set(env.tasks) <= set(tasks)
        played.append(torch.cat((rollout(env, 30), info["task_parameters"][2]), 1))
    assert torch.equal(*played)


def test_a_family_gives_fresh_layouts_at_every_reset() -> None:
    env = GridMazeVectorEnv(20, tasks=DugMazes(), horizon=10, respawn="start")
    env.reset(seed=0)
    first = env.tasks
    played = rollout(env, 10)
    env.reset(options={"same_task": True})
    assert env.tasks == first
    assert torch.equal(rollout(env, 10), played)
    env.reset()
    assert not {task.layout for task in first if task.layout.height > 5} & {
        task.layout for task in env.tasks
    }
    env.reset(seed=0)
    assert env.tasks == first
    shapes = {name: tuple(shape) for name, shape in env.parameter_shapes.items()}
    assert shapes == {"goal": (), "start": (), "rows": (9,)}
    rows = env.task_tensor(first)
    env.reset(options={"tasks": rows})
    assert env.tasks == first
    assert torch.equal(rollout(env, 10), played)


def test_set_tasks_stay_until_none() -> None:
    rng = np.random.default_rng(1)
    env = GridMazeVectorEnv(3, size=7)
    chosen = tuple(dug_task(9, rng) for _ in range(3))
    env.reset(options={"tasks": chosen})
    env.reset()
    assert env.tasks == chosen
    larger = tuple(dug_task(21, rng, 400) for _ in range(3))
    env.reset(options={"tasks": larger})
    assert env.tasks == larger
    env.reset(options={"tasks": chosen})
    assert env.tasks == chosen
    env.reset(options={"tasks": None})
    assert {task.layout for task in env.tasks} == {pillar_maze(7)}


@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
@pytest.mark.parametrize("family", [False, True])
def test_mazes_that_end_early_get_fresh_tasks_alone(family: bool, mode: str) -> None:
    tasks = DugMazes()
    source: Any = tasks if family else tasks.sample(30, np.random.default_rng(0))
    generators = [torch.Generator().manual_seed(seed) for seed in range(2)]
    env = GridMazeVectorEnv(
        16, tasks=source, horizon=12, respawn="end", autoreset_mode=mode, generator=generators
    )
    env.reset()
    rng = torch.Generator().manual_seed(0)
    for _ in range(60):
        before, at = env.tasks, env.agent_positions.clone()
        actions = torch.randint(4, (16,), generator=rng)
        _, rewards, terminated, truncated, _ = env.step(actions)
        ended = terminated | truncated
        assert torch.equal(rewards > 0, terminated)
        if mode == "SameStep":
            kept = [task == old for task, old in zip(env.tasks, before, strict=True)]
            assert all(kept[b] for b in np.flatnonzero(~ended.numpy()))
            if family:
                assert not any(kept[b] for b in np.flatnonzero(ended.numpy()))
            for b in np.flatnonzero(ended.numpy()):
                assert tuple(env.agent_positions[b].tolist()) == env.tasks[b].start
        for task, cell in zip(env.tasks, env.agent_positions.tolist(), strict=True):
            assert task.layout.is_free(tuple(cell))
        assert at.shape == (16, 2)
    if family:
        assert set(tasks.draws) == {8}, "a block of tasks at a time"


def test_blocks_of_generators_see_what_they_see_alone() -> None:
    def played(seeds: list[int]) -> torch.Tensor:
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        env = GridMazeVectorEnv(
            4 * len(seeds),
            tasks=DugMazes(),
            horizon=9,
            respawn="end",
            autoreset_mode="SameStep",
            generator=generators,
        )
        env.reset()
        actions = torch.randint(4, (40, 4), generator=torch.Generator().manual_seed(5))
        seen = []
        for action in actions:
            observations, rewards, *_ = env.step(action.repeat(len(seeds)))
            seen += [observations, rewards[:, None], env.agent_positions]
        return torch.cat(seen, 1)

    assert torch.equal(played([1, 2])[4:], played([2]))


def test_respawns_are_uniform_over_the_other_cells_of_each_layout() -> None:
    corridor = Layout(("#####", "#...#", "#####"))
    room = Layout(("#####", "#...#", "#...#", "#...#", "#####"))
    tasks = [MazeTask(corridor, (1, 1), (1, 2)), MazeTask(room, (1, 1), (1, 2))]
    for view, left in (("3x3", [2]), ("egocentric-5", [0, 0, 2])):
        env = GridMazeVectorEnv(4_000, horizon=5, view=view, facing="right")
        env.reset(seed=0, options={"tasks": tasks * 2_000})
        for action in left:
            env.step(torch.full((4_000,), action))
        cells = env.agent_cells.view(-1, 2)
        for maze, others in ((0, 2), (1, 8)):
            counts = torch.bincount(cells[:, maze], minlength=9)
            assert counts[0] == 0
            found, mean = counts[counts > 0], 2_000 / others
            assert len(found) == others
            assert (found - mean).abs().max() < 5 * mean**0.5
        if view != "3x3":
            ways = torch.bincount(env.agent_directions, minlength=4)
            assert (ways - 1_000).abs().max() < 5 * 1_000**0.5


def test_random_starts_and_ways_to_face_differ_from_episode_to_episode() -> None:
    family = DugMazes()
    env = GridMazeVectorEnv(300, tasks=family, start="random", facing="random", view="egocentric-5")
    env.reset(seed=0)
    for task, cell in zip(env.tasks, env.agent_positions.tolist(), strict=True):
        assert task.layout.is_free(tuple(cell))
        assert task.goal != tuple(cell)
    assert set(env.agent_directions.tolist()) == {0, 1, 2, 3}
    first = env.agent_positions
    env.reset(options={"same_task": True})
    assert not torch.equal(env.agent_positions, first)


def test_a_task_says_where_an_agent_looks_and_facing_where_it_does_not() -> None:
    room = Layout(("#####", "#...#", "#...#", "#####"))
    tasks = [MazeTask(room, (1, 1), (2, 2), way) for way in (None, 0, 1, 2, 3)]
    env = GridMazeVectorEnv(5, view="egocentric-5", facing="up", tasks=tasks)
    env.reset(options={"tasks": tasks})
    assert env.agent_directions.tolist() == [3, 0, 1, 2, 3]
    assert env.tasks == tuple(tasks)
    env.reset(options={"tasks": env.task_tensor(tasks)})
    assert env.agent_directions.tolist() == [3, 0, 1, 2, 3]
    one = GridMazeEnv(view="egocentric-5", facing="up")
    for task, way in zip(tasks, [3, 0, 1, 2, 3], strict=True):
        one.reset(options={"task": task})
        assert one.agent_direction == way


# Through Gymnasium ----------------------------------------------------------------------------


@pytest.mark.parametrize("respawn", ["start", "random", "end"])
def test_make_vec_plays_tasks_of_any_layouts(respawn: str) -> None:
    rng = np.random.default_rng(0)
    env = gymnasium.make_vec("metarl/GridMaze-v0", num_envs=3, respawn=respawn)
    tasks = [dug_task(side, rng) for side in (5, 9, 17)]
    seen, info = env.reset(options={"tasks": tasks})
    assert (seen.shape, seen.dtype) == ((3, 9), np.float32)
    assert info["task_parameters"]["rows"].shape == (3, 17)
    positions = env.unwrapped.agent_positions  # type: ignore[attr-defined]
    assert (positions.dtype, positions.tolist()) == (torch.int64, [list(t.start) for t in tasks])
    for _ in range(20):
        seen, rewards, *_ = env.step(env.action_space.sample())
        assert (seen.shape, rewards.shape) == ((3, 9), (3,))


def test_make_plays_a_task_of_any_layout() -> None:
    task = dug_task(9, np.random.default_rng(0))
    env = gymnasium.make("metarl/GridMaze-v0", respawn="start", view="5x5")
    seen, _ = env.reset(options={"task": task})
    assert seen in env.observation_space
    assert env.unwrapped.agent_position == task.start  # type: ignore[attr-defined]


@pytest.mark.parametrize("view", ["3x3", "5x5", "egocentric-5", "egocentric-7"])
def test_every_view_passes_the_checkers(view: str) -> None:
    for see_through in {False, view.startswith("ego")}:
        env = GridMazeEnv(tasks=DugMazes(), view=view, see_through=see_through, position=True)
        check_env(env, skip_render_check=True)
        many = GridMazeVectorEnv(4, tasks=DugMazes(), view=view, see_through=see_through)
        seen, _ = many.reset(seed=0)
        space = many.single_observation_space
        for _ in range(20):
            assert all(one in space for one in seen.numpy())
            seen, *_ = many.step(many.action_space.sample())
    with pytest.raises(ValueError, match="0 turn left" if "ego" in view else "0 up, 1 down"):
        many.step(torch.tensor([0, 3 if "ego" in view else 4, 0, 0]))
    with pytest.raises(ValueError, match="0 turn left" if "ego" in view else "0 up, 1 down"):
        env.step(3 if "ego" in view else 4)


def test_a_copy_goes_its_own_way() -> None:
    for bonus in (0.0, 0.5):
        env = GridMazeVectorEnv(4, tasks=DugMazes(), exploration_bonus=bonus)
        env.reset(seed=0)
        at = env.agent_positions
        twin = copy.deepcopy(env)
        rollout(twin, 10)
        assert torch.equal(env.agent_positions, at)
        assert not torch.equal(twin.agent_positions, at)


def test_trials_go_on_in_one_layout_each() -> None:
    env = VectorTrial(GridMazeVectorEnv(5, tasks=DugMazes(), horizon=4, respawn="start"), 3)
    env.reset(seed=0)
    tasks = env.unwrapped.tasks  # type: ignore[attr-defined]
    for _ in range(11):
        env.step(torch.randint(4, (5,)))
        assert env.unwrapped.tasks == tasks  # type: ignore[attr-defined]
    env.reset()
    assert env.unwrapped.tasks != tasks  # type: ignore[attr-defined]


# The exploration bonus ------------------------------------------------------------------------


def test_the_bonus_is_paid_for_new_cells_before_the_first_find() -> None:
    corridor = Layout(("######", "#....#", "######"))
    task = MazeTask(corridor, (1, 4), (1, 1))
    left, right = 2, 3
    actions = [left, right, left, right, right, right, right, right]
    paid = [0.0, 0.5, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0]
    env = GridMazeVectorEnv(1, respawn="start", exploration_bonus=0.5, horizon=8)
    one = GridMazeEnv(respawn="start", exploration_bonus=0.5, horizon=8)
    assert env.reward_range == one.reward_range == (0.0, 10.0)
    for _ in range(2):
        env.reset(options={"tasks": [task]})
        one.reset(options={"task": task})
        for step, (action, bonus) in enumerate(zip(actions, paid, strict=True)):
            _, rewards, *_, info = env.step(torch.tensor([action]))
            reward = 10.0 * (step == 5) + bonus
            assert (rewards.tolist(), info["bonus"].tolist()) == ([reward], [bonus])
            _, alone, *_, info = one.step(action)
            assert (alone, info["bonus"]) == (reward, bonus)


def test_the_last_step_tells_the_bonus_that_it_paid() -> None:
    task = MazeTask(Layout(("######", "#....#", "######")), (1, 4), (1, 1))
    env = GridMazeVectorEnv(
        1, respawn="start", exploration_bonus=0.5, horizon=1, autoreset_mode="SameStep"
    )
    env.reset(options={"tasks": [task]})
    env.exploration_bonus = 0.25  # from the next reset on, which is within this step
    for bonus in (0.5, 0.25):
        _, rewards, *_, info = env.step(torch.tensor([3]))
        assert rewards.tolist() == info["bonus"].tolist() == [bonus]
    env.exploration_bonus = 0.0
    for bonus in (0.25, 0.0, 0.0):  # once told of, told of to the end
        _, rewards, *_, info = env.step(torch.tensor([3]))
        assert rewards.tolist() == info["bonus"].tolist() == [bonus]


@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
def test_every_episode_has_a_bonus_of_its_own(mode: str) -> None:
    env = GridMazeVectorEnv(
        32,
        tasks=DugMazes(),
        horizon=7,
        respawn="end",
        exploration_bonus=0.25,
        autoreset_mode=mode,
        reward=2.0,
    )
    env.reset(seed=0)
    rng = torch.Generator().manual_seed(0)
    seen = [{tuple(cell)} for cell in env.agent_positions.tolist()]
    ended = torch.zeros(32, dtype=torch.bool)
    for _ in range(50):
        before = [task.layout for task in env.tasks], env.agent_positions.tolist()
        actions = torch.randint(4, (32,), generator=rng)
        _, rewards, terminated, truncated, info = env.step(actions)
        for b, layout in enumerate(before[0]):
            if mode == "NextStep" and ended[b]:
                assert float(rewards[b]) == float(info["bonus"][b]) == 0.0
                seen[b] = {tuple(env.agent_positions[b].tolist())}
                continue
            down, right = ((-1, 0), (1, 0), (0, -1), (0, 1))[actions[b]]
            cell = before[1][b][0] + down, before[1][b][1] + right
            new = layout.is_free(cell) and cell not in seen[b] and not terminated[b]
            assert float(info["bonus"][b]) == 0.25 * new
            assert float(rewards[b]) == 0.25 * new + 2.0 * bool(terminated[b])
            seen[b].add(cell)
            if mode == "SameStep" and (terminated[b] or truncated[b]):
                seen[b] = {tuple(env.agent_positions[b].tolist())}
        ended = terminated | truncated


# Bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([0, 9, 15, 9, 15], r"start 9 is no cell number in \[0, 2\)"),
        ([1, 1, 15, 9, 15], "goal 1 .* other than the start's, 1"),
        ([0, 1, 15, 8, 15], "no layout with a closed border"),
        ([0, 1, 15, 9, 13], "no layout with a closed border"),
        ([0, 1, 15, 9, 9], "no layout with a closed border"),
        ([0, 1, 15, 13, 15], "two free cells"),
        ([0, 1, -1, 9, 15], "at most 62 wide"),
        ([0, 1, 2**62, 9, 15], "at most 62 wide"),
        ([0, 1, 15, 9, 0], "no layout with a closed border"),
    ],
)
def test_numbers_that_say_no_maze_are_refused(row: list[int], message: str) -> None:
    env = GridMazeVectorEnv(1)
    env.reset(options={"tasks": torch.tensor([[0, 1, 15, 9, 15]])})
    at = env.agent_positions
    with pytest.raises(ValueError, match=message):
        env.reset(options={"tasks": torch.tensor([row])})
    assert torch.equal(env.agent_positions, at)


def test_mazes_too_large_to_share_tables_are_refused() -> None:
    long = Layout(("#" * 70, "#" + 68 * "." + "#", "#" * 70))
    tasks = [MazeTask(long, (1, 1)), MazeTask(pillar_maze(5), (1, 1))]
    for make in (GridMazeEnv, GridMazeVectorEnv):
        with pytest.raises(ValueError, match="at most 62 rows and columns"):
            make(tasks=tasks)
    env = GridMazeVectorEnv(1)
    with pytest.raises(ValueError, match="at most 62 rows and columns"):
        env.reset(options={"tasks": [MazeTask(long, (1, 1))]})
    alone = GridMazeVectorEnv(1, layout=long)
    alone.reset()
    assert alone.agent_positions.tolist() == [[1, 35]]


def test_goals_alone_say_no_task_where_layouts_differ() -> None:
    env = GridMazeVectorEnv(1, tasks=DugMazes())
    with pytest.raises(ValueError, match="goals alone do not say a task"):
        env.reset(options={"goals": torch.tensor([0])})
    with pytest.raises(AttributeError, match="layouts of their own"):
        _ = env.layout
    with pytest.raises(ValueError, match="not both"):
        GridMazeVectorEnv(1, tasks=DugMazes(), layout=pillar_maze(5))


# On a GPU -------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.parametrize("view", ["3x3", "egocentric-7"])
def test_cuda_agrees_with_cpu_and_never_waits(view: str) -> None:
    rng = np.random.default_rng(0)
    tasks = TaskSet(tuple(dug_task(side, rng) for side in (5, 7, 9) * 20))
    chosen = tasks.sample(64, rng)
    actions = torch.randint(3, (40, 64), generator=torch.Generator().manual_seed(0))
    results = []
    for device in ("cpu", "cuda"):
        env = GridMazeVectorEnv(
            64, tasks=tasks, horizon=40, view=view, respawn="start", device=device
        )
        env.reset(options={"tasks": chosen})
        on_device, seen = actions.to(device), []
        torch.cuda.set_sync_debug_mode("error")
        try:
            for action in on_device:
                observations, rewards, *_ = env.step(action)
                seen += [observations, rewards[:, None]]
        finally:
            torch.cuda.set_sync_debug_mode("default")
        results.append(torch.cat(seen, 1).cpu())
    assert torch.equal(*results)
    env.reset(options={"tasks": None})
    torch.cuda.set_sync_debug_mode("error")
    try:
        env.reset()  # drawn from the bank
        env._boards._home.write(env._boards._home.rows)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.slow
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_twins_agree_over_a_million_steps(options: dict[str, Any]) -> None:
    episodes = -(-1_000_000 // (len(OPTIONS) * 50 * 40))
    for seed in range(1, episodes + 1):
        play_both(40, 1, options, seed)
