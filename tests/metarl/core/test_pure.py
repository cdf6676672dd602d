"""What is known to be pure, and what is not."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from metarl.core import adam, sgd
from metarl.core.pure import impure
from metarl.meta import MAML, OfflineWarpGrad
from metarl.nn import MLP, ConvNet
from metarl.supervised import Examples, FewShotBatch, SupervisedTasks
from metarl.supervised.examples import Minibatches
from metarl.supervised.tasks import cross_entropy

MODULE = nn.Linear(1, 1)
EXAMPLES = Examples(torch.zeros(2, 1, 1), torch.zeros(2, 1, 1))
BATCH = FewShotBatch(EXAMPLES, EXAMPLES)


def plain(*args: Any) -> Tensor:
    return MODULE(*args)


@functools.wraps(cross_entropy)
def disguised(*args: Any) -> Tensor:
    return MODULE(*args)


class Subclass(MLP):
    pass


class Loss(SupervisedTasks):
    pass


class Declared(MLP):
    thread_safe = True


class Heir(Declared):
    pass


def learner(kind: type[Any] = MAML, **options: Any) -> Any:
    return kind(MLP((1, 1)).init(torch.Generator()), rule=sgd(0.1), num_steps=1, **options)


def declared(*args: Any) -> Tensor:
    return args[0]


declared.thread_safe = True  # type: ignore[attr-defined]

PURE = {
    "network": MLP((1, 1)),
    "convolutions": ConvNet(5),
    "criterion": cross_entropy,
    "tasks": SupervisedTasks(MLP((1, 1)), BATCH, cross_entropy),
    "minibatches": SupervisedTasks(MLP((1, 1)), Minibatches(EXAMPLES, EXAMPLES), cross_entropy),
    "rule": adam(0.1),
    "learner": learner().task_gradients,
    "offline": learner(OfflineWarpGrad, slow=["layers.0.bias"])._adapt_chunk,
    "partial": functools.partial(cross_entropy, EXAMPLES),
    "torch": torch.relu,
    "functional": nn.functional.relu,
    "declared": Declared((1, 1)),
    "declared function": declared,
    "containers": [{"a": (EXAMPLES, {1})}, None],
}
IMPURE: dict[str, tuple[Any, Any]] = {
    "function": (plain, plain),
    "wraps": (disguised, disguised),
    "module": (MODULE, MODULE),
    "network": (SupervisedTasks(plain, BATCH, cross_entropy), plain),
    "criterion": (SupervisedTasks(MLP((1, 1)), BATCH, plain), plain),
    "partial": (functools.partial(plain, 1), plain),
    "argument": (functools.partial(cross_entropy, MODULE), MODULE),
    "vmap": (torch.vmap(plain), None),
    "subclass": (Subclass((1, 1)), None),
    "tasks": (Loss(MLP((1, 1)), BATCH, cross_entropy), None),
    "heir": (Heir((1, 1)), None),
    "method": (Subclass((1, 1)).init, None),
    "iterator": (iter([1]), None),
    "deep": ([{"a": (EXAMPLES, plain)}], plain),
}


@pytest.mark.parametrize("value", PURE.values(), ids=PURE)
def test_what_is_pure(value: Any) -> None:
    assert impure(value) is None


@pytest.mark.parametrize(("value", "culprit"), IMPURE.values(), ids=IMPURE)
def test_what_is_not_known_to_be(value: Any, culprit: Any) -> None:
    found = impure(MLP((1, 1)), value)
    assert found is not None
    assert culprit is None or found is culprit
