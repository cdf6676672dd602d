"""ProMP: several epochs on one meta-batch, each adapting anew from where theta is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from metarl.core import Execution, sgd, share
from metarl.meta import KL_LIMIT, MAML, Noted, ProMP, Recorded, StaleBatchError
from metarl.rl import PolicyGradientSettings, ScoredTrajectory
from tests.metarl.meta.problems import relative_error
from tests.metarl.rl.enumerable import ExactTasks, draw, tiny_mdp, tiny_policy
from tests.metarl.rl.sampled import aiming, sampled
from tests.metarl.rl.test_trpo import Squashed

MDP, POLICY, LR = tiny_mdp(3, num_steps=3), tiny_policy(), 0.3
Params = dict[str, Tensor]


def grads_of(learner: MAML | ProMP) -> Params:
    return {n: p.grad.clone() for n, p in learner.params.items() if p.grad is not None}


@pytest.mark.parametrize("num_steps", [1, 3])
def test_the_first_epoch_is_maml(num_steps: int) -> None:
    promp = ProMP(draw(POLICY), rule=sgd(LR), num_steps=num_steps, num_epochs=1, inner_kl_coef=9.0)
    maml = MAML(draw(POLICY), rule=sgd(LR), num_steps=num_steps)
    (metrics,) = promp.meta_gradients(sampled(POLICY, MDP))
    list(maml.meta_gradients(sampled(POLICY, MDP)))
    assert relative_error(grads_of(promp), grads_of(maml)) < 1e-9
    assert (metrics["inner_kl"].abs() < 1e-12).all()
    assert (metrics["query_kl"].abs() < 1e-12).all()


def plain_objective(
    theta: Params, support: ScoredTrajectory, query: ScoredTrajectory, task: int, promp: ProMP
) -> Tensor:
    """One task, one inner step, written out."""

    def log_p(params: Params, batch: ScoredTrajectory) -> tuple[Tensor, Tensor]:
        h = torch.tanh(
            batch.trajectory.observations[task] @ params["actor.layers.0.weight"]
            + params["actor.layers.0.bias"]
        )
        logits = h @ params["actor.layers.1.weight"] + params["actor.layers.1.bias"]
        everything = logits.log_softmax(-1)
        actions = batch.trajectory.actions[task][..., None]
        return everything, everything.gather(-1, actions)[..., 0]

    everything, taken = log_p(theta, support)
    ratio = (taken - support.trajectory.log_p[task]).exp()
    inner = -(ratio * support.advantages[task]).sum(0).mean()
    grads = torch.autograd.grad(inner, list(theta.values()), create_graph=True)
    phi = {n: p - LR * g for (n, p), g in zip(theta.items(), grads, strict=True)}
    old = support.trajectory.outputs[task].log_softmax(-1)
    kl = (old.exp() * (old - everything)).sum(-1).mean()
    ratio = (log_p(phi, query)[1] - query.trajectory.log_p[task]).exp()
    advantages = query.advantages[task]
    bounded = ratio.clamp(1 - promp.clip, 1 + promp.clip) * advantages
    outer = -torch.minimum(ratio * advantages, bounded).sum(0).mean()
    return outer + promp.inner_kl_coef * kl


def test_later_epochs_adapt_anew_from_where_theta_is() -> None:
    promp = ProMP(draw(POLICY), rule=sgd(LR), num_epochs=3, clip=0.1, inner_kl_coef=2.0)
    optimiser = torch.optim.SGD(promp.params.values(), lr=0.3)
    # The same seeds draw the same batches.
    recorded = Recorded(sampled(POLICY, MDP))
    list(MAML(draw(POLICY), rule=sgd(LR)).meta_gradients(recorded))
    (_, support), (_, query) = recorded.batches
    clipped = 0
    for epoch, metrics in enumerate(promp.meta_gradients(sampled(POLICY, MDP))):
        theta = {n.removeprefix("fast."): p for n, p in promp.params.items()}
        total = torch.stack(
            [plain_objective(theta, support, query, i, promp) for i in range(3)]
        ).mean()
        grads = torch.autograd.grad(total, list(theta.values()))
        expected = dict(zip(promp.params, grads, strict=True))
        assert relative_error(grads_of(promp), expected) < 1e-9
        if epoch > 0:
            assert (metrics["query_kl"] > 0).all()
            assert (metrics["inner_kl"] > 0).all()
            frozen = stale_adaptation(promp, support, query)
            clipped += relative_error(frozen, expected) > 0.01
        optimiser.step()
        optimiser.zero_grad()
    assert clipped == 2  # what a forgotten adaptation would give is something else


def stale_adaptation(promp: ProMP, support: ScoredTrajectory, query: ScoredTrajectory) -> Params:
    """The gradient at theta of the loss at the first phi: adaptation not taken anew."""
    tasks = sampled(POLICY, MDP)
    start = share(draw(POLICY), 3)
    fast = {n: p.clone().requires_grad_() for n, p in start.items()}
    loss = tasks.loss(fast, {}, support).sum()
    grads = torch.autograd.grad(loss, list(fast.values()))
    phi = {
        n: (p - LR * g).detach().requires_grad_()
        for (n, p), g in zip(fast.items(), grads, strict=True)
    }
    outer = tasks.clipped_loss(phi, {}, query, promp.clip).sum()
    found = torch.autograd.grad(outer, list(phi.values()))
    return {f"fast.{n}": g.mean(0) for n, g in zip(phi, found, strict=True)}


def test_experience_is_drawn_once_for_all_epochs() -> None:
    tasks = Noted(sampled(POLICY, MDP))
    learner = ProMP(draw(POLICY), rule=sgd(LR), num_steps=2, num_epochs=4)
    assert len(list(learner.meta_gradients(tasks))) == 4
    assert learner.incidents == {"kl_stops": 0, "kl_exceeded": 0}
    assert [split for split, _ in tasks._drawn[0]] == ["support", "support", "query"]


def test_chunks_give_the_same_gradients() -> None:
    found = []
    for execution in (None, Execution(chunk_size=1), Execution(chunk_size=2)):
        learner = ProMP(draw(POLICY), rule=sgd(LR), num_epochs=2, execution=execution)
        optimiser = torch.optim.SGD(learner.params.values(), lr=0.1)
        for metrics in learner.meta_gradients(sampled(POLICY, MDP)):
            assert metrics["query_loss"].shape == (3,)
            last = grads_of(learner)
            optimiser.step()
            optimiser.zero_grad()
        found.append(last)
    assert relative_error(found[1], found[0]) < 1e-9
    assert relative_error(found[2], found[0]) < 1e-9


def test_epochs_stop_where_policies_have_diverged() -> None:
    learner = ProMP(draw(POLICY), rule=sgd(LR), num_epochs=9, max_divergence=1e-3)
    optimiser = torch.optim.SGD(learner.params.values(), lr=1.0)
    epochs = 0
    for metrics in learner.meta_gradients(sampled(POLICY, MDP)):
        assert metrics["query_kl"].mean() <= 1e-3
        optimiser.step()
        optimiser.zero_grad()
        epochs += 1
    assert 1 <= epochs < 9
    assert learner.incidents == {"kl_stops": 1, "kl_exceeded": 0}
    assert all(p.grad is None for p in learner.params.values())
    assert next(learner.meta_gradients(sampled(POLICY, MDP)))
    assert learner.incidents["kl_stops"] == 0  # of the last meta-batch alone


def history(learner: ProMP, lr: float) -> list[Params]:
    """The parameters at every yield of one meta-batch, and at its end; SGD steps between."""
    optimiser = torch.optim.SGD(learner.params.values(), lr=lr)
    passed = []
    for _ in learner.meta_gradients(sampled(POLICY, MDP)):
        passed.append({n: p.detach().clone() for n, p in learner.params.items()})
        optimiser.step()
        optimiser.zero_grad()
    return [*passed, {n: p.detach().clone() for n, p in learner.params.items()}]


def same(one: Params, two: Params) -> bool:
    return all(torch.equal(p, two[n]) for n, p in one.items())


@pytest.mark.parametrize("num_epochs", [1, 2, 3])
def test_the_step_that_went_too_far_is_taken_back_the_last_one_too(num_epochs: int) -> None:
    learner = ProMP(draw(POLICY), rule=sgd(LR), num_epochs=num_epochs, max_divergence=1e-3)
    *passed, end = history(learner, lr=30.0)
    assert len(passed) == 1
    assert same(end, passed[0])
    assert learner.incidents["kl_stops"] == 1
    free = ProMP(draw(POLICY), rule=sgd(LR), num_epochs=num_epochs)
    assert not same(history(free, lr=30.0)[-1], passed[0])
    assert free.incidents["kl_stops"] == 0


def test_a_bound_that_is_not_reached_changes_nothing() -> None:
    bound, free = (
        ProMP(draw(POLICY), rule=sgd(LR), num_epochs=3, max_divergence=limit)
        for limit in (KL_LIMIT, None)
    )
    for one, two in zip(history(bound, lr=0.1), history(free, lr=0.1), strict=True):
        assert same(one, two)
    assert bound.incidents == {"kl_stops": 0, "kl_exceeded": 0}


@pytest.mark.parametrize("lr", [1e4, torch.inf])
def test_blow_ups_are_counted_without_a_bound_and_said_once(
    lr: float, caplog: pytest.LogCaptureFixture
) -> None:
    learner = ProMP(draw(POLICY), rule=sgd(LR), num_epochs=3)
    history(learner, lr=1e-3)
    assert learner.incidents == {"kl_stops": 0, "kl_exceeded": 0}
    assert not caplog.records
    history(learner, lr=lr)
    assert learner.incidents == {"kl_stops": 0, "kl_exceeded": 3}
    (said,) = caplog.records
    assert "lower the outer learning rate" in said.getMessage()


def test_returns_after_adaptation_rise() -> None:
    learner = ProMP(draw(POLICY), rule=sgd(0.1), num_epochs=5)
    optimiser = torch.optim.Adam(learner.params.values(), lr=0.03)
    exact = ExactTasks(MDP, POLICY)

    def after_adaptation() -> float:
        return float(MDP.expected_return(POLICY, learner.adapt(exact, 1)).mean())

    start = after_adaptation()
    for i in range(6):
        for _ in learner.meta_gradients(sampled(POLICY, MDP, batch_size=60, seed=10 + i)):
            optimiser.step()
            optimiser.zero_grad()
    assert after_adaptation() > start + 0.3


def test_probabilities_that_are_not_those_stored_are_refused() -> None:
    policy, tasks = aiming()
    learner = ProMP(draw(policy), rule=sgd(0.1))
    with pytest.raises(StaleBatchError, match="must be those that were stored"):
        list(learner.meta_gradients(Squashed(tasks.collector, tasks.settings)))


def test_a_replay_hands_out_what_was_drawn_in_order() -> None:
    recorded = Recorded(sampled(POLICY, MDP, settings=PolicyGradientSettings()))
    fast = share(draw(POLICY), 3)
    first, second = recorded.sample(fast, {}, "support"), recorded.sample(fast, {}, "query")
    recorded.replay()
    assert recorded.sample(fast, {}, "support") is first
    with pytest.raises(ValueError, match=r"batch 1 is asked for as support, .*: support, query"):
        recorded.sample(fast, {}, "support")
    assert recorded.sample(fast, {}, "query") is second
    with pytest.raises(ValueError, match="batch 2 is asked for as query"):
        recorded.sample(fast, {}, "query")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_epochs": 0}, "num_epochs must be at least 1, got 0"),
        ({"clip": 0.0}, r"clip must be above 0 .* got 0\.0"),
        ({"max_divergence": 0.0}, "max_divergence must be above 0 or None"),
    ],
)
def test_settings_that_mean_nothing_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ProMP(draw(POLICY), rule=sgd(0.1), **options)  # type: ignore[arg-type]
