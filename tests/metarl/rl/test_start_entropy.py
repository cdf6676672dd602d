"""The entropy of the first policy: its own states, whole or in parts, and the right gradient."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from metarl.core import Execution, Params, sgd, share
from metarl.meta import MAML, Noted, Reptile, regularised_gradients
from metarl.rl import (
    Collector,
    PolicyGradientSettings,
    PolicyGradientTasks,
    ScoredTrajectory,
    start_entropy,
)
from tests.metarl.rl.enumerable import draw, generators, tiny_environments, tiny_mdp, tiny_policy

N, B, STEPS = 3, 8, 5
MDP, POLICY = tiny_mdp(N, num_steps=STEPS), tiny_policy()


def tasks_with(coef: float) -> PolicyGradientTasks:
    collector = Collector(
        tiny_environments(MDP, B),
        POLICY,
        generators(N, 1),
        STEPS,
        num_episodes=B,
        tasks=torch.arange(N),
        dynamics=generators(N, 0),
    )
    return PolicyGradientTasks(collector, PolicyGradientSettings(start_entropy_coef=coef))


def by_hand(params: dict[str, Tensor], batch: ScoredTrajectory) -> Tensor:
    """A plain mean of -sum p log p over the states of the first policy."""
    flat = batch.trajectory.observations.reshape(1, 1, -1, 3)
    log_p = POLICY.outputs({n: v.unsqueeze(0) for n, v in params.items()}, flat)
    return -(log_p.exp() * log_p).sum(-1).mean()


def test_it_is_the_mean_entropy_on_the_first_episodes_to_adapt_by() -> None:
    tasks, params = Noted(tasks_with(0.3)), draw(POLICY)
    list(MAML(params, rule=sgd(0.5), num_steps=3).meta_gradients(tasks))
    (first,) = tasks.first  # of three inner steps and the episodes after them
    found = start_entropy(POLICY, [first], params, {})
    assert torch.allclose(found, by_hand(params, first), atol=1e-14)
    assert first.metrics["entropy"].mean().item() == pytest.approx(float(found))


def test_episodes_after_adaptation_do_not_count() -> None:
    tasks = Noted(tasks_with(0.3))
    tasks.sample(share(draw(POLICY), N), {}, "query")
    assert tasks.first == []


def test_its_gradient_joins_the_learner_s_whole_or_in_parts() -> None:
    coef, found = 0.3, []

    def penalty(fast: Params, slow: Params, drawn: Sequence[ScoredTrajectory]) -> Tensor:
        assert len(drawn) == (1 if chunk_size is None else 2)
        return -coef * start_entropy(POLICY, drawn, fast, slow)

    for chunk_size in (None, 2):
        learner = MAML(
            draw(POLICY), rule=sgd(0.5), num_steps=2, execution=Execution(chunk_size=chunk_size)
        )
        (metrics,) = regularised_gradients(learner, tasks_with(coef), penalty)
        found.append({n: p.grad for n, p in learner.params.items()} | metrics)
    for name, value in found[0].items():
        assert torch.allclose(value, found[1][name], atol=1e-13), name

    plain_tasks = Noted(tasks_with(coef))
    plain = MAML(draw(POLICY), rule=sgd(0.5), num_steps=2)
    list(plain.meta_gradients(plain_tasks))
    (first,) = plain_tasks.first
    params = {n: p.detach() for n, p in plain.fast.items()}
    for name, p in params.items():
        for index in range(p.numel()):
            values = []
            for sign in (1, -1):
                moved = p.clone()
                moved.view(-1)[index] += sign * 1e-6
                values.append(float(by_hand({**params, name: moved}, first).detach()))
            expected = -coef * (values[0] - values[1]) / 2e-6
            grad = plain.params[f"fast.{name}"].grad
            assert grad is not None
            joined = found[0][f"fast.{name}"].view(-1)[index] - grad.view(-1)[index]
            assert float(joined) == pytest.approx(expected, abs=1e-8)


def test_with_it_the_first_policy_keeps_looking() -> None:
    """Steps on the whole meta-gradient: without the term the first policy settles."""
    entropies = []
    for coef in (0.0, 10.0):
        learner = Reptile(draw(POLICY, seed=4), rule=sgd(1.0), num_steps=2)
        optimiser = torch.optim.SGD(learner.params.values(), lr=0.3)
        for _ in range(40):
            tasks = tasks_with(2.0)
            for _ in regularised_gradients(
                learner,
                tasks,
                lambda fast, slow, drawn, c=coef: -c * start_entropy(POLICY, drawn, fast, slow),
            ):
                optimiser.step()
                optimiser.zero_grad()
        first = [tasks.sample(share(learner.fast, N), {}, "support")]
        entropies.append(float(start_entropy(POLICY, first, learner.fast, {}).detach()))
    assert entropies[0] < 0.2 < 0.5 < entropies[1]  # log 2 = 0.693
