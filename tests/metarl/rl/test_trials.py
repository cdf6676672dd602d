"""Trials as tasks: the loss against an independent computation, the published faults, PPO."""

from dataclasses import replace

import pytest
import torch

from metarl.core import OptimiserSettings, stack
from metarl.meta import TwoTimescale, TwoTimescaleSettings
from metarl.nn import RNN
from metarl.rl import (
    ActorCriticSettings,
    Bernoulli,
    Categorical,
    Collector,
    Gaussian,
    MultiCategorical,
    Policy,
    PolicyGradientTasks,
    Trajectory,
    actor_critic,
)
from metarl.rl.advantages import delayed_returns, discounted_returns
from metarl.train.trainer import Trainer

N, T, B = 2, 6, 3
SETTINGS = ActorCriticSettings(gamma=0.7, value_coef=0.3, entropy_coef=0.05)


@pytest.fixture
def setup(corridor):
    policy = actor_critic(RNN(3, 4), Categorical(2))
    params = stack([policy.init(torch.Generator().manual_seed(n)) for n in range(N)])
    params = {n: p.requires_grad_() for n, p in params.items()}

    def make(settings=SETTINGS):
        generators = [torch.Generator().manual_seed(10 + n) for n in range(N)]
        return PolicyGradientTasks(
            Collector(corridor(N * B), policy, generators, T, record=True), settings
        )

    return policy, params, make


def judged(trials, rewards, values):
    """Advantages and returns of whole trials with these rewards and values."""
    no = torch.zeros_like(rewards, dtype=torch.bool)
    blank, ones = torch.zeros(*rewards.shape, 2), torch.ones_like(rewards)
    actions = torch.zeros(rewards.shape, dtype=torch.int64)
    played = Trajectory(
        blank, actions, rewards, blank, 0 * ones, no, no, ones, blank[:, -1], values=values
    )
    scored = trials.score({}, played)
    return scored.advantages, scored.targets


def independent_loss(policy, params, rollout, settings, agent):
    """The A2C loss of one agent, maze by maze and step by step, as the equations read."""
    total = torch.zeros(())
    for b in range(B):
        h = torch.zeros(4)
        returns = discounted_returns(rollout.rewards[agent, :, b, None], settings.gamma)[:, 0]
        for t in range(T):
            x = rollout.observations[agent, t, b]
            p = {name: tensor[agent] for name, tensor in params.items()}
            h = torch.tanh(x @ p["core.weight_ih"] + h @ p["core.weight_hh"] + p["core.bias"])
            probabilities = torch.softmax(h @ p["actor.weight"] + p["actor.bias"], -1)
            value = (h @ p["critic.weight"] + p["critic.bias"])[0]
            advantage = (returns[t] - value).detach()
            total = total - probabilities[rollout.actions[agent, t, b]].log() * advantage
            total = total + settings.value_coef * (returns[t] - value) ** 2
            total = total + settings.entropy_coef * (probabilities**2).sum()
    return total / (T * B)


def test_loss_and_gradient_equal_an_independent_computation(setup):
    policy, params, make = setup
    trials = make()
    batch = trials.sample(params, {})
    loss = trials.loss(params, {}, batch)
    gradients = torch.autograd.grad(loss.sum(), list(params.values()))
    expected = [independent_loss(policy, params, batch.trajectory, SETTINGS, n) for n in range(N)]
    torch.testing.assert_close(loss, torch.stack(expected))
    expected_gradients = torch.autograd.grad(sum(expected), list(params.values()))
    for ours, theirs in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_rewards_are_the_consequence_of_actions(setup):
    """In the corridor the reward of step t is paid for the position that action t leads to."""
    _, params, make = setup
    rollout = make().sample(params, {}).trajectory
    step = (2.0 * rollout.actions - 1).transpose(0, 1)  # [T, N, B]
    position = torch.zeros(N, B)
    for t in range(T):
        assert torch.equal(rollout.observations[:, t, :, 0], position / 4)
        position = (position + step[t]).clamp(0, 4)
        assert torch.equal(rollout.rewards[:, t], (position == 4).float())


def test_published_returns_and_baseline_by_hand(setup):
    _, _, make = setup
    rewards = torch.rand(N, T, B)
    values = torch.rand(N, T, B)
    trials = make(replace(SETTINGS, published_returns=True, published_baseline=True))
    advantages, returns = judged(trials, rewards, values)
    torch.testing.assert_close(returns, delayed_returns(rewards, SETTINGS.gamma))
    torch.testing.assert_close(advantages, returns - values[..., :1])
    advantages, returns = judged(make(), rewards, values)
    torch.testing.assert_close(returns, discounted_returns(rewards, SETTINGS.gamma))
    torch.testing.assert_close(advantages, returns - values)


@pytest.mark.parametrize("published", [True, False])
def test_the_published_baseline_trains_the_value_of_maze_0_alone(setup, published):
    policy, params, make = setup
    trials = make(replace(SETTINGS, published_baseline=published, entropy_coef=0.0))
    batch = trials.sample(params, {})
    seen = {}
    both = Policy.outputs_and_values

    def spy(self, *args, **options):
        outputs, values = both(self, *args, **options)
        seen["values"] = values
        values.retain_grad()
        return outputs, values

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Policy, "outputs_and_values", spy)
        trials.loss(params, {}, batch).sum().backward()
    trained = seen["values"].grad.abs().sum((0, 1)) > 0  # [B]
    assert trained.tolist() == [True, not published, not published]


def test_ppo_records_again_once_the_weights_have_moved(setup):
    """At first the recorded activations serve; after a step they are computed anew."""
    policy, params, make = setup
    trials = make(replace(SETTINGS, algorithm="ppo"))
    batch = trials.sample(params, {})
    with torch.no_grad():
        for p in params.values():
            p.add_(0.1)
    loss = trials.loss(params, {}, batch)
    hidden = policy.core.unrolled(
        {n.removeprefix("core."): p for n, p in params.items() if n.startswith("core.")},
        batch.trajectory.observations,
    )
    torch.testing.assert_close(batch.trajectory.trace["h"], hidden.detach())
    assert loss.isfinite().all()


@pytest.mark.parametrize("optimiser", ["adam", "rmsprop", "sgd"])
def test_ppo_takes_every_step_on_the_weights_at_hand(setup, optimiser):
    """The second epoch's activations are those of the weights after the first one's step."""
    policy, params, make = setup
    fast = OptimiserSettings(optimiser, lr=0.05)
    settings = TwoTimescaleSettings(fast=fast, num_epochs=2)
    trainer = Trainer(TwoTimescale(params, [], settings), settings)
    trials = make(replace(SETTINGS, algorithm="ppo"))
    seen = []

    class Spy:
        num_tasks = N

        def sample(self, *args):
            return trials.sample(*args)

        def loss(self, fast, slow, batch):
            loss = trials.loss(fast, slow, batch)
            core = {n.removeprefix("core."): p for n, p in fast.items() if n.startswith("core.")}
            with torch.no_grad():
                hidden = policy.core.unrolled(core, batch.trajectory.observations)
            seen.append(hidden)
            torch.testing.assert_close(batch.trajectory.trace["h"], hidden)
            return loss

    trainer.step(Spy())
    assert (seen[1] - seen[0]).abs().max() > 0.01


def test_normalised_advantages_have_mean_0_and_deviation_1_in_each_agent(setup):
    _, _, make = setup
    rewards = torch.rand(N, T, B) * torch.tensor([1.0, 50.0]).view(N, 1, 1)
    zeros = torch.zeros(N, T, B)
    plain, returns = judged(make(), rewards, zeros)
    advantages, same = judged(make(replace(SETTINGS, normalise_advantages=True)), rewards, zeros)
    deviation, mean = torch.std_mean(advantages, (1, 2))
    torch.testing.assert_close(mean, torch.zeros(N), rtol=0, atol=1e-5)
    torch.testing.assert_close(deviation, torch.ones(N))
    assert torch.equal(advantages.flatten(1).argsort(1), plain.flatten(1).argsort(1))
    assert torch.equal(returns, same), "the critic's targets stay in the units of the rewards"


def test_both_entropy_terms_push_the_policy_apart(setup):
    """The loss falls as the policy gets more even, by the index of Simpson and by Shannon's."""
    policy, params, make = setup
    batch = make().sample(params, {})
    log_p = policy.outputs(params, batch.trajectory.observations)
    p = log_p.exp()
    terms = {"simpson": p.square().sum(-1), "shannon": (p * log_p).sum(-1)}
    bare = make(replace(SETTINGS, entropy_coef=0.0)).loss(params, {}, batch)
    for entropy, term in terms.items():
        loss = make(replace(SETTINGS, entropy=entropy, entropy_coef=2.0)).loss(params, {}, batch)
        torch.testing.assert_close(loss - bare, 2.0 * term.mean((1, 2)))


def test_normalised_advantages_are_zero_without_reward(setup):
    _, _, make = setup
    zeros = torch.zeros(N, T, B)
    advantages, _ = judged(make(replace(SETTINGS, normalise_advantages=True)), zeros, zeros)
    assert not advantages.any()


def test_agents_trained_together_play_as_alone(setup, corridor):
    policy, params, make = setup
    together = make().sample(params, {}).trajectory
    for n in range(N):
        generators = [torch.Generator().manual_seed(10 + n)]
        alone = PolicyGradientTasks(
            Collector(corridor(B), policy, generators, T, record=True), SETTINGS
        )
        one = alone.sample({name: p[n : n + 1] for name, p in params.items()}, {}).trajectory
        assert torch.equal(one.actions[0], together.actions[n])
        torch.testing.assert_close(one.trace["h"][0], together.trace["h"][n])


def test_settings_refuse_what_is_no_discount():
    with pytest.raises(ValueError, match=r"gamma must lie in \[0, 1\], got 1.5"):
        ActorCriticSettings(gamma=1.5)


class Guess:
    """B guesses per step at a hidden action of every space: 1 for the right one; ends when found.

    Observations ``[B, 2]``: whether the last guess was right, and time.
    """

    def __init__(self, num_envs, right, *, ends=False):
        self.num_envs, self.right, self.ends = num_envs, right, ends

    def reset(self, *, options=None):
        self.time, self.over = 0, torch.zeros(self.num_envs, dtype=torch.bool)
        return torch.zeros(self.num_envs, 2), {}

    def step(self, actions):
        self.time += 1
        found = self.right(actions)
        self.over = self.over | (found if self.ends else False)
        seen = torch.stack((found.float(), torch.full((self.num_envs,), self.time / T)), -1)
        last = torch.full_like(self.over, self.time == T)
        return seen, found.float(), self.over, last & ~self.over, {}


SPACES = {
    "bits": (Bernoulli(2), lambda a: (a == torch.tensor([1, 0])).all(-1)),
    "several": (MultiCategorical((3, 2)), lambda a: (a == torch.tensor([2, 1])).all(-1)),
    "real": (Gaussian(1), lambda a: a[..., 0] > 0.5),
    "one of": (Categorical(3), lambda a: a == 2),
}


def guessing(name, batch_size, settings, *, ends=False):
    distribution, right = SPACES[name]
    policy = actor_critic(RNN(2, 8), distribution)
    collector = Collector(
        Guess(batch_size, right, ends=ends),
        policy,
        [torch.Generator().manual_seed(1)],
        T,
        record=True,
    )
    return policy, PolicyGradientTasks(collector, settings)


@pytest.mark.parametrize("entropy", ["simpson", "shannon"])
@pytest.mark.parametrize("name", SPACES)
def test_trials_of_every_action_space_are_learned(name, entropy):
    """From chance to four in five, by hand-written back-propagation."""
    policy, trials = guessing(name, 64, ActorCriticSettings(entropy=entropy, entropy_coef=1e-3))
    settings = TwoTimescaleSettings(fast=OptimiserSettings(lr=0.03))
    params = stack([policy.init(torch.Generator().manual_seed(0))])
    trainer = Trainer(TwoTimescale(params, [], settings), settings)
    returns = [trainer.step(trials)["return"].item() for _ in range(60)]
    assert sum(returns[-5:]) / 5 > 0.8 * T
    assert sum(returns[:5]) / 5 < 0.7 * T


def test_a_trial_that_terminates_pays_and_teaches_nothing_behind_its_end():
    """Steps behind the end leave no trace in the loss, whatever they hold; its scale is T."""
    policy, trials = guessing("one of", 16, SETTINGS, ends=True)
    params = {n: p.requires_grad_() for n, p in stack([policy.init(torch.Generator())]).items()}
    batch = trials.sample(params, {})
    played = batch.trajectory
    assert played.terminated.any()
    assert played.lengths.unique().numel() > 1
    assert batch.metrics["length"].item() == pytest.approx(played.lengths.mean().item())
    outputs, values = policy.outputs_and_values(params, played.observations)
    steps = played.mask.bool()
    log_p = outputs.gather(-1, played.actions[..., None])[..., 0]
    per_step = -(log_p * batch.advantages) + SETTINGS.value_coef * (batch.targets - values) ** 2
    per_step = per_step + SETTINGS.entropy_coef * outputs.exp().square().sum(-1)
    expected = per_step[steps].sum() / (T * 16)
    torch.testing.assert_close(trials.loss(params, {}, batch)[0], expected)
    assert (batch.advantages[~steps] == 0).all()
    assert (played.rewards[~steps] == 0).all()
