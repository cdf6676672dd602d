"""What holds for every learner: chunks do not matter, evaluation changes nothing, it learns.

A learner is tested by being named in `LEARNERS`.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from metarl.core import Execution, Params, meta_curvature, sgd
from metarl.meta import (
    ANIL,
    DAML,
    MAML,
    SIMPLIFIED,
    FineTuning,
    Leap,
    MetaLearner,
    MetaSGD,
    NoMetaTraining,
    Reptile,
)
from tests.metarl.live_tensors import LiveTensors
from tests.metarl.meta.quadratics import (
    D,
    Watching,
    adapted_loss,
    draw,
    meta_gradient,
    start,
    train,
)

LR, K = 0.1, 3
Make = Callable[[Execution], MetaLearner]
RULE = sgd(LR, 0.5)


def linear(params: Params, features: Tensor) -> Tensor:
    return features @ params["w"]


def daml(execution: Execution) -> MetaLearner:
    return DAML(
        start(),
        objective=linear,
        objective_params={"w": torch.eye(D, dtype=torch.float64)},
        rule=sgd(LR),
        num_steps=K,
        execution=execution,
    )


def maml(execution: Execution, **options: bool) -> MetaLearner:
    return MAML(start(), rule=RULE, num_steps=K, execution=execution, **options)


LEARNERS: dict[str, Make] = {
    "maml": maml,
    "maml-checkpoint": lambda e: maml(e, checkpoint=True),
    "first-order-maml": lambda e: maml(e, first_order=True),
    "anil": lambda e: ANIL(start(), head=("head",), rule=RULE, num_steps=K, execution=e),
    "meta-sgd": lambda e: MetaSGD(start(), lr=LR, num_steps=K, execution=e),
    "meta-curvature": lambda e: MAML(start(), rule=meta_curvature(LR), num_steps=K, execution=e),
    "reptile": lambda e: Reptile(start(), rule=RULE, num_steps=K, execution=e),
    "serial-reptile": lambda e: Reptile(
        start(), rule=RULE, num_steps=K, execution=e, schedule="serial"
    ),
    "leap": lambda e: Leap(start(), rule=RULE, num_steps=K, execution=e),
    "simplified-leap": lambda e: Leap(
        start(), rule=RULE, num_steps=K, execution=e, metric=SIMPLIFIED, include_final=False
    ),
    "fine-tuning": lambda e: FineTuning(
        start(), head=("head",), num_heads=7, rule=RULE, num_steps=K, execution=e
    ),
    "daml": daml,
    "no-meta-training": lambda e: NoMetaTraining(start(), rule=RULE, num_steps=K, execution=e),
}
TRAINED = [name for name in LEARNERS if name != "no-meta-training"]


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize("execution", [Execution(1), Execution(3), Execution(2, 2)], ids=str)
def test_chunks_do_not_change_the_gradient(name: str, execution: Execution) -> None:
    tasks = draw(7)
    whole = meta_gradient(LEARNERS[name](Execution()), tasks)
    parts = meta_gradient(LEARNERS[name](execution), tasks)
    assert whole.keys() == parts.keys()
    for n, gradient in whole.items():
        assert torch.allclose(parts[n], gradient, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", [name for name in TRAINED if name != "serial-reptile"])
def test_the_gradient_is_a_mean_over_tasks(name: str) -> None:
    """Twice the same tasks are the same gradient."""
    tasks = draw(2)
    twice = type(tasks)(
        tuple(t.repeat(2, *(1,) * (t.dim() - 1)) for t in tasks.support),  # type: ignore[arg-type]
        tuple(t.repeat(2, *(1,) * (t.dim() - 1)) for t in tasks.query),  # type: ignore[arg-type]
        tasks.indices.repeat(2),
    )
    one, two = (meta_gradient(LEARNERS[name](Execution()), t) for t in (tasks, twice))
    assert all(torch.allclose(one[n], two[n], rtol=1e-12, atol=1e-13) for n in one)


@pytest.mark.parametrize("name", LEARNERS)
def test_evaluation_changes_no_bit(name: str) -> None:
    """Not even for one task, whose stacked parameters have as many numbers as the shared ones."""
    learner = LEARNERS[name](Execution())
    before, state = learner.state_dict()["params"], torch.get_rng_state()
    for num_tasks in (1, 4):
        tasks = draw(num_tasks)
        first, second = learner.adapt(tasks, 5), learner.adapt(tasks, 5)
        assert all(torch.equal(first[n], second[n]) for n in first)
        assert not any(p.requires_grad for p in first.values())
        for p in first.values():
            p.add_(1.0)
        list(learner.adaptation(tasks, 2))
    assert all(torch.equal(p, before[n]) for n, p in learner.params.items())
    assert all(p.grad is None for p in learner.params.values())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", LEARNERS)
def test_a_meta_gradient_changes_no_parameter_and_has_no_graph(name: str) -> None:
    learner = LEARNERS[name](Execution())
    before = learner.state_dict()["params"]
    for metrics in learner.meta_gradients(draw()):
        assert not any(m.requires_grad for m in metrics.values())
    assert all(torch.equal(p, before[n]) for n, p in learner.params.items())
    assert not any(p.grad.requires_grad for p in learner.params.values() if p.grad is not None)


@pytest.mark.parametrize("name", TRAINED)
def test_it_learns_and_its_broken_twin_does_not(name: str) -> None:
    """The twin climbs its meta-gradient."""
    before = adapted_loss(LEARNERS[name](Execution()))
    after = train(LEARNERS[name](Execution()), lr=0.1)
    broken = train(LEARNERS[name](Execution()), lr=0.1, broken=True)
    assert after < before / 2
    assert not broken < before


def most_alive(name: str, num_steps: int) -> int:
    """Tensors alive at a time in one meta-gradient of K steps."""
    learner = LEARNERS[name](Execution())
    learner.num_steps = num_steps
    with LiveTensors() as live:
        meta_gradient(learner, Watching(draw(), live))  # type: ignore[arg-type]
    return live.most


@pytest.mark.parametrize(
    "name", ["first-order-maml", "reptile", "leap", "simplified-leap", "fine-tuning"]
)
def test_memory_does_not_grow_with_the_number_of_steps(name: str) -> None:
    assert most_alive(name, 4) == most_alive(name, 40)


def test_through_the_whole_graph_it_does() -> None:
    """Negative control of the count."""
    assert most_alive("maml", 40) > 5 * most_alive("maml", 4)


@pytest.mark.parametrize("name", ["meta-sgd", "meta-curvature"])
def test_what_the_rule_learns_helps(name: str) -> None:
    """MAML, with the same initialisation but a rule that stands still, is slow along two axes."""
    learned = train(LEARNERS[name](Execution()), lr=0.1)
    frozen = train(MAML(start(), rule=sgd(LR), num_steps=K), lr=0.1)
    assert learned < frozen / 2


@pytest.mark.parametrize("checkpoint", [False, True])
def test_the_meta_loss_holds_no_training_loss(checkpoint: bool) -> None:
    """MAML on a quadratic, support and query apart: (J^K)^T A' (phi_K - c'), J = I - a A.

    Published code added the last inner training loss, whose gradient (J^(K-1))^T A (phi_{K-1} - c)
    is large here.
    """
    tasks = draw()
    learner = MAML(start(), rule=sgd(LR), num_steps=K, checkpoint=checkpoint)
    (matrix, centre), (matrix_q, centre_q) = tasks.support, tasks.query
    jacobian = torch.eye(D) - LR * matrix
    powers = [torch.linalg.matrix_power(jacobian, k) for k in (K, K - 1)]
    offset = torch.cat([start()["body"], start()["head"]]) - centre
    ends = [torch.einsum("nde,ne->nd", power, offset) for power in powers]
    right = torch.einsum("ned,nef,nf->nd", powers[0], matrix_q, centre + ends[0] - centre_q).mean(0)
    fault = torch.einsum("ned,nef,nf->nd", powers[1], matrix, ends[1]).mean(0)
    found = meta_gradient(learner, tasks)
    theta = torch.cat([found["fast.body"], found["fast.head"]])
    assert torch.allclose(theta, right, rtol=1e-12, atol=1e-13)
    assert fault.norm() > 0.1 * right.norm()
