"""Compiled meta-gradients are the eager ones, and what cannot be compiled is said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from metarl.core import CompiledGradients, Execution, Params, Split, check_compiler, gradients, sgd
from metarl.errors import UserError
from metarl.meta import (
    ANIL,
    MAML,
    ImplicitMAML,
    Leap,
    MetaLearner,
    MetaSGD,
    OnlineWarpGrad,
    Reptile,
)
from metarl.nn import MLP, WarpMLP
from metarl.supervised import Examples, FewShotBatch
from metarl.supervised.examples import Minibatches
from metarl.supervised.tasks import SupervisedTasks, mean_squared_error

SIZES = (1, 40, 40, 1)
COMPILED, EAGER = Execution(compile=True), Execution()


@pytest.fixture
def eager_compiler(monkeypatch: pytest.MonkeyPatch) -> list[torch.fx.GraphModule]:
    """The traced graphs run as they are: fast, and all is tested but the compiler."""
    graphs: list[torch.fx.GraphModule] = []

    def keep(graph: torch.fx.GraphModule, **_: object) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    monkeypatch.setattr(torch, "compile", keep)
    return graphs


def sine(
    num_tasks: int = 25, seed: int = 0, network: MLP | WarpMLP | None = None
) -> SupervisedTasks:
    g = torch.Generator().manual_seed(seed)
    data = [torch.randn(num_tasks, 10, 1, generator=g, dtype=torch.float64) for _ in range(4)]
    source = FewShotBatch(Examples(data[0], data[1]), Examples(data[2], data[3]))
    return SupervisedTasks(network or MLP(SIZES), source, mean_squared_error)


def params_of(network: MLP | WarpMLP) -> dict[str, Tensor]:
    params = network.init(torch.Generator().manual_seed(7))
    return {name: p.double() for name, p in params.items()}


PARAMS = params_of(MLP(SIZES))
WARP = WarpMLP(MLP(SIZES))

LEARNERS: dict[str, Callable[[Execution], MetaLearner]] = {
    "maml": lambda ex: MAML(PARAMS, rule=sgd(0.01), execution=ex),
    "maml, 5 steps": lambda ex: MAML(PARAMS, rule=sgd(0.01), num_steps=5, execution=ex),
    "fomaml": lambda ex: MAML(PARAMS, rule=sgd(0.01), num_steps=2, first_order=True, execution=ex),
    "metasgd": lambda ex: MetaSGD(PARAMS, lr=0.01, num_steps=2, execution=ex),
    "momentum": lambda ex: MAML(PARAMS, rule=sgd(0.01, 0.9), num_steps=3, execution=ex),
    "anil": lambda ex: ANIL(PARAMS, head=MLP(SIZES).head, rule=sgd(0.01), execution=ex),
    "reptile": lambda ex: Reptile(PARAMS, rule=sgd(0.01), num_steps=3, execution=ex),
    "leap": lambda ex: Leap(PARAMS, rule=sgd(0.01), num_steps=3, execution=ex),
    "warp": lambda ex: OnlineWarpGrad(
        params_of(WARP), slow=WARP.slow, rule=sgd(0.01), num_steps=2, execution=ex
    ),
}


FAST = ("maml", "warp")
"""Of the tests that trace and do not compile."""


def assert_same(learner: MetaLearner, other: MetaLearner, tasks: SupervisedTasks) -> None:
    """Gradients and metrics, to 1e-9."""
    metrics = []
    for one in (learner, other):
        for p in one.params.values():
            p.grad = None
        metrics += list(one.meta_gradients(tasks))
    largest = max(float(p.grad.abs().max()) for p in other.params.values() if p.grad is not None)
    for name, p in learner.params.items():
        expected = other.params[name].grad
        if expected is None:
            assert p.grad is None, name
        else:
            assert p.grad is not None, name
            assert float((p.grad - expected).abs().max()) < 1e-9 * largest, name
    torch.testing.assert_close(metrics[0], metrics[1], rtol=1e-9, atol=1e-12)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # what the compiler imports
@pytest.mark.parametrize("name", ["maml", "maml, 5 steps", "metasgd", "fomaml"])
def test_the_compiled_gradient_is_the_eager_one(name: str) -> None:
    learner, other = LEARNERS[name](COMPILED), LEARNERS[name](EAGER)
    for seed in range(2):  # the second time without compiling
        assert_same(learner, other, sine(seed=seed))


@pytest.mark.parametrize(
    "name", [n if n in FAST else pytest.param(n, marks=pytest.mark.slow) for n in LEARNERS]
)
def test_the_traced_gradient_is_the_eager_one(
    name: str, eager_compiler: list[torch.fx.GraphModule]
) -> None:
    learner, other = LEARNERS[name](COMPILED), LEARNERS[name](EAGER)
    network = WARP if name == "warp" else None
    assert_same(learner, other, sine(seed=0, network=network))
    with torch.no_grad():  # neither parameters nor data were traced as constants
        for p, q in zip(learner.params.values(), other.params.values(), strict=True):
            q.copy_(p.mul_(1.1))
    assert_same(learner, other, sine(seed=1, network=network))
    assert len(eager_compiler) == 1


def test_another_shape_or_loss_is_traced_anew(
    eager_compiler: list[torch.fx.GraphModule],
) -> None:
    learner = LEARNERS["maml"](Execution(chunk_size=2, compile=True))
    other = LEARNERS["maml"](EAGER)
    for num_tasks in (3, 5, 2):
        assert_same(learner, other, sine(num_tasks))
    assert len(eager_compiler) == 2  # chunks of two and of one
    tanh = sine(3, network=MLP(SIZES, "tanh"))
    assert_same(learner, other, tanh)
    assert_same(learner, other, sine(3))


def test_batches_that_were_one_may_become_two(eager_compiler: list[torch.fx.GraphModule]) -> None:
    whole = sine(3)
    twice = replace(
        whole, source=FewShotBatch(whole.source.draw("query"), whole.source.draw("query"))
    )
    learner, other = LEARNERS["maml"](COMPILED), LEARNERS["maml"](EAGER)
    assert_same(learner, other, twice)
    assert_same(learner, other, whole)


def test_every_step_has_its_minibatch(eager_compiler: list[torch.fx.GraphModule]) -> None:
    g = torch.Generator().manual_seed(3)

    def tasks() -> SupervisedTasks:
        x, y = (torch.randn(4, 5, 2, 1, generator=g.manual_seed(i)).double() for i in (3, 4))
        query = sine(4).source.draw("query")
        return replace(sine(4), source=Minibatches(Examples(x, y), query))

    learner, other = (
        MAML(PARAMS, rule=sgd(0.01), num_steps=3, execution=ex) for ex in (COMPILED, EAGER)
    )
    for _ in range(2):
        for p in (*learner.params.values(), *other.params.values()):
            p.grad = None
        list(learner.meta_gradients(tasks()))
        list(other.meta_gradients(tasks()))
        for p, q in zip(learner.params.values(), other.params.values(), strict=True):
            torch.testing.assert_close(p.grad, q.grad, rtol=1e-9, atol=1e-12)


def test_threads_share_one_program(eager_compiler: list[torch.fx.GraphModule]) -> None:
    execution = Execution(chunk_size=2, num_threads=2, compile=True)
    assert_same(LEARNERS["maml"](execution), LEARNERS["maml"](EAGER), sine(6))
    assert len(eager_compiler) == 1


def test_a_learner_that_branches_on_values_is_refused() -> None:
    with pytest.raises(UserError, match=r"ImplicitMAML cannot be compiled: leave out `compile`"):
        ImplicitMAML(PARAMS, rule=sgd(0.01), num_steps=1, execution=COMPILED)


def test_work_that_branches_on_values_is_refused(eager_compiler: object) -> None:
    def work(params: Params, tasks: object) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        loss = sum((p.sum() for p in params.values()), torch.zeros(()))
        return gradients(loss * 2.0 if loss > 0 else loss, params), {}

    with pytest.raises(UserError, match="this cannot be compiled"):
        CompiledGradients(work)(PARAMS, sine(2))


def test_a_tensor_that_would_become_a_constant_is_refused(eager_compiler: object) -> None:
    weights = torch.linspace(0.0, 1.0, 2, dtype=torch.float64)
    tasks = replace(sine(2), criterion=lambda y, t: weights * mean_squared_error(y, t))
    with pytest.raises(UserError, match=r"neither parameters nor drawn \(\(2,\)"):
        list(LEARNERS["maml"](COMPILED).meta_gradients(tasks))


def test_tasks_whose_experience_depends_on_the_parameters_are_refused() -> None:
    class Rollouts:
        num_tasks = 2

        def sample(self, fast: Params, slow: Params, split: Split) -> None:
            raise AssertionError

        def loss(self, fast: Params, slow: Params, batch: None) -> Tensor:
            raise AssertionError

    with pytest.raises(UserError, match="Rollouts depends on the parameters"):
        list(LEARNERS["maml"](COMPILED).meta_gradients(Rollouts()))


def test_a_batch_with_a_number_in_it_is_refused(eager_compiler: object) -> None:
    tasks = SimpleNamespace(num_tasks=2, loss_identity=0, draw=lambda split: 3)

    def work(params: Params, given: object) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        given.sample({}, {}, "query")  # type: ignore[attr-defined]
        return {}, {}

    with pytest.raises(UserError, match="a batch holds 3, which is no tensor"):
        CompiledGradients(work)(PARAMS, tasks)  # type: ignore[arg-type]


def test_a_missing_compiler_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UserError, match="no-such-compiler is not on the path: install it"):
        check_compiler()
    with pytest.raises(UserError, match="no-such-compiler"):
        list(LEARNERS["maml"](COMPILED).meta_gradients(sine(2)))
