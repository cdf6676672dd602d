"""Two timescales on a quadratic, where every step can be computed by hand."""

from dataclasses import replace

import pytest
import torch

from metarl.core import OptimiserSettings
from metarl.meta import NonFiniteLossError, TwoTimescale, TwoTimescaleSettings
from metarl.train.trainer import Trainer

SGD = OptimiserSettings("sgd", lr=0.1, beta1=0.0)
SETTINGS = TwoTimescaleSettings(fast=SGD, slow=SGD, warp_period=3, max_grad_norm=None)


class Quadratic:
    """``loss = (fast * slow - target)^2 / 2`` for N agents, one number a side."""

    num_tasks = 2

    def __init__(self, scale=1.0):
        self.scale = scale

    def sample(self, fast, slow, split):
        return torch.tensor([1.0, -2.0], dtype=torch.float64)

    def loss(self, fast, slow, batch):
        params = {**fast, **slow}
        return self.scale * (params["fast"] * params["slow"] - batch).square() / 2


def learner(settings=SETTINGS, max_skipped=1):
    params = {
        "fast": torch.tensor([0.5, 1.0], dtype=torch.float64),
        "slow": torch.tensor([2.0, 3.0], dtype=torch.float64),
    }
    return Trainer(TwoTimescale(params, ["slow"], settings), settings, max_skipped=max_skipped)


def skipping(settings=SETTINGS):
    return learner(settings, max_skipped=3)


def by_hand(agent, episodes, *, period=3, mean=True, burn_in=0, phase=0, lr=0.1):
    """Fast and slow numbers after each episode, as plain arithmetic."""
    f, s, target = [(0.5, 2.0, 1.0), (1.0, 3.0, -2.0)][agent]
    fast_sum = slow_sum = 0.0
    count, history = 0, []
    for k in range(1, episodes + 1):
        error = f * s - target
        fast_sum += error * s
        slow_sum += error * f
        count += 1
        if k > burn_in:
            f, fast_sum = f - lr * fast_sum, 0.0
            if (k - phase) % period == 0:
                s -= lr * slow_sum / (count if mean else 1)
                slow_sum, count = 0.0, 0
        history.append((f, s))
    return history


@pytest.mark.parametrize(
    ("settings", "arithmetic"),
    [
        (SETTINGS, {}),
        (replace(SETTINGS, warp_period=1), {"period": 1}),
        (
            # The published schedule in small: nothing is zeroed during the burn-in, sums not means.
            replace(SETTINGS, slow_gradient="sum", burn_in=4, slow_phase=1),
            {"mean": False, "burn_in": 4, "phase": 1},
        ),
    ],
)
def test_steps_by_hand(settings, arithmetic):
    ours = learner(settings)
    expected = [by_hand(agent, 8, **arithmetic) for agent in range(2)]
    for k in range(8):
        ours.step(Quadratic())
        for agent in range(2):
            fast, slow = (ours.learner.params[n][agent].item() for n in ("fast", "slow"))
            assert (fast, slow) == pytest.approx(expected[agent][k], abs=1e-12)


def test_the_published_burn_in_makes_the_first_steps_sums_of_102_and_121_episodes():
    """With learning rates too small to matter every episode has the same gradient."""
    tiny = OptimiserSettings("sgd", lr=1e-12, beta1=0.0)
    published = TwoTimescaleSettings(
        fast=tiny,
        slow=tiny,
        warp_period=30,
        max_grad_norm=None,
        slow_gradient="sum",
        burn_in=101,
        slow_phase=1,
    )
    ours = learner(published)
    start = {n: p.detach().clone() for n, p in ours.learner.params.items()}
    moved = {}
    for k in range(1, 152):
        before = {n: p.detach().clone() for n, p in ours.learner.params.items()}
        ours.step(Quadratic())
        for name, p in ours.learner.params.items():
            if not torch.equal(before[name], p):
                moved.setdefault(name, []).append((k, (before[name] - p).detach()))
    gradient = (start["fast"] * start["slow"] - Quadratic().sample({}, {}, "support")) * 1e-12
    steps = [(k, (delta / (gradient * start["slow"]))[1].item()) for k, delta in moved["fast"]]
    assert [k for k, _ in steps] == list(range(102, 152))
    assert steps[0][1] == pytest.approx(102, rel=1e-2)
    assert steps[1][1] == pytest.approx(1, rel=1e-2)
    steps = [(k, (delta / (gradient * start["fast"]))[1].item()) for k, delta in moved["slow"]]
    assert [k for k, _ in steps] == [121, 151]
    assert steps[0][1] == pytest.approx(121, rel=1e-2)
    assert steps[1][1] == pytest.approx(30, rel=1e-2)


def test_slow_weights_stand_still_between_their_steps():
    ours = learner()
    before = ours.learner.params["slow"].detach().clone()
    for _ in range(2):
        ours.step(Quadratic())
        assert torch.equal(ours.learner.params["slow"], before)
    ours.step(Quadratic())
    assert not torch.equal(ours.learner.params["slow"], before)


def test_everything_fast_reduces_to_the_plain_optimiser():
    settings = replace(SETTINGS, fast=OptimiserSettings("adam", lr=0.1))
    params = {n: p.detach() for n, p in learner().learner.params.items()}
    ours = Trainer(TwoTimescale(params, [], settings), settings)
    plain = {n: p.clone().requires_grad_() for n, p in params.items()}
    adam = torch.optim.Adam(plain.values(), lr=0.1)
    task = Quadratic()
    for _ in range(5):
        ours.step(task)
        adam.zero_grad()
        task.loss(plain, plain, task.sample({}, {}, "support")).sum().backward()
        adam.step()
    for name, p in plain.items():
        torch.testing.assert_close(ours.learner.params[name], p, rtol=1e-12, atol=1e-12)


def test_clipping_is_per_agent_and_over_all_weights():
    ours = learner(replace(SETTINGS, max_grad_norm=0.5, warp_period=1))
    before = {n: p.detach().clone() for n, p in ours.learner.params.items()}
    metrics = ours.step(Quadratic())
    moved = torch.stack([before[n] - p.detach() for n, p in ours.learner.params.items()])
    moved = moved.norm(dim=0) / 0.1
    # Agent 0 starts at its target: no gradient. Agent 1 has error 5, gradient (15, 5).
    assert moved.tolist() == pytest.approx([0.0, 0.5], abs=1e-6)
    assert metrics["grad_norm"].tolist() == pytest.approx([0.0, 250**0.5])


def test_reset_fast_returns_fast_weights_to_the_start_and_never_slow_ones():
    settings = replace(SETTINGS, reset_fast="meta-batch", fast=OptimiserSettings("adam", lr=0.1))
    ours = learner(settings)
    start = {n: p.detach().clone() for n, p in ours.learner.params.items()}
    trajectory = []
    for k in range(1, 7):
        ours.step(Quadratic())
        at_start = torch.equal(ours.learner.params["fast"], start["fast"])
        assert at_start is (k % 3 == 0)
        assert ours.learner.at_meta_batch_end() is (k % 3 == 0)
        trajectory.append(ours.learner.params["fast"][1].item())
    assert ours.learner.params["slow"][1] != start["slow"][1]
    # The optimiser starts afresh too: Adam's first step has the size of its learning rate again.
    assert abs(trajectory[3] - start["fast"][1].item()) == pytest.approx(0.1, rel=1e-6)


ADAM = OptimiserSettings("adam", lr=0.1)


@pytest.mark.parametrize("stop_after", [2, 3, 4, 6])
@pytest.mark.parametrize(
    "settings",
    [
        replace(SETTINGS, fast=ADAM, slow=OptimiserSettings("rmsprop")),
        replace(SETTINGS, fast=ADAM, slow=ADAM, reset_fast="meta-batch"),
        replace(SETTINGS, fast=OptimiserSettings("sgd", lr=0.01), num_epochs=2),
        replace(SETTINGS, slow_gradient="sum", burn_in=4, slow_phase=1, max_grad_norm=0.5),
    ],
    ids=["never", "reset_fast", "epochs", "published"],
)
def test_state_round_trip_goes_on_bit_for_bit(settings, stop_after):
    whole, first = learner(settings), learner(settings)
    for _ in range(stop_after):
        first.step(Quadratic())
    second = learner(settings)
    second.load_agent_states([first.agent_state(n) for n in range(2)])
    for _ in range(9 - stop_after):
        second.step(Quadratic())
    for _ in range(9):
        whole.step(Quadratic())
    assert second.learner.num_episodes == whole.learner.num_episodes == 9
    for name, p in whole.learner.params.items():
        assert torch.equal(p, second.learner.params[name])


def test_a_loss_that_is_not_finite_takes_no_step():
    ours = learner()
    before = {n: p.detach().clone() for n, p in ours.learner.params.items()}
    with pytest.raises(NonFiniteLossError, match="loss or gradient is not finite"):
        ours.step(Quadratic(scale=float("inf")))
    for name, p in ours.learner.params.items():
        assert torch.equal(p, before[name])


class Spoiled(Quadratic):
    """The losses of these agents are no numbers, from the n-th evaluation on."""

    def __init__(self, agents, evaluation=1):
        super().__init__()
        self.agents, self.left = agents, evaluation

    def loss(self, fast, slow, batch):
        self.left -= 1
        bad = [n in self.agents and self.left <= 0 for n in range(2)]
        return super().loss(fast, slow, batch) * torch.where(torch.tensor(bad), torch.nan, 1.0)


@pytest.mark.parametrize("name", ["sgd", "adam", "rmsprop"])
@pytest.mark.parametrize("first", [True, False])
def test_an_agent_that_skips_stays_where_it_is_and_the_other_goes_on(name, first):
    optimiser = OptimiserSettings(name, lr=0.1)
    settings = replace(SETTINGS, fast=optimiser, slow=optimiser, max_grad_norm=1.0, warp_period=9)
    ours, untouched = skipping(settings), skipping(settings)
    if not first:
        ours.step(Quadratic())
        untouched.step(Quadratic())
    before = ours.agent_state(1)
    metrics = ours.step(Spoiled({1}))
    untouched.step(Quadratic())
    assert metrics["skipped"].tolist() == [0.0, 1.0]
    after = ours.agent_state(1)
    for key in ("params", "sums"):
        for n, value in before[key].items():
            assert torch.equal(after[key][n], value)
    moments = {k: v for k, v in after["optimisers"]["fast"]["fast"].items() if k != "step"}
    for key, value in moments.items():
        then = before["optimisers"]["fast"].get("fast", {}).get(key, torch.zeros_like(value))
        assert torch.equal(value, then), key
    assert after["skipped_in_a_row"] == 1
    one, two = ours.agent_state(0), untouched.agent_state(0)
    assert all(torch.equal(one["params"][n], two["params"][n]) for n in one["params"])
    assert ours.step(Quadratic())["skipped"].tolist() == [0.0, 0.0]
    assert ours.agent_state(1)["skipped_in_a_row"] == 0
    assert not torch.equal(ours.learner.params["fast"][1], before["params"]["fast"])


def test_what_an_agent_learned_before_in_the_episode_stays():
    """The second of three epochs goes wrong: one fast step, and one gradient for the slow one."""
    settings = replace(SETTINGS, num_epochs=3, warp_period=9)
    ours, once = skipping(settings), skipping(replace(settings, num_epochs=1))
    metrics = ours.step(Spoiled({1}, evaluation=2))
    once.step(Quadratic())
    assert metrics["skipped"].tolist() == [0.0, 1.0]
    one, two = ours.agent_state(1), once.agent_state(1)
    assert torch.equal(one["params"]["fast"], two["params"]["fast"])
    assert torch.equal(one["sums"]["slow"], two["sums"]["slow"])


def test_as_many_in_a_row_as_may_not_be_stop_it_and_nothing_has_moved():
    ours = skipping()
    ours.step(Spoiled({0}))
    ours.step(Spoiled({1}))  # the other: not in a row
    ours.step(Spoiled({1}))
    before = {n: p.detach().clone() for n, p in ours.learner.params.items()}
    with pytest.raises(NonFiniteLossError, match="3 meta-batches in a row") as caught:
        ours.step(Spoiled({1}))
    assert caught.value.agents == (1,)
    assert all(torch.equal(p, before[n]) for n, p in ours.learner.params.items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"warp_period": 0}, "warp_period must be at least 1, got 0"),
        ({"max_grad_norm": -1.0}, "max_grad_norm must be above 0, or None, got -1.0"),
    ],
)
def test_settings_refuse_counts_that_mean_nothing(change, message):
    with pytest.raises(ValueError, match=message):
        replace(SETTINGS, **change)


class Quarters:
    """Minibatches of a quadratic's target: four times the same."""

    count = 4

    def of(self, batch, num_epochs):
        for _ in range(num_epochs * self.count):
            yield batch


def in_quarters(settings, max_skipped=3, agents=(0, 1)):
    params = {
        "fast": torch.tensor([0.5, 1.0], dtype=torch.float64)[list(agents)],
        "slow": torch.tensor([2.0, 3.0], dtype=torch.float64)[list(agents)],
    }
    learner = TwoTimescale(params, ["slow"], settings, minibatches=Quarters())
    return Trainer(learner, settings, max_skipped=max_skipped)


@pytest.mark.parametrize("num_epochs", [1, 2])
def test_a_minibatch_takes_the_place_of_an_episode(num_epochs):
    ours = in_quarters(replace(SETTINGS, num_epochs=num_epochs))
    for k in range(3):
        ours.step(Quadratic())
        for agent in range(2):
            done = 4 * num_epochs * (k + 1)
            expected = by_hand(agent, done)[-1]
            found = [ours.learner.params[n][agent].item() for n in ("fast", "slow")]
            assert found == pytest.approx(expected, abs=1e-12)
            assert ours.learner.num_episodes == done


def test_a_schedule_outlives_a_return_to_the_start_within_a_batch():
    """The optimiser of fast weights begins again there, at the learning rate of now."""
    settings = replace(SETTINGS, warp_period=3, reset_fast="meta-batch")
    smaller = replace(SGD, lr=0.025)
    ours = in_quarters(settings)
    alike = in_quarters(replace(settings, fast=smaller, slow=smaller))
    ours.set_learning_rate_factor(0.25)
    for trainer in (ours, alike):
        trainer.step(Quadratic())  # the fourth minibatch is behind the return
    for name, p in ours.learner.params.items():
        torch.testing.assert_close(p, alike.learner.params[name], rtol=1e-12, atol=0)


class SpoiledAlone(Spoiled):
    """The same for the second agent by itself."""

    num_tasks = 1

    def sample(self, fast, slow, split):
        return super().sample(fast, slow, split)[1:]

    def loss(self, fast, slow, batch):
        self.left -= 1
        loss = Quadratic.loss(self, fast, slow, batch)
        return loss * (torch.nan if self.left <= 0 else 1.0)


@pytest.mark.parametrize("evaluation", [1, 2, 5, 8])
@pytest.mark.parametrize("reset_fast", ["never", "meta-batch"])
def test_an_agent_whose_minibatch_is_not_finite_goes_on_as_it_would_alone(evaluation, reset_fast):
    """It takes no step more on that batch; warp periods go on as if none had been missed."""
    adam = OptimiserSettings("adam", lr=0.1)
    settings = replace(SETTINGS, fast=adam, slow=adam, num_epochs=2, reset_fast=reset_fast)
    both, alone = in_quarters(settings), in_quarters(settings, agents=(1,))
    for scale in (1.0, None, 1.0, 1.0):
        one = Quadratic() if scale else Spoiled({1}, evaluation)
        other = SpoiledAlone({1}, 100 if scale else evaluation)
        found = both.step(one)["skipped"].tolist(), alone.step(other)["skipped"].tolist()
        assert found == (([0.0, 0.0], [0.0]) if scale else ([0.0, 1.0], [1.0]))
        assert both.learner.num_episodes == alone.learner.num_episodes
        for name, p in alone.learner.params.items():
            assert torch.equal(p[0], both.learner.params[name][1]), (scale, name)
