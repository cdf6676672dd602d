"""Adaptation measured: by hand-made results, and against the plain computation."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode

from envs.problems import Point
from metarl.core import sgd, share
from metarl.evaluate.returns import (
    AdaptationResult,
    adaptation_summary,
    evaluate_agent,
    evaluate_learner,
    outcomes,
)
from metarl.meta import MAML, NonFiniteLossError
from metarl.rl import Categorical, PolicyGradientSettings, mlp_policy
from metarl.rl.trial_env import TrialEnv
from tests.metarl.rl.enumerable import TinyMDP
from tests.metarl.rl.sampled import sampled


def problem(num_tasks=4, seed=0):
    generator = torch.Generator().manual_seed(7)
    chances = torch.rand(num_tasks, 3, 2, 3, generator=generator, dtype=torch.float64)
    rewards = torch.randn(num_tasks, 3, 2, generator=generator, dtype=torch.float64)
    mdp = TinyMDP(chances / chances.sum(-1, keepdim=True), rewards)
    policy = mlp_policy(3, Categorical(2), hidden=(4,))
    settings = PolicyGradientSettings(gamma=1.0, baseline="none", normalise_advantages=False)
    tasks = sampled(policy, mdp, batch_size=64, seed=seed, settings=settings)
    params = {n: p.double() for n, p in policy.init(generator).items()}
    return MAML(params, rule=sgd(3.0), num_steps=1), tasks, mdp, policy


def result(curves, successes=True):
    """One episode a task and step: curves ``[N, K + 1]``."""
    returns = np.asarray(curves, float)[..., None]
    found = (returns > 0).astype(float) if successes else None
    experience = tuple(range(returns.shape[1]))
    return AdaptationResult(returns, 10 - returns, found, experience)


def test_returns_are_those_of_the_policies_on_the_way():
    learner, tasks, mdp, policy = problem()
    before = learner.state_dict()["params"]
    found = evaluate_learner(learner, tasks, 2)
    assert found.returns.shape == found.lengths.shape == (4, 3, 64)
    assert found.experience == (0, 64, 128)
    assert all(torch.equal(before[n], p) for n, p in learner.params.items())
    assert all(p.grad is None for p in learner.params.values())
    exact = mdp.expected_return(policy, share(learner.fast, 4)).detach().numpy()
    error = found.returns[:, 0].std(-1) / 8  # of a mean over 64 episodes
    assert (np.abs(found.curve[:, 0] - exact) < 4 * error + 1e-9).all()
    assert (found.curve[:, 2] > found.curve[:, 0]).mean() > 0.5


@pytest.mark.parametrize("chunk_size", [1, 3])
def test_tasks_do_not_depend_on_their_company(chunk_size):
    """The broken twin: another seed does change them."""
    (whole, chunks, other) = (
        evaluate_learner(*problem(seed=seed)[:2], 2, chunk_size=size).returns
        for seed, size in ((0, None), (0, chunk_size), (5, None))
    )
    np.testing.assert_allclose(whole, chunks, rtol=1e-9)
    assert not np.allclose(whole, other)


def test_an_end_that_pays_nothing_may_be_a_failure():
    """Lava ends an episode as a goal does, but pays nothing."""
    flat = torch.zeros(1, 3, 2)
    ends = torch.tensor([[[False, False], [True, False], [False, True]]])
    rewards = torch.tensor([[[0.0, 0.0], [0.0, 0.0], [0.0, 1.0]]])
    played = SimpleNamespace(
        rewards=rewards, terminated=ends, lengths=torch.tensor([[2.0, 3.0]]), returns=flat[:, 0]
    )
    assert outcomes(played)["successes"].tolist() == [[True, True]]
    assert outcomes(played, "pays")["successes"].tolist() == [[False, True]]
    assert outcomes(played, "pays")["lengths"].tolist() == [[2.0, 3.0]]


def test_no_steps_are_a_curve_of_one_point():
    learner, tasks, *_ = problem()
    assert evaluate_learner(learner, tasks, 0, has_goal=False).returns.shape == (4, 1, 64)
    with pytest.raises(ValueError, match="num_steps must be at least 0, got -1"):
        evaluate_learner(learner, tasks, -1)


class Counting:
    """Pays 1 at a step of an episode that comes earlier in every episode; 4 trials, 5 steps."""

    num_envs = 4

    def reset(self, *, options=None):
        self.t = 0
        return torch.zeros(4, 1), {}

    def step(self, actions):
        episode, step = divmod(self.t, 5)
        self.t += 1
        reward = torch.full((4,), float(step == 3 - episode))
        no = torch.zeros(4, dtype=torch.bool)
        return torch.zeros(4, 1), reward, no, no, {}


class Idle:
    def begin(self, num_trials):
        assert num_trials == 4

    def act(self, observations):
        return torch.zeros(4, dtype=torch.int64)

    def observe(self, rewards, terminated, truncated):
        pass


def test_episodes_of_trials_are_the_steps_of_an_agent_that_remembers():
    found = evaluate_agent(Idle(), Counting(), 2, 3, 5)
    assert found.returns.shape == (2, 3, 2)
    assert found.experience == (0, 1, 2)
    assert (found.returns == 1).all()
    assert found.lengths[0, :, 0].tolist() == [4, 3, 2]
    assert adaptation_summary([found])["length_ratio"] == [1.0, 0.75, 0.5]
    with pytest.raises(ValueError, match="cannot be shared evenly by 3 tasks"):
        evaluate_agent(Idle(), Counting(), 3, 3, 5)


def test_the_summary_by_hand():
    curves = [[0.0, 4.0], [1.0, 1.0], [2.0, 3.0], [3.0, 0.0], [4.0, 5.0]]
    summary = adaptation_summary([result(curves)], floor=2.0, oracle=4.0)
    assert summary["return_mean"] == [2.0, 2.6]
    assert summary["percent_improved"] == [0.0, 60.0]
    assert summary["normalised_score"] == pytest.approx([0.0, 0.3])
    assert summary["percentile20"] == pytest.approx([0.8, 0.8])
    assert summary["success_rate"] == [0.8, 0.8]
    assert summary["length_mean"] == pytest.approx([8.0, 7.4])
    assert (summary["num_seeds"], summary["num_tasks"], summary["steps"]) == (1, 5, [0, 1])
    for mean, (low, high) in zip(summary["return_iqm"], summary["return_iqm_ci95"], strict=True):
        assert low < mean < high
    assert "success_rate" not in adaptation_summary([result(curves, successes=False)])
    assert "normalised_score" not in adaptation_summary([result(curves)])


def test_of_tasks_means_of_their_means_over_seeds():
    """Not of pairs of seed and task: of those two in three improve, and their percentile is 0.4."""
    up, down = [[0.0, 1.0], [4.0, 5.0]], [[0.0, 1.0], [4.0, 0.0]]
    summary = adaptation_summary([result(up), result(up), result(down)])
    assert summary["percent_improved"] == [0.0, 50.0]
    assert summary["percentile20"] == pytest.approx([0.8, 1.0 + 0.2 * (10 / 3 - 1.0)])


@pytest.mark.parametrize("seeds", [1, 3])
def test_one_task_has_no_interval(seeds):
    summary = adaptation_summary([result([[8.0, 9.0]])] * seeds)
    assert summary["return_mean"] == [8.0, 9.0]
    assert summary["return_mean_ci95"] == summary["return_iqm_ci95"] == [None, None]
    two = adaptation_summary([result([[8.0, 9.0], [7.0, 9.0]])] * seeds)
    assert two["return_mean_ci95"] == [[7.0, 8.0], [9.0, 9.0]]


@pytest.mark.parametrize("oracle", [2.0, 1.0, 2.0 + 1e-12])
def test_no_score_where_the_oracle_is_no_better_than_the_floor(oracle):
    one = [result([[1.0], [2.0]])]
    assert adaptation_summary(one, floor=2.0, oracle=oracle)["normalised_score"] is None
    assert "normalised_score" not in adaptation_summary(one, floor=2.0)  # nobody knows


def test_seeds_count_in_the_interval():
    """Three seeds that agree have the interval of one; seeds that do not, a wider one."""
    curves = np.random.default_rng(0).normal(size=(20, 2))
    one, same, apart = (
        adaptation_summary([result(curves + shift) for shift in shifts])["return_mean_ci95"][0]
        for shifts in ((0.0,), (0.0, 0.0, 0.0), (-2.0, 0.0, 2.0))
    )
    assert same == pytest.approx(one, abs=0.05)
    assert apart[1] - apart[0] > 2 * (one[1] - one[0])


def test_what_cannot_be_a_result_is_refused():
    good = np.zeros((2, 3, 4))
    with pytest.raises(ValueError, match="K \\+ 1 counts"):
        AdaptationResult(good, good, None, (0, 1))
    with pytest.raises(ValueError, match="lengths and successes"):
        AdaptationResult(good, good[:1], None, (0, 1, 2))
    with pytest.raises(NonFiniteLossError, match="finite"):
        AdaptationResult(good + np.nan, good, None, (0, 1, 2))


class Ending:
    """Two environments of 4 steps that pay nothing: the second ends at its second step."""

    num_envs = 2
    single_observation_space = Box(0.0, 1.0, (1,), np.float32)
    single_action_space = Discrete(2)
    autoreset_mode = AutoresetMode.NEXT_STEP

    def __init__(self, out_of_step):
        self.out_of_step = out_of_step

    def reset(self, *, options=None):
        self.steps = torch.zeros(2, dtype=torch.int64)
        return torch.zeros(2, 1), {}

    def begin_again(self):
        self.steps = torch.where(self.ended, 0, self.steps)
        return torch.zeros(2, 1)

    def step(self, actions):
        self.steps = self.steps + 1
        terminated = (self.steps >= 2) & torch.tensor([False, True])
        truncated = ~terminated & (self.steps == 4)
        self.ended = terminated | truncated
        return torch.zeros(2, 1), torch.zeros(2), terminated, truncated, {}


class Still(Idle):
    def begin(self, num_trials):
        assert num_trials == 2

    def act(self, observations):
        return torch.zeros(2, dtype=torch.int64)


@pytest.mark.parametrize("out_of_step", [False, True])
@pytest.mark.parametrize(
    ("has_goal", "successes"), [(True, [0, 1]), ("pays", [0, 0]), ("ends", [0, 1]), (False, None)]
)
def test_agents_succeed_where_learners_do(out_of_step, has_goal, successes):
    env = TrialEnv(Ending(out_of_step), 4, 2, device=torch.device("cpu"))
    found = evaluate_agent(Still(), env, 2, 2, 4, has_goal=has_goal)
    ends = torch.zeros(2, 4, 1, dtype=torch.bool)
    ends[1, 1] = True
    played = SimpleNamespace(
        rewards=torch.zeros(2, 4, 1),
        terminated=ends,
        returns=torch.zeros(2, 1),
        lengths=torch.tensor([[4], [2]]),
    )
    learners = outcomes(played, has_goal)
    for episode in range(2):
        assert found.lengths[:, episode].tolist() == learners["lengths"].tolist() == [[4], [2]]
        if successes is not None:
            assert found.successes[:, episode, 0].tolist() == successes
            assert learners["successes"][:, 0].tolist() == successes
    assert has_goal or found.successes is None


def test_what_pays_before_the_end_of_an_episode_without_a_goal_is_no_length():
    played = SimpleNamespace(
        rewards=torch.ones(1, 3, 1),
        terminated=torch.zeros(1, 3, 1, dtype=torch.bool),
        returns=torch.full((1, 1), 3.0),
        lengths=torch.tensor([[3]]),
    )
    found = outcomes(played, False)
    assert (found["lengths"].item(), found["successes"].item()) == (3, False)


def test_an_agent_that_reaches_a_point_has_succeeded():
    problem = Point(horizon=30)
    tasks = problem.test.sample(4, np.random.default_rng(0))
    goals = torch.tensor([task.goal for task in tasks])
    env = TrialEnv(
        problem.make_env(4, [torch.Generator().manual_seed(0)], torch.device("cpu")),
        30,
        2,
        device=torch.device("cpu"),
    )

    class Walker(Idle):
        def act(self, seen):
            return ((goals - seen[:, :2]) / 0.1).clamp(-1, 1)

    found = evaluate_agent(Walker(), env, 4, 2, 30, options={"tasks": tasks})
    assert found.successes.all()
    assert (found.lengths < 30).all()
