"""Trials: what agents are told of what they did and earned."""

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode

from envs import GridMazeVectorEnv
from metarl.evaluate.returns import evaluate_agent
from metarl.evaluate.trials import play_episodes
from metarl.methods.trials import episode_metrics
from metarl.rl import Trajectory
from metarl.rl.trial_env import TrialEnv

CPU = torch.device("cpu")
B = 6


def mazes(**settings):
    generator = torch.Generator().manual_seed(0)
    return GridMazeVectorEnv(B, size=7, horizon=8, generator=generator, **settings)


def test_a_bonus_is_paid_in_every_episode_and_no_agent_is_told():
    """It is in the rewards, and beside them, at the last step of an episode too."""
    env, plain = mazes(exploration_bonus=0.25), mazes()
    trial, other = (TrialEnv(e, 8, 3, device=CPU) for e in (env, plain))
    seen, expected = trial.reset()[0], other.reset()[0]
    assert torch.equal(seen, expected)
    earned = torch.zeros(B)
    for step in range(24):
        actions = torch.randint(4, (B,), generator=torch.Generator().manual_seed(step))
        seen, rewards, _, _, info = trial.step(actions)
        expected, bare, _, _, none = other.step(actions)
        assert torch.equal(seen, expected), step
        assert torch.equal(rewards - info["bonus"], bare), step
        assert "bonus" not in none
        if step % 8 == 7:
            earned += info["bonus"]
    assert earned.any(), "a last step earned it"


def ending(mode=AutoresetMode.NEXT_STEP, horizon=8, **settings):
    generator = torch.Generator().manual_seed(0)
    env = GridMazeVectorEnv(
        B, size=5, horizon=horizon, respawn="end", autoreset_mode=mode, generator=generator
    )
    return env, TrialEnv(env, horizon, device=CPU, **settings)


def test_an_episode_that_ends_is_followed_by_the_next_at_once_on_the_same_task():
    env, trial = ending(num_episodes=3)
    seen, _ = trial.reset(options={"tasks": None})
    goals, starts = (parameter.clone() for parameter in env.task_parameters)
    flag, time, before = 9, 11, 12
    assert (seen[:, flag] == 1).all()
    numbers, age = torch.zeros(B, dtype=torch.int64), torch.zeros(B, dtype=torch.int64)
    ended_early = False
    for step in range(24):
        actions = torch.randint(4, (B,), generator=torch.Generator().manual_seed(step))
        seen, rewards, terminated, truncated, _ = trial.step(actions)
        age += 1
        over = (rewards > 0) | (age == 8)  # found, or out of time
        ended_early = ended_early or bool(((rewards > 0) & (age < 8)).any())
        numbers += over
        assert torch.equal(trial.episodes, numbers)
        assert torch.equal(seen[:, flag] == 1, over)
        assert torch.equal(seen[:, before], rewards)
        torch.testing.assert_close(seen[:, time], torch.full((B,), (step + 1) / 24))
        assert torch.equal(terminated, numbers >= 3)
        assert torch.equal(truncated, ~terminated & (step == 23))
        assert torch.equal(env.task_parameters[0], goals)
        assert torch.equal(env.agent_cells[over], starts[over])
        age = age.masked_fill(over, 0)
    assert ended_early
    assert (numbers >= 3).all(), "no trial is longer than episodes that are all of full length"


def test_no_tasks_are_drawn_within_a_trial():
    env, trial = ending(num_episodes=3)
    trial.reset()
    (generator,) = env._generators.generators
    before = generator.get_state()
    for _ in range(24):
        trial.step(torch.randint(4, (B,)))
    assert trial.episodes.any()
    assert torch.equal(generator.get_state(), before)


def test_beginning_again_where_all_have_ended_is_beginning_again_everywhere():
    pair = [ending()[0] for _ in range(2)]
    for env in pair:
        env.reset_tensors()
    for step in range(20):
        actions = torch.randint(4, (B,), generator=torch.Generator().manual_seed(step))
        ended = []
        for env in pair:
            _, _, terminated, truncated, _ = env.step_tensors(actions)
            ended.append(terminated | truncated)
        assert torch.equal(*ended)
        assert torch.equal(pair[0].begin_again(), pair[1].begin_again(ended[1]))


def test_a_trial_of_so_many_steps_goes_on_whatever_episodes_are_over():
    _, trial = ending(num_steps=20)
    trial.reset()
    for step in range(20):
        _, _, terminated, truncated, _ = trial.step(torch.full((B,), step % 4))
        assert not terminated.any()
        assert bool(truncated.all()) is bool(truncated.any()) is (step == 19)
    assert trial.horizon == 20
    assert (trial.episodes >= 2).all()


def test_lock_step_trials_of_so_many_steps_cut_their_last_episode():
    trial = TrialEnv(mazes(), 8, num_steps=20, device=CPU)
    seen, _ = trial.reset()
    begun = [bool(seen[0, 9])]
    for _ in range(20):
        seen, _, _, truncated, _ = trial.step(torch.zeros(B, dtype=torch.int64))
        begun.append(bool(seen[0, 9]))
    assert [t for t, flag in enumerate(begun) if flag] == [0, 8, 16]
    assert truncated.all()


def test_episodes_that_begin_on_other_tasks_by_themselves_are_refused():
    with pytest.raises(ValueError, match="NEXT_STEP"):
        ending(AutoresetMode.SAME_STEP)


class Walker:
    """Plays the actions of a list."""

    def __init__(self, actions):
        self.actions = actions

    def begin(self, num_trials):
        self.left = iter(self.actions)

    def act(self, observations):
        return next(self.left)

    def observe(self, *_):
        pass


def test_episodes_of_their_own_time_are_evaluated_one_by_one():
    actions = torch.randint(4, (24, B), generator=torch.Generator().manual_seed(3))
    _, trial = ending(num_episodes=3)
    trial.reset(options={"tasks": None})
    paid, number, first = torch.zeros(B, 3), torch.zeros(B, dtype=torch.int64), {}
    for step, action in enumerate(actions):
        _, rewards, *_ = trial.step(action)
        for b in range(B):
            if number[b] < 3:
                paid[b, number[b]] += rewards[b]
                age = step - first.setdefault((b, int(number[b])), step)
                if rewards[b] > 0:
                    first[b, int(number[b]), "found"] = age + 1
        number = trial.episodes
    _, again = ending(num_episodes=3)
    found = evaluate_agent(Walker(actions), again, B, 3, 8, options={"tasks": None})
    assert torch.equal(torch.tensor(found.returns[..., 0]).float(), paid)
    expected = [[first.get((b, k, "found"), 8) for k in range(3)] for b in range(B)]
    assert found.lengths[..., 0].tolist() == expected
    assert torch.equal(torch.tensor(found.successes[..., 0]), paid > 0)
    _, third = ending(num_episodes=3)
    apart = play_episodes(Walker(actions), third, 8, 3, {"tasks": None}).reshape(3, 8, B)
    assert torch.equal(torch.tensor(apart.sum(1)).float().T, paid)
    steps = np.where((apart > 0).any(1), (apart > 0).argmax(1) + 1, 8)
    assert steps.T.tolist() == expected


def test_metrics_of_episodes_are_by_the_flag_where_they_end_in_their_own_time():
    flags = torch.tensor([1.0, 0, 0, 1, 0, 1, 0, 0]).view(1, 8, 1).repeat(1, 1, 2)
    rewards = torch.tensor([0.0, 0, 5, -1, 4, 0, 2, 0]).view(1, 8, 1).repeat(1, 1, 2)
    rewards[0, :3, 1] = 0
    no, blank = torch.zeros(1, 8, 2, dtype=torch.bool), torch.zeros(1, 8, 2, 1)
    seen = torch.stack((torch.zeros_like(flags), flags), -1)
    played = Trajectory(seen, no.long(), rewards, blank, rewards, no, no, ~no, torch.zeros(1, 2, 2))
    found = {name: value.item() for name, value in episode_metrics(played, 3, 1).items()}
    assert found == {"return_before": 2.5, "return": 2.0, "trial_return": 7.5, "unrewarded": 0.5}
