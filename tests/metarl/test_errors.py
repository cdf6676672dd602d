"""Options that are misspelt or out of range are refused by name, wherever they are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from metarl.core import OptimiserSettings, Schedule, adam, sgd
from metarl.errors import UserError, check_different
from metarl.meta import (
    MAML,
    ContinualWarpGrad,
    Leap,
    LeapMetric,
    LeapObjective,
    OfflineWarpGrad,
    OnlineWarpGrad,
    Reptile,
    TwoTimescaleSettings,
)
from metarl.methods import METHODS
from metarl.modules import DualUpdater
from metarl.nn import MLP
from metarl.rl import ActorCriticSettings, PolicyGradientSettings

PARAMS = {"w": torch.zeros(2), "warp": torch.zeros(2)}
RULE: dict[str, Any] = {"rule": sgd(0.1), "num_steps": 2}
WARP: dict[str, Any] = {**RULE, "slow": ["warp"]}
MSE = nn.MSELoss()

REFUSED: list[tuple[Callable[[], Any], str]] = [
    (
        lambda: OnlineWarpGrad(PARAMS, **WARP, objective="Exact"),  # type: ignore[arg-type]
        "objective must be one of exact, first_order, replay; got 'Exact'",
    ),
    (lambda: OfflineWarpGrad(PARAMS, **WARP, objective="x"), "objective must"),  # type: ignore[arg-type]
    (lambda: ContinualWarpGrad(PARAMS, **WARP, objective="x"), "objective must"),  # type: ignore[arg-type]
    (
        lambda: Reptile(PARAMS, **RULE, schedule="batched"),  # type: ignore[arg-type]
        "schedule must be one of batch, serial; got 'batched'",
    ),
    (
        lambda: LeapMetric("lenght"),  # type: ignore[arg-type]
        "distance must be one of length, energy; got 'lenght'",
    ),
    (lambda: DualUpdater(MSE, distance="x"), "distance must be one of"),  # type: ignore[arg-type]
    (
        lambda: sgd(0.1, learned="elements"),  # type: ignore[arg-type]
        "learned must be one of no, parameter, element; got 'elements'",
    ),
    (lambda: Schedule("lin"), "decay must be one of constant, linear, cosine; got 'lin'"),  # type: ignore[arg-type]
    (lambda: OptimiserSettings("Adam"), "name must be one of adam, rmsprop, sgd; got 'Adam'"),  # type: ignore[arg-type]
    (lambda: TwoTimescaleSettings(slow_gradient="avg"), "slow_gradient must be one of mean, sum"),  # type: ignore[arg-type]
    (lambda: TwoTimescaleSettings(reset_fast="no"), "reset_fast must be one of never, meta-batch"),  # type: ignore[arg-type]
    (lambda: ActorCriticSettings(algorithm="PPO"), "algorithm must be one of a2c, ppo; got 'PPO'"),  # type: ignore[arg-type]
    (lambda: ActorCriticSettings(entropy="x"), "entropy must be one of simpson, shannon"),  # type: ignore[arg-type]
    (lambda: PolicyGradientSettings(estimator="x"), "estimator must be one of"),  # type: ignore[arg-type]
    (lambda: METHODS["imaml"](solver="CG"), "solver must be one of cg, neumann; got 'CG'"),
    (lambda: METHODS["warp"](warp_algorithm="On"), "warp_algorithm must be one of online, offline"),
    (lambda: METHODS["maml"](inner_rule="SGD"), "inner_rule must be one of sgd, .*; got 'SGD'"),
    (lambda: METHODS["maml"](chunk_size="all"), "chunk_size must be one of auto; got 'all'"),
    (lambda: ActorCriticSettings(entropy_decay=None), "entropy_decay must be one of .*; got None"),  # type: ignore[arg-type]
    (lambda: MLP((1, 2), "elu"), "activation must be one of relu, tanh; got 'elu'"),  # type: ignore[arg-type]
    (lambda: sgd(0.1, 1.0), r"momentum must lie in \[0, 1\), got 1.0"),
    (lambda: sgd(0.1, -0.5), r"momentum must lie in \[0, 1\), got -0.5"),
    (lambda: adam(0.1, (1.0, 0.9)), r"beta1 must lie in \[0, 1\), got 1.0"),
    (lambda: adam(0.1, (0.9, -0.1)), r"beta2 must lie in \[0, 1\), got -0.1"),
    (lambda: adam(0.1, (float("nan"), 0.9)), "beta1 must lie in"),
    (lambda: adam(0.1, eps=-1e-8), "eps must be finite and at least 0, got -1e-08"),
    (lambda: adam(0.1, eps="small"), "eps must be finite and at least 0, got small"),  # type: ignore[arg-type]
    (lambda: METHODS["maml"](lr="3e-3"), "^lr must be finite and at least 0, got 3e-3"),
    (lambda: METHODS["maml"](inner_lr=[0.1]), r"^inner_lr must be finite .*, got \[0.1\]"),
    (lambda: METHODS["maml"](inner_steps=1.5), "^inner_steps must be a whole number, got 1.5"),
    (lambda: METHODS["ppo"](lr=None), "^lr must be finite and at least 0, got None"),
    (lambda: MAML({}, rule=sgd(0.1)), "nothing adapts: of 0 parameters"),
    (lambda: MAML({"w": PARAMS["w"]}, rule=sgd(0.1), slow=["w"]), "nothing adapts: of 1"),
    (lambda: OfflineWarpGrad(PARAMS, **RULE, slow=()), "nothing is learned"),
    (lambda: OnlineWarpGrad(PARAMS, **RULE, slow=()), "nothing is learned"),
    (lambda: MAML(PARAMS, rule=sgd(0.1)).adapt(None, -1), "num_steps must be at least 0, got -1"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("make", "message"), REFUSED)
def test_it_is_refused_by_name(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((), "seeds needs at least one value"),
        ((3, 1, 3), "seeds must be different, got 3 twice"),
        ([0, -1], "seeds must not be negative, got -1"),
    ],
)
def test_values_that_are_to_be_different(values: Any, message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}$"):
        check_different(values, "seeds", error=UserError)
    check_different(("rl2", "warp-rnn"), "methods")
    check_different(range(3), "seeds")


def test_what_is_spelt_right_is_accepted() -> None:
    """Also a learner that has no slow parameters but learns its start, or its step sizes."""
    OnlineWarpGrad(PARAMS, **RULE, slow=(), initialisation=LeapObjective())
    OfflineWarpGrad(PARAMS, **{**RULE, "rule": sgd(0.1, learned="element")}, slow=())
    Leap(PARAMS, **RULE, metric=LeapMetric("energy"))
    sgd(0.1, 0.0)
    adam(0.1, (0.0, 0.0), eps=0.0)
