"""Every inner rule in every place that steps by one: batched, step by step, compiled, replayed."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import metarl
from metarl import meta
from metarl.core import Chain, Execution, ReplayBuffer
from metarl.meta import OfflineWarpGrad, OnlineWarpGrad
from tests.metarl.core.test_compilation import PARAMS, eager_compiler, sine
from tests.metarl.meta.problems import each_task, regression, relative_error
from tests.metarl.meta.test_maml import meta_gradient
from tests.metarl.modules.wrapped import meta_gradient as gradient_of_clones
from tests.metarl.modules.wrapped import mlp, some_data, wrapped

__all__ = ["eager_compiler"]
K = 4
RULES: dict[str, Chain] = {
    "adamw": metarl.adamw(0.05, eps=1e-3, weight_decay=0.1),
    "rmsprop": metarl.rmsprop(0.01, eps=1e-2, weight_decay=0.1, momentum=0.5),
    "centered": metarl.rmsprop(0.01, eps=1e-2, centered=True),
    "clip-norm": metarl.chain(metarl.clip_by_norm(0.5), metarl.sgd(0.1, 0.9)),
    "clip-value": metarl.chain(metarl.clip_by_value(0.1), metarl.adam(0.05, eps=1e-3)),
    "decay": metarl.chain(metarl.weight_decay(0.2), metarl.sgd(0.1)),
    "by-step": metarl.sgd([0.3, 0.1]),
    "by-step-learned": metarl.adam([0.05, 0.1, 0.02], eps=1e-3, learned="parameter"),
    "by-step-element": metarl.sgd([0.3, 0.1], 0.5, learned="element"),
    "by-name": metarl.sgd({"layers.2.*": [0.3, 0.1], "*.bias": 0.2, "*": 0.05}, learned="element"),
    "later": metarl.chain(metarl.clip_by_norm(0.5), metarl.rmsprop(0.01, eps=1e-2, later=0.5)),
    "curvature": metarl.chain(metarl.clip_by_norm(0.5), metarl.meta_curvature(0.1)),
}


def learner(rule: Chain, **options: Any) -> meta.MAML:
    return meta.MAML(regression().init(), rule=rule, num_steps=K, **options)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize(
    "options", [{"checkpoint": True}, {"execution": Execution(chunk_size=2)}], ids=str
)
def test_execution_does_not_change_the_gradient(rule: Chain, options: dict[str, Any]) -> None:
    found = meta_gradient(learner(rule, **options), regression())
    assert relative_error(found, meta_gradient(learner(rule), regression())) < 1e-10


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_the_gradient_passes_central_differences(rule: Chain) -> None:
    """Along one direction of theta and of what the rule has learned."""
    problem, one = regression(), learner(rule)
    found = meta_gradient(one, problem)
    g = torch.Generator().manual_seed(3)
    way = {n: torch.randn(p.shape, generator=g, dtype=p.dtype) for n, p in one.params.items()}
    slope = sum(float((found[n] * v).sum()) for n, v in way.items())
    start, values, eps = one.state_dict()["params"], [], 1e-5
    for step in (eps, -eps):
        moved = {n: p + step * way[n] for n, p in start.items()}
        one.load_state_dict({"params": moved})
        adapted = one.adapt(problem, K)
        values.append(float(problem.loss(adapted, {}, problem.query).mean()))
    assert abs((values[0] - values[1]) / (2 * eps) / slope - 1) < 1e-6


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_clones_are_alike(rule: Chain) -> None:
    problem = regression()
    own = rule
    if rule is RULES["by-name"]:
        names = {"tree.layers.2.*": [0.3, 0.1], "*.bias": 0.2, "*": 0.05}
        own = metarl.sgd(names, learned="element")
    maml = metarl.MAML(wrapped(problem), rule=own)
    found = gradient_of_clones(maml, problem, K)
    expected = {}
    for name, g in meta_gradient(learner(rule), problem).items():
        side, rest = name.split(".", 1)
        if side == "rule":
            link, kind, parameter = rest.split(".", 2)
            rest = f"{link}.{kind}.tree.{parameter}"
        expected[f"learned.{rest}" if side == "rule" else f"model.tree.{rest}"] = g
    assert relative_error(found, expected) < 1e-10


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_points_are_replayed_with_the_state_of_the_rule(rule: Chain) -> None:
    """All draws in one step are Algorithm 1, whose steps are taken as they come."""
    problem = regression()
    slow = ("layers.1.*",)
    common: dict[str, Any] = {"rule": rule, "num_steps": K, "slow": slow}
    online = OnlineWarpGrad(problem.init(), **common)
    offline = OfflineWarpGrad(
        problem.init(), buffer=ReplayBuffer(), iterates_per_step=None, **common
    )
    found = [meta_gradient(one, problem) for one in (online, offline)]  # type: ignore[arg-type]
    assert relative_error(found[1], found[0]) < 1e-10


@pytest.mark.usefixtures("eager_compiler")
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_the_traced_gradient_is_the_eager_one(rule: Chain) -> None:
    def gradient(compile: bool) -> dict[str, Tensor]:
        execution = Execution(compile=compile)
        one = meta.MAML(PARAMS, rule=rule, num_steps=3, execution=execution)
        list(one.meta_gradients(sine()))
        return {n: p.grad for n, p in one.params.items() if p.grad is not None}

    assert relative_error(gradient(True), gradient(False)) < 1e-12


def test_step_sizes_by_step_are_those_of_the_paper() -> None:
    """LSLR: ``phi_{k+1} = phi_k - alpha_k grad l(phi_k)``, the last alpha for all steps after."""
    problem = regression()
    rule = metarl.sgd([0.3, 0.2, 0.1], learned="parameter")
    one = learner(rule)
    assert all(p.shape == (3,) for p in one.rule_params.values())
    adapted = one.adapt(problem, 5)
    for i, ((x, y), _) in enumerate(each_task(problem)):
        model = wrapped(problem)
        for lr in (0.3, 0.2, 0.1, 0.1, 0.1):
            optimiser = torch.optim.SGD(model.parameters(), lr)
            optimiser.zero_grad()
            F.mse_loss(model(x), y).backward()
            optimiser.step()
        for n, p in model.tree.named_parameters():
            torch.testing.assert_close(adapted[n][i], p, rtol=1e-12, atol=1e-12)


def test_meta_sgd_begins_where_it_is_told() -> None:
    model = mlp()
    g = torch.Generator().manual_seed(0)
    weights = torch.rand(5, 2, generator=g, dtype=torch.float64) + 0.01
    lr = {"0.weight": weights, "2.*": 0.2, "*": torch.tensor(0.3)}
    sizes = metarl.MetaSGD(model, lr).step_sizes()
    torch.testing.assert_close(sizes["0.weight"], weights)
    torch.testing.assert_close(sizes["0.bias"], torch.full((5,), 0.3).double(), rtol=1e-6, atol=0)
    torch.testing.assert_close(sizes["2.weight"], torch.full((1, 5), 0.2).double())
    batched = meta.MetaSGD(dict(model.named_parameters()), lr=lr).rule_params
    assert all(torch.equal(batched[f"0.log_lr.{n}"].exp(), size) for n, size in sizes.items())
    weights.zero_()
    assert metarl.MetaSGD(model, lr={"*": 0.1}).step_sizes()
    (x, y), maml = some_data(), metarl.MetaSGD(model, [0.1, 0.2])
    clone = maml.clone()
    for _ in range(3):
        clone.adapt(F.mse_loss(clone(x), y))
    F.mse_loss(clone(x), y).backward()
    for name, sizes_by_step in maml.step_sizes().items():
        assert sizes_by_step.shape == (2, *dict(model.named_parameters())[name].shape)
    assert all((p.grad[k] != 0).any() for p in maml.learned.parameters() for k in (0, 1))


@pytest.mark.parametrize(
    ("lr", "learned", "message"),
    [
        ({"0.*": 0.1}, "no", "'2.weight' has no step size among '0\\.\\*': .* add '\\*' last"),
        ({"head": 0.1, "*": 0.1}, "no", "step size of 'head' is no parameter's"),
        ({"0.weight": torch.ones(3), "*": 0.1}, "no", r"shape \(3,\), which does not broadcast"),
        ({"0.weight": torch.ones(5, 2), "*": 0.1}, "parameter", 'learned="element"'),
        ([], "no", "at least one number"),
        ([0.1, 0.0], "no", "must be above 0, got 0.0"),
        ({"*": torch.tensor([0.1, math.nan])}, "element", "must be above 0, got nan"),
    ],
)
def test_step_sizes_that_fit_nothing_are_refused(lr: Any, learned: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metarl.MAML(mlp(), rule=metarl.sgd(lr, learned=learned))
    with pytest.raises(ValueError, match=message):
        params = dict(mlp().named_parameters())
        meta.MAML(params, rule=metarl.sgd(lr, learned=learned))


def test_chains_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="weight decay must come before the step size"):
        metarl.chain(metarl.sgd(0.1), metarl.weight_decay(0.1))
    with pytest.raises(TypeError, match=r"made of links such as metarl\.sgd"):
        metarl.chain(0.1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"must be an update rule, such as metarl\.sgd"):
        metarl.MAML(mlp(), rule=metarl.clip_by_norm(1.0))  # type: ignore[arg-type]
    for link in (metarl.clip_by_norm, metarl.clip_by_value):
        with pytest.raises(ValueError, match="must be above 0, got nan"):
            link(math.nan)
    with pytest.raises(ValueError, match="weight decay must be finite and at least 0"):
        metarl.adamw(0.1, weight_decay=-1.0)


def test_clipping_has_a_derivative_where_the_gradient_is_zero() -> None:
    rule = metarl.chain(metarl.clip_by_norm(1.0), metarl.sgd(0.1))
    fast = {"w": torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)}
    after, _ = rule.step(fast, {"w": 2 * fast["w"]}, rule.init(fast))
    (gradient,) = torch.autograd.grad(after["w"].sum(), fast["w"])
    assert torch.equal(gradient, torch.full_like(gradient, 0.8))
