import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs import GridMazeEnv, Layout, MazeTask, maze_tasks, pillar_maze
from tests.envs.maze.strategies import tasks

SMALL = pillar_maze(5)
UP, DOWN, LEFT, RIGHT = range(4)


def play(env: GridMazeEnv, actions: list[int]) -> list[float]:
    return [env.step(action)[1] for action in actions]


def test_a_find_pays_and_teleports() -> None:
    env = GridMazeEnv(size=5)
    env.reset(options={"task": MazeTask(SMALL, (1, 2)), "teleports": [7] * 200})
    observation, reward, terminated, truncated, _ = env.step(UP)
    assert (reward, terminated, truncated) == (10.0, False, False)
    # Draw 7 of the places other than the goal, cell number 1, is cell number 8: the last.
    assert env.agent_position == (3, 3)
    assert observation.tolist() == [0, 0, 1, 0, 0, 1, 1, 1, 1]


def test_reset_and_moves_without_finding() -> None:
    env = GridMazeEnv(size=5)
    observation, info = env.reset(options={"task": MazeTask(SMALL, (3, 3))})
    assert env.agent_position == (2, 2)
    assert observation.tolist() == [0] * 9
    assert info == {"task_id": env.task.task_id}
    positions = []
    for action in (UP, UP, LEFT, DOWN, RIGHT):
        env.step(action)
        positions.append(env.agent_position)
    assert positions == [(1, 2), (1, 2), (1, 1), (2, 1), (2, 2)]


def test_observation_is_a_copy() -> None:
    env = GridMazeEnv(size=5)
    observation, _ = env.reset(seed=0)
    observation[:] = 7
    assert env.reset(seed=0)[0].max() == 0


def test_wall_penalty_is_paid_only_for_bumping() -> None:
    env = GridMazeEnv(size=5, wall_penalty=0.5)
    env.reset(options={"task": MazeTask(SMALL, (3, 3))})
    assert play(env, [UP, UP, UP, DOWN]) == [0.0, -0.5, -0.5, 0.0]


def test_task_is_sticky_and_none_goes_back_to_drawing() -> None:
    env = GridMazeEnv(size=13)
    task = MazeTask(pillar_maze(13), (1, 1))
    env.reset(seed=0, options={"task": task})
    for _ in range(3):
        env.reset()
        assert env.task == task
    env.reset(options={"task": None})
    drawn = set()
    for _ in range(20):
        env.reset()
        drawn.add(env.task)
    assert len(drawn) > 10


def test_task_property_sets_the_task_and_ends_the_episode() -> None:
    env = GridMazeEnv(size=5)
    env.reset(seed=0)
    env.task = task = MazeTask(SMALL, (1, 1))
    assert env.task == task
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(0)
    env.reset()
    assert env.task == task


def test_same_task_keeps_a_drawn_task_once() -> None:
    env = GridMazeEnv(size=13)
    env.reset(seed=0)
    first = env.task
    env.reset(options={"same_task": True})
    assert env.task == first
    drawn = set()
    for _ in range(10):
        env.reset()
        drawn.add(env.task)
    assert len(drawn) > 5


def test_without_a_task_the_seed_decides_it() -> None:
    env = GridMazeEnv()
    ids = [env.reset(seed=seed)[1]["task_id"] for seed in (0, 1, 0)]
    assert ids[0] == ids[2] != ids[1]


def test_with_a_task_the_seed_drives_only_the_teleports() -> None:
    task = MazeTask(SMALL, (1, 2))
    env = GridMazeEnv(size=5)
    seen = set()
    for seed in range(30):
        _, info = env.reset(seed=seed, options={"task": task})
        assert info["task_id"] == task.task_id
        env.step(UP)
        seen.add(env.agent_position)
    assert len(seen) > 4
    env.reset(seed=4, options={"task": task})
    env.step(UP)
    first = env.agent_position
    env.reset(seed=4)
    env.step(UP)
    assert env.agent_position == first


def test_tasks_argument_is_drawn_from_and_gives_the_layout() -> None:
    split = maze_tasks(pillar_maze(9)).split()
    env = GridMazeEnv(tasks=split.test)
    assert env.layout == pillar_maze(9)
    for seed in range(50):
        env.reset(seed=seed)
        assert env.task in split.test
    assert GridMazeEnv(tasks=list(split.train)).task_distribution == split.train


@settings(max_examples=30)
@given(tasks(), st.lists(st.integers(0, 3), min_size=1, max_size=80), st.integers(0, 99))
def test_the_agent_is_never_in_a_wall_nor_on_the_goal(
    task: MazeTask, actions: list[int], seed: int
) -> None:
    env = GridMazeEnv(layout=task.layout, horizon=len(actions), tasks=[task])
    env.reset(seed=seed)
    for action in actions:
        observation, _, _, _, _ = env.step(action)
        assert task.layout.is_free(env.agent_position)
        assert env.agent_position != task.goal
        assert observation[4] == 0


def test_text_picture() -> None:
    env = GridMazeEnv(size=5, horizon=9, render_mode="ansi")
    env.reset(options={"task": MazeTask(SMALL, (3, 3))})
    env.step(LEFT)
    assert env.render() == ("#####\n#...#\n#AS.#\n#..G#\n#####\nstep 1/9  return 0\n")


def test_pictures_change_with_the_agent() -> None:
    env = GridMazeEnv(size=5, render_mode="rgb_array")
    env.reset(options={"task": MazeTask(SMALL, (3, 3))})
    before = env.render()
    env.step(LEFT)
    after = env.render()
    assert before.shape == after.shape
    assert before.dtype == np.uint8
    assert not np.array_equal(before, after)


def test_window_opens_and_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setitem(GridMazeEnv.metadata, "render_fps", 1000)
    env = gymnasium.make("metarl/GridMaze-v0", size=5, render_mode="human")
    env.reset(seed=0)
    env.step(0)
    assert env.unwrapped._window is not None  # type: ignore[attr-defined]
    env.close()
    env.close()


# Bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", [-1, 4, 100, 1.5])
def test_action_out_of_range_is_refused(action: int) -> None:
    env = GridMazeEnv(size=5)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=f"0 up, 1 down, 2 left or 3 right, got {action}"):
        env.step(action)


def test_a_task_of_another_layout_is_played() -> None:
    env = GridMazeEnv(size=13)
    env.reset(options={"task": MazeTask(SMALL, (1, 1))})
    assert (env.layout, env.agent_position) == (SMALL, (2, 2))
    env.task = MazeTask(pillar_maze(7), (1, 1))
    assert env.reset()[0].shape == (9,)
    assert env.layout == pillar_maze(7)
    env.reset(options={"task": None})
    assert env.layout == pillar_maze(13)


def test_tasks_of_another_kind_or_for_the_published_fault_are_refused() -> None:
    published = GridMazeEnv(size=13, teleport="interior")
    with pytest.raises(ValueError, match="another layout"):
        published.reset(options={"task": MazeTask(SMALL, (1, 1))})
    with pytest.raises(ValueError, match="another layout"):
        published.task = MazeTask(SMALL, (1, 1))
    env = GridMazeEnv(size=13)
    with pytest.raises(TypeError, match=r"must be a MazeTask, got \(1, 1\)"):
        env.reset(options={"task": (1, 1)})


def test_steps_outside_an_episode_are_refused() -> None:
    env = GridMazeEnv(size=5, horizon=1)
    with pytest.raises(gymnasium.error.ResetNeeded, match="before the first step"):
        env.step(0)
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.reset(options={"same_task": True})
    env.reset(seed=0)
    env.step(0)
    with pytest.raises(gymnasium.error.ResetNeeded, match="ended after 1 steps"):
        env.step(0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": None}, r"unknown reset options \['tasks'\].*'task'"),
        ({"teleports": [0, 1]}, r"shape \(horizon,\) = \(200,\)"),
        ({"teleports": [8] * 200}, r"must lie in \[0, 8\)"),
        ({"teleports": [0.5] * 200}, "whole numbers"),
    ],
)
def test_bad_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GridMazeEnv(size=5).reset(options=options)


def test_layouts_of_any_shape_can_be_used() -> None:
    corridor = Layout.from_ascii("########\n#......#\n########")
    env = gymnasium.make("metarl/GridMaze-v0", layout=corridor)
    env.reset(seed=0)
    assert env.unwrapped.agent_position == (1, 4)  # type: ignore[attr-defined]
