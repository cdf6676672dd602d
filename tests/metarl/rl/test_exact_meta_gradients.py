"""The meta-gradient of every learner against the exact expected return of a small process.

The same learner runs on all trajectories, each with its probability as its weight, and on the
expectation itself, which dynamic programming gives and autograd differentiates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from metarl.core import Execution, sgd
from metarl.meta import (
    ANIL,
    MAML,
    TRPO,
    ImplicitMAML,
    MetaLearner,
    MetaSGD,
    OnlineWarpGrad,
    ProMP,
    Recorded,
    Reptile,
)
from metarl.meta.policy.trpo import TrustRegion
from metarl.nn import MLP, WarpMLP
from metarl.rl import (
    Categorical,
    Collector,
    Policy,
    PolicyGradientTasks,
)
from tests.metarl.meta.problems import relative_error
from tests.metarl.rl.enumerable import (
    PLAIN,
    EnumeratedTasks,
    ExactTasks,
    SurrogateTasks,
    TinyEnv,
    draw,
    generators,
    tiny_mdp,
    tiny_policy,
)

RULE = sgd(0.3)
DICE = replace(PLAIN, estimator="dice")
MDP = tiny_mdp(3)
Params = dict[str, Tensor]

WARPED = Policy(WarpMLP(MLP((3, 4, 2), "tanh"), kind="tanh"), Categorical(2))

LEARNERS: dict[str, Callable[[Policy, Params], MetaLearner]] = {
    "maml-1": lambda policy, p: MAML(p, rule=RULE, num_steps=1),
    "maml-3": lambda policy, p: MAML(p, rule=RULE, num_steps=3),
    "checkpointed": lambda policy, p: MAML(p, rule=RULE, num_steps=2, checkpoint=True),
    "chunks": lambda policy, p: MAML(p, rule=RULE, num_steps=2, execution=Execution(2)),
    "first-order": lambda policy, p: MAML(p, rule=RULE, num_steps=2, first_order=True),
    "anil": lambda policy, p: ANIL(p, head=policy.head, rule=RULE, num_steps=2),
    "meta-sgd": lambda policy, p: MetaSGD(p, lr=0.3, num_steps=2),
    "reptile": lambda policy, p: Reptile(p, rule=RULE, num_steps=3),
    "implicit": lambda policy, p: ImplicitMAML(p, rule=RULE, num_steps=3, strength=2.0),
    "warp": lambda policy, p: OnlineWarpGrad(p, rule=RULE, num_steps=2, slow=policy.slow),
    "warp-first-order": lambda policy, p: OnlineWarpGrad(
        p, rule=RULE, num_steps=2, slow=policy.slow, objective="first_order"
    ),
}


def meta_gradient(learner: MetaLearner, tasks: Any) -> Params:
    list(learner.meta_gradients(tasks))
    return {n: p.grad for n, p in learner.params.items() if p.grad is not None}


def policy_of(name: str) -> Policy:
    return WARPED if name.startswith("warp") else tiny_policy()


def both(name: str, settings: Any = DICE) -> tuple[Params, Params]:
    policy = policy_of(name)
    make = LEARNERS[name]
    found = meta_gradient(make(policy, draw(policy)), EnumeratedTasks(MDP, policy, settings))
    exact = meta_gradient(make(policy, draw(policy)), ExactTasks(MDP, policy))
    return found, exact


@pytest.mark.parametrize("name", LEARNERS)
def test_no_bias_with_all_trajectories(name: str) -> None:
    found, exact = both(name)
    assert max(g.abs().max() for g in exact.values()) > 1e-3
    assert relative_error(found, exact) < 1e-9


@pytest.mark.parametrize("name", ["maml-1", "anil", "implicit"])
@pytest.mark.parametrize("estimator", ["logp", "lvc"])
def test_surrogates_without_the_second_derivative_are_biased(name: str, estimator: str) -> None:
    found, exact = both(name, replace(PLAIN, estimator=estimator))  # type: ignore[arg-type]
    assert relative_error(found, exact) > 1e-3


@pytest.mark.parametrize("name", ["maml-1", "maml-3", "anil", "implicit"])
@pytest.mark.parametrize("estimator", ["logp", "lvc"])
def test_their_bias_is_what_their_definition_says(name: str, estimator: str) -> None:
    """The expected surrogate by dynamic programming has the same wrong second derivative."""
    policy = policy_of(name)
    found, _ = both(name, replace(PLAIN, estimator=estimator))  # type: ignore[arg-type]
    tasks = SurrogateTasks(MDP, policy, estimator)  # type: ignore[arg-type]
    assert relative_error(found, meta_gradient(LEARNERS[name](policy, draw(policy)), tasks)) < 1e-9


@pytest.mark.parametrize("num_steps", [1, 2])
@pytest.mark.parametrize("estimator", ["dice", "lvc"])
def test_the_first_gradient_of_outer_updates_is_that_of_maml(
    num_steps: int, estimator: str
) -> None:
    policy = tiny_policy()
    options: dict[str, Any] = {"rule": RULE, "num_steps": num_steps}
    tasks = EnumeratedTasks(MDP, policy, replace(PLAIN, estimator=estimator))  # type: ignore[arg-type]
    exact: Any = ExactTasks(MDP, policy)
    if estimator == "lvc":
        exact = SurrogateTasks(MDP, policy, "lvc")
    expected = meta_gradient(MAML(draw(policy), **options), exact)
    promp = ProMP(draw(policy), num_epochs=1, **options)
    assert relative_error(meta_gradient(promp, tasks), expected) < 1e-9
    region = TrustRegion(TRPO(draw(policy), **options), Recorded(tasks))
    assert relative_error(region.unflat(region.gradient), expected) < 1e-9


@pytest.mark.parametrize("name", ["first-order", "reptile"])
def test_learners_of_first_order_do_not_care(name: str) -> None:
    for estimator in ("logp", "lvc"):
        found, exact = both(name, replace(PLAIN, estimator=estimator))
        assert relative_error(found, exact) < 1e-9


def test_inner_steps_do_not_depend_on_the_number_of_tasks() -> None:
    policy = tiny_policy()
    learner = MAML(draw(policy), rule=RULE, num_steps=2)
    tasks = EnumeratedTasks(MDP, policy, DICE)
    together = learner.adapt(tasks, 2)
    alone = [learner.adapt(tasks.select(slice(i, i + 1)), 2) for i in range(3)]
    for name, p in together.items():
        assert torch.allclose(p, torch.cat([a[name] for a in alone]), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["maml-1", "first-order", "anil", "meta-sgd", "reptile", "warp"])
def test_sampled_trajectories_agree_within_their_error(name: str) -> None:
    """Mean over independent meta-batches of many episodes, within three standard errors."""
    policy = policy_of(name)
    _, exact = both(name)
    repeats, batch_size = 24, 1500
    found: dict[str, list[Tensor]] = {n: [] for n in exact}
    sources = generators(2 * MDP.num_tasks, seed=7)
    env = TinyEnv(MDP, batch_size, sources[MDP.num_tasks :])
    collector = Collector(env, policy, sources[: MDP.num_tasks], 2, num_tasks=MDP.num_tasks)
    for _ in range(repeats):
        learner = LEARNERS[name](policy, draw(policy))
        for n, g in meta_gradient(learner, PolicyGradientTasks(collector, DICE)).items():
            found[n].append(g)
    # One number a parameter, along a fixed direction, so that few comparisons are made.
    for n, samples in found.items():
        direction = exact[n] / exact[n].norm()
        along = torch.stack([(g * direction).sum() for g in samples])
        error = along.std() / repeats**0.5
        assert (along.mean() - exact[n].norm()).abs() < 3 * error, n
        assert error < 0.2 * exact[n].norm(), n
