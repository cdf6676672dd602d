"""One meta-gradient the way each peer's own examples compute it. Each returns the query losses."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from collections.abc import Callable
from types import ModuleType
from unittest.mock import MagicMock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.meta_step.cases import Case

Step = Callable[[], None]
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "regression": F.mse_loss,
    "classification": F.cross_entropy,
}


def module_of(case: Case) -> nn.Module:
    """The case's network as an ordinary module, with the same initial weights."""
    if case.kind == "regression":
        model: nn.Module = nn.Sequential(
            nn.Linear(1, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 1)
        )
        names = [f"layers.{i}.{k}" for i in range(3) for k in ("weight", "bias")]
    else:
        model, names = conv_module(case)
    values = [case.params[n] for n in names]
    model = model.to(values[0].dtype)
    with torch.no_grad():
        for p, value in zip(model.parameters(), values, strict=True):
            p.copy_(value.t() if value.dim() == 2 else value)
    return model


def conv_module(case: Case) -> tuple[nn.Module, list[str]]:
    """Blocks of convolution, batch norm (statistics of the batch) and ReLU, then the head."""
    pool, width = case.network.reduction == "pool", case.network.filters  # type: ignore[attr-defined]
    layers: list[nn.Module] = []
    for i in range(4):
        layers += [
            nn.Conv2d(1 if i == 0 else width, width, 3, stride=1 if pool else 2, padding=1),
            nn.BatchNorm2d(width, track_running_stats=False),
            nn.ReLU(),
            *([nn.MaxPool2d(2)] if pool else []),
        ]
    layers += [nn.Flatten()] if pool else [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    model = nn.Sequential(*layers, nn.Linear(width, case.network.num_outputs))  # type: ignore[attr-defined]
    names = [
        f"blocks.{i}.{kind}"
        for i in range(4)
        for kind in ("conv.weight", "conv.bias", "norm.weight", "norm.bias")
    ]
    return model, [*names, "head.weight", "head.bias"]


def plain_loop(case: Case, model: nn.Module, first_order: bool) -> Step:
    """A loop over tasks with `torch.func.functional_call` and autograd: the floor of a loop."""
    loss_of = LOSSES[case.kind]
    params = dict(model.named_parameters())

    def step() -> None:
        for (x, y), (qx, qy) in case.tasks:
            fast: dict[str, Tensor] = dict(params)
            for _ in range(case.num_steps):
                loss = loss_of(torch.func.functional_call(model, fast, (x,)), y)
                grads = torch.autograd.grad(loss, list(fast.values()), create_graph=not first_order)
                fast = {n: p - case.lr * g for (n, p), g in zip(fast.items(), grads, strict=True)}
            query = loss_of(torch.func.functional_call(model, fast, (qx,)), qy)
            (query / len(case.tasks)).backward()  # type: ignore[no-untyped-call]

    return step


def learn2learn(case: Case, model: nn.Module, first_order: bool) -> Step:
    """`clone`, `adapt`, as in its examples."""
    loss_of = LOSSES[case.kind]
    maml = import_learn2learn().algorithms.MAML(model, lr=case.lr, first_order=first_order)

    def step() -> None:
        for (x, y), (qx, qy) in case.tasks:
            learner = maml.clone()
            for _ in range(case.num_steps):
                learner.adapt(loss_of(learner(x), y))
            (loss_of(learner(qx), qy) / len(case.tasks)).backward()  # type: ignore[no-untyped-call]

    return step


def higher(case: Case, model: nn.Module, first_order: bool) -> Step:
    """`innerloop_ctx` with a differentiable SGD, as in its examples."""
    import higher as library

    loss_of = LOSSES[case.kind]

    def step() -> None:
        optimiser = torch.optim.SGD(model.parameters(), lr=case.lr)
        for (x, y), (qx, qy) in case.tasks:
            with library.innerloop_ctx(
                model, optimiser, copy_initial_weights=False, track_higher_grads=not first_order
            ) as (fast, inner):
                for _ in range(case.num_steps):
                    inner.step(loss_of(fast(x), y))
                (loss_of(fast(qx), qy) / len(case.tasks)).backward()  # type: ignore[no-untyped-call]

    return step


def torchopt(case: Case, model: nn.Module, first_order: bool) -> Step:
    """`MetaSGD` and state extraction, as in its few-shot example; second order only."""
    import torchopt as library

    loss_of = LOSSES[case.kind]
    inner = library.MetaSGD(model, lr=case.lr)

    def step() -> None:
        start = library.extract_state_dict(model, by="reference", detach_buffers=True)
        inner_start = library.extract_state_dict(inner, by="reference")
        for (x, y), (qx, qy) in case.tasks:
            for _ in range(case.num_steps):
                inner.step(loss_of(model(x), y))
            (loss_of(model(qx), qy) / len(case.tasks)).backward()  # type: ignore[no-untyped-call]
            library.recover_state_dict(model, start)
            library.recover_state_dict(inner, inner_start)

    return step


def torch_func_vmap(case: Case, model: nn.Module, first_order: bool) -> Step:
    """`vmap` over tasks of the gradient of each task's query loss: PyTorch's functional recipe."""
    loss_of = LOSSES[case.kind]
    params = dict(model.named_parameters())
    (support, query) = case.stacked

    def of_task(fast: dict[str, Tensor], x: Tensor, y: Tensor, qx: Tensor, qy: Tensor) -> Tensor:
        start = fast
        for _ in range(case.num_steps):
            grads = torch.func.grad(
                lambda p: loss_of(torch.func.functional_call(model, p, (x,)), y)
            )(fast)
            if first_order:
                grads = {n: g.detach() for n, g in grads.items()}
            fast = {n: p - case.lr * grads[n] for n, p in fast.items()}
        del start
        return loss_of(torch.func.functional_call(model, fast, (qx,)), qy)

    batched = torch.func.vmap(torch.func.grad(of_task), in_dims=(None, 0, 0, 0, 0))

    def step() -> None:
        detached = {n: p.detach() for n, p in params.items()}
        grads = batched(detached, *support, *query)
        for name, p in params.items():
            mean = grads[name].mean(0)
            p.grad = mean if p.grad is None else p.grad + mean

    return step


def parallel_metalearn(case: Case, model: nn.Module, first_order: bool) -> Step:
    """`MAML` over a `MAML_Model`, as in its readme: `vmap` of the tasks, then backward.

    As many tasks at a time as ours. Its `step` calls the optimiser, whose learning rate is 0 here.
    Modules take its keywords. Batch norm is exchanged for its own, as it asks for, by hand: the
    translator of 0.5.6 gives it an argument that it does not have.
    """
    from metalearn.algorithms import MAML
    from metalearn.inner_optimizers import InnerSGD
    from metalearn.loss import BaseLoss
    from metalearn.model_wrappers import MAML_Model
    from metalearn.nn_models.basic_layers.BatchNormalization import BatchNorm

    loss_of = LOSSES[case.kind]

    class Plain(nn.Module):
        def __init__(self, layers: nn.Module) -> None:
            super().__init__()
            self.layers = layers

        def forward(self, x: Tensor, **_: object) -> Tensor:
            return self.layers(x)

    class Loss(BaseLoss):  # type: ignore[misc]
        def forward(self, out_dict, targets, model_states=None, **_):  # type: ignore[no-untyped-def]
            loss = loss_of(out_dict["logits"], targets)
            return loss, loss.detach()

    layers = list(model.children())
    for i, layer in enumerate(layers):
        if isinstance(layer, nn.BatchNorm2d):
            layers[i] = BatchNorm(layer.num_features, track_running_stats=False)
            layers[i].weight, layers[i].bias = layer.weight, layer.bias
    theirs = MAML_Model(backbone=Plain(nn.Sequential(*layers[:-1])), head=Plain(layers[-1]))
    inner = InnerSGD(
        theirs.get_fast_weights(), first_order=first_order, inner_lr=case.lr, learn_lr=False
    ).to(next(model.parameters()).dtype)
    for p in inner.parameters():
        nn.init.constant_(p, case.lr)  # in this precision
    learner = MAML(
        model=theirs,
        optimizer=torch.optim.SGD(theirs.parameters(), lr=0.0),
        inner_optimizer=inner,
        support_loss_fn=Loss(),
        inner_steps=case.num_steps,
        chunk_size=case.execution.chunk_size or case.num_tasks,
        device=torch.device("cpu"),
    )

    def step() -> None:
        learner.step(iter([(*case.stacked[0], *case.stacked[1])]))

    return step


def import_learn2learn() -> ModuleType:
    """Its vision part wants torchvision, which has no CPU build beside this torch: stand-ins."""
    for name in ("", ".transforms", ".datasets", ".datasets.folder", ".datasets.utils", ".models"):
        sys.modules.setdefault(f"torchvision{name}", MagicMock())
    sys.modules.setdefault("torchvision.datasets.omniglot", MagicMock())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import learn2learn as library
    return library


PEERS: dict[str, Callable[[Case, nn.Module, bool], Step]] = {
    "plain loop": plain_loop,
    "learn2learn": learn2learn,
    "higher": higher,
    "torchopt": torchopt,
    "torch.func vmap(grad)": torch_func_vmap,
    "parallel-metalearn": parallel_metalearn,
}

MODULES = {
    "plain loop": "torch",
    "torch.func vmap(grad)": "torch",
    "parallel-metalearn": "metalearn",
}
"""What is imported, where that is not the name."""


def installed() -> list[str]:
    """The peers that can be imported."""
    return [n for n in PEERS if importlib.util.find_spec(MODULES.get(n, n))]
