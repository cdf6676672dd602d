"""What is slow is run once, and all comes out as if it were run in every step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from metarl.core import Execution, FeatureTasks, Params, adam, run_once, sgd
from metarl.meta import (
    ANIL,
    MAML,
    FineTuning,
    ImplicitMAML,
    Leap,
    MetaLearner,
    MetaSGD,
    NoMetaTraining,
    OnlineWarpGrad,
    Reptile,
)
from metarl.nn import MLP, ConvNet, Network, WarpConvNet, WarpMLP
from metarl.supervised import Examples, FewShotBatch
from metarl.supervised.examples import in_minibatches
from metarl.supervised.tasks import Source, SupervisedTasks, cross_entropy

LR, K = 0.3, 3
STRIDE = ConvNet(3, filters=4, num_blocks=2, image_size=8)
POOL = ConvNet(3, filters=4, num_blocks=2, image_size=8, reduction="pool")
POOL_FIRST = ConvNet(3, filters=4, num_blocks=2, image_size=8, reduction="pool", pool_first=True)
WARPED = WarpConvNet(POOL, num_layers=2, filters=3, residual=True, batch_norm=True)
HEAD = WarpConvNet(STRIDE, warped_head=True, activation="tanh")
SCALING = WarpConvNet(STRIDE, kind="scaling")
PLAIN = MLP((64, 6, 5, 3), "tanh")
LAST = MLP((64, 6, 5, 3), activate_last=True)

CUTS: dict[str, tuple[Network, tuple[str, ...], int]] = {
    "mlp, last layer": (PLAIN, ("layers.0.*", "layers.1.*"), 2),
    "mlp, two layers": (LAST, ("layers.0.*",), 1),
    "mlp, a slow layer between": (PLAIN, ("layers.0.*", "layers.2.*"), 1),
    "warp mlp": (WarpMLP(PLAIN, kind="tanh"), ("warp.*", "layers.0.*", "layers.1.*"), 2),
    "warp mlp, two layers": (WarpMLP(PLAIN), ("warp.*", "layers.0.*"), 1),
    "strided": (STRIDE, ("blocks.*",), 2),
    "strided, a block": (STRIDE, ("blocks.0.*",), 1),
    "pooled": (POOL, ("blocks.*",), 2),
    "pooled, a block": (POOL, ("blocks.0.*",), 1),
    "pooled first": (POOL_FIRST, ("blocks.*",), 2),
    "warp convolutions": (WARPED, ("blocks.*", "warp.*"), 2),
    "warp convolutions, a block": (WARPED, ("blocks.0.*", "warp.*"), 1),
    "warped head": (HEAD, ("blocks.*", "warp.*"), 2),
    "scaling": (SCALING, ("blocks.*", "warp.*"), 2),
}
"""Networks, what is slow of them, and their first stage with a fast parameter."""


class Again(SupervisedTasks):
    """The same tasks with a loss of their own, so that nothing is known about its halves."""

    def loss(self, fast: Params, slow: Params, batch: Examples) -> Tensor:
        return super().loss(fast, slow, batch)


def examples(network: Network, seed: int = 0, num_tasks: int = 4) -> FewShotBatch:
    shape = (64,) if isinstance(network, (MLP, WarpMLP)) else (1, 8, 8)
    g = torch.Generator().manual_seed(seed)
    targets = torch.arange(6).remainder(3).expand(num_tasks, 6)
    sets = (torch.randn(num_tasks, 6, *shape, generator=g).double() for _ in range(2))
    return FewShotBatch(*(Examples(inputs, targets) for inputs in sets))


def params_of(network: Network) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(1)
    return {
        n: p.double() + 0.1 * torch.randn(p.shape, generator=g) for n, p in network.init(g).items()
    }


Make = Callable[[Params, Sequence[str], Execution], MetaLearner]


def maml(**options: Any) -> Make:
    def make(params: Params, slow: Sequence[str], execution: Execution) -> MetaLearner:
        common = {"rule": sgd(LR), "num_steps": K, **options}
        return MAML(params, slow=slow, execution=execution, **common)

    return make


LEARNERS: dict[str, Make] = {
    "maml": maml(),
    "one step": maml(num_steps=1),
    "first order": maml(first_order=True),
    "checkpoint": maml(checkpoint=True),
    "truncated": maml(truncate=1),
    "truncated, checkpoint": maml(truncate=2, checkpoint=True),
    "learned step sizes": maml(rule=sgd(LR, learned="parameter"), checkpoint=True),
    "adam": maml(rule=adam(0.1)),
    "metasgd": lambda params, slow, ex: MetaSGD(
        params, lr=LR, num_steps=K, slow=slow, execution=ex
    ),
    "reptile": lambda params, slow, ex: Reptile(
        params, rule=sgd(LR), num_steps=K, slow=slow, execution=ex
    ),
    "leap": lambda params, slow, ex: Leap(
        params, rule=sgd(LR), num_steps=K, slow=slow, execution=ex
    ),
    "imaml": lambda params, slow, ex: ImplicitMAML(
        params, rule=sgd(LR), num_steps=K, slow=slow, execution=ex
    ),
    "warp": lambda params, slow, ex: OnlineWarpGrad(
        params, rule=sgd(LR), num_steps=K, slow=slow, execution=ex
    ),
    "none": lambda params, slow, ex: NoMetaTraining(
        params, rule=sgd(LR), num_steps=K, slow=slow, execution=ex
    ),
}


def found(learner: MetaLearner, tasks: SupervisedTasks) -> dict[str, Tensor]:
    """Gradients, metrics, adapted parameters and losses on the way, by name."""
    metrics = next(iter(learner.meta_gradients(tasks)), {})
    grads = {f"grad {n}": p.grad for n, p in learner.params.items() if p.grad is not None}
    steps = list(learner.adaptation(tasks, K))
    on_the_way = {f"loss {step.index}": step.loss for step in steps}
    gradient = {f"gradient {n}": g for n, g in steps[-1].grads.items()}
    return {**metrics, **grads, **on_the_way, **gradient, **learner.adapt(tasks, K)}


def assert_same(a: Params, b: Params) -> None:
    assert a.keys() == b.keys()
    for name, value in a.items():
        error = float((value - b[name]).abs().max()) / max(1.0, float(b[name].abs().max()))
        assert error < 1e-12, (name, error)


def compare(make: Make, cut: str, execution: Execution, source: Source | None = None) -> None:
    network, slow, _ = CUTS[cut]
    batch = source or examples(network)
    sides = []
    for kind in (SupervisedTasks, Again):
        learner = make(params_of(network), slow, execution)
        sides.append(found(learner, kind(network, batch, cross_entropy)))
    assert_same(*sides)
    if make is LEARNERS["maml"]:
        grads = [float(g.abs().max()) for n, g in sides[0].items() if n.startswith("grad slow.")]
        assert max(grads) > 1e-3


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("name", ["maml", "checkpoint", "imaml"])
def test_every_network_in_two_halves(name: str, cut: str) -> None:
    compare(LEARNERS[name], cut, Execution())


@pytest.mark.parametrize("cut", ["mlp, last layer", "strided", "pooled, a block"])
@pytest.mark.parametrize("name", LEARNERS)
def test_every_learner(name: str, cut: str) -> None:
    compare(LEARNERS[name], cut, Execution())


@pytest.mark.parametrize("execution", [Execution(3), Execution(1), Execution(2, num_threads=2)])
@pytest.mark.parametrize("name", ["maml", "first order", "checkpoint", "reptile", "imaml"])
def test_in_chunks_and_in_threads(name: str, execution: Execution) -> None:
    compare(LEARNERS[name], "strided, a block", execution)


@pytest.mark.parametrize("name", ["maml", "first order", "reptile", "leap"])
def test_traced_for_the_compiler(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda graph, **_: graph)
    network, slow, _ = CUTS["mlp, last layer"]
    make = LEARNERS[name]
    traced, eager = (make(params_of(network), slow, Execution(compile=c)) for c in (True, False))
    for seed in range(2):  # the second time other examples: none were traced as constants
        tasks = SupervisedTasks(network, examples(network, seed), cross_entropy)
        assert_same(found(traced, tasks), found(eager, tasks))


def test_minibatches_have_features_of_their_own_in_every_step() -> None:
    network, slow, _ = CUTS["strided"]
    sides = []
    for kind in (SupervisedTasks, Again):
        g = torch.Generator().manual_seed(0)
        source = in_minibatches(examples(network), 2, K + 1, g)
        learner = LEARNERS["maml"](params_of(network), slow, Execution())
        list(learner.meta_gradients(kind(network, source, cross_entropy)))
        sides.append({n: p.grad for n, p in learner.params.items() if p.grad is not None})
    assert_same(*sides)


@dataclass(frozen=True)
class Counting(ConvNet):
    """Notes which blocks are run, and of how many images."""

    runs: list[tuple[int, int]] = field(default_factory=list, compare=False)

    def block(
        self, params: Params, index: int, h: Tensor, num_tasks: int, num_reference: int
    ) -> Tensor:
        self.runs.append((index, len(h) * num_tasks))
        return super().block(params, index, h, num_tasks, num_reference)


def counting(kind: type[SupervisedTasks] = SupervisedTasks) -> tuple[SupervisedTasks, Counting]:
    network = Counting(3, filters=4, num_blocks=2, image_size=8)
    return kind(network, examples(network), cross_entropy), network


@pytest.mark.parametrize(
    ("kind", "slow", "runs"),
    [
        (SupervisedTasks, ("blocks.*",), [2, 2]),  # support and query
        (SupervisedTasks, ("blocks.0.*",), [2, K + 1]),
        (SupervisedTasks, ("blocks.1.*",), [K + 1, K + 1]),  # no first half: block 0 is fast
        (Again, ("blocks.*",), [K + 1, K + 1]),
    ],
)
def test_a_stage_that_adaptation_leaves_alone_is_run_once(
    kind: type[SupervisedTasks], slow: tuple[str, ...], runs: list[int]
) -> None:
    tasks, network = counting(kind)
    learner = MAML(params_of(network), slow=slow, rule=sgd(LR), num_steps=K)
    list(learner.meta_gradients(tasks))
    assert [sum(i == block for i, _ in network.runs) for block in (0, 1)] == runs


def test_fine_tuning_adapts_its_last_stages_on_features() -> None:
    tasks, network = counting()
    learner = FineTuning(
        params_of(network),
        head=network.head,
        num_heads=4,
        rule=sgd(LR),
        slow=("blocks.*",),
    )
    adapted = learner.adapt(tasks, K)
    assert network.runs == [(0, 24), (1, 24)]
    again, _ = counting(Again)
    assert_same(adapted, learner.adapt(again, K))


def test_no_step_needs_no_features() -> None:
    tasks, network = counting()
    ANIL(params_of(network), head=network.head, rule=sgd(LR)).adapt(tasks, 0)
    assert not network.runs


@pytest.mark.parametrize("cut", CUTS)
def test_the_first_half_ends_before_the_first_fast_parameter(cut: str) -> None:
    network, slow, start = CUTS[cut]
    learner = MAML(params_of(network), slow=slow, rule=sgd(LR))
    halves = SupervisedTasks(network, examples(network), cross_entropy).halves(learner.fast)
    assert halves is not None
    assert halves.start == start


def test_a_step_holds_the_examples_that_it_learned_from() -> None:
    network, slow, _ = CUTS["strided"]
    tasks = SupervisedTasks(network, examples(network), cross_entropy)
    learner = MAML(params_of(network), slow=slow, rule=sgd(LR))
    (step,) = learner.adaptation(tasks, 1)
    assert step.batch is tasks.draw("support")


def test_a_network_that_says_again_what_a_call_is_has_no_halves() -> None:
    class Louder(MLP):
        def __call__(self, params: Params, inputs: Tensor, num_reference: int = 0) -> Tensor:
            return 2.0 * super().__call__(params, inputs, num_reference)

    network = Louder((64, 6, 3))
    tasks = SupervisedTasks(network, examples(network), cross_entropy)
    assert tasks.halves(["layers.1.weight"]) is None
    whole = MLP((64, 6, 3))
    assert SupervisedTasks(whole, examples(whole), cross_entropy).halves(["layers.1.bias"])


def test_a_fast_parameter_that_no_stage_knows_may_be_read_anywhere() -> None:
    tasks = SupervisedTasks(PLAIN, examples(PLAIN), cross_entropy)
    assert tasks.halves(["layers.2.weight", "scale"]) is None


def test_frozen_stages_are_run_once() -> None:
    network = Counting(3, filters=4, num_blocks=2, image_size=8)
    params = {n: torch.nn.Parameter(p) for n, p in params_of(network).items()}
    for name, p in params.items():
        p.requires_grad_(name.startswith("head."))
    tasks = SupervisedTasks(network, examples(network), cross_entropy)
    list(MAML(params, rule=sgd(LR), num_steps=K).meta_gradients(tasks))
    assert len(network.runs) == 4


def test_features_are_a_slow_parameter() -> None:
    """By hand, on one task: ``l'(phi; features(slow))`` and its gradient by the body."""
    tasks = SupervisedTasks(PLAIN, examples(PLAIN, num_tasks=1), cross_entropy)
    params = {n: p.requires_grad_() for n, p in params_of(PLAIN).items()}
    slow = {n: p for n, p in params.items() if not n.startswith("layers.2.")}
    fast = {n: p.unsqueeze(0) for n, p in params.items() if n not in slow}
    view, still = run_once(tasks, fast.keys(), slow, ("support",))
    assert isinstance(view, FeatureTasks)
    assert still.keys() == {"features.support"}
    x, y = tasks.draw("support")
    h = torch.tanh(x[0] @ params["layers.0.weight"] + params["layers.0.bias"])
    h = torch.tanh(h @ params["layers.1.weight"] + params["layers.1.bias"])
    assert torch.allclose(still["features.support"][0], h, rtol=1e-14)
    expected = torch.nn.functional.cross_entropy(
        h @ params["layers.2.weight"] + params["layers.2.bias"], y[0]
    )
    loss = view.loss(fast, still, view.sample(fast, still, "support")).sum()
    for a, b in zip(
        torch.autograd.grad(loss, list(params.values())),
        torch.autograd.grad(expected, list(params.values())),
        strict=True,
    ):
        assert torch.allclose(a, b, rtol=1e-12, atol=1e-14)
