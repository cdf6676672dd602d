"""SB3 before environments of every kind of actions: what is stepped lies in their space."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv

from metarl.core import stack
from metarl.rl import Categorical, Gaussian, distribution_for, mlp_policy
from metarl.rl.spaces import plain
from metarl.sb3 import AdaptedPolicy, FineTuning, SB3Agent, TaskVecEnv, fine_tune
from tests.metarl.rl.test_spaces import Keeper, host

SPACES = [
    spaces.Discrete(3, start=2),
    spaces.MultiDiscrete([3, 2], start=[1, -1]),
    spaces.MultiDiscrete([[3, 2]]),
    spaces.MultiBinary(3),
    spaces.MultiBinary([2, 2]),
    spaces.Box(-0.1, 0.2, (2, 2)),
]


def all_inside(space, made):
    kept = [action for one in made for action in one.kept]
    return bool(kept) and all(space.contains(action) for action in kept)


class Counting:
    """A tensor program of 2 environments whose actions are those of a space."""

    num_envs = 2

    def __init__(self, space):
        self.single_action_space, self.kept = space, []
        self.single_observation_space = spaces.Box(-1, 1, (3,))

    def reset(self, *, options=None):
        self.time = 0
        return torch.zeros(2, 3), {}

    def step(self, actions):
        self.kept += list(actions.numpy().astype(self.single_action_space.dtype))
        self.time += 1
        flags = torch.zeros(2, dtype=torch.bool), torch.full((2,), self.time == 3)
        return torch.zeros(2, 3), torch.ones(2), *flags, {}


@pytest.mark.parametrize("space", SPACES)
def test_a_model_trains_and_plays(space):
    env, made = host(space)
    tasks = TaskVecEnv(env, tasks=[0.0, 1.0, 0.0, 1.0])
    assert tasks.action_space == plain(space)
    model = PPO("MlpPolicy", tasks, n_steps=8, batch_size=8, n_epochs=1, device="cpu")
    model.learn(32)
    agent = SB3Agent(model, torch.Generator())
    agent.begin(4)
    env.reset()
    actions = agent.act(torch.zeros(4, 3))
    assert actions.is_floating_point() == isinstance(space, spaces.Box)
    env.step(actions)
    assert all_inside(space, made)
    counting = Counting(space)
    evaluate_policy(model, TaskVecEnv(counting), n_eval_episodes=2, warn=False)
    assert all_inside(space, [counting])


@pytest.mark.parametrize("space", SPACES)
def test_adapted_weights_play_in_a_vec_env_of_sb3(space):
    made = [Keeper(space) for _ in range(2)]
    env = DummyVecEnv([lambda one=one: one for one in made])
    policy = mlp_policy(3, distribution_for(plain(space)), hidden=(4,))
    params = stack([policy.init(torch.Generator().manual_seed(0))])
    adapted = AdaptedPolicy(policy, params, space)
    evaluate_policy(adapted, env, n_eval_episodes=4, warn=False, deterministic=False)
    assert all_inside(space, made)
    one, _ = adapted.predict(np.zeros(3, np.float32))
    assert space.contains(one)


def test_adapted_weights_of_another_kind_are_refused():
    for distribution in (Gaussian(1), Categorical(4)):
        policy = mlp_policy(3, distribution, hidden=(4,))
        params = stack([policy.init(torch.Generator())])
        with pytest.raises(ValueError, match=r"make the policy with Categorical\(num_actions=3\)"):
            AdaptedPolicy(policy, params, spaces.Discrete(3, start=2))


def test_actions_outside_are_refused():
    env, _ = host(spaces.Discrete(3, start=2))
    tasks = TaskVecEnv(env)
    tasks.reset()
    with pytest.raises(ValueError, match="environment 3 got the action 3"):
        tasks.step(np.array([0, 1, 2, 3]))


@pytest.mark.parametrize("space", [SPACES[0], SPACES[1], SPACES[3]])
def test_fine_tuning_takes_them(space):
    model = PPO("MlpPolicy", TaskVecEnv(host(space)[0]), n_steps=8, batch_size=8, device="cpu")

    def make_env(task, seed):
        return TaskVecEnv(host(space)[0], tasks=[float(task)] * 4)

    result = fine_tune(model, make_env, 2, 1, seed=0, settings=FineTuning(num_epochs=1))
    assert result.returns.shape == (2, 2, 4)
    assert not result.returns[0].any()
