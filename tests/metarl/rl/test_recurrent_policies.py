"""Policies that remember: each task's own weights, an episode's own memory, one probability."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from metarl.core import leaves, partition, scope, sgd, stack
from metarl.evaluate.trials import play
from metarl.meta import EMAML, MAML
from metarl.nn import GRU, WarpRNN
from metarl.rl import (
    Categorical,
    Collector,
    Gaussian,
    Policy,
    PolicyAgent,
    PolicyGradientSettings,
    PolicyGradientTasks,
    mlp_policy,
    recurrent_policy,
)
from tests.metarl.rl.ending_env import ENDS, TensorEndingEnv
from tests.metarl.rl.enumerable import PLAIN, EnumeratedTasks, TinyEnv, draw, generators, tiny_mdp
from tests.metarl.rl.remembering import CORES, HistoryTasks, one_task, remembering, task_by_task
from tests.metarl.rl.sampled import sampled

N, T, B = 3, 5, 4
MDP = tiny_mdp(N, num_steps=T)


def each_its_own(policy: Policy, num_tasks: int = N) -> dict[str, Tensor]:
    return stack([draw(policy, seed) for seed in range(num_tasks)])


def observations(num_inputs: int = 3) -> Tensor:
    return torch.randn(N, T, B, num_inputs, generator=generators(1)[0], dtype=torch.float64)


@pytest.mark.parametrize("core", CORES)
def test_every_task_has_weights_of_its_own(core: str) -> None:
    policy = remembering(core, critic=True)
    params, x = each_its_own(policy), observations()
    outputs, values = policy.outputs(params, x), policy.values(params, x)
    for i in range(N):
        means, judged = one_task(core, {n: p[i] for n, p in params.items()}, x[i])
        log_p = means.log_softmax(-1)
        torch.testing.assert_close(outputs[i], log_p, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(values[i], judged, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("core", CORES)
def test_step_by_step_is_the_whole_episode_and_every_episode_begins_empty(core: str) -> None:
    policy = remembering(core)
    params, x = each_its_own(policy), observations()
    expected = task_by_task(core, params, x)
    for _ in range(2):
        player = policy.begin(params, B)
        for t in range(T):
            torch.testing.assert_close(player.means(x[:, t]), expected[:, t], rtol=1e-12, atol=0)


@pytest.mark.parametrize("core", CORES)
def test_what_is_over_is_forgotten_and_nothing_else(core: str) -> None:
    policy = remembering(core)
    params, x = each_its_own(policy), observations()
    player = policy.begin(params, B)
    player.means(x[:, 0])
    over = torch.zeros(N, B, dtype=torch.bool)
    over[1, 2] = True
    player.forget(over)
    found = player.means(x[:, 1])
    going_on = task_by_task(core, params, x)[:, 1]
    anew = task_by_task(core, params, x[:, 1:])[:, 0]
    expected = torch.where(over[..., None], anew, going_on)
    assert not torch.allclose(anew[1, 2], going_on[1, 2])
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


def test_fast_and_slow_sides_and_the_head() -> None:
    policy = recurrent_policy(WarpRNN(3, 4), Gaussian(2), critic=True)
    params = policy.init(torch.Generator())
    sides = partition(params, slow=policy.slow)
    assert set(sides.slow) == {name for name in params if name.startswith("core.warp_")}
    assert {"core.weight_ih", "core.weight_hh", "core.bias", "log_std"} <= set(sides.fast)
    assert sides.slow
    assert policy.head == ("actor.layers.0.*", "critic.layers.0.*", "log_std")
    assert recurrent_policy(GRU(3, 4), Gaussian(2)).slow == ()


def test_the_same_generator_draws_the_same_policy() -> None:
    a, b = (remembering("gru").init(torch.Generator().manual_seed(3)) for _ in range(2))
    assert all(torch.equal(a[n], b[n]) for n in a)
    expected = GRU(3, 3).init(torch.Generator().manual_seed(3))
    assert all(torch.equal(p, expected[n]) for n, p in scope(a, "core").items())


def test_a_missing_critic_is_named() -> None:
    policy = remembering("rnn")
    with pytest.raises(ValueError, match="no critic"):
        policy.values(each_its_own(policy), observations())


@pytest.mark.parametrize("core", CORES)
def test_a_rollout_plays_what_it_says_it_played_and_forgets_between_episodes(core: str) -> None:
    """The noise is drawn anew here: actions must be those of the stored probabilities."""
    policy = remembering(core)
    params = {n: 3 * p for n, p in each_its_own(policy).items()}
    env = TinyEnv(MDP, 50, generators(N))
    collector = Collector(env, policy, generators(N, 1), T)
    again = generators(N, 1)
    for _ in range(2):
        episodes = collector.collect(params)
        noise = torch.cat([policy.distribution.noise((1, T, 50), g) for g in again])
        means = task_by_task(core, params, episodes.observations)
        log_p = means.log_softmax(-1)
        torch.testing.assert_close(episodes.outputs, log_p, rtol=1e-12, atol=1e-12)
        assert torch.equal(episodes.actions, (means + noise).argmax(-1))


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("baseline", ["linear", "critic"])
def test_the_ratio_is_exactly_1_at_every_step_of_adaptation(core: str, baseline: str) -> None:
    policy = remembering(core, critic=True)
    tasks = sampled(policy, MDP, settings=PolicyGradientSettings(baseline=baseline))  # type: ignore[arg-type]
    learner = MAML(draw(policy), rule=sgd(0.1), num_steps=2)
    for step in learner.adaptation(tasks, 2):
        assert (tasks.largest_log_ratio(step.fast, {}, step.batch) == 0).all()
        assert (tasks.largest_log_ratio(step.next_fast, {}, step.batch) > 0).all()
    list(learner.meta_gradients(tasks))
    assert all(p.grad is not None and p.grad.isfinite().all() for p in learner.params.values())


@pytest.mark.parametrize("core", CORES)
def test_the_likelihood_of_a_task_is_its_own_and_remembers(core: str) -> None:
    """What E-MAML credits, and its gradient, task by task."""
    policy = remembering(core)
    tasks = sampled(policy, MDP)
    params = leaves(each_its_own(policy))
    batch = tasks.sample(params, {}, "support")
    found = tasks.log_likelihood(params, {}, batch)
    log_p = task_by_task(core, params, batch.trajectory.observations).log_softmax(-1)
    expected = log_p.gather(-1, batch.trajectory.actions[..., None]).sum((1, 2, 3))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    both = [torch.autograd.grad(x.sum(), list(params.values())) for x in (found, expected)]
    for a, b in zip(*both, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
    list(EMAML(draw(policy), rule=sgd(0.1)).meta_gradients(sampled(policy, MDP)))


@pytest.mark.parametrize("mode", ["disabled", "same_step"])
def test_a_critic_remembers_the_episode_when_it_judges_what_was_cut_off(mode: str) -> None:
    policy = remembering("lstm", critic=True, num_inputs=2)
    params = each_its_own(policy, 2)
    env, num_steps = TensorEndingEnv(mode), 6
    collector = Collector(env, policy, generators(2), num_steps)
    tasks = PolicyGradientTasks(collector, PolicyGradientSettings(baseline="critic", gamma=0.9))
    episodes = collector.collect(params)
    targets = tasks.score(params, episodes).targets
    assert targets is not None
    for b, (length, how) in enumerate(ENDS):
        n, i = divmod(b, len(ENDS) // 2)
        steps = min(length, num_steps)
        last = episodes.last_observations[n, i]
        seen = torch.cat((episodes.observations[n, :steps, i], last[None]))
        _, values = one_task("lstm", {k: p[n] for k, p in params.items()}, seen[:, None])
        assert values is not None
        after = 0.0 if how in ("terminated", "both") and length <= num_steps else values[-1, 0]
        expected = episodes.rewards[n, steps - 1, i] + 0.9 * after
        torch.testing.assert_close(targets[n, steps - 1, i], expected, rtol=1e-12, atol=0)


def test_the_evaluator_sees_what_the_exact_return_says() -> None:
    policy, mdp = remembering("gru"), tiny_mdp(3, num_steps=3)
    exact = HistoryTasks(mdp, "gru")
    tasks: PolicyGradientTasks = EnumeratedTasks(mdp, policy, PLAIN)
    adapted = MAML(draw(policy), rule=sgd(0.5), num_steps=1).adapt(tasks, 3)
    agent = PolicyAgent(policy, adapted, generators(1)[0])
    rewards = play(agent, TinyEnv(mdp, 2000, generators(3)), mdp.num_steps)
    returns = torch.from_numpy(rewards).sum(0).view(3, 2000)
    error = returns.std(-1) / 2000**0.5
    assert ((returns.mean(-1) + exact.loss(adapted, {}, None)).abs() < 4 * error).all()


def test_an_agent_forgets_at_the_end_of_an_episode_and_of_a_trial() -> None:
    policy = remembering("rnn")
    params, x = {n: 3 * p for n, p in each_its_own(policy).items()}, observations()
    going_on = task_by_task("rnn", params, x)[:, :2].argmax(-1)
    anew = task_by_task("rnn", params, x[:, 1:])[:, 0].argmax(-1)
    over = (going_on[:, 1] != anew).flatten()
    assert over.sum() >= 2
    agent = PolicyAgent(policy, params, torch.Generator(), greedy=True)
    no, rewards = torch.zeros(N * B, dtype=torch.bool), torch.zeros(N * B)
    for ends in ((no, no), (over, no), (no, over)):
        agent.begin(N * B)
        assert torch.equal(agent.act(x[:, 0].flatten(0, 1)), going_on[:, 0].flatten())
        agent.observe(rewards, *ends)
        expected = going_on[:, 1] if not (ends[0] | ends[1]).any() else anew
        assert torch.equal(agent.act(x[:, 1].flatten(0, 1)), expected.flatten())


class Turning:
    """Nothing is seen; action 0 pays 1 at first, action 1 then: without a memory 1, not 2."""

    num_envs = 2 * 40

    def reset(self, *, options: Any = None) -> tuple[Tensor, dict[str, Any]]:
        self.time = 0
        return torch.ones(self.num_envs, 1), {}

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        reward = (actions == self.time).float()
        self.time += 1
        no = torch.zeros(self.num_envs, dtype=torch.bool)
        return torch.ones(self.num_envs, 1), reward, no, no, {}


def test_memory_is_adapted() -> None:
    def returns(policy: Policy) -> Tensor:
        collector = Collector(Turning(), policy, generators(2), 2)
        tasks = PolicyGradientTasks(collector, PolicyGradientSettings(gamma=0.0))
        params = policy.init(torch.Generator().manual_seed(0))
        fast = MAML(params, rule=sgd(0.5), num_steps=1).adapt(tasks, 60)
        return tasks.sample(fast, {}, "query").trajectory.returns.mean(1)

    assert (returns(recurrent_policy(GRU(1, 8), Categorical(2))) > 1.8).all()
    assert (returns(mlp_policy(1, Categorical(2), hidden=(8,))) < 1.3).all()
