"""A penalty joins the meta-gradient of any learner, once for each gradient, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from metarl.core import Execution, Params, TaskBatch, sgd
from metarl.meta import ANIL, MAML, MetaLearner, Metrics, Reptile, regularised_gradients
from tests.metarl.meta.problems import Problem, regression


def half_square(fast: Params, slow: Params, drawn: Sequence[Any]) -> Tensor:
    """Its gradient is the parameter itself."""
    return 0.5 * torch.stack([p.square().sum() for p in (*fast.values(), *slow.values())]).sum()


LEARNERS: dict[str, Callable[[Problem], MetaLearner]] = {
    "maml": lambda problem: MAML(problem.init(), rule=sgd(0.1), num_steps=2),
    "anil": lambda problem: ANIL(
        problem.init(), rule=sgd(0.1), num_steps=2, head=problem.network.head
    ),
    "reptile": lambda problem: Reptile(problem.init(), rule=sgd(0.1), num_steps=2),
    "chunks": lambda problem: MAML(
        problem.init(), rule=sgd(0.1), num_steps=2, execution=Execution(chunk_size=2)
    ),
}


@pytest.mark.parametrize("name", LEARNERS)
def test_the_penalty_s_gradient_is_added_once(name: str) -> None:
    problem = regression()
    plain, regularised = LEARNERS[name](problem), LEARNERS[name](problem)
    list(plain.meta_gradients(problem))
    (metrics,) = regularised_gradients(regularised, problem, half_square)
    for key, p in plain.params.items():
        other = regularised.params[key]
        assert p.grad is not None
        assert other.grad is not None
        assert torch.allclose(other.grad, p.grad + p.detach(), atol=1e-14)
    value = half_square(plain.fast, plain.slow, [])
    assert torch.allclose(metrics["penalty"], value.detach())
    assert not metrics["penalty"].requires_grad


class OneSide(MetaLearner):
    """Its first gradient is of the fast side alone, its second of both."""

    def _gradients(self, tasks: TaskBatch[Any]) -> Iterator[Metrics]:
        for sides in (("fast",), ("fast", "slow")):
            for name, p in self.params.items():
                p.grad = torch.zeros_like(p) if name.split(".")[0] in sides else None
            yield {"support_loss": torch.zeros(1)}


def test_a_side_whose_gradient_is_not_due_is_left_alone() -> None:
    problem = regression()
    params = problem.init()
    learner = OneSide(params, rule=sgd(0.1), num_steps=1, slow=[next(iter(params))])
    due = []
    for _ in regularised_gradients(learner, problem, half_square):
        due.append({name for name, p in learner.params.items() if p.grad is not None})
        for p in learner.params.values():
            assert p.grad is None or torch.equal(p.grad, p.detach())
    assert due == [{n for n in learner.params if n.startswith("fast.")}, set(learner.params)]
