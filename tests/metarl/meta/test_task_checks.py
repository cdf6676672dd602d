"""A task class that learners cannot use is named, with what is wrong about it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from metarl.core import Execution, Params, sgd
from metarl.meta import MAML, Leap, MetaLearner, OnlineWarpGrad, Reptile


class Lines:
    """``y = w x`` for three tasks of five points, right as it is."""

    num_tasks = 3

    def sample(self, fast: Params, slow: Params, split: str) -> tuple[Tensor, Tensor]:
        x = torch.linspace(-1, 1, 5).expand(3, 5)
        return x, x * torch.tensor([[1.0], [2.0], [3.0]])

    def loss(self, fast: Params, slow: Params, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        return (fast["w"] * x - y).square().mean(1)


class Scalar(Lines):
    def loss(self, fast: Params, slow: Params, batch: tuple[Tensor, Tensor]) -> Tensor:
        return super().loss(fast, slow, batch).mean()


class EveryPoint(Lines):
    def loss(self, fast: Params, slow: Params, batch: tuple[Tensor, Tensor]) -> Tensor:
        return (fast["w"] * batch[0] - batch[1]).square()


class OneTask(Lines):
    """Without the axis of tasks."""

    def sample(self, fast: Params, slow: Params, split: str) -> tuple[Tensor, Tensor]:
        x, y = super().sample(fast, slow, split)
        return x[0], y[0]

    def loss(self, fast: Params, slow: Params, batch: tuple[Tensor, Tensor]) -> Tensor:
        return (torch.bmm(fast["w"][:, None], batch[0][:, None]) - batch[1]).square().mean((1, 2))


class OneNetwork(Lines):
    """As if the parameters were those of one task."""

    def loss(self, fast: Params, slow: Params, batch: tuple[Tensor, Tensor]) -> Tensor:
        return torch.nn.functional.linear(batch[0], fast["w"].view(1, 1, 3)).square().mean(1)


def learner(kind: type[Any] = MAML, **options: Any) -> MetaLearner:
    made = kind(
        {"w": torch.ones(1), "warp": torch.ones(1)},
        **{"rule": sgd(0.1), "num_steps": 2, "slow": ("warp",), **options},
    )
    assert isinstance(made, MetaLearner)
    return made


KINDS = [MAML, Leap, Reptile, OnlineWarpGrad]


@pytest.mark.parametrize("kind", KINDS)
def test_a_task_class_that_is_right_is_left_alone(kind: type[Any]) -> None:
    (metrics,) = learner(kind).meta_gradients(Lines())
    assert {m.shape for m in metrics.values()} == {(3,)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("tasks", "shape"), [(Scalar(), r"\(\)"), (EveryPoint(), r"\(3, 5\)")])
def test_a_loss_that_is_not_one_number_a_task(kind: type[Any], tasks: Any, shape: str) -> None:
    words = rf"the loss of {type(tasks).__name__} has shape {shape} where it must be \(3,\): one"
    made = learner(kind)
    with pytest.raises(ValueError, match=words):
        list(made.meta_gradients(tasks))
    assert all(p.grad is None for p in made.params.values())


def test_a_metric_that_is_not_one_number_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MAML, "task_gradients", lambda self, tasks: ({}, {"x": torch.ones(())}))
    with pytest.raises(ValueError, match=r"the metric x has shape \(\) where it must be \(3,\)"):
        list(learner().meta_gradients(Lines()))


def test_experience_without_an_axis_of_tasks() -> None:
    words = r"`OneTask.sample` gave a tensor of shape \(5,\): experience of 3 tasks is stacked"
    with pytest.raises(ValueError, match=words) as caught:
        list(learner().meta_gradients(OneTask()))
    assert isinstance(caught.value.__cause__, RuntimeError | IndexError)


def test_an_error_out_of_the_loss_gets_a_note_and_others_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(RuntimeError) as caught:
        list(learner().meta_gradients(OneNetwork()))
    (note,) = caught.value.__notes__
    assert "`OneNetwork.loss`. Parameters reach it stacked over the tasks, [3, ...]" in note

    def fails(self: MAML, tasks: Lines) -> None:
        raise ValueError("not of the loss")

    monkeypatch.setattr(MAML, "task_gradients", fails)
    with pytest.raises(ValueError, match="not of the loss") as other:
        list(learner().meta_gradients(Lines()))
    assert not hasattr(other.value, "__notes__")


def test_tasks_that_cannot_be_taken_apart() -> None:
    words = "Lines has no `select`: its 3 tasks cannot be taken apart into chunks of 2; write it"
    with pytest.raises(TypeError, match=words):
        list(learner(execution=Execution(2)).meta_gradients(Lines()))


@pytest.mark.parametrize("rule", [0.1, torch.optim.SGD])
def test_a_rule_that_is_none(rule: Any) -> None:
    with pytest.raises(TypeError, match=r"rule must be an update rule, such as metarl.sgd\(0.1\)"):
        learner(rule=rule)
