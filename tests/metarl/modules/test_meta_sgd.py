"""Meta-SGD: the closed form of its step sizes' gradient, and parity with the batched learner."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import metarl
from metarl import meta
from tests.metarl.meta.problems import regression, relative_error
from tests.metarl.meta.test_maml import meta_gradient as batched_gradient
from tests.metarl.modules.wrapped import meta_gradient, mlp, some_data, wrapped


def test_one_step_has_the_closed_form() -> None:
    """D l(phi_1) / d log alpha = -alpha o grad l(phi_1) o grad l(theta)."""
    model = mlp()
    (x, y), (query_x, query_y) = some_data(0), some_data(1)
    maml = metarl.MetaSGD(model, 0.3)
    clone = maml.clone()
    clone.adapt(F.mse_loss(clone(x), y))
    F.mse_loss(clone(query_x), query_y).backward()

    params = list(model.parameters())
    support = torch.autograd.grad(F.mse_loss(model(x), y), params)
    with torch.no_grad():
        for p, g in zip(params, support, strict=True):
            p.sub_(g, alpha=0.3)
    query = torch.autograd.grad(F.mse_loss(model(query_x), query_y), params)
    for log_lr, g, q in zip(maml.learned.parameters(), support, query, strict=True):
        assert log_lr.grad is not None
        assert (log_lr.grad + 0.3 * q * g).abs().max() < 1e-12


@pytest.mark.parametrize("num_steps", [1, 3])
def test_the_gradient_is_that_of_the_batched_learner(num_steps: int) -> None:
    problem = regression()
    learner = meta.MetaSGD(problem.init(), lr=0.2, num_steps=num_steps)
    found = meta_gradient(metarl.MetaSGD(wrapped(problem), 0.2), problem, num_steps)
    expected = {
        n.replace("fast.", "model.tree.").replace("rule.0.log_lr.", "learned.0.log_lr.tree."): g
        for n, g in batched_gradient(learner, problem).items()
    }
    assert relative_error(found, expected) < 1e-9


def test_step_sizes_are_learned_and_stay_positive() -> None:
    maml = metarl.MetaSGD(mlp(), 0.1)
    optimiser = torch.optim.SGD(maml.parameters(), 1.0)
    x, y = some_data()
    for _ in range(5):
        optimiser.zero_grad()
        clone = maml.clone()
        clone.adapt(F.mse_loss(clone(x), y))
        F.mse_loss(clone(x), y).backward()
        optimiser.step()
    sizes = maml.step_sizes()
    assert sizes.keys() == dict(maml.model.named_parameters()).keys()
    assert all((alpha > 0).all() for alpha in sizes.values())
    assert all((alpha != 0.1).any() for alpha in sizes.values())
