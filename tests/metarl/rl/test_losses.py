"""Surrogates: the right gradient of all, the right Hessian of DiCE alone; entropies by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from metarl.core import share
from metarl.rl import ActorCriticSettings, Categorical, mlp_policy
from metarl.rl.losses import accumulated, clipped, surrogate
from tests.metarl.rl.enumerable import (
    PLAIN,
    EnumeratedTasks,
    ExactTasks,
    draw,
    tiny_mdp,
)

# A table of logits: what bends is the surrogate, not the network.
MDP, POLICY = tiny_mdp(1, seed=2), mlp_policy(3, Categorical(2), hidden=())
NAMES = list(draw(POLICY))


def flat() -> Tensor:
    return torch.cat([p.flatten() for p in draw(POLICY).values()])


def unflat(theta: Tensor) -> dict[str, Tensor]:
    shapes = {n: p.shape for n, p in draw(POLICY).items()}
    parts = theta.split([s.numel() for s in shapes.values()])
    return {n: p.view(s) for (n, s), p in zip(shapes.items(), parts, strict=True)}


def derivatives(loss) -> tuple[Tensor, Tensor]:
    gradient = torch.autograd.functional.jacobian(loss, flat())
    return gradient, torch.autograd.functional.hessian(loss, flat())


def of_estimator(estimator: str, lambda_: float = 1.0) -> tuple[Tensor, Tensor]:
    settings = replace(PLAIN, estimator=estimator, loaded_lambda=lambda_)
    tasks = EnumeratedTasks(MDP, POLICY, settings)
    batch = tasks.sample(share(unflat(flat()), 1), {}, "support")
    return derivatives(lambda theta: tasks.loss(share(unflat(theta), 1), {}, batch).sum())


def of_expectation() -> tuple[Tensor, Tensor]:
    tasks = ExactTasks(MDP, POLICY)
    return derivatives(lambda theta: tasks.loss(share(unflat(theta), 1), {}, None).sum())


def errors(estimator: str, lambda_: float = 1.0) -> tuple[float, float]:
    gradient, hessian = of_estimator(estimator, lambda_)
    exact_gradient, exact_hessian = of_expectation()
    return (
        float((gradient - exact_gradient).norm() / exact_gradient.norm()),
        float((hessian - exact_hessian).norm() / exact_hessian.norm()),
    )


def test_the_table_of_estimators() -> None:
    table = {
        "logp": errors("logp"),
        "lvc": errors("lvc"),
        "0": errors("loaded_dice", 0.0),
        "half": errors("loaded_dice", 0.5),
        "1": errors("loaded_dice", 1.0),
        "dice": errors("dice"),
    }
    assert all(gradient < 1e-12 for gradient, _ in table.values()), table
    hessian = {name: error for name, (_, error) in table.items()}
    assert hessian["dice"] < 1e-12
    assert hessian["1"] < 1e-12
    assert hessian["lvc"] > 0.2
    assert hessian["logp"] > 1
    assert hessian["0"] == pytest.approx(hessian["lvc"], rel=1e-9)
    assert hessian["half"] == pytest.approx(hessian["lvc"] / 2, rel=1e-9)


def test_on_one_step_the_ratio_form_is_exact_and_the_logarithm_is_not() -> None:
    bandit, policy = tiny_mdp(1, num_steps=1), POLICY
    exact = derivatives(
        lambda theta: -bandit.expected_return(policy, share(unflat(theta), 1)).sum()
    )
    for estimator, wrong in [("lvc", False), ("logp", True)]:
        tasks = EnumeratedTasks(bandit, policy, replace(PLAIN, estimator=estimator))
        batch = tasks.sample(share(unflat(flat()), 1), {}, "support")
        found = derivatives(lambda t, b=batch, k=tasks: k.loss(share(unflat(t), 1), {}, b).sum())
        assert torch.allclose(found[0], exact[0], atol=1e-12)
        assert ((found[1] - exact[1]).norm() > 0.01 * exact[1].norm()) == wrong


def some(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Log-probabilities new and old, rewards and mask of 2 tasks, 5 steps, 3 episodes."""
    g = torch.Generator().manual_seed(seed)
    new, old, rewards = torch.randn(3, 2, 5, 3, generator=g, dtype=torch.float64).unbind(0)
    mask = (torch.arange(5)[:, None] < torch.tensor([5, 3, 1])).double().expand(2, 5, 3)
    return new, old, rewards * mask, mask


def test_dice_is_the_published_sum_by_parts() -> None:
    """sum_t box(w_t) r_t (Foerster et al. 2018), written out step by step."""
    new, old, rewards, mask = some()
    to_go = rewards.flip(1).cumsum(1).flip(1)
    published = torch.zeros(2, dtype=torch.float64)
    w = torch.zeros(2, 3, dtype=torch.float64)
    for t in range(5):
        w = w + (new - old)[:, t] * mask[:, t]
        published = published + (w.exp() * rewards[:, t]).mean(1)
    found = surrogate("dice", new, old, to_go, mask)
    assert torch.allclose(found, published - to_go[:, 0].mean(1), rtol=1e-12)


def test_loaded_dice_is_the_published_recursion() -> None:
    new, old, rewards, mask = some()
    change, lambda_ = (new - old) * mask, 0.7
    total, w = torch.zeros(2, dtype=torch.float64), torch.zeros(2, 3, dtype=torch.float64)
    for t in range(5):
        v = lambda_ * w
        w = v + change[:, t]
        total = total + ((w.exp() - v.exp()) * rewards[:, t]).mean(1)
    found = surrogate("loaded_dice", new, old, rewards, mask, lambda_)
    assert torch.allclose(found, total, rtol=1e-12)


def test_what_is_behind_the_end_leaves_no_trace() -> None:
    new, old, rewards, mask = some()
    wild = torch.where(mask == 0, torch.full_like(new, 1e4), new)
    for estimator in ("logp", "lvc", "dice", "loaded_dice"):
        plain = surrogate(estimator, new, old, rewards, mask, 0.5)  # type: ignore[arg-type]
        assert torch.equal(surrogate(estimator, wild, old, rewards, mask, 0.5), plain)  # type: ignore[arg-type]
    assert torch.equal(
        clipped(wild, old, rewards, mask, 0.2), clipped(new, old, rewards, mask, 0.2)
    )


def test_each_step_counts_alike_in_short_and_long_episodes() -> None:
    """The gradient of a sum over time: a mean would triple the weight of the short episode."""
    log_p = torch.zeros(1, 3, 2, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[[1.0, 1.0], [0.0, 1.0], [0.0, 1.0]]], dtype=torch.float64)
    for estimator in ("logp", "lvc", "dice"):
        total = surrogate(estimator, log_p, log_p.detach(), mask, mask)  # type: ignore[arg-type]
        (gradient,) = torch.autograd.grad(total.sum(), log_p)
        assert torch.equal(gradient, mask / 2)


def test_decay_is_the_recursion() -> None:
    change = some()[0]
    for decay in (0.0, 0.3, 1.0):
        w, steps = torch.zeros(2, 3, dtype=torch.float64), []
        for t in range(5):
            w = decay * w + change[:, t]
            steps.append(w)
        assert torch.allclose(accumulated(change, decay), torch.stack(steps, 1), rtol=1e-12)


def test_clipping_takes_the_worse_side() -> None:
    """Ratios 1.5 and 0.5 with clip 0.2: gains stop at the bounds, losses do not."""
    ratio = torch.tensor([1.5, 0.5, 1.5, 0.5], dtype=torch.float64).log().view(1, 1, 4)
    advantages = torch.tensor([1.0, 1.0, -1.0, -1.0], dtype=torch.float64).view(1, 1, 4)
    ones = torch.ones_like(ratio)
    found = clipped(ratio, torch.zeros_like(ratio), advantages, ones, 0.2)
    assert found.item() == pytest.approx((1.2 + 0.5 - 1.5 - 0.8) / 4)


def described(probabilities: list[float]) -> Tensor:
    return Categorical(len(probabilities)).outputs(
        {}, torch.tensor(probabilities).log()[None, None]
    )


def test_entropy_terms_by_hand() -> None:
    family, outputs = Categorical(3), described([0.5, 0.25, 0.25])
    shannon, simpson = (ActorCriticSettings(entropy=e) for e in ("shannon", "simpson"))  # type: ignore[arg-type]
    assert shannon.settling(family, outputs).item() == pytest.approx(-1.5 * math.log(2))
    assert simpson.settling(family, outputs).item() == pytest.approx(0.375)


def test_gains_of_trials_are_means_over_their_steps_by_hand() -> None:
    log_p, old = torch.tensor([[[-1.0, -2.0]]]), torch.zeros(1, 1, 4)
    a2c = ActorCriticSettings().gain(
        log_p, log_p, torch.tensor([[[3.0, -1.0]]]), torch.ones(1, 1, 2)
    )
    assert a2c.tolist() == [-0.5]
    ratio = torch.tensor([[[1.5, 1.5, 0.5, 0.5]]])
    advantages = torch.tensor([[[1.0, -1.0, 1.0, -1.0]]])
    ppo = ActorCriticSettings(algorithm="ppo").gain(
        ratio.log(), old, advantages, torch.ones(1, 1, 4)
    )
    assert ppo.item() == pytest.approx((1.2 - 1.5 + 0.5 - 0.8) / 4)


def test_ppo_has_the_policy_gradient_at_ratio_one() -> None:
    log_p, _, advantages, mask = some()
    log_p.requires_grad_()
    both = (
        ActorCriticSettings(algorithm=name).gain(log_p, log_p.detach(), advantages, mask).sum()  # type: ignore[arg-type]
        for name in ("a2c", "ppo")
    )
    torch.testing.assert_close(*(torch.autograd.grad(gain, log_p)[0] for gain in both))


def test_gains_of_agents_are_apart() -> None:
    """The gain of agent 0 has no gradient by agent 1's numbers, nor depends on their count."""
    log_p, old, advantages, mask = some()
    log_p.requires_grad_()
    for settings in (ActorCriticSettings(), PLAIN):
        (gradient,) = torch.autograd.grad(settings.gain(log_p, old, advantages, mask)[0], log_p)
        assert gradient[0].abs().sum() > 0
        assert not gradient[1].any()
