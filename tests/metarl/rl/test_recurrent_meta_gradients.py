"""Meta-gradients of policies that remember, against the exact expected return over histories."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from metarl.core import sgd
from metarl.meta import MAML, TRPO, ProMP, Recorded
from metarl.meta.policy.trpo import TrustRegion
from tests.metarl.meta.problems import relative_error
from tests.metarl.rl.enumerable import EnumeratedTasks, draw, tiny_mdp
from tests.metarl.rl.remembering import CORES, HistoryTasks, remembering
from tests.metarl.rl.test_exact_meta_gradients import DICE, LEARNERS, RULE, meta_gradient

MDP = tiny_mdp(3, num_steps=3)


def enumerated(core: str) -> EnumeratedTasks:
    return EnumeratedTasks(MDP, remembering(core), DICE)


@pytest.mark.parametrize(
    ("name", "core"),
    [
        *((name, "warp" if name.startswith("warp") else "gru") for name in LEARNERS),
        *(("maml-3", core) for core in CORES if core != "gru"),
    ],
)
def test_every_learner_and_core_has_the_exact_meta_gradient(name: str, core: str) -> None:
    policy, make = remembering(core), LEARNERS[name]
    found = meta_gradient(make(policy, draw(policy)), enumerated(core))
    exact = meta_gradient(make(policy, draw(policy)), HistoryTasks(MDP, core))
    memory = [n for n in exact if n.endswith(("weight_hh", "warp_lstm_hh"))]
    assert memory
    assert all(exact[n].abs().max() > 1e-5 for n in memory)
    assert relative_error(found, exact) < 1e-9


def test_the_slow_weights_of_warp_are_the_lstm_and_its_projection() -> None:
    policy = remembering("warp")
    learner = LEARNERS["warp"](policy, draw(policy))
    grads = meta_gradient(learner, enumerated("warp"))
    assert {n for n in grads if n.startswith("slow.")} == {
        *(f"slow.core.warp_lstm_{n}" for n in ("ih", "hh", "bias_ih", "bias_hh")),
        "slow.core.warp_project",
    }


def test_the_meta_gradient_is_a_difference_of_returns_after_adaptation() -> None:
    policy, exact = remembering("gru"), HistoryTasks(MDP, "gru")
    theta = draw(policy)
    g = torch.Generator().manual_seed(5)
    direction = {n: torch.randn(p.shape, generator=g).double() for n, p in theta.items()}

    def loss(step: float) -> Tensor:
        moved = {n: p + step * direction[n] for n, p in theta.items()}
        return exact.loss(MAML(moved, rule=RULE).adapt(exact, 2), {}, None).mean()

    found = meta_gradient(MAML(theta, rule=RULE, num_steps=2), enumerated("gru"))
    along = sum((found[f"fast.{n}"] * d).sum() for n, d in direction.items())
    torch.testing.assert_close(along, (loss(1e-5) - loss(-1e-5)) / 2e-5, rtol=1e-7, atol=0)


@pytest.mark.parametrize("core", CORES)
def test_the_first_gradient_of_outer_updates_is_that_of_maml(core: str) -> None:
    policy = remembering(core)
    options: dict[str, Any] = {"rule": sgd(0.3), "num_steps": 2}
    expected = meta_gradient(MAML(draw(policy), **options), HistoryTasks(MDP, core))
    promp = ProMP(draw(policy), num_epochs=1, **options)
    assert relative_error(meta_gradient(promp, enumerated(core)), expected) < 1e-9
    region = TrustRegion(TRPO(draw(policy), **options), Recorded(enumerated(core)))
    assert relative_error(region.unflat(region.gradient), expected) < 1e-9


@pytest.mark.parametrize("core", CORES)
def test_trpo_knows_how_fast_policies_that_remember_diverge(core: str) -> None:
    """Its product goes forwards through the cells: the curvature of the divergence itself."""
    policy = remembering(core)
    learner = TRPO(draw(policy), rule=sgd(0.3), num_steps=1)
    region = TrustRegion(learner, Recorded(enumerated(core)))
    v = torch.randn(region.gradient.shape, generator=torch.Generator().manual_seed(1)).double()
    small = 1e-3 * v
    divergence = sum(region.at(sign * small)[1] for sign in (1, -1))
    assert float(small @ region.product(small)) == pytest.approx(divergence, rel=1e-4)
