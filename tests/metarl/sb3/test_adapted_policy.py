"""Adapted weights before SB3's `evaluate_policy`: each task's environments with its own."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecEnv

from envs import PointNavigationVectorEnv, PointTask
from metarl.core import stack
from metarl.nn import RNN
from metarl.rl import Categorical, Gaussian, PolicyAgent, mlp_policy, recurrent_policy
from metarl.sb3 import AdaptedPolicy, TaskVecEnv
from tests.metarl.rl.remembering import remembering

GOALS = (PointTask((0.4, 0.0)), PointTask((0.0, -0.3)))
PLANE = Box(-0.1, 0.1, (2,), np.float32)


def straight_to(goal):
    """A policy whose mean is the step to the goal; its log deviation is small."""
    policy = mlp_policy(2, Gaussian(2, initial_std=0.01), hidden=(4,))
    params = policy.init(torch.Generator().manual_seed(0))
    params = {name: torch.zeros_like(p) if "actor" in name else p for name, p in params.items()}
    name = next(n for n, p in params.items() if n.startswith("actor") and p.shape == (2,))
    return policy, params | {name: torch.tensor(goal) / 4}


def test_each_tasks_weights_serve_its_environments():
    """The broken twin plays each task with the other's weights."""
    policies, params = zip(*(straight_to(task.goal) for task in GOALS), strict=True)
    points = PointNavigationVectorEnv(6, horizon=4, goal_radius=0.0)
    env = TaskVecEnv(points, tasks=[GOALS[0]] * 3 + [GOALS[1]] * 3)
    returns = []
    for order in ((0, 1), (1, 0)):
        adapted = AdaptedPolicy(policies[0], stack([params[n] for n in order]), env.action_space)
        returns.append(evaluate_policy(adapted, env, n_eval_episodes=6, warn=False)[0])
    # 0.4 away in four steps of 0.1, 0.3 in four of 0.075
    assert returns[0] == pytest.approx(-(0.3 + 0.2 + 0.1 + 0.225 + 0.15 + 0.075) / 2, abs=1e-4)
    assert returns[1] < returns[0] - 0.5


def test_it_draws_and_chooses_like_the_agent_and_gives_the_state_back():
    policy = mlp_policy(2, Categorical(3), hidden=(4,))
    each = stack([policy.init(torch.Generator().manual_seed(s)) for s in range(3)])
    x = torch.randn(12, 2, generator=torch.Generator().manual_seed(1))
    for deterministic in (True, False):
        draws = [torch.Generator().manual_seed(2) for _ in range(2)]
        ours = AdaptedPolicy(policy, each, Discrete(3), draws[0])
        agent = PolicyAgent(policy, each, draws[1], greedy=deterministic)
        state = (np.zeros(1),)
        actions, same = ours.predict(x.numpy(), state, np.ones(12, bool), deterministic)
        assert same is state
        assert actions.dtype == np.int64
        assert actions.tolist() == agent.act(x).tolist()


def test_actions_are_clipped_and_a_single_observation_has_a_single_action():
    policy = mlp_policy(2, Gaussian(2), hidden=(4,))
    adapted = AdaptedPolicy(policy, stack([policy.init(torch.Generator())]), PLANE)
    actions = np.stack([adapted.predict(np.zeros(2, np.float32))[0] for _ in range(20)])
    assert actions.shape == (20, 2)
    assert np.abs(actions).max() == np.float32(0.1)
    assert len(np.unique(actions)) > 2


def test_what_cannot_be_shared_is_refused():
    policy = mlp_policy(2, Categorical(3))
    each = stack([policy.init(torch.Generator())] * 3)
    adapted = AdaptedPolicy(policy, each, Discrete(3))
    with pytest.raises(ValueError, match="7 trials cannot be shared evenly"):
        adapted.predict(np.zeros((7, 2), np.float32))
    with pytest.raises(ValueError, match="1 trials cannot be shared evenly"):
        adapted.predict(np.zeros(2, np.float32))
    with pytest.raises(ValueError, match="not a dict"):
        adapted.predict({"x": np.zeros((3, 2))})


@pytest.mark.parametrize("core", ["gru", "lstm"])
def test_what_is_remembered_goes_through_the_state_until_the_episode_ends(core):
    """The broken twin loses the state at every step, the other the beginnings of episodes."""
    policy = remembering(core)
    each = stack([policy.init(torch.Generator().manual_seed(s)) for s in range(2)])
    each = {name: 5 * p for name, p in each.items()}
    generator = torch.Generator().manual_seed(4)
    observations = torch.randn(30, 8, 3, generator=generator)
    over = torch.rand(30, 8, generator=generator) < 0.2
    draws = [torch.Generator().manual_seed(2) for _ in range(4)]
    agent = PolicyAgent(policy, each, draws[0])
    agent.begin(8)
    expected = []
    for x, ends in zip(observations, over, strict=True):
        expected.append(agent.act(x).tolist())
        agent.observe(torch.zeros(8), ends, torch.zeros_like(ends))
    played = []
    for twin, draw in enumerate(draws[1:]):
        adapted, state, starts = AdaptedPolicy(policy, each, Discrete(2), draw), None, np.ones(8)
        actions = []
        for x, ends in zip(observations, over, strict=True):
            begun = None if twin == 2 else starts.astype(bool)
            action, state = adapted.predict(x.numpy(), None if twin == 1 else state, begun)
            actions.append(action.tolist())
            starts = ends.numpy()
        played.append(actions)
    whole, without_state, without_starts = played
    assert whole == expected
    assert expected not in (without_state, without_starts)


class Recall(VecEnv):
    """Shows +1 or -1 once, then zeros; pays 1 for the action that says which, at the third step."""

    def __init__(self):
        super().__init__(4, Box(-1, 1, (3,), np.float32), Discrete(2))
        self.rng = np.random.default_rng(0)

    def reset(self):
        self.time, self.signs = 0, self.rng.choice([-1.0, 1.0], 4)
        return self.see()

    def see(self):
        shown = np.zeros((4, 3), np.float32)
        shown[:, 0] = self.signs * (self.time == 0)
        return shown

    def step_async(self, actions):
        self.actions = actions

    def step_wait(self):
        self.time += 1
        over = self.time == 3
        rewards = ((self.actions == (self.signs > 0)) & over).astype(np.float32)
        seen = self.reset() if over else self.see()
        return seen, rewards, np.full(4, over), [{} for _ in range(4)]

    def close(self):
        pass

    get_attr = set_attr = env_method = env_is_wrapped = lambda self, *_, **__: [False]


def test_a_policy_with_memory_recalls_under_evaluate_policy():
    """Its one unit is driven by what is shown, keeps its sign, and decides."""
    policy = recurrent_policy(RNN(3, 1), Categorical(2))
    params = {n: torch.zeros_like(p) for n, p in policy.init(torch.Generator()).items()}
    params["core.weight_ih"][0, 0] = 5.0
    params["core.weight_hh"][0, 0] = 2.0
    params["actor.layers.0.weight"][0, 1] = 9.0
    adapted = AdaptedPolicy(policy, stack([params]), Discrete(2))
    assert evaluate_policy(adapted, Recall(), n_eval_episodes=40, warn=False) == (1.0, 0.0)
    alone, state = adapted.predict(np.float32([1, 0, 0]))
    for _ in range(2):
        alone, state = adapted.predict(np.zeros(3, np.float32), state, np.zeros(1, bool))
    assert alone == 1
    with pytest.raises(ValueError, match=r"has the shapes \[\(1, 2, 1\)\], got \[\(1, 1, 1\)\]"):
        adapted.predict(np.zeros((2, 3), np.float32), state)
