"""ANIL: the head adapts, the body learns."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import metarl
from metarl import meta
from metarl.core import sgd
from tests.metarl.meta.problems import Problem, classification, regression, relative_error
from tests.metarl.meta.test_maml import meta_gradient as batched_gradient
from tests.metarl.modules.wrapped import meta_gradient, mlp, some_data, wrapped


@pytest.mark.parametrize("make", [regression, classification])
def test_the_gradient_is_that_of_the_batched_learner(make: Callable[[], Problem]) -> None:
    problem = make()
    head = problem.network.head
    learner = meta.ANIL(problem.init(), head=head, rule=sgd(0.1), num_steps=2)
    anil = metarl.ANIL(wrapped(problem), 0.1, head=[f"tree.{pattern}" for pattern in head])
    expected = {
        "model.tree." + n.split(".", 1)[1]: g for n, g in batched_gradient(learner, problem).items()
    }
    assert relative_error(meta_gradient(anil, problem, 2), expected) < 1e-9


@pytest.mark.parametrize("head", ["2", "2.*", ["2.weight", "2.bias"]])
def test_only_the_head_adapts(head: str | list[str]) -> None:
    model, (x, y) = mlp(), some_data()
    anil = metarl.ANIL(model, 0.1, head=head)
    clone = anil.clone()
    clone.adapt(F.mse_loss(clone(x), y))
    F.mse_loss(clone(x), y).backward()
    for name, p in clone.named_parameters():
        assert torch.equal(p, dict(model.named_parameters())[name]) == name.startswith("0.")
    assert all(p.grad is not None for p in anil.parameters())


def test_features_that_were_computed_once_serve_every_step() -> None:
    """A first-order step must leave the graph of the body alone."""
    model, (x, y) = mlp(), some_data()
    features = model[:2](x)
    clone = metarl.MAML(model[2], 0.1, first_order=True).clone()
    for _ in range(2):
        clone.adapt(F.mse_loss(clone(features), y))
    F.mse_loss(clone(features), y).backward()
    assert model[0].weight.grad is not None


@pytest.mark.parametrize("first_order", [False, True])
def test_a_wrapped_head_on_features_learns_what_the_whole_model_learns(first_order: bool) -> None:
    (x, y), found = some_data(), []
    for features_once in (False, True):
        model = mlp()
        if features_once:
            clone = metarl.MAML(model[2], 0.1, first_order=first_order).clone()
            inputs, query = model[:2](x), model[:2](x + 1.0)
        else:
            clone = metarl.ANIL(model, 0.1, head="2", first_order=first_order).clone()
            inputs, query = x, x + 1.0
        for _ in range(3):
            clone.adapt(F.mse_loss(clone(inputs), y))
        F.mse_loss(clone(query), y).backward()
        found.append([p.grad for p in model.parameters()])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def test_a_module_is_its_own_name() -> None:
    model = mlp()
    by_module = metarl.ANIL(model, 0.1, head=model[2])
    assert by_module._adapt == metarl.ANIL(model, 0.1, head="2")._adapt == ("2.weight", "2.bias")


def test_selectors_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'head' names no parameter; names are 0\.weight"):
        metarl.ANIL(mlp(), 0.1, head="head")
    with pytest.raises(ValueError, match="no module of the model"):
        metarl.ANIL(mlp(), 0.1, head=nn.Linear(2, 1))


def test_half_of_a_tied_parameter_is_refused() -> None:
    model = nn.ModuleDict({"body": nn.Linear(2, 2), "head": nn.Linear(2, 2)})
    model["head"].weight = model["body"].weight
    with pytest.raises(ValueError, match=r"body\.weight and head\.weight are one tied parameter"):
        metarl.ANIL(model, 0.1, head="head")
    both = metarl.ANIL(model, 0.1, head=["*.weight"])
    assert both._adapt == ("body.weight",)


def test_a_lazy_module_is_refused() -> None:
    with pytest.raises(ValueError, match="call the model once"):
        metarl.MAML(nn.LazyLinear(1), 0.1)
