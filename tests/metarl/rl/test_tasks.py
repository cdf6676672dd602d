"""Tasks for learners: ratios that begin at 1, losses of each task alone, sensible refusals."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from metarl.core import Params, Split, leaves, sgd, share
from metarl.meta import EMAML, MAML, ImplicitMAML, MetaLearner, Noted, Reptile, StaleBatchError
from metarl.rl import (
    ActorCriticSettings,
    Collector,
    Policy,
    PolicyGradientSettings,
    PolicyGradientTasks,
    ScoredTrajectory,
)
from metarl.rl.advantages import returns_to_go
from metarl.rl.trajectory import sum_over_time
from tests.metarl.rl.enumerable import TinyEnv, TinyMDP, draw, generators, tiny_mdp, tiny_policy

N, B, STEPS = 3, 8, 5
MDP = tiny_mdp(N, num_steps=STEPS)


def tasks_of(
    policy: Policy, mdp: TinyMDP = MDP, seed: int = 0, **settings: object
) -> PolicyGradientTasks:
    n = mdp.num_tasks
    env = TinyEnv(mdp, B, generators(n, seed))
    collector = Collector(env, policy, generators(n, seed + 1), mdp.num_steps)
    return PolicyGradientTasks(collector, PolicyGradientSettings(**settings))  # type: ignore[arg-type]


def weights(policy: Policy, num_tasks: int = N) -> dict[str, Tensor]:
    return leaves(share(draw(policy), num_tasks))


@pytest.mark.parametrize("estimator", ["lvc", "dice", "loaded_dice", "logp"])
@pytest.mark.parametrize("baseline", ["none", "linear", "critic"])
def test_the_ratio_is_exactly_1_at_every_step_of_adaptation(baseline: str, estimator: str) -> None:
    policy = tiny_policy(critic=True)
    tasks = tasks_of(policy, baseline=baseline, estimator=estimator)
    learner = MAML(draw(policy), rule=sgd(0.1), num_steps=3)
    seen = 0
    for step in learner.adaptation(tasks, 3):
        log_p = tasks._log_p(tasks.predictions(step.fast, {}, step.batch), step.batch)
        ratio = (log_p - step.batch.trajectory.log_p).exp()
        assert torch.equal(ratio, torch.ones_like(ratio))
        assert (tasks.largest_log_ratio(step.fast, {}, step.batch) == 0).all()
        assert (tasks.largest_log_ratio(step.next_fast, {}, step.batch) > 0).all()
        assert (tasks.divergence(step.fast, {}, step.batch).abs() < 1e-12).all()
        assert (tasks.divergence(step.next_fast, {}, step.batch) > 0).all()
        seen += 1
    assert seen == 3


def test_every_inner_step_has_episodes_of_its_own_played_with_its_own_weights() -> None:
    policy = tiny_policy()
    tasks = tasks_of(policy)
    learner = MAML(draw(policy), rule=sgd(0.1), num_steps=3)
    drawn = [step.batch.trajectory for step in learner.adaptation(tasks, 3)]
    assert not torch.equal(drawn[0].actions, drawn[1].actions)
    noted = Noted(tasks)
    list(learner.meta_gradients(noted))
    assert [split for split, _ in noted._drawn[0]] == ["support"] * 3 + ["query"]
    measured = tasks.measured(noted._drawn[0])
    supports = [metrics["return"] for _, metrics in noted._drawn[0][:3]]
    assert torch.equal(measured["return_before"], supports[0])
    assert not torch.equal(measured["return_before"], torch.stack(supports).mean(0))
    assert torch.equal(measured["return"], noted._drawn[0][3][1]["return"])


def test_the_gradient_of_a_task_is_its_policy_gradient_and_no_other_task_s() -> None:
    policy = tiny_policy()
    tasks = tasks_of(policy, baseline="none", normalise_advantages=False, gamma=1.0)
    fast = weights(policy)
    batch = tasks.sample(fast, {}, "support")
    episodes = batch.trajectory
    to_go = episodes.rewards.flip(1).cumsum(1).flip(1)
    assert torch.allclose(batch.advantages, to_go)
    for i in range(N):
        (found,) = torch.autograd.grad(
            tasks.loss(fast, {}, batch)[i], [fast["actor.layers.0.weight"]]
        )
        log_p = policy.outputs(fast, episodes.observations)[i].log_softmax(-1)
        taken = log_p.gather(-1, episodes.actions[i][..., None])[..., 0]
        plain = -(taken * to_go[i]).sum(0).mean()
        (expected,) = torch.autograd.grad(plain, [fast["actor.layers.0.weight"]])
        assert torch.allclose(found, expected, atol=1e-12)
        others = [j for j in range(N) if j != i]
        assert (found[others] == 0).all()


def test_horizon_entropy_and_critic_enter_the_loss_as_said() -> None:
    policy = tiny_policy(critic=True)
    fast = weights(policy)
    base = tasks_of(policy, baseline="critic", value_coef=0.0)
    batch = base.sample(fast, {}, "support")
    plain = base.loss(fast, {}, batch)

    def loss(**changes: float) -> Tensor:
        settings = replace(base.settings, **changes)  # type: ignore[arg-type]
        return PolicyGradientTasks(base.collector, settings).loss(fast, {}, batch)

    assert torch.allclose(loss(divide_by_horizon=True) * STEPS, plain)
    outputs = policy.outputs(fast, batch.trajectory.observations)
    entropy = policy.distribution.entropy(outputs).sum(1).mean(1)
    assert torch.allclose(loss(entropy_coef=0.1), plain - 0.1 * entropy)
    values = policy.values(fast, batch.trajectory.observations)
    error = (batch.targets - values).square().sum(1).mean(1)
    assert torch.allclose(loss(value_coef=0.5), plain + 0.5 * error)


def test_a_critic_is_asked_about_what_truncation_cut_off() -> None:
    """One step, cut off: the target is the reward and the discounted value of what follows."""
    policy = tiny_policy(critic=True)
    mdp = tiny_mdp(N, num_steps=1)
    tasks = tasks_of(policy, mdp, baseline="critic", gamma=0.9)
    fast = weights(policy)
    episodes = tasks.collector.collect(fast)
    after = policy.values(fast, episodes.last_observations[:, None])
    found = tasks.score(fast, episodes).targets
    assert torch.allclose(found, episodes.rewards + 0.9 * after)
    ended = episodes._replace(
        terminated=torch.ones_like(episodes.terminated),
        truncated=torch.zeros_like(episodes.truncated),
    )
    assert torch.allclose(tasks.score(fast, ended).targets, episodes.rewards)
    linear = tasks_of(policy, mdp, baseline="linear", gamma=0.9)
    assert linear.score(fast, episodes).targets is None


def test_an_auxiliary_critic_is_part_of_adaptation_alone() -> None:
    policy = tiny_policy(critic=True, shared_trunk=True)
    fast = weights(policy)
    plain = tasks_of(policy, baseline="none", gamma=0.9)
    both = tasks_of(policy, baseline="none", gamma=0.9, auxiliary_critic=True, value_coef=0.3)
    episodes = plain.collector.collect(fast)
    query, support = (both.score(fast, episodes, split) for split in ("query", "support"))
    expected = plain.loss(fast, {}, plain.score(fast, episodes))
    assert torch.equal(both.loss(fast, {}, query), expected)
    error = 0.1 * returns_to_go(episodes, 0.9) - policy.values(fast, episodes.observations)
    error = sum_over_time(error.square(), episodes.mask)
    assert torch.allclose(both.loss(fast, {}, support), expected + 0.3 * error)


def test_an_auxiliary_critic_learns_through_adaptation() -> None:
    """Its weights act on the policy after adaptation through the trunk alone."""
    tasks = tasks_of(tiny_policy(critic=True, shared_trunk=True), auxiliary_critic=True)
    learner = MAML(draw(tasks.policy), rule=sgd(0.1), num_steps=1)
    list(learner.meta_gradients(tasks))
    gradient = learner.params["fast.critic.layers.0.weight"].grad
    assert gradient is not None
    assert gradient.abs().max() > 0


def test_an_auxiliary_critic_beside_a_critic_is_refused() -> None:
    with pytest.raises(ValueError, match="goes with another baseline"):
        PolicyGradientSettings(baseline="critic", auxiliary_critic=True)


def test_a_task_without_rewards_stands_still_and_is_counted() -> None:
    policy = tiny_policy(critic=True)
    silent = replace(MDP, rewards=MDP.rewards * torch.tensor([0.0, 1, 1]).view(3, 1, 1))
    for baseline in ("none", "linear", "critic"):
        tasks = tasks_of(policy, silent, baseline=baseline, value_coef=0.0)
        fast = weights(policy)
        batch = tasks.sample(fast, {}, "support")
        loss = tasks.loss(fast, {}, batch)
        (gradient,) = torch.autograd.grad(loss.sum(), [fast["actor.layers.0.weight"]])
        assert (gradient[0] == 0).all()
        assert (gradient[1:].flatten(1).abs().amax(1) > 0).all()
        assert batch.metrics["unrewarded"].tolist() == [1, 0, 0]


def test_agents_that_adapt_within_a_trial_count_the_trials_that_paid_nothing() -> None:
    policy = tiny_policy(critic=True)
    collector = tasks_of(policy).collector
    tasks = PolicyGradientTasks(collector, ActorCriticSettings())
    params = weights(policy)
    trajectory = collector.collect(params)
    rewards = torch.zeros_like(trajectory.rewards)  # [N, T, B]
    rewards[0, 1, :2] = -1
    rewards[1] = 1
    found = tasks.score(params, trajectory._replace(rewards=rewards)).metrics
    assert found["unrewarded"].tolist() == [1 - 2 / B, 0, 1]


def test_the_same_seeds_give_the_same_meta_gradient() -> None:
    def once() -> dict[str, Tensor]:
        policy = tiny_policy()
        learner = MAML(draw(policy), rule=sgd(0.1), num_steps=2)
        list(learner.meta_gradients(tasks_of(policy, seed=3)))
        return {n: p.grad for n, p in learner.params.items() if p.grad is not None}

    a, b = once(), once()
    assert all(torch.equal(a[n], b[n]) for n in a)


def test_returns_rise_by_adaptation() -> None:
    """Gradient steps from a given policy; with the sign of the loss turned, returns fall."""
    policy = tiny_policy()
    learner = MAML(draw(policy), rule=sgd(0.05), num_steps=1)
    tasks = tasks_of(policy)
    before = MDP.expected_return(policy, learner.adapt(tasks, 0))
    after = MDP.expected_return(policy, learner.adapt(tasks, 12))
    assert (after > before + 0.5).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gamma": 1.1}, r"gamma must lie in \[0, 1\], got 1\.1"),
        ({"estimator": "reinforce"}, "estimator must be one of logp, lvc, dice"),
        ({"baseline": "neural"}, "baseline must be one of none, linear, critic; got 'neural'"),
        ({"entropy_coef": -1.0}, "entropy_coef must be finite and at least 0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PolicyGradientSettings(**settings)  # type: ignore[arg-type]


def test_a_critic_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="but the policy no critic"):
        tasks_of(tiny_policy(), baseline="critic")


def test_the_critic_that_is_trained_is_the_one_that_judges() -> None:
    """In adaptation and by the meta-gradient alike; a copy would stay at its random start."""
    policy = tiny_policy(critic=True)
    paying = replace(tiny_mdp(N, num_steps=1), rewards=torch.full_like(MDP.rewards, 3.0))
    tasks = tasks_of(policy, paying, baseline="critic", gamma=0.0)
    learner = MAML(draw(policy), rule=sgd(0.1), num_steps=1)

    def error(fast: dict[str, Tensor]) -> Tensor:
        batch = tasks.sample(fast, {}, "query")
        values = policy.values(fast, batch.trajectory.observations)
        return (batch.targets - values).square().mean((1, 2))

    before, after = error(learner.adapt(tasks, 0)), error(learner.adapt(tasks, 30))
    assert (after < 0.05 * before).all()
    list(learner.meta_gradients(tasks))
    gradient = learner.params["fast.critic.layers.1.weight"].grad
    assert gradient is not None
    assert gradient.abs().max() > 0


@pytest.mark.parametrize("baseline", ["linear", "critic"])
def test_a_baseline_stands_still_while_losses_are_compared(baseline: str) -> None:
    """Fitted when the episodes are scored, never in the loss: candidates see equal advantages."""
    policy = tiny_policy(critic=True)
    tasks = tasks_of(policy, baseline=baseline, value_coef=0.0)
    here = weights(policy)
    there = {n: (p + 0.3).detach() for n, p in here.items()}
    batch = tasks.sample(here, {}, "support")
    kept = batch.advantages.clone()
    log_p = policy.distribution.log_prob(
        policy.outputs(there, batch.trajectory.observations), batch.trajectory.actions
    )
    ratio = (log_p - batch.trajectory.log_p).exp()
    expected = -(ratio * kept).sum(1).mean(1)
    assert torch.allclose(tasks.loss(there, {}, batch), expected)
    assert torch.equal(batch.advantages, kept)
    assert not batch.advantages.requires_grad


class Reversed(PolicyGradientTasks):
    """Changes the actions of one split after they were drawn."""

    split: Split = "support"

    def sample(self, fast: Params, slow: Params, split: Split) -> ScoredTrajectory:
        batch = super().sample(fast, slow, split)
        if split != self.split:
            return batch
        return batch._replace(
            trajectory=batch.trajectory._replace(actions=1 - batch.trajectory.actions)
        )


class ReversedAfterwards(Reversed):
    split = "query"


LEARNERS: dict[str, MetaLearner] = {
    "maml": MAML(draw(tiny_policy()), rule=sgd(0.1), num_steps=2),
    "first order": MAML(draw(tiny_policy()), rule=sgd(0.1), first_order=True),
    "emaml": EMAML(draw(tiny_policy()), rule=sgd(0.1)),
    "implicit": ImplicitMAML(draw(tiny_policy()), rule=sgd(0.1), num_steps=1),
    "reptile": Reptile(draw(tiny_policy()), rule=sgd(0.1), num_steps=1),
}


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize("kind", [Reversed, ReversedAfterwards])
def test_every_learner_refuses_probabilities_that_are_not_those_stored(
    name: str, kind: type[Reversed]
) -> None:
    tasks = tasks_of(tiny_policy())
    changed = kind(tasks.collector, tasks.settings)
    if name == "reptile" and kind is ReversedAfterwards:  # it reads no query experience
        list(LEARNERS[name].meta_gradients(changed))
        return
    with pytest.raises(StaleBatchError, match="actions that are changed"):
        list(LEARNERS[name].meta_gradients(changed))


def test_only_the_first_loss_at_the_weights_that_played_is_held_to_it() -> None:
    policy = tiny_policy()
    tasks = tasks_of(policy)
    theta = draw(policy)
    batch = tasks.sample(share(theta, N), {}, "support")
    other = {n: p + 1 for n, p in theta.items()}
    assert tasks.loss(share(other, N), {}, batch).isfinite().all()
    batch = tasks.sample(share(theta, N), {}, "support")
    for p in theta.values():
        p += 1  # as an optimiser does: the tensor is the same
    assert tasks.loss(share(theta, N), {}, batch).isfinite().all()


def test_weights_that_are_no_numbers_are_the_loss_s_business() -> None:
    policy = tiny_policy()
    tasks = tasks_of(policy)
    fast = {n: p * torch.nan for n, p in weights(policy).items()}
    assert tasks.loss(fast, {}, tasks.sample(fast, {}, "support")).isnan().all()
