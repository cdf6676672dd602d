"""Clones: their buffers, their memory, and what they say when a loss cannot be adapted to."""

from __future__ import annotations

import copy
import gc

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import metarl
from tests.metarl.meta.problems import Data
from tests.metarl.modules.wrapped import mlp, small_net, some_data


def images(seed: int = 0) -> Data:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(4, 1, 6, 6, generator=g, dtype=torch.float64), torch.tensor([0, 1, 0, 1])


def test_batch_norm_statistics_are_the_clones_own() -> None:
    model, (x, y) = small_net(), images()
    before = copy.deepcopy(model.state_dict())
    reference = copy.deepcopy(model)
    clone, other = (metarl.MAML(model, 0.1).clone() for _ in range(2))
    for _ in range(3):
        clone.adapt(F.cross_entropy(clone(x), y))
        grads = torch.autograd.grad(F.cross_entropy(reference(x), y), list(reference.parameters()))
        with torch.no_grad():
            for p, g in zip(reference.parameters(), grads, strict=True):
                p.sub_(g, alpha=0.1)
    for name, expected in reference.state_dict().items():
        assert torch.allclose(clone.state_dict()[name], expected, rtol=0, atol=1e-12), name
    assert dict(clone.named_buffers())["1.num_batches_tracked"] == 3
    assert dict(other.named_buffers())["1.num_batches_tracked"] == 0
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())


def plain_net(params: dict[str, Tensor], x: Tensor) -> Tensor:
    """`small_net` in training mode, normalised by hand."""
    h = F.conv2d(x, params["0.weight"], params["0.bias"])
    mean = h.mean((0, 2, 3), keepdim=True)
    variance = (h - mean).square().mean((0, 2, 3), keepdim=True)
    h = (h - mean) / (variance + 1e-5).sqrt()
    h = torch.tanh(h * params["1.weight"].view(-1, 1, 1) + params["1.bias"].view(-1, 1, 1))
    return h.flatten(1) @ params["4.weight"].T + params["4.bias"]


def test_second_order_behind_batch_norm_is_right() -> None:
    model, (x, y), (query_x, query_y) = small_net(), images(0), images(1)
    clone = metarl.MAML(model, 0.1).clone()
    for _ in range(2):
        clone.adapt(F.cross_entropy(clone(x), y))
    F.cross_entropy(clone(query_x), query_y).backward()

    start = {n: p.detach().clone().requires_grad_() for n, p in model.named_parameters()}
    params = start
    for _ in range(2):
        loss = F.cross_entropy(plain_net(params, x), y)
        grads = torch.autograd.grad(loss, list(params.values()), create_graph=True)
        params = {n: p - 0.1 * g for (n, p), g in zip(params.items(), grads, strict=True)}
    loss = F.cross_entropy(plain_net(params, query_x), query_y)
    expected = torch.autograd.grad(loss, list(start.values()))
    for p, g in zip(model.parameters(), expected, strict=True):
        assert p.grad is not None
        assert (p.grad - g).abs().max() < 1e-10


@pytest.mark.filterwarnings("ignore:.*running statistics have never been moved:UserWarning")
def test_the_mode_is_the_models() -> None:
    model, (x, _) = small_net(), images()
    maml = metarl.MAML(model, 0.1)
    assert not torch.equal(maml.clone()(x), maml.eval().clone()(x))
    clone = maml.clone()
    clone(x)
    assert dict(clone.named_buffers())["1.num_batches_tracked"] == 0


@pytest.mark.filterwarnings("ignore:.*running statistics have never been moved:UserWarning")
def test_a_graph_of_evaluation_mode_survives_training_mode() -> None:
    """Batch norm overwrites running statistics that an earlier graph has saved."""
    model, (x, y) = small_net(), images()
    maml = metarl.MAML(model, 0.1)

    def gradient(train_between: bool) -> Tensor:
        clone = maml.eval().clone()
        loss = F.cross_entropy(clone(x), y)
        if train_between:
            maml.train()
            clone(x)
        return torch.autograd.grad(loss, model[0].weight)[0]

    assert torch.equal(gradient(True), gradient(False))


def live_tensors() -> int:
    return sum(issubclass(type(o), Tensor) for o in gc.get_objects())


@pytest.mark.parametrize("first_order", [False, True])
def test_memory_is_free_after_every_meta_step(first_order: bool) -> None:
    """The garbage collector stands still: no cycle may hold a graph."""
    maml = metarl.MAML(small_net(), rule=metarl.adam(0.01), first_order=first_order)
    optimiser = torch.optim.SGD(maml.parameters(), 0.01)
    x, y = images()

    def meta_step() -> None:
        clone = maml.clone()
        for _ in range(2):
            clone.adapt(F.cross_entropy(clone(x), y))
        optimiser.zero_grad()
        F.cross_entropy(clone(x), y).backward()
        optimiser.step()

    meta_step()
    gc.collect()
    gc.disable()
    try:
        meta_step()
        before = live_tensors()
        for _ in range(200):
            meta_step()
        assert live_tensors() == before
    finally:
        gc.enable()


def test_first_order_keeps_no_inner_graph() -> None:
    """Between the parameters and the model lie K additions, not K backward passes."""
    maml, (x, y) = metarl.MAML(mlp(), 0.1), some_data()

    def nodes_behind(first_order: bool) -> int:
        clone = maml.clone(first_order=first_order)
        for _ in range(5):
            clone.adapt(F.mse_loss(clone(x), y))
        loss = sum((p.sum() for p in clone.parameters()), torch.zeros((), dtype=torch.float64))
        nodes, todo = set(), [loss.grad_fn]
        while todo:
            node = todo.pop()
            if node is not None and node not in nodes:
                nodes.add(node)
                todo += [n for n, _ in node.next_functions]
        return len(nodes)

    assert nodes_behind(True) < 100 < nodes_behind(False)


def test_the_two_orders_adapt_alike() -> None:
    maml, (x, y) = metarl.MAML(mlp(), 0.1), some_data()
    clones = [maml.clone(first_order=f) for f in (False, True)]
    for clone in clones:
        for _ in range(3):
            clone.adapt(F.mse_loss(clone(x), y))
    assert torch.equal(clones[0](x), clones[1](x))


def test_a_clone_made_without_gradients_still_adapts() -> None:
    maml, (x, y) = metarl.MAML(mlp(), 0.1), some_data()
    with torch.no_grad():
        clone = maml.clone()
    clone.adapt(F.mse_loss(clone(x), y))
    F.mse_loss(clone(x), y).backward()
    assert next(maml.parameters()).grad is not None


def test_losses_that_cannot_be_adapted_to_are_refused() -> None:
    model, (x, y) = mlp(), some_data()
    clone = metarl.MAML(model, 0.1).clone()
    with pytest.raises(ValueError, match="one number"):
        clone.adapt((clone(x) - y).square())
    with torch.no_grad():
        loss = F.mse_loss(clone(x), y)
    with pytest.raises(ValueError, match="no gradient"):
        clone.adapt(loss)
    with pytest.raises(ValueError, match="not with the model"):
        clone.adapt(F.mse_loss(model(x), y))
    stale = F.mse_loss(clone(x), y)
    clone.adapt(F.mse_loss(clone(x), y))
    with pytest.raises(ValueError, match="again after every adapt"):
        clone.adapt(stale)
    assert clone.num_steps == 1


def test_keyword_arguments_and_several_outputs_pass_through() -> None:
    torch.manual_seed(0)
    model = nn.LSTM(2, 3, batch_first=True).double()
    clone = metarl.MAML(model, 0.1).clone()
    x = torch.randn(2, 4, 2, dtype=torch.float64)
    outputs, (h, c) = clone(x, hx=(torch.ones(1, 2, 3).double(), torch.ones(1, 2, 3).double()))
    expected, _ = model(x, hx=(torch.ones(1, 2, 3).double(), torch.ones(1, 2, 3).double()))
    assert torch.equal(outputs, expected)
    clone.adapt(outputs.square().mean())
    assert not torch.equal(clone(x)[0], model(x)[0])


def test_a_buffer_that_a_model_replaces_belongs_to_the_clone() -> None:
    class Counter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))
            self.register_buffer("calls", torch.zeros(1))

        def forward(self) -> Tensor:
            self.calls = self.calls + 1
            return self.weight * self.calls

    model = Counter()
    clone = metarl.MAML(model, 0.1).clone()
    assert [clone().item(), clone().item()] == [1, 2]
    assert float(model.calls) == 0
