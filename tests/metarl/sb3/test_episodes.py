"""Whole episodes for PPO: nothing from behind an end, and as SB3 learns where all end together."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

from envs import PointNavigationVectorEnv
from metarl.evaluate.returns import outcomes
from metarl.sb3 import TaskVecEnv, copy_of, play_episodes, seeded
from metarl.sb3.episodes import rollout_buffer
from tests.metarl.rl.ending_env import ENDS, TensorEndingEnv
from tests.metarl.sb3.models import GOALS, mazes, params_of, same, small_ppo

TASKS = GOALS.sample(4, np.random.default_rng(1))
LENGTHS = [length for length, _ in ENDS]
REWARDS = [sum(range(length)) for length in LENGTHS]


def ending(mode):
    env = TensorEndingEnv(mode)
    env.may_truncate |= env.length == 9
    spaces = {"observation_space": Box(-1, 100, (2,), np.float32), "action_space": Discrete(2)}
    return TaskVecEnv(env, **spaces, wait=True)


@pytest.mark.parametrize("mode", ["same_step", "disabled"])
def test_one_episode_in_each_environment_and_nothing_behind_its_end(mode):
    env = ending(mode)
    model = small_ppo(env, n_steps=4)
    with seeded(0):
        played = play_episodes(model.policy, env)
    assert played.lengths[0].tolist() == LENGTHS
    assert played.returns[0].tolist() == REWARDS
    true_ends = [how in ("terminated", "both") for _, how in ENDS]
    assert played.terminated[0].any(0).tolist() == true_ends
    assert played.last_observations[0].tolist() == [[0, length] for length in LENGTHS]
    found = outcomes(played)
    assert found["successes"][0].tolist() == [1, 1, 1, 1, 1, 1]
    assert found["lengths"][0].tolist() == [2, 2, 2, 1, 2, 2]  # paid at the second step, or ended


@pytest.mark.parametrize("mode", ["same_step", "disabled"])
def test_the_buffer_holds_these_episodes_with_advantages_by_hand(mode):
    env = ending(mode)
    model = small_ppo(env, n_steps=4)
    with seeded(0):
        played = play_episodes(model.policy, env)
    buffer = rollout_buffer(model, played)
    assert buffer.buffer_size == sum(LENGTHS)
    start = 0
    for e, (length, how) in enumerate(ENDS):
        rows = slice(start, start + length)
        start += length
        assert buffer.observations[rows, 0].tolist() == [[0, t] for t in range(length)]
        last = torch.tensor([[0.0, length]])
        with torch.no_grad():
            beyond = float(model.policy.predict_values(last))
        values = [
            *played.values[0, :length, e].tolist(),
            0.0 if how in ("terminated", "both") else beyond,
        ]
        advantage, expected = 0.0, []
        for t in reversed(range(length)):
            delta = t + model.gamma * values[t + 1] - values[t]
            advantage = delta + model.gamma * model.gae_lambda * advantage
            expected.insert(0, advantage)
        np.testing.assert_allclose(buffer.advantages[rows, 0], expected, rtol=1e-5)
        np.testing.assert_allclose(
            buffer.returns[rows, 0], np.add(expected, values[:-1]), rtol=1e-5
        )


def test_where_all_episodes_end_together_it_is_sb3s_own_iteration():
    """The broken twin forgets that a truncated episode is not over."""
    env = mazes(tasks=TASKS)
    theirs = small_ppo(env)
    ours, twin = copy_of(theirs), copy_of(theirs)
    start = params_of(theirs)
    with seeded(7):
        theirs.learn(24)
    for model in (ours, twin):
        with seeded(7):
            played = play_episodes(model.policy, mazes(tasks=TASKS))
            if model is twin:
                played = played._replace(terminated=played.terminated | played.truncated)
            model.rollout_buffer = rollout_buffer(model, played)
            model.train()
    expected, found, wrong = params_of(theirs), params_of(ours), params_of(twin)
    assert not same(expected, start)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6)
    assert any(not torch.allclose(wrong[n], p, rtol=1e-4, atol=1e-6) for n, p in expected.items())


def test_actions_are_learned_from_as_drawn_and_taken_as_clipped():
    points = PointNavigationVectorEnv(3, horizon=4, goal_radius=0.0)
    env = TaskVecEnv(points)
    model = small_ppo(env, n_steps=4, batch_size=4)
    with seeded(0):
        played = play_episodes(model.policy, env)
    assert played.actions.abs().max() > 0.1
    moves = np.diff(played.observations[0].numpy(), axis=0)
    np.testing.assert_allclose(moves, played.actions[0, :-1].clip(-0.1, 0.1).numpy(), atol=1e-6)
    buffer = rollout_buffer(model, played)
    np.testing.assert_array_equal(buffer.actions[:4, 0], played.actions[0, :, 0].numpy())
