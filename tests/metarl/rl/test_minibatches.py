"""Minibatches of whole trials: every trial once an epoch, dealt out as by an agent alone."""

import pytest
import torch

from metarl.core import OptimiserSettings, stack
from metarl.meta import TwoTimescale, TwoTimescaleSettings
from metarl.nn import GRU, LSTM, AssociativeMemory, WarpRNN
from metarl.rl import (
    ActorCriticSettings,
    Categorical,
    Collector,
    PolicyGradientTasks,
    actor_critic,
)
from metarl.rl.minibatches import TrialMinibatches
from metarl.train.trainer import Trainer

N, T, B, M = 2, 6, 8, 4
PPO = ActorCriticSettings(algorithm="ppo", gamma=0.9, gae_lambda=0.95, normalise_advantages=True)


class Setup:
    """Agents of these seeds in the corridor, with minibatches."""

    def __init__(self, corridor, seeds=range(N), core=LSTM, size=M, loss=PPO):
        self.policy = actor_critic(core(3, 5), Categorical(2))
        self.params = stack([self.policy.init(torch.Generator().manual_seed(n)) for n in seeds])
        self.generators = [torch.Generator().manual_seed(10 + n) for n in seeds]
        self.shuffles = [torch.Generator().manual_seed(50 + n) for n in seeds]
        collector = Collector(
            corridor(len(seeds) * B), self.policy, self.generators, T, record=True
        )
        self.trials = PolicyGradientTasks(collector, loss)
        self.minibatches = TrialMinibatches(self.policy, B, size, self.shuffles)

    def trainer(self, **settings):
        how = TwoTimescaleSettings(
            OptimiserSettings(lr=0.02), OptimiserSettings(lr=0.02), **settings
        )
        learner = TwoTimescale(self.params, self.policy.slow, how, minibatches=self.minibatches)
        return Trainer(learner, how)


def test_every_trial_is_met_once_an_epoch_with_all_that_belongs_to_it(corridor):
    setup = Setup(corridor)
    batch = setup.trials.sample(setup.params, {})
    whole = batch.trajectory
    orders = [torch.randperm(B, generator=torch.Generator().manual_seed(50 + n)) for n in range(N)]
    parts = list(setup.minibatches.of(batch, 2))
    assert len(parts) == 2 * setup.minibatches.count == 2 * B // M
    for k, part in enumerate(parts[: B // M]):
        for n in range(N):
            trials = orders[n][k * M : (k + 1) * M]
            seen = part.trajectory
            for name in ("observations", "actions", "rewards", "outputs", "log_p", "mask"):
                found = getattr(seen, name)[n]
                assert torch.equal(found, getattr(whole, name)[n][:, trials]), name
            for name in ("terminated", "truncated", "values"):
                assert torch.equal(getattr(seen, name)[n], getattr(whole, name)[n][:, trials])
            assert torch.equal(seen.last_observations[n], whole.last_observations[n, trials])
            assert torch.equal(part.advantages[n], batch.advantages[n][:, trials])
            assert torch.equal(part.targets[n], batch.targets[n][:, trials])
    first, second = (
        torch.stack([p.advantages for p in parts[start : start + B // M]]) for start in (0, B // M)
    )
    assert not torch.equal(first, second), "the second epoch is dealt out in another order"
    assert torch.equal(first.flatten().sort()[0], second.flatten().sort()[0])


@pytest.mark.parametrize("core", [LSTM, GRU, WarpRNN, AssociativeMemory])
def test_gradients_of_minibatches_have_the_gradient_of_the_batch_as_their_mean(corridor, core):
    """Advantages stand still, normalised over the batch: the loss is a mean over trials."""
    setup = Setup(corridor, core=core)
    params = {n: p.requires_grad_() for n, p in setup.params.items()}
    batch = setup.trials.sample(params, {})

    def gradients(of):
        loss = setup.trials.loss(params, {}, of)
        return torch.autograd.grad(loss.sum(), list(params.values()))

    expected = gradients(batch)
    parts = [gradients(part) for part in setup.minibatches.of(batch, 1)]
    for name, one, several in zip(params, expected, zip(*parts, strict=True), strict=True):
        mean = torch.stack(several).mean(0)
        torch.testing.assert_close(mean, one, rtol=1e-4, atol=1e-6, msg=name)


def test_agents_side_by_side_learn_as_alone(corridor):
    together = Setup(corridor)
    trainer = together.trainer(num_epochs=2)
    for _ in range(3):
        trainer.step(together.trials)
    for n in range(N):
        alone = Setup(corridor, seeds=[n])
        one = alone.trainer(num_epochs=2)
        for _ in range(3):
            one.step(alone.trials)
        for name, p in one.learner.params.items():
            torch.testing.assert_close(p[0], trainer.learner.params[name][n], rtol=1e-4, atol=1e-5)


def test_ratios_are_against_the_probabilities_of_playing(corridor):
    """After the weights have moved far, a clipped ratio has no gradient left: PPO's is bounded."""
    setup = Setup(corridor, loss=PPO)
    batch = setup.trials.sample(setup.params, {})
    moved = {n: p + 0.5 * torch.randn_like(p) for n, p in setup.params.items()}
    for part in setup.minibatches.of(batch, 1):
        outputs, _ = setup.policy.outputs_and_values(moved, part.trajectory.observations)
        log_p = setup.policy.distribution.log_prob(outputs, part.trajectory.actions)
        ratio = (log_p - part.trajectory.log_p).exp()
        gain = torch.minimum(ratio * part.advantages, ratio.clamp(0.8, 1.2) * part.advantages)
        loss = setup.trials.loss(moved, {}, part)
        _, values = setup.policy.outputs_and_values(moved, part.trajectory.observations)
        expected = -gain + PPO.value_coef * (part.targets - values).square()
        expected = expected + PPO.entropy_coef * setup.policy.distribution.simpson(outputs)
        torch.testing.assert_close(loss, expected.mean((1, 2)))


def test_every_minibatch_moves_the_fast_weights_and_a_warp_period_is_of_minibatches(corridor):
    setup = Setup(corridor, core=WarpRNN, size=2)  # 4 minibatches
    trainer = setup.trainer(num_epochs=2, warp_period=3)
    before = {n: p.detach().clone() for n, p in trainer.learner.params.items()}
    moves = dict.fromkeys(before, 0)
    due = trainer.learner.due
    seen = []
    trainer.learner.due = lambda skips: seen.append(due(skips)) or seen[-1]
    trainer.step(setup.trials)
    for name in before:
        side = "slow" if name in trainer.learner.slow else "fast"
        moves[name] = sum(step.side == side for steps in seen for step in steps)
    assert {moves[n] for n in trainer.learner.fast} == {8}
    assert {moves[n] for n in trainer.learner.slow} == {2}
    trainer.step(setup.trials)
    assert trainer.learner.num_episodes == 16


@pytest.mark.parametrize("size", [0, 3, 16])
def test_sizes_that_do_not_divide_the_batch_are_refused(corridor, size):
    with pytest.raises(ValueError, match=f"minibatches of {size} trials.*can be 1, 2, 4, 8, or"):
        Setup(corridor, size=size)
