"""The single and the tensor environment are the same maze, bare and through the wrappers."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from envs import (
    GridMazeEnv,
    GridMazeVectorEnv,
    MetaObservation,
    Trial,
    VectorMetaObservation,
    VectorTrial,
)
from envs.maze.dynamics import compile_layout
from envs.maze.layout import Layout
from tests.envs.maze.strategies import layouts, tasks


def has_thick_walls(layout: Layout) -> bool:
    try:
        compile_layout(layout, "interior")
    except ValueError:
        return True
    return False


@settings(max_examples=60)
@given(st.data(), layouts(max_side=7))
@pytest.mark.parametrize("wrapping", ["bare", "meta", "trial"])
def test_twins_agree_step_for_step(wrapping: str, data: st.DataObject, layout: Layout) -> None:
    num_envs = data.draw(st.integers(1, 4), "num_envs")
    horizon = data.draw(st.integers(1, 25), "horizon")
    num_episodes = data.draw(st.integers(1, 3), "num_episodes") if wrapping == "trial" else 1
    quirk = data.draw(st.booleans(), "first action zero")
    choices = ["free"] if has_thick_walls(layout) else ["free", "interior"]
    arguments = {
        "layout": layout,
        "horizon": horizon,
        "reward": data.draw(st.sampled_from([10.0, 0.5, -1.0]), "reward"),
        "wall_penalty": data.draw(st.sampled_from([0.0, 0.25]), "wall_penalty"),
        "teleport": data.draw(st.sampled_from(choices), "teleport"),
    }
    chosen = data.draw(st.lists(tasks(layout), min_size=num_envs, max_size=num_envs), "tasks")
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32), "seed"))
    length = horizon * num_episodes
    actions = rng.integers(4, size=(length, num_envs))

    vector = GridMazeVectorEnv(num_envs, **arguments)
    singles = [GridMazeEnv(**arguments) for _ in range(num_envs)]
    teleports = rng.integers(vector.settings.tables.num_draws, size=(length, num_envs))
    if wrapping == "trial":
        vector = VectorTrial(vector, num_episodes, episode_flag=quirk)
        singles = [Trial(env, num_episodes, episode_flag=quirk) for env in singles]
    if wrapping != "bare":
        vector = VectorMetaObservation(vector, first_action_zero_is_set=quirk)
        singles = [MetaObservation(env, first_action_zero_is_set=quirk) for env in singles]

    options = {"tasks": chosen, "teleports": torch.from_numpy(teleports)}
    many, _ = vector.reset(options=options)
    one = [
        env.reset(options={"task": chosen[b], "teleports": teleports[:, b]})[0]
        for b, env in enumerate(singles)
    ]
    np.testing.assert_array_equal(many.numpy(), np.stack(one))
    for t in range(length):
        many, rewards, terminated, truncated, _ = vector.step(torch.from_numpy(actions[t]))
        results = [env.step(actions[t, b]) for b, env in enumerate(singles)]
        np.testing.assert_array_equal(many.numpy(), np.stack([r[0] for r in results]))
        assert rewards.tolist() == [r[1] for r in results]
        assert terminated.tolist() == [r[2] for r in results]
        assert truncated.tolist() == [r[3] for r in results]
        positions = [env.unwrapped.agent_position for env in singles]
        assert [tuple(p) for p in vector.unwrapped.agent_positions.tolist()] == positions
