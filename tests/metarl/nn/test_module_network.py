"""A module as N networks: alike for every kind of module, in one thread or several."""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from metarl.core import Execution, sgd
from metarl.core.pure import impure
from metarl.meta import MAML, Leap, Reptile
from metarl.nn import ModuleNetwork
from metarl.supervised import Examples, FewShotBatch, SupervisedTasks
from metarl.supervised.tasks import cross_entropy

N, B, T, D, C = 4, 6, 3, 5, 3  # networks, examples, steps, inputs, classes


class LastStep(nn.Module):
    """What recurrent layers end with."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers, self.head = layers, nn.Linear(4, C)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(x.unflatten(-1, (T, D)))[0][:, -1])


class Branches(nn.Module):
    """Looks at a value."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(T * D, C)

    def forward(self, x: Tensor) -> Tensor:
        h = self.linear(x)
        return h if float(h.detach().sum()) > 0 else 2 * h


class Positions(nn.Module):
    """Reads a buffer that is never written."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(T * D, C)
        self.register_buffer("offset", torch.arange(T * D) / 10.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x + self.offset)


class Tied(nn.Module):
    """One weight under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(15, 15), nn.Linear(15, 15), nn.Linear(15, C)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.second(torch.tanh(self.first(x)))))


class Attention(nn.Module):
    """A layer of a transformer, without dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(D, 1, 8, dropout=0.0, batch_first=True)
        self.head = nn.Linear(D, C)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x.unflatten(-1, (T, D))).mean(1))


class Letters(nn.Module):
    """Looks up vectors."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.letters, self.head = nn.Embedding(10, 4, **options), nn.Linear(4, C)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.letters((3 * x).abs().long()).mean(1))


def perceptron(*between: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(T * D, 8), *between, nn.Tanh(), nn.Linear(8, C))


MODULES: dict[str, Any] = {
    "perceptron": perceptron,
    "convolution": lambda: nn.Sequential(
        nn.Unflatten(-1, (1, T, D)), nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, C)
    ),
    "lstm": lambda: LastStep(nn.LSTM(D, 4, batch_first=True)),
    "gru": lambda: LastStep(nn.GRU(D, 4, 2, batch_first=True)),
    "rnn": lambda: LastStep(nn.RNN(D, 4, batch_first=True)),
    "group norm": lambda: perceptron(nn.GroupNorm(2, 8)),
    "batch norm": lambda: perceptron(nn.BatchNorm1d(8, track_running_stats=False)),
    "evaluated batch norm": lambda: perceptron(nn.BatchNorm1d(8)).eval(),
    "evaluated dropout": lambda: perceptron(nn.Dropout()).eval(),
    "weight norm": lambda: nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Linear(T * D, 8)), nn.Tanh(), nn.Linear(8, C)
    ),
    "branches": Branches,
    "buffer": Positions,
    "tied": Tied,
    "frozen": lambda: nn.Sequential(nn.Linear(T * D, 8).requires_grad_(False), nn.Linear(8, C)),
    "letters": Letters,
    "sparse letters": lambda: Letters(sparse=True),
    "padded letters": lambda: Letters(padding_idx=1),
    "attention": Attention,
}


def made(name: str) -> nn.Module:
    torch.manual_seed(0)
    module: nn.Module = MODULES[name]().double()
    return module


def params_of(module: nn.Module) -> dict[str, Tensor]:
    """N different networks."""
    g = torch.Generator().manual_seed(1)
    return {
        n: p.detach() + 0.1 * torch.randn(N, *p.shape, generator=g, dtype=p.dtype)
        for n, p in module.named_parameters()
    }


def inputs(num_tasks: int = N) -> Tensor:
    g = torch.Generator().manual_seed(2)
    return torch.randn(num_tasks, B, T * D, generator=g, dtype=torch.float64)


def tasks_of(network: Any, num_tasks: int = 8) -> SupervisedTasks:
    y = torch.arange(B).expand(num_tasks, B) % C
    examples = Examples(inputs(num_tasks), y)
    return SupervisedTasks(network, FewShotBatch(examples, examples), cross_entropy)


def whole(module: nn.Module, before: nn.Module, own: Mapping[str, Tensor]) -> bool:
    """Whether a module is as it was, the same parameters in the same places."""
    now = dict(module.named_parameters())
    return (
        all(now[n] is p for n, p in own.items())
        and now.keys() == own.keys()
        and all(torch.equal(t, before.state_dict()[n]) for n, t in module.state_dict().items())
        and all(p.grad is None for p in now.values())
    )


@pytest.mark.parametrize("name", MODULES)
def test_each_network_is_the_module_with_its_parameters(name: str) -> None:
    module = made(name)
    params, x = params_of(module), inputs()
    before, own = copy.deepcopy(module), dict(module.named_parameters())
    network = ModuleNetwork(module)
    for _ in range(2):
        found = network({**params, "objective.w": torch.ones(N)}, x)
        for i in range(N):
            one = functional_call(before, {n: p[i] for n, p in params.items()}, (x[i],))
            torch.testing.assert_close(found[i], one)
    assert whole(module, before, own)


@pytest.mark.parametrize("name", ["letters", "padded letters"])
def test_each_network_has_the_gradient_of_the_module(name: str) -> None:
    """In all networks, not in the first alone, the vector of a padding has none."""
    module = made(name)
    params = {n: p.requires_grad_() for n, p in params_of(module).items()}
    network = ModuleNetwork(module)
    for _ in range(2):
        found = torch.autograd.grad(network(params, inputs()).square().sum(), params.values())
        for i in range(N):
            own = {n: p[i] for n, p in params.items()}
            one = functional_call(module, own, (inputs()[i],)).square().sum()
            for g, expected in zip(found, torch.autograd.grad(one, params.values()), strict=True):
                torch.testing.assert_close(g[i], expected[i])


@pytest.mark.parametrize("kind", [MAML, Leap, Reptile])
@pytest.mark.parametrize("name", [n for n in MODULES if n != "attention"])
def test_threads_give_the_serial_gradient_bit_for_bit(name: str, kind: Any) -> None:
    module = made(name)
    before, own = copy.deepcopy(module), dict(module.named_parameters())
    found = []
    for num_threads in (1, 3):
        tasks = tasks_of(module)
        learner = kind(module, rule=sgd(0.1), num_steps=2, execution=Execution(2, num_threads))
        for _ in range(2):
            list(learner.meta_gradients(tasks))
        found.append({n: p.grad for n, p in learner.params.items() if p.grad is not None})
        assert impure(tasks) is None
    assert all(torch.equal(found[1][n], g) for n, g in found[0].items())
    assert any(bool(g.any()) for g in found[0].values())
    assert whole(module, before, own)


def test_dropout_draws_for_each_network_and_in_one_thread() -> None:
    """What torch's one generator draws would depend on which thread comes first."""
    module = perceptron(nn.Dropout()).double()
    network = ModuleNetwork(module)
    same = {n: p.detach().expand(N, *p.shape) for n, p in module.named_parameters()}
    x = inputs()[:1].expand(N, B, T * D)
    outputs = network(same, x)
    assert not any(torch.equal(outputs[0], outputs[i]) for i in range(1, N))
    assert impure(network) is network
    module.eval()
    assert torch.equal(network(same, x)[0], network(same, x)[1])
    assert impure(network) is None
    module.train()
    assert impure(network) is network
    found = []
    for num_threads in (1, 2):
        torch.manual_seed(3)
        learner = MAML(module, rule=sgd(0.1), num_steps=2, execution=Execution(2, num_threads))
        list(learner.meta_gradients(tasks_of(module)))
        found.append([p.grad for p in learner.params.values()])
    for one, other in zip(*found, strict=True):
        assert one is not None
        assert other is not None
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    "make",
    [
        lambda: perceptron(nn.BatchNorm1d(8)),
        lambda: nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(15, C))),
        lambda: Letters(max_norm=0.1),
    ],
    ids=["batch norm", "spectral norm", "max norm"],
)
def test_a_module_that_writes_into_its_tensors_is_refused_and_stays_whole(make: Any) -> None:
    module = make().double()
    before, own = copy.deepcopy(module), dict(module.named_parameters())
    for _ in range(2):
        with pytest.raises(ValueError, match=r"writes into .*evaluation mode"):
            ModuleNetwork(module)(params_of(module), inputs())
    assert whole(module, before, own)


def test_modes_and_buffers_are_those_of_the_call() -> None:
    module = made("buffer")
    network, params, x = ModuleNetwork(module), params_of(module), inputs()
    first = network(params, x)
    module.load_state_dict({**module.state_dict(), "offset": torch.zeros(15).double()})
    second = network(params, x)
    assert not torch.equal(first, second)
    module.to(torch.float32).to(torch.float64)
    assert torch.equal(network(params, x), second)


def test_layers_that_are_exchanged_count() -> None:
    module = perceptron().double()
    network, params, x = ModuleNetwork(module), params_of(module), inputs()
    first = network(params, x)
    module[1] = nn.ReLU()
    assert not torch.equal(network(params, x), first)


class Interrupted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(15, C)
        self.failure: list[BaseException] = []

    def forward(self, x: Tensor) -> Tensor:
        h = self.linear(x)
        if self.failure:
            raise self.failure[0]
        return h


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), ArithmeticError("no number")])
def test_after_an_error_all_is_as_before(failure: BaseException) -> None:
    module = Interrupted().double()
    network, params, x = ModuleNetwork(module), params_of(module), inputs()
    before, own = copy.deepcopy(module), dict(module.named_parameters())
    first = network(params, x)
    (part,) = network._copies
    assert isinstance(part, Interrupted)
    part.failure.append(failure)
    with pytest.raises(type(failure)):
        network(params, x)
    assert whole(module, before, own)
    assert torch.equal(network(params, x), first)


def test_an_error_of_the_module_is_its_own() -> None:
    module = perceptron().double()
    with pytest.raises(RuntimeError, match="mat1 and mat2") as caught:
        ModuleNetwork(module)(params_of(module), inputs()[..., :3])
    assert "vmap" not in str(caught.value)


def test_calls_from_many_threads_at_once() -> None:
    module = made("lstm")
    network, x = ModuleNetwork(module), inputs()
    given = [{n: p + k for n, p in params_of(module).items()} for k in range(4)]
    right = [network(params, x) for params in given]
    wrong: list[int] = []

    def call(k: int) -> None:
        for _ in range(20):
            if not torch.equal(network(given[k], x), right[k]):
                wrong.append(k)

    threads = [threading.Thread(target=call, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_what_is_missing_is_named() -> None:
    module = perceptron().double()
    params = params_of(module)
    del params["0.bias"]
    with pytest.raises(ValueError, match=r"of the module are missing: 0\.bias"):
        ModuleNetwork(module)(params, inputs())


def test_other_outputs_and_modules_that_cannot_be_copied_are_refused() -> None:
    lstm = nn.LSTM(15, 4, batch_first=True).double()
    with pytest.raises(TypeError, match="output must be a tensor, got tuple"):
        ModuleNetwork(lstm)(params_of(lstm), inputs()[:, :, None])
    module = perceptron().double()
    module.lock = threading.Lock()  # type: ignore[assignment]
    with pytest.raises(TypeError, match=r"Sequential cannot be copied .*lock"):
        ModuleNetwork(module)(params_of(module), inputs())


def test_a_compiled_module_is_refused() -> None:
    compiled: Any = torch.compile(nn.Linear(1, 1), backend="eager")
    for module in (compiled, nn.Sequential(compiled)):
        with pytest.raises(TypeError, match="give the uncompiled one"):
            ModuleNetwork(module)


@pytest.mark.parametrize("name", ["perceptron", "group norm", "lstm", "evaluated batch norm"])
def test_reference_examples_where_examples_are_apart(name: str) -> None:
    module = made(name)
    network, params, x = ModuleNetwork(module), params_of(module), inputs()
    torch.testing.assert_close(network(params, x, 2), network(params, x))


def test_reference_examples_are_refused_where_examples_depend_on_each_other() -> None:
    module = made("batch norm")
    network, params, x = ModuleNetwork(module), params_of(module), inputs()
    with pytest.raises(ValueError, match="takes no notice of num_reference"):
        network(params, x, 2)
    assert network(params, x).shape == (N, B, C)
    dropout = perceptron(nn.Dropout()).double()
    with pytest.raises(ValueError, match="or it draws at random"):
        ModuleNetwork(dropout)(params_of(dropout), x, 2)


def test_networks_of_one_module_are_equal() -> None:
    module = perceptron()
    assert ModuleNetwork(module) == ModuleNetwork(module)
    assert len({ModuleNetwork(module), ModuleNetwork(module), ModuleNetwork(perceptron())}) == 2
