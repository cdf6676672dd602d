"""Trials as tasks: the loss against an independent computation, the published faults, PPO."""

from dataclasses import replace

import pytest
import torch

from metarl.core import OptimiserSettings, stack
from metarl.meta import TwoTimescale, TwoTimescaleSettings
from metarl.native import using
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
from metarl.rl.advantages import ReturnScales, delayed_returns, discounted_returns
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

    with pytest.MonkeyPatch.context() as patch, using("off"):  # a kernel shows no values
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


def test_rewards_are_scaled_inside_the_loss_and_nowhere_else(setup):
    """As if the environment paid so much less, for the critic and the advantages."""
    _, params, make = setup
    settings = replace(SETTINGS, gae_lambda=0.9)
    plain, scaled = make(settings), make(replace(settings, reward_scale=0.1))
    batch, small = plain.sample(params, {}), scaled.sample(params, {})
    assert torch.equal(small.trajectory.rewards, batch.trajectory.rewards)
    assert torch.equal(small.metrics["return"], batch.metrics["return"])
    tenth = batch.trajectory._replace(rewards=batch.trajectory.rewards * 0.1)
    expected = plain.score(params, tenth)
    torch.testing.assert_close(small.advantages, expected.advantages)
    torch.testing.assert_close(small.targets, expected.targets)
    in_units = small.metrics["value_error"], expected.metrics["value_error"] * 10
    torch.testing.assert_close(*in_units, msg="the critic's error is in the units of the rewards")


def test_a_running_scale_divides_by_the_size_of_the_returns_so_far(setup):
    policy, params, make = setup
    settings = replace(SETTINGS, return_scaling="running", reward_scale=2.0)
    scales = ReturnScales(N, SETTINGS.gamma, torch.device("cpu"))
    trials = PolicyGradientTasks(make().collector, settings, scales)
    seen, weights = [], []
    for k in range(1, 4):
        played = trials.collector.collect(params)
        batch = trials.score(params, played._replace(rewards=torch.rand(N, T, B)))
        returns = discounted_returns(batch.trajectory.rewards, SETTINGS.gamma)
        seen.append(returns.square().mean((1, 2)))
        weights = [w * 0.99 for w in weights] + [0.01]
        mean = sum(w * s for w, s in zip(weights, seen, strict=True)) / sum(weights)
        torch.testing.assert_close(batch.targets, 2 * returns / mean.sqrt().view(N, 1, 1))
        assert k == scales.agent_state(0)["num_batches"]
    with pytest.raises(ValueError, match="ReturnScales go with return_scaling='running'"):
        PolicyGradientTasks(trials.collector, settings)
    with pytest.raises(ValueError, match="ReturnScales go with return_scaling='running'"):
        PolicyGradientTasks(trials.collector, SETTINGS, scales)


def test_running_sizes_of_agents_are_their_own_and_1_where_nothing_was_paid(setup):
    _, params, make = setup
    played = make().sample(params, {}).trajectory
    paid = torch.tensor([0.0, 5.0]).view(N, 1, 1) * (1 + torch.rand(N, T, B))
    together = ReturnScales(N, 0.9, torch.device("cpu"))
    alone = ReturnScales(1, 0.9, torch.device("cpu"))
    for _ in range(2):
        both = together.after(played._replace(rewards=paid))
        cut = {"rewards": paid[1:], "mask": played.mask[1:]}
        one = alone.after(played._replace(**cut))
    assert both[0] == 1
    assert torch.equal(both[1], one[0])
    other = ReturnScales(N, 0.9, torch.device("cpu"))
    other.load_agent_states([together.agent_state(n) for n in range(N)])
    again = [scales.after(played._replace(rewards=3 * paid)) for scales in (other, together)]
    assert torch.equal(*again)


def test_the_entropy_term_falls_in_a_line_to_0(setup):
    _, params, make = setup
    trials = make(replace(SETTINGS, entropy_decay="linear"))
    batch = trials.sample(params, {})
    losses = [trials.at(done).loss(params, {}, batch) for done in (0.0, 0.25, 1.0)]
    assert torch.equal(losses[0], make().loss(params, {}, batch))
    bare = make(replace(SETTINGS, entropy_coef=0.0)).loss(params, {}, batch)
    torch.testing.assert_close(losses[1] - bare, 0.75 * (losses[0] - bare))
    assert torch.equal(losses[2], bare)
    constant = make()
    assert constant.at(0.5) is constant


class Curious:
    """An environment whose rewards have a bonus in them."""

    def __init__(self, env):
        self.env, self.num_envs = env, env.num_envs

    def reset(self, *, options=None):
        return self.env.reset(options=options)

    def step(self, actions):
        seen, rewards, terminated, truncated, info = self.env.step(actions)
        bonus = 0.5 + 0 * rewards
        return seen, rewards + bonus, terminated, truncated, {**info, "bonus": bonus}


def test_a_bonus_is_learned_from_and_is_in_no_metric(setup, corridor):
    policy, params, make = setup
    plain = make().sample(params, {})
    generators = [torch.Generator().manual_seed(10 + n) for n in range(N)]
    env = Curious(corridor(N * B))
    trials = PolicyGradientTasks(Collector(env, policy, generators, T, record=True), SETTINGS)
    batch = trials.sample(params, {})
    assert torch.equal(batch.metrics["return"], plain.metrics["return"])
    assert torch.equal(batch.trajectory.rewards, plain.trajectory.rewards)
    more = plain.trajectory._replace(rewards=plain.trajectory.rewards + 0.5)
    torch.testing.assert_close(batch.targets, make().score(params, more).targets)
    torch.testing.assert_close(batch.advantages, make().score(params, more).advantages)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reward_scale": 0.0}, "reward_scale must be finite and above 0, got 0.0"),
        ({"reward_scale": float("nan")}, "reward_scale must be finite"),
        ({"return_scaling": "max"}, "return_scaling must be one of fixed, running; got 'max'"),
        (
            {"entropy_decay": "cosine"},
            "entropy_decay must be one of constant, linear; got 'cosine'",
        ),
    ],
)
def test_settings_refuse_what_is_no_scale(change, message):
    with pytest.raises(ValueError, match=message):
        ActorCriticSettings(**change)


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
