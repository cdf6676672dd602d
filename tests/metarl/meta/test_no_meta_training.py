"""No meta-training learns nothing and adapts from where it was born."""

from __future__ import annotations

import torch

from metarl.core import sgd
from metarl.meta import MAML, NoMetaTraining
from tests.metarl.meta.quadratics import draw, flat, meta_gradient, start


def test_no_gradient_is_ever_due() -> None:
    learner = NoMetaTraining(start(), rule=sgd(0.1, learned="element"), num_steps=3)
    assert list(learner.meta_gradients(draw())) == []
    assert meta_gradient(learner, draw()) == {}


def test_it_adapts_as_an_untrained_maml_does() -> None:
    """On a quadratic: phi_K - c = (I - a A)^K (theta - c)."""
    tasks, params = draw(), start()
    learner = NoMetaTraining(params, rule=sgd(0.1), num_steps=1)
    found = flat(learner.adapt(tasks, 3))
    matrix, centre = tasks.support
    power = torch.linalg.matrix_power(torch.eye(5) - 0.1 * matrix, 3)
    expected = centre + torch.einsum("nde,ne->nd", power, flat(params) - centre)
    assert torch.allclose(found, expected, rtol=1e-12)
    assert torch.equal(found, flat(MAML(params, rule=sgd(0.1)).adapt(tasks, 3)))
