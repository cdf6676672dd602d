"""Trust-region steps: the Hessian through the adaptation, the bound kept, failures survived."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from metarl.core import Params, UpdateRule, adam, scope, sgd, share
from metarl.meta import TRPO, ConjugateGradient, Recorded, StaleBatchError
from metarl.meta.policy.trpo import TrustRegion
from metarl.rl import Policy, PolicyGradientSettings, PolicyGradientTasks
from tests.metarl.rl.enumerable import ExactTasks, draw, tiny_mdp, tiny_policy
from tests.metarl.rl.sampled import aiming, sampled

MDP = tiny_mdp(3, num_steps=3)
Made = tuple[Policy, PolicyGradientTasks]


def tiny(settings: PolicyGradientSettings | None = None) -> Made:
    policy = tiny_policy()
    return policy, sampled(policy, MDP, settings=settings)


def region_of(made: Made, num_steps: int = 1, rule: UpdateRule = sgd(0.3)) -> TrustRegion:  # noqa: B008
    policy, tasks = made
    return TrustRegion(TRPO(draw(policy), rule=rule, num_steps=num_steps), Recorded(tasks))


def mean_divergence(region: TrustRegion, theta: Params) -> Tensor:
    region.recorded.replay()
    fast, slow, _ = region.adapt(theta, create_graph=True)
    return region.tasks.divergence(fast, slow, region.query).mean()


def naive_product(region: TrustRegion, v: Tensor) -> Tensor:
    """Double backward of the divergence itself."""
    names = list(region.theta)
    value = mean_divergence(region, region.theta)
    grads = torch.autograd.grad(value, [region.theta[n] for n in names], create_graph=True)
    along = (torch.cat([g.flatten() for g in grads]) * v).sum()
    found = torch.autograd.grad(along, [region.theta[n] for n in names])
    return torch.cat([g.flatten() for g in found])


CASES: dict[str, Callable[[], TrustRegion]] = {
    "lvc": lambda: region_of(tiny()),
    "two steps": lambda: region_of(tiny(), 2),
    "dice": lambda: region_of(tiny(PolicyGradientSettings(estimator="dice"))),
    "learned adam": lambda: region_of(tiny(), 2, adam(0.1, eps=1e-2, learned="element")),
    "gaussian": lambda: region_of(aiming()),
}


@pytest.mark.parametrize("case", CASES)
def test_the_product_is_the_naive_double_backward(case: str) -> None:
    region = CASES[case]()
    generator = torch.Generator().manual_seed(0)
    for _ in range(2):
        v = torch.randn(region.gradient.shape, generator=generator, dtype=torch.float64)
        found, expected = region.product(v), naive_product(region, v)
        assert expected.norm() > 1e-3
        assert (found - expected).norm() < 1e-10 * expected.norm()
        assert v @ found >= 0


def test_the_product_goes_through_the_adaptation() -> None:
    """With the adaptation's Jacobian taken for the identity it would be another matrix."""
    region = region_of(tiny())
    v = torch.randn(region.gradient.shape, generator=torch.Generator(), dtype=torch.float64)
    region.recorded.replay()
    adapted, slow, _ = region.adapt(region.theta, create_graph=False)
    adapted = {n: p.detach().requires_grad_() for n, p in adapted.items()}
    value = region.tasks.divergence(adapted, slow, region.query).mean()
    grads = torch.autograd.grad(value, list(adapted.values()), create_graph=True)
    direction = share(scope(region.unflat(v), "fast"), 3)
    along = [(g * direction[n]).sum() for n, g in zip(adapted, grads, strict=True)]
    found = torch.autograd.grad(torch.stack(along).sum(), list(adapted.values()))
    identity = torch.cat([g.sum(0).flatten() for g in found])
    exact = region.product(v)
    assert (identity - exact).norm() > 0.01 * exact.norm()


def test_divergence_and_its_gradient_are_0_where_the_batches_were_played() -> None:
    region = region_of(tiny(), 2)
    value = mean_divergence(region, region.theta)
    assert abs(float(value.detach())) < 1e-12
    grads = torch.autograd.grad(value, list(region.theta.values()))
    assert max(float(g.abs().max()) for g in grads) < 1e-9


def test_the_gradient_is_that_of_the_mean_loss() -> None:
    region = region_of(tiny())
    region.recorded.replay()
    fast, slow, _ = region.adapt(region.theta, create_graph=True)
    loss = region.tasks.loss(fast, slow, region.query).mean()
    expected = torch.autograd.grad(loss, list(region.theta.values()))
    assert torch.allclose(region.gradient, torch.cat([g.flatten() for g in expected]))


@pytest.mark.parametrize("make", [tiny, aiming])
def test_a_step_lowers_the_loss_and_keeps_to_the_bound(make: Callable[[], Made]) -> None:
    policy, tasks = make()
    learner = TRPO(draw(policy), rule=sgd(0.1), num_steps=1, max_divergence=0.02)
    before = {n: p.detach().clone() for n, p in learner.params.items()}
    optimiser = torch.optim.SGD(learner.params.values(), lr=1.0)
    (metrics,) = learner.meta_gradients(tasks)
    assert metrics["accepted"].tolist() == [1, 1, 1]
    assert learner.incidents == {"line_search_failed": 0}
    assert 0.005 < metrics["divergence"][0] <= 0.02
    assert metrics["improvement"][0] > 0
    optimiser.step()
    assert any(not torch.equal(p, before[n]) for n, p in learner.params.items())
    # What was reported is so when it is computed anew: the same seeds draw the same batches.
    old = TRPO(scope(before, "fast"), rule=sgd(0.1))
    region = TrustRegion(old, Recorded(make()[1]))
    step = torch.cat([(before[n] - p.detach()).flatten() for n, p in learner.params.items()])
    loss, divergence = region.at(step)
    improvement = float(region.loss.mean()) - loss
    assert improvement == pytest.approx(float(metrics["improvement"][0]), rel=1e-9)
    assert divergence == pytest.approx(float(metrics["divergence"][0]), rel=1e-9)


def test_conjugate_gradient_solves_the_damped_system() -> None:
    region = region_of(tiny())
    damping = 1e-2
    size = len(region.gradient)
    matrix = torch.stack([region.product(e) for e in torch.eye(size, dtype=torch.float64)])
    assert torch.allclose(matrix, matrix.T, atol=1e-12)
    assert torch.linalg.eigvalsh(matrix).min() > -1e-10
    solution = ConjugateGradient(4 * size).solve(
        lambda v: region.product(v[0])[None] + damping * v, region.gradient[None]
    )
    expected = torch.linalg.solve(matrix + damping * torch.eye(size).double(), region.gradient)
    assert torch.allclose(solution.x[0], expected, rtol=1e-6, atol=1e-9)


def test_returns_after_adaptation_rise() -> None:
    policy = tiny_policy()
    learner = TRPO(draw(policy), rule=sgd(0.1), num_steps=1, max_divergence=0.05)
    optimiser = torch.optim.SGD(learner.params.values(), lr=1.0)
    exact = ExactTasks(MDP, policy)

    def after_adaptation() -> float:
        return float(MDP.expected_return(policy, learner.adapt(exact, 1)).mean())

    start = after_adaptation()
    for i in range(6):
        for _ in learner.meta_gradients(sampled(policy, MDP, batch_size=60, seed=10 + i)):
            optimiser.step()
            optimiser.zero_grad()
    assert after_adaptation() > start + 0.3


def test_where_nothing_pays_there_is_no_step() -> None:
    policy = tiny_policy()
    silent = replace(MDP, rewards=0 * MDP.rewards)
    learner = TRPO(draw(policy), rule=sgd(0.1))
    (metrics,) = learner.meta_gradients(sampled(policy, silent))
    assert metrics["accepted"].tolist() == [0, 0, 0]
    assert learner.incidents == {"line_search_failed": 0}  # there was nothing to search for
    assert all((p.grad == 0).all() for p in learner.params.values())


class Deceptive(PolicyGradientTasks):
    """Its gradient points where its loss rises: no candidate can be accepted."""

    def loss(self, fast: Params, slow: Params, batch: object) -> Tensor:
        loss = super().loss(fast, slow, batch)  # type: ignore[arg-type]
        return loss if torch.is_grad_enabled() else loss + 1e3


class NotANumber(PolicyGradientTasks):
    def loss(self, fast: Params, slow: Params, batch: object) -> Tensor:
        loss = super().loss(fast, slow, batch)  # type: ignore[arg-type]
        return loss if torch.is_grad_enabled() else loss * torch.nan


@pytest.mark.parametrize("kind", [Deceptive, NotANumber])
def test_a_failed_search_leaves_everything_as_it_was(kind: type[PolicyGradientTasks]) -> None:
    policy, tasks = tiny()
    learner = TRPO(draw(policy), rule=sgd(0.1), num_backtracks=12)
    (metrics,) = learner.meta_gradients(kind(tasks.collector, tasks.settings))
    assert metrics["accepted"].tolist() == [0, 0, 0]
    assert metrics["candidates"].tolist() == [12, 12, 12]
    assert learner.incidents == {"line_search_failed": 1}
    assert metrics["query_loss"].isfinite().all()
    assert all((p.grad == 0).all() for p in learner.params.values())


class Squashed(PolicyGradientTasks):
    """Changes actions after they were drawn."""

    def sample(self, fast: Params, slow: Params, split: object) -> object:  # type: ignore[override]
        batch = super().sample(fast, slow, split)  # type: ignore[arg-type]
        actions = batch.trajectory.actions.clamp(-0.1, 0.1)
        return batch._replace(trajectory=batch.trajectory._replace(actions=actions))


def test_probabilities_that_are_not_those_stored_are_refused() -> None:
    policy, tasks = aiming()
    learner = TRPO(draw(policy), rule=sgd(0.1))
    with pytest.raises(StaleBatchError, match=r"a log-ratio is .*actions that are changed"):
        list(learner.meta_gradients(Squashed(tasks.collector, tasks.settings)))


def test_parameters_that_do_not_act_are_refused() -> None:
    policy = tiny_policy(critic=True)
    learner = TRPO(draw(policy), rule=sgd(0.1))
    with pytest.raises(ValueError, match=r"does not depend on fast\.critic\.layers\.0\.weight"):
        list(learner.meta_gradients(sampled(policy, MDP)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_divergence": 0.0}, r"max_divergence must be above 0 .* got 0\.0 and 1e-05"),
        ({"backtrack": 1.0}, r"backtrack in \(0, 1\), got 15 and 1\.0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TRPO(draw(tiny_policy()), rule=sgd(0.1), **options)  # type: ignore[arg-type]
