import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from hypothesis import given, settings
from hypothesis import strategies as st

from envs import GridMazeVectorEnv, MazeTask, maze_tasks, pillar_maze
from envs.base import randomness
from tests.envs.maze.strategies import tasks

SMALL = pillar_maze(5)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rollout(env: GridMazeVectorEnv, actions: torch.Tensor, episodes: int = 2) -> torch.Tensor:
    """Goals, observations and rewards of some episodes, as one tensor with mazes last."""
    seen = []
    for _ in range(episodes):
        observations, info = env.reset()
        seen += [info["goals"][None].float(), observations.T]
        for action in actions:
            observations, rewards, *_ = env.step(action)
            seen += [observations.T, rewards[None]]
    return torch.cat(seen)


def test_a_find_pays_and_teleports() -> None:
    env = GridMazeVectorEnv(2, size=5)
    goals = [MazeTask(SMALL, (1, 2)), MazeTask(SMALL, (3, 3))]
    env.reset(options={"tasks": goals, "teleports": torch.full((200, 2), 7)})
    observations, rewards, terminated, truncated, info = env.step(torch.tensor([0, 0]))
    assert rewards.tolist() == [10.0, 0.0]
    assert env.agent_positions.tolist() == [[3, 3], [1, 2]]
    assert observations[0].tolist() == [0, 0, 1, 0, 0, 1, 1, 1, 1]
    assert (terminated.any(), truncated.any(), info) == (False, False, {})


def test_dtypes_and_shapes() -> None:
    env = GridMazeVectorEnv(5, size=7)
    observations, info = env.reset(seed=0)
    assert (observations.dtype, tuple(observations.shape)) == (torch.float32, (5, 9))
    assert (info["goals"].dtype, tuple(info["goals"].shape)) == (torch.int64, (5,))
    observations, rewards, terminated, truncated, _ = env.step(torch.zeros(5, dtype=torch.int64))
    assert (observations.dtype, tuple(observations.shape)) == (torch.float32, (5, 9))
    assert (rewards.dtype, tuple(rewards.shape)) == (torch.float32, (5,))
    for flag in (terminated, truncated):
        assert (flag.dtype, tuple(flag.shape)) == (torch.bool, (5,))


def test_rewards_are_float32_whatever_the_default() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        env = GridMazeVectorEnv(2, size=5, wall_penalty=0.1)
        observations, _ = env.reset(seed=0)
        _, rewards, *_ = env.step(torch.zeros(2, dtype=torch.int64))
    finally:
        torch.set_default_dtype(torch.float32)
    assert observations.dtype == rewards.dtype == torch.float32


def test_results_are_new_tensors_each_step() -> None:
    env = GridMazeVectorEnv(3, size=5)
    first, _ = env.reset(seed=0)
    kept = first.clone()
    second, rewards, *_ = env.step(torch.tensor([0, 1, 2]))
    earlier = rewards.clone()
    env.step(torch.tensor([3, 0, 1]))
    assert torch.equal(first, kept)
    assert torch.equal(rewards, earlier)
    assert first.data_ptr() != second.data_ptr()


def test_drawing_in_blocks_changes_nothing_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    actions = torch.randint(4, (50, 6), generator=generator(0))
    results = []
    for size in (2**22, 20):
        monkeypatch.setattr(randomness, "MAX_DRAWS", size)
        env = GridMazeVectorEnv(6, size=5, horizon=50, generator=generator(1))
        results.append(rollout(env, actions))
    assert torch.equal(*results)


def test_seeds_go_to_the_generators_in_turn() -> None:
    env = GridMazeVectorEnv(4, generator=[generator(0), generator(0)])
    _, info = env.reset(seed=5)
    for seeds in ([5, 6],):
        assert torch.equal(info["goals"], env.reset(seed=seeds)[1]["goals"])
    alone = GridMazeVectorEnv(2).reset(seed=6)[1]["goals"]
    assert torch.equal(info["goals"][2:], alone)


def test_goals_and_teleports_are_uniform() -> None:
    env = GridMazeVectorEnv(16000, size=5, horizon=1)
    _, info = env.reset(seed=0)
    start = SMALL.cell_number((2, 2))
    counts = torch.bincount(info["goals"], minlength=9)
    assert counts[start] == 0
    assert (counts[counts > 0] - 2000).abs().max() < 5 * 42  # standard deviation 42
    env.reset(options={"tasks": [MazeTask(SMALL, (1, 2))] * 16000})
    env.step(torch.zeros(16000, dtype=torch.int64))
    counts = torch.bincount(env.agent_cells, minlength=9)
    assert counts[SMALL.cell_number((1, 2))] == 0
    assert (counts[counts > 0] - 2000).abs().max() < 5 * 42


def test_goals_are_tasks_and_stay_until_none() -> None:
    env = GridMazeVectorEnv(3, size=13)
    env.reset(options={"goals": torch.tensor([0, 1, 2])})
    env.reset()
    assert env.goals.tolist() == [0, 1, 2]
    env.reset(options={"tasks": None})
    drawn = {tuple(env.reset()[1]["goals"].tolist()) for _ in range(5)}
    assert len(drawn) == 5


def test_tasks_may_start_anywhere() -> None:
    chosen = [MazeTask(SMALL, (1, 1), start=(3, 3)), MazeTask(SMALL, (1, 1))]
    env = GridMazeVectorEnv(2, size=5)
    env.reset(options={"tasks": chosen})
    assert env.agent_positions.tolist() == [[3, 3], [2, 2]]
    assert env.tasks == tuple(chosen)


def test_goals_come_from_the_distribution() -> None:
    test = maze_tasks(pillar_maze(9)).split().test
    env = GridMazeVectorEnv(500, tasks=test)
    env.reset(seed=0)
    assert set(env.tasks) == set(test)


@settings(max_examples=25)
@given(tasks(), st.integers(0, 2**32))
def test_agents_are_never_in_a_wall_nor_on_the_goal(task: MazeTask, seed: int) -> None:
    env = GridMazeVectorEnv(40, layout=task.layout, horizon=30)
    env.reset(seed=seed, options={"tasks": [task] * 40})
    for action in torch.randint(4, (30, 40), generator=generator(seed)):
        observations, *_ = env.step(action)
        assert (observations[:, 4] == 0).all()
        assert (env.agent_cells != task.goal_number).all()
        assert (env.agent_cells < task.layout.num_free).all()


def test_pictures() -> None:
    env = GridMazeVectorEnv(20, size=5, render_mode="rgb_array")
    env.reset(seed=0)
    frames = env.render()
    assert frames is not None
    assert len(frames) == 16
    assert frames[0].dtype == np.uint8
    assert GridMazeVectorEnv(1).render() is None


# Autoreset ------------------------------------------------------------------------------------


def test_same_step_returns_the_next_episodes_first_observation() -> None:
    env = GridMazeVectorEnv(
        2, size=7, horizon=3, generator=generator(0), autoreset_mode=AutoresetMode.SAME_STEP
    )
    twin = GridMazeVectorEnv(2, size=7, horizon=3, generator=generator(0))
    env.reset()
    twin.reset()
    for _ in range(2):
        for t, action in enumerate(torch.tensor([[0, 1], [0, 3], [2, 2]])):
            observations, rewards, _, truncated, info = env.step(action)
            expected, wanted, _, ended, _ = twin.step(action)
            assert torch.equal(rewards, wanted)
            assert torch.equal(truncated, ended)
            if t < 2:
                assert torch.equal(observations, expected)
        assert torch.equal(info["final_obs"], expected)
        assert info["_final_obs"].all()
        first, twin_info = twin.reset()
        assert torch.equal(observations, first)
        assert torch.equal(info["goals"], twin_info["goals"])


def test_next_step_resets_in_the_step_after() -> None:
    env = GridMazeVectorEnv(2, size=7, horizon=2, autoreset_mode="NextStep")
    env.reset(seed=0)
    for _ in range(3):
        flags = [env.step(torch.tensor([0, 0]))[3].any().item() for _ in range(2)]
        assert flags == [False, True]
        observations, rewards, _, truncated, _ = env.step(torch.tensor([0, 0]))
        assert (rewards.any(), truncated.any()) == (False, False)
        assert env.agent_positions.tolist() == [[3, 3], [3, 3]]
        assert observations.shape == (2, 9)


# Bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "actions", [[0, 4], [-1, 0], [2**40, 0], np.array([7, 0]), torch.tensor([-5, 3])]
)
def test_actions_out_of_range_are_refused(actions: object) -> None:
    env = GridMazeVectorEnv(2, size=5)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="0 up, 1 down, 2 left or 3 right"):
        env.step(actions)  # type: ignore[arg-type]


def test_actions_of_another_shape_or_type_are_refused() -> None:
    env = GridMazeVectorEnv(2, size=5)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"shape \(3,\), expected \(2,\)"):
        env.step(torch.tensor([0, 1, 2]))
    with pytest.raises(ValueError, match=r"whole numbers \(int64\), got torch.float32"):
        env.step(torch.tensor([0.0, 1.0]))
    env.step(np.array([0, 1], dtype=np.int32))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": None}, r"unknown reset options \['task'\]"),
        ({"tasks": [MazeTask(SMALL, (1, 1))]}, "1 tasks for 2 environments"),
        ({"goals": torch.tensor([0, 9])}, r"goal 9 is no cell number in \[0, 9\)"),
        ({"goals": torch.tensor([-1, 0])}, "goal -1"),
        ({"goals": torch.tensor([4, 0])}, "goal 4 .* other than the start's, 4"),
        ({"goals": torch.tensor([0.0, 1.0])}, "goals must be int64"),
        ({"goals": torch.tensor([0])}, r"of shape \(2,\), got torch.int64 of shape \(1,\)"),
        (
            {"goals": torch.tensor([0, 1]), "tasks": [MazeTask(SMALL, (1, 1))] * 2},
            "not both",
        ),
        ({"teleports": torch.zeros(3, 2, dtype=torch.int64)}, r"\(200, 2\)"),
        ({"teleports": torch.full((200, 2), 8)}, r"must lie in \[0, 8\)"),
    ],
)
def test_bad_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GridMazeVectorEnv(2, size=5).reset(options=options)


def test_wrong_number_of_seeds_is_refused() -> None:
    with pytest.raises(ValueError, match="2 seeds for 1 generators"):
        GridMazeVectorEnv(3).reset(seed=[1, 2])
    with pytest.raises(ValueError, match="3 seeds for 1 generators"):
        GridMazeVectorEnv(3, generator=generator(0)).reset(seed=[1, 2, 3])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match=r"device 'cuda' was asked for.*give device='cpu'"):
        gymnasium.make_vec("metarl/GridMaze-v0", num_envs=2, device="cuda")


# On a GPU -------------------------------------------------------------------------------------


@pytest.mark.gpu
def test_cuda_agrees_with_cpu_and_never_waits() -> None:
    actions = torch.randint(4, (60, 128), generator=generator(0))
    teleports = torch.randint(96, (60, 128), generator=generator(1))
    results = []
    for device in ("cpu", "cuda"):
        env = GridMazeVectorEnv(128, horizon=60, device=device, wall_penalty=0.5)
        goals = torch.randint(40, (128,), generator=generator(2)).to(device)
        env.reset(options={"goals": goals, "teleports": teleports.to(device)})
        seen = []
        on_device = actions.to(device)
        torch.cuda.set_sync_debug_mode("error")
        try:
            for action in on_device:
                observations, rewards, *_ = env.step(action)
                seen += [observations, rewards[:, None]]
        finally:
            torch.cuda.set_sync_debug_mode("default")
        results.append(torch.cat(seen, dim=1).cpu())
    assert torch.equal(*results)


@pytest.mark.gpu
def test_cuda_draws_its_own_episodes_without_waiting() -> None:
    env = GridMazeVectorEnv(4096, horizon=20, device="cuda")
    env.reset(seed=0)
    actions = torch.randint(4, (20, 4096), device="cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(2):
            env.reset()
            for action in actions:
                env.step(action)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert (env.goals != env.layout.cell_number(env.layout.centre)).all()
