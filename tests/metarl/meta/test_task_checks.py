"""A task class that learners cannot use is named, with what is wrong about it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from metarl.core import Execution, Params, sgd
from metarl.meta import (
    DAML,
    EMAML,
    MAML,
    TRPO,
    ContinualWarpGrad,
    FineTuning,
    ImplicitMAML,
    Leap,
    MetaLearner,
    OfflineWarpGrad,
    OnlineWarpGrad,
    ProMP,
    Reptile,
)
from metarl.supervised import Examples, FewShotBatch, SupervisedTasks
from metarl.supervised.tasks import cross_entropy


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


def fine_tuning() -> MetaLearner:
    return learner(FineTuning, head=["w"], num_heads=3)


def daml() -> MetaLearner:
    return learner(DAML, objective=torch.bmm, objective_params={"p": torch.ones(1)})


@pytest.mark.parametrize(
    ("make", "missing"),
    [
        (lambda: learner(OfflineWarpGrad), "`select`"),
        (lambda: learner(Reptile, schedule="serial"), "`select`"),
        (lambda: learner(ContinualWarpGrad, execution=Execution(2)), "`select`"),
        (fine_tuning, "`indices`"),
        (daml, "`features`"),
        (lambda: learner(EMAML), "`performance`, `log_likelihood`"),
        (lambda: learner(ProMP), "`clipped_loss`, `divergence`, `largest_log_ratio`"),
        (lambda: TRPO({"w": torch.ones(1)}, rule=sgd(0.1)), "`predictions`, `divergence`, "),
    ],
)
def test_what_tasks_lack_is_named_before_any_work(make: Any, missing: str) -> None:
    class Idle(Lines):
        def sample(self, fast: Params, slow: Params, split: str) -> tuple[Tensor, Tensor]:
            raise AssertionError("work was done")

    made = make()
    with pytest.raises(TypeError, match=rf"needs tasks with {missing}.*Idle does not have"):
        list(made.meta_gradients(Idle()))


@pytest.mark.parametrize("kind", [MAML, Leap, OnlineWarpGrad, OfflineWarpGrad, ContinualWarpGrad])
def test_examples_that_are_no_tasks(kind: type[Any]) -> None:
    examples: Any = Examples(torch.ones(3, 1), torch.ones(3, 1))
    for use in ("meta_gradients", "adapt"):
        call = getattr(learner(kind), use)
        with pytest.raises(TypeError, match=r"`sample`, `loss`.*take SupervisedTasks"):
            list(call(examples) if use == "meta_gradients" else call(examples, 2))


class Headed(nn.Module):
    """A layer before a head."""

    def __init__(self, layer: nn.Module, after: int) -> None:
        super().__init__()
        self.layer, self.head = layer, nn.Linear(after, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.layer(x)
        return self.head((h[0] if isinstance(h, tuple) else h)[:, -1])


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        q = self.linear(x)[:, None]
        return nn.functional.scaled_dot_product_attention(q, q, q)[:, 0]


class Letters(nn.Module):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.letters = nn.Embedding(8, 4, **options)

    def forward(self, x: Tensor) -> Tensor:
        return self.letters(x[..., 0].abs().long())


def vmapped(net: nn.Module) -> SupervisedTasks:
    """Three tasks of a function that vectorises a module."""

    def nets(params: Params, x: Tensor) -> Tensor:
        return torch.vmap(lambda p, x: functional_call(net, dict(p), (x,)))(params, x)

    return tasks_of(nets)


def tasks_of(network: Any) -> SupervisedTasks:
    g = torch.Generator().manual_seed(0)
    examples = Examples(torch.randn(3, 4, 5, 4, generator=g), torch.arange(4).expand(3, 4) % 2)
    return SupervisedTasks(network, FewShotBatch(examples, examples), cross_entropy)


FOREIGN: dict[str, tuple[Any, str]] = {
    "lstm": (lambda: nn.LSTM(4, 4, batch_first=True), "torch.vmap cannot .*give the module itself"),
    "gru": (lambda: nn.GRU(4, 4, batch_first=True), "torch.vmap cannot .*give the module itself"),
    "dropout": (nn.Dropout, "torch.vmap cannot .*draws for each task"),
    "batch norm": (lambda: nn.BatchNorm1d(5), "torch.vmap cannot .*give the module itself"),
    "sparse": (lambda: Letters(sparse=True), "gradients must be dense: take sparse=False"),
    "max norm": (lambda: Letters(max_norm=0.1), r"writes in place into .*max_norm of nn.Embedding"),
}


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("kind", [MAML, Leap, ImplicitMAML, OfflineWarpGrad, ContinualWarpGrad])
@pytest.mark.parametrize(("layer", "words"), FOREIGN.values(), ids=FOREIGN)
def test_errors_of_torch_are_named_with_a_remedy(kind: type[Any], layer: Any, words: str) -> None:
    options = {"slow": ["head.bias"]} if kind in (OfflineWarpGrad, ContinualWarpGrad) else {}

    def use() -> tuple[MetaLearner, SupervisedTasks]:
        net = Headed(layer(), 4)
        return kind(net, rule=sgd(0.1), num_steps=2, **options), vmapped(net)

    made, tasks = use()
    with pytest.raises((RuntimeError, ValueError), match=words) as caught:
        list(made.meta_gradients(tasks))
    assert not hasattr(caught.value.__cause__, "__notes__")
    made, tasks = use()
    with pytest.raises((RuntimeError, ValueError), match=words):
        made.adapt(tasks, 2)


@pytest.mark.parametrize("kind", [MAML, ImplicitMAML, OnlineWarpGrad])
def test_fused_attention_is_named_and_its_remedy_works(kind: type[Any]) -> None:
    net = Headed(Attention(), 4)
    made = kind(net, rule=sgd(0.1), num_steps=2, **{"slow": ["head.bias"]})
    with pytest.raises(NotImplementedError, match=r"fused attention.*learners within.*MATH"):
        list(made.meta_gradients(tasks_of(net)))
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        (metrics,) = made.meta_gradients(tasks_of(net))
    assert all(m.isfinite().all() for m in metrics.values())
    assert made.adapt(tasks_of(net), 2)["head.weight"].shape == (3, 2, 4)


def test_adaptation_in_inference_mode_is_refused() -> None:
    made = learner()
    with torch.inference_mode(), pytest.raises(RuntimeError, match=r"leave torch.inference_mode"):
        made.adapt(Lines(), 1)


@pytest.mark.parametrize(
    ("params", "error", "words"),
    [
        (nn.Linear(1, 1).parameters(), TypeError, "a module or a mapping .* got generator"),
        (list(nn.Linear(1, 1).named_parameters()), TypeError, "a module or a mapping .* got list"),
        (torch.ones(1), TypeError, "got Tensor"),
        (nn.Linear, TypeError, "got type"),
        ({"w": 1.0}, TypeError, "the parameter w must be a tensor, got float"),
        (nn.BatchNorm1d(2).state_dict(), TypeError, "num_batches_tracked .* floating-point"),
        (nn.LazyLinear(2), ValueError, "weight has no shape yet: run a batch"),
        (nn.Tanh(), ValueError, "nothing adapts: of 0 parameters"),
    ],
    ids=["generator", "list", "tensor", "class", "number", "state", "lazy", "none"],
)
@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_parameters_that_are_none(params: Any, error: type[Exception], words: str) -> None:
    for kind in (MAML, Reptile, ProMP):
        with pytest.raises(error, match=words):
            kind(params, rule=sgd(0.1), num_steps=1)


def test_a_compiled_module_is_refused() -> None:
    net: Any = torch.compile(nn.Linear(1, 1), backend="eager")
    with pytest.raises(TypeError, match="give the uncompiled one"):
        MAML(net, rule=sgd(0.1))
