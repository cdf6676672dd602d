"""Policies and action spaces: what is stepped is what was drawn, or it is refused by name."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from metarl.core import sgd
from metarl.meta import ANIL, EMAML, MAML, TRPO, ProMP, Reptile
from metarl.nn import GRU
from metarl.rl import (
    Bernoulli,
    Categorical,
    Collector,
    Distribution,
    Gaussian,
    HostVectorEnv,
    MultiCategorical,
    PolicyGradientSettings,
    PolicyGradientTasks,
    actor_critic,
    distribution_for,
    mlp_policy,
    recurrent_policy,
)
from metarl.rl.spaces import PlainActions, TakesPlainActions, check_spaces, plain


class Keeper(gymnasium.Env):
    """Does what it is told without a look, and keeps it; pays for the task's share of it."""

    def __init__(self, actions: spaces.Space[Any], observations: spaces.Space[Any] | None = None):
        self.action_space = actions
        self.observation_space = observations or spaces.Box(-1, 1, (3,), np.float32)
        self.task, self.kept = 0.0, []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        self.kept.append(action)
        self.time += 1
        reward = self.task * float(np.sum(action))
        return self.observation_space.sample(), reward, False, self.time == 4, {}


def host(actions, observations=None, num_envs=4, mode=AutoresetMode.NEXT_STEP):
    made = [Keeper(actions, observations) for _ in range(num_envs)]
    vector = SyncVectorEnv([lambda one=one: one for one in made], autoreset_mode=mode)
    return HostVectorEnv(vector), made


def tasks_of(env, policy, generator=None, **settings):
    generator = generator or torch.Generator().manual_seed(0)
    options = {"tasks": [task for task in (0.0, 1.0) for _ in range(env.num_envs // 2)]}
    collector = Collector(env, policy, [generator], 4, num_tasks=2, options=options)
    return PolicyGradientTasks(collector, PolicyGradientSettings(**settings))


def of_space(space, action):
    """A number of a ``Box`` without axes is an array to Gymnasium."""
    return np.asarray(action) if isinstance(space, spaces.Box) else action


FITTING = [
    (spaces.Discrete(4), Categorical(4)),
    (spaces.Discrete(4, start=1), Categorical(4)),
    (spaces.Discrete(3, start=-1), Categorical(3)),
    (spaces.MultiDiscrete([3, 2]), MultiCategorical((3, 2))),
    (spaces.MultiDiscrete([3, 2], start=[5, -1]), MultiCategorical([3, 2])),
    (spaces.MultiDiscrete([[3, 2], [4, 1]]), MultiCategorical([3, 2, 4, 1])),
    (spaces.MultiBinary(3), Bernoulli(3)),
    (spaces.MultiBinary([2, 2]), Bernoulli(4)),
    (spaces.Box(-0.1, 0.2, (2,)), Gaussian(2)),
    (spaces.Box(-0.1, 0.2, (2, 3), np.float64), Gaussian(6)),
    (spaces.Box(0, 1, ()), Gaussian(1)),
    (spaces.Box(-np.inf, np.inf, (2,)), Gaussian(2)),
]


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize(("space", "distribution"), FITTING)
def test_actions_of_every_kind_arrive_inside_their_space(space, distribution, mode):
    env, made = host(space, mode=mode)
    assert distribution_for(env.single_action_space) == distribution
    policy = mlp_policy(3, distribution, hidden=(4,))
    learner = MAML(policy.init(torch.Generator().manual_seed(0)), rule=sgd(0.1), num_steps=1)
    for metrics in learner.meta_gradients(tasks_of(env, policy)):
        assert torch.isfinite(metrics["query_loss"]).all()
    kept = [action for one in made for action in one.kept]
    assert len(kept) >= 2 * 4 * 4
    assert all(space.contains(of_space(space, action)) for action in kept)
    if not isinstance(space, spaces.Box):
        assert len({str(action) for action in kept}) > 1


@pytest.mark.parametrize(
    ("space", "distribution", "message"),
    [
        (spaces.Discrete(3), Categorical(5), r"make the policy with Categorical\(num_actions=3\)"),
        (spaces.Discrete(4), Gaussian(1), r"make the policy with Categorical\(num_actions=4\)"),
        (spaces.MultiDiscrete([3, 3]), Gaussian(2), r"MultiCategorical\(num_choices=\(3, 3\)\)"),
        (spaces.MultiDiscrete([3, 3]), Categorical(9), "MultiCategorical"),
        (spaces.MultiDiscrete([3, 3]), MultiCategorical([3, 2]), "MultiCategorical"),
        (spaces.MultiDiscrete([3, 3]), MultiCategorical([3, 3, 3]), "MultiCategorical"),
        (spaces.MultiBinary(2), Gaussian(2), r"Bernoulli\(num_actions=2\)"),
        (spaces.MultiBinary(2), Bernoulli(3), r"Bernoulli\(num_actions=2\)"),
        (spaces.MultiBinary(2), Categorical(2), r"Bernoulli\(num_actions=2\)"),
        (spaces.Box(-1, 1, (2,)), Gaussian(3), r"Gaussian\(num_actions=2"),
        (spaces.Box(-1, 1, (2,)), Categorical(2), r"Gaussian\(num_actions=2"),
        (spaces.Box(-9, 9, (2,), np.int64), Gaussian(2), r"MultiDiscrete\(high - low \+ 1, start"),
        (spaces.Box(0, 255, (2,), np.uint8), Gaussian(2), "whole numbers"),
        (spaces.Dict(a=spaces.Discrete(2)), Categorical(2), "ActionWrapper that makes them of one"),
        (spaces.Tuple([spaces.Discrete(2)] * 2), Categorical(2), "ActionWrapper"),
        (spaces.Text(3), Categorical(2), "ActionWrapper"),
    ],
)
def test_policies_of_another_kind_are_refused_before_anything_is_played(
    space, distribution, message
):
    env, made = host(space)
    with pytest.raises(ValueError, match=message):
        tasks_of(env, mlp_policy(3, distribution))
    with pytest.raises(ValueError, match=message):
        tasks_of(env, recurrent_policy(GRU(3, 2), distribution))
    assert not any(one.kept for one in made)


def test_a_tensor_program_that_counts_from_elsewhere_is_refused():
    class Elsewhere:
        single_action_space = spaces.Discrete(4, start=1)

    with pytest.raises(ValueError, match=r"draw the actions of Discrete\(4\), not of Discrete\(4,"):
        check_spaces(Elsewhere(), Categorical(4), None)


@pytest.mark.parametrize(
    "policy", [mlp_policy(3, Categorical(2)), mlp_policy(3, Categorical(2), shared_trunk=True)]
)
def test_observations_of_another_size_are_refused(policy):
    for size in (2, 4):
        env, _ = host(spaces.Discrete(2), spaces.Box(-1, 1, (size,)))
        with pytest.raises(ValueError, match=f"looks at 3 numbers, .* has {size}: make the policy"):
            tasks_of(env, policy)
    env, _ = host(spaces.Discrete(2), spaces.Box(0, 255, (2, 2, 3), np.uint8))
    with pytest.raises(ValueError, match="make the policy with 12 inputs"):
        tasks_of(env, recurrent_policy(GRU(3, 2), Categorical(2)))
    tasks_of(env, mlp_policy(12, Categorical(2)))
    with pytest.raises(ValueError, match=r"not at Discrete\(7\): .*FlattenObservation"):
        check_spaces(Keeperlike(spaces.Discrete(7)), Categorical(2), 1)


class Keeperlike:
    def __init__(self, observations):
        self.single_observation_space = observations
        self.single_action_space = spaces.Discrete(2)


def test_trials_ask_the_same():
    for actions, observations in ((3, 4), (2, 5)):
        core = GRU(observations, 3)
        env, _ = host(spaces.Discrete(2), spaces.Box(-1, 1, (4,)))
        with pytest.raises(ValueError, match="make the policy with"):
            Collector(env, actor_critic(core, Categorical(actions)), [torch.Generator()], 4)
    fits = Collector(env, actor_critic(GRU(4, 3), Categorical(2)), [torch.Generator()], 4)
    assert (fits.num_tasks, fits.num_steps, fits.num_episodes) == (1, 4, 4)


LEARNERS = {
    "maml": lambda p: MAML(p, rule=sgd(0.1), num_steps=1),
    "fomaml": lambda p: MAML(p, rule=sgd(0.1), num_steps=1, first_order=True),
    "anil": lambda p: ANIL(p, rule=sgd(0.1), num_steps=1, head=("actor.*",)),
    "reptile": lambda p: Reptile(p, rule=sgd(0.1), num_steps=1),
    "promp": lambda p: ProMP(p, rule=sgd(0.1), num_steps=1),
    "trpo": lambda p: TRPO(p, rule=sgd(0.1), num_steps=1),
    "emaml": lambda p: EMAML(p, rule=sgd(0.1), num_steps=1),
}


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize("distribution", [MultiCategorical([3, 2]), Bernoulli(3)])
@pytest.mark.parametrize("remembers", [False, True])
def test_every_policy_gradient_learner_takes_them(learner, distribution, remembers):
    space = {
        MultiCategorical: spaces.MultiDiscrete([3, 2], start=[1, 1]),
        Bernoulli: spaces.MultiBinary(3),
    }[type(distribution)]
    env, _ = host(space)
    policy = mlp_policy(3, distribution, hidden=(4,))
    if remembers:
        policy = recurrent_policy(GRU(3, 4), distribution)
    made = LEARNERS[learner](policy.init(torch.Generator().manual_seed(0)))
    before = {n: p.detach().clone() for n, p in made.params.items()}
    optimiser = torch.optim.SGD(made.params.values(), lr=1.0)
    for metrics in made.meta_gradients(tasks_of(env, policy, entropy_coef=0.01)):
        assert all(torch.isfinite(value).all() for value in metrics.values())
        optimiser.step()
        optimiser.zero_grad()
    assert any(not torch.equal(p, before[n]) for n, p in made.params.items())


@pytest.mark.parametrize(
    "space", [spaces.MultiDiscrete([3, 3], start=[-1, -1]), spaces.MultiBinary(2)]
)
def test_they_learn_what_pays(space):
    """Task 1 pays for large actions: adaptation and meta-learning find the largest."""
    env, _ = host(space, num_envs=40)
    generator = torch.Generator().manual_seed(1)
    policy = mlp_policy(3, distribution_for(env.single_action_space), hidden=(8,))
    learner = MAML(policy.init(torch.Generator().manual_seed(0)), rule=sgd(0.5), num_steps=1)
    optimiser = torch.optim.Adam(learner.params.values(), lr=0.05)
    for _ in range(40):
        tasks = tasks_of(env, policy, generator)
        for metrics in learner.meta_gradients(tasks):
            optimiser.step()
            optimiser.zero_grad()
            found = metrics["return"]
    assert found[1] > 0.8 * 4 * 2


def test_clipping_is_of_what_is_stepped_alone():
    space = spaces.Box(-0.1, 0.2, (2,))
    env, made = host(space)
    policy = mlp_policy(3, Gaussian(2), hidden=(4,))
    batch = tasks_of(env, policy).sample(
        {n: p[None].expand(2, *p.shape) for n, p in policy.init(torch.Generator()).items()},
        {},
        "support",
    )
    drawn = batch.trajectory.actions
    stepped = torch.tensor(np.array([one.kept for one in made])).view(2, 2, 4, 2).transpose(1, 2)
    assert torch.equal(drawn.clamp(-0.1, 0.2), stepped)
    assert not torch.equal(drawn, stepped)
    again = policy.distribution.log_prob(batch.trajectory.outputs, drawn)
    assert torch.equal(again, batch.trajectory.log_p)


@pytest.mark.parametrize(
    ("space", "actions", "message"),
    [
        (spaces.Discrete(3), [0, 3], r"environment 1 got the action 3, .* Discrete\(3\)"),
        (spaces.Discrete(3), [-1, 0], "environment 0 got the action -1"),
        (spaces.Discrete(3), [0.5, 1.0], "environment 0 got the action 0.5"),
        (spaces.Discrete(3), [1.0, float("nan")], "environment 1 got the action nan"),
        (
            spaces.Discrete(3),
            [[0], [1]],
            r"shape \(2, 1\), those of Discrete\(3\) must have \(2,\)",
        ),
        (spaces.MultiBinary(2), [[0, 1], [2, 0]], r"environment 1 got the action \[2, 0\]"),
        (spaces.MultiDiscrete([2, 3]), [[0, 1], [1, 3]], r"environment 1 .* \[1, 3\]"),
        (spaces.Box(-1, 1, (2,)), [[0.0], [1.0]], r"those of Box.* must have \(2, 2\)"),
    ],
)
def test_actions_by_hand_are_checked_too(space, actions, message):
    env, made = host(space, num_envs=2)
    env.reset()
    with pytest.raises(ValueError, match=message):
        env.step(torch.tensor(actions))
    assert not any(one.kept for one in made)


@pytest.mark.parametrize(("space", "distribution"), FITTING)
def test_plain_actions_are_plain_and_go_back(space, distribution: Distribution):
    flat = plain(space)
    assert plain(flat) == flat
    assert distribution.draws(flat)
    flat.seed(0)
    drawn = np.stack([np.asarray(flat.sample()) for _ in range(20)])
    taken = PlainActions(space).taken(drawn)
    assert all(space.contains(of_space(space, one)) for one in taken)
    start = getattr(space, "start", 0)
    assert np.allclose((taken - start).reshape(drawn.shape), drawn)


@pytest.mark.parametrize(
    ("space", "drawn", "taken"),
    [
        (spaces.Discrete(3, start=-1), 0, -1),
        (spaces.MultiDiscrete([2, 3], start=[1, -1]), np.array([1, 0]), np.array([2, -1])),
        (spaces.Box(0, 5, (2, 1), np.float64), np.array([-1.0, 7.0]), np.array([[0.0], [5.0]])),
        (spaces.Box(-2, 2, (), np.float32), np.array([3.0]), np.array(2.0)),
    ],
)
def test_one_environment_takes_what_a_policy_draws(space, drawn, taken) -> None:
    env = TakesPlainActions(Keeper(space))
    env.reset()
    env.step(drawn)
    assert env.action_space == plain(space)
    assert space.contains(env.unwrapped.kept[0])
    np.testing.assert_array_equal(env.unwrapped.kept[0], taken)
