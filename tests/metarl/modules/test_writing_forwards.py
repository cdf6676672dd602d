"""Forward passes that write into weights or buffers: the user's model stays as it is."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

import metarl
from tests.metarl.modules.wrapped import mlp, some_data


class Shrinks(nn.Linear):
    """Writes into its weight in one of the ways people do."""

    def __init__(self, write: Callable[[nn.Linear], object], num_inputs: int = 2) -> None:
        super().__init__(num_inputs, 3, dtype=torch.float64)
        self.write = write

    def forward(self, x: Tensor) -> Tensor:
        self.write(self)
        return super().forward(x)


def _without_grad(layer: nn.Linear) -> None:
    with torch.no_grad():
        layer.weight.clamp_(-0.2, 0.2)


def _set_data(layer: nn.Linear) -> None:
    layer.weight.data = layer.weight.data.clamp(-0.2, 0.2)


WRITES: dict[str, Callable[[nn.Linear], object]] = {
    "no_grad": _without_grad,
    "data": lambda layer: layer.weight.data.clamp_(-0.2, 0.2),
    "set data": _set_data,
    "detach": lambda layer: layer.weight.detach().renorm_(2, 0, 0.3),
    "init": lambda layer: nn.init.zeros_(layer.bias),
    "copy": lambda layer: layer.bias.data.copy_(torch.ones(3)),
}


def written(kind: str) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(Shrinks(WRITES[kind]), nn.Tanh(), nn.Linear(3, 1, dtype=torch.float64))


class Words(nn.Module):
    """An embedding that renormalises the rows it looks up."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(10, 4, max_norm=0.5), nn.Linear(4, 1)

    def forward(self, ids: Tensor) -> Tensor:
        out: Tensor = self.head(self.words(ids).mean(1))
        return out


def words() -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    return Words().double(), torch.randint(0, 10, (6, 3)), torch.randn(6, 1, dtype=torch.float64)


def state(model: nn.Module) -> dict[str, Tensor]:
    return copy.deepcopy(dict(model.state_dict()))


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return all(torch.equal(first[name], t) for name, t in second.items())


def use(wrapped: Any, x: Tensor, y: Tensor) -> None:
    """All that is done with a wrapped model, but for meta-steps."""
    if isinstance(wrapped, metarl.Warp):
        wrapped.register_task([(x, y)])
        wrapped.init_adaptation()
        optimiser = torch.optim.SGD(wrapped.adapt_parameters(), 0.1)
        for _ in range(2):
            optimiser.zero_grad()
            F.mse_loss(wrapped(x), y).backward()
            optimiser.step()
        wrapped.eval()
        wrapped(x)
        wrapped.backward(lambda: None)
        return
    clone = wrapped.clone()
    for _ in range(2):
        clone.adapt(F.mse_loss(clone(x), y))
    other = clone.clone()
    before = {n: p.detach().clone() for n, p in other.named_parameters()}
    F.mse_loss(clone(x), y).backward()
    assert same(before, dict(other.named_parameters()))


WRAPPERS: dict[str, Callable[[nn.Module, str, str], Any]] = {
    "MAML": lambda m, first, last: metarl.MAML(m, 0.1),
    "first order": lambda m, first, last: metarl.MAML(m, 0.1, first_order=True),
    "MetaSGD": lambda m, first, last: metarl.MetaSGD(m, 0.1),
    "ANIL": lambda m, first, last: metarl.ANIL(m, 0.1, head=last),
    "Warp": lambda m, first, last: metarl.Warp(
        m, first, last, metarl.DualUpdater(F.mse_loss, metarl.sgd(0.1))
    ),
    "warped": lambda m, first, last: metarl.Warp(
        m, last, first, metarl.DualUpdater(F.mse_loss, metarl.sgd(0.1))
    ),
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("kind", WRITES)
def test_a_forward_that_writes_changes_no_model(wrapper: str, kind: str) -> None:
    model, (x, y) = written(kind), some_data()
    before = state(model)
    use(WRAPPERS[wrapper](model, "0", "2"), x, y)
    assert same(before, state(model))
    model(x)  # it does write
    assert not same(before, state(model))


@pytest.mark.parametrize("wrapper", ["MAML", "Warp"])
@pytest.mark.parametrize("kind", WRITES)
def test_nor_where_what_is_written_is_frozen(wrapper: str, kind: str) -> None:
    torch.manual_seed(0)
    frozen = Shrinks(WRITES[kind]).requires_grad_(False)
    rest = [nn.Linear(3, 3, dtype=torch.float64), nn.Linear(3, 1, dtype=torch.float64)]
    model, (x, y) = nn.Sequential(frozen, *rest), some_data()
    before = state(model)
    use(WRAPPERS[wrapper](model, "1", "2"), x, y)
    assert same(before, state(model))


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_nor_does_an_embedding_with_a_largest_norm(wrapper: str) -> None:
    model, x, y = words()
    before = state(model)
    use(WRAPPERS[wrapper](model, "words", "head"), x, y)
    assert same(before, state(model))


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.filterwarnings("ignore:.*spectral_norm.* is deprecated:FutureWarning")
def test_nor_do_power_iterations_and_running_statistics(wrapper: str) -> None:
    torch.manual_seed(0)
    first = parametrizations.spectral_norm(nn.Linear(2, 3))
    more = [nn.BatchNorm1d(3, affine=False), nn.utils.spectral_norm(nn.Linear(3, 3))]
    model = nn.Sequential(nn.Sequential(first, more[0]), nn.Tanh(), more[1], nn.Linear(3, 1))
    model, (x, y) = model.double(), some_data()
    model[2].requires_grad_(False)
    before = state(model)
    use(WRAPPERS[wrapper](model, "0", "3"), x, y)
    assert same(before, state(model))


def test_a_clone_adapts_as_a_copy_would() -> None:
    """What the forward pass writes stays written in the clone."""
    model, x, y = words()
    twin, clone = copy.deepcopy(model), metarl.MAML(model, 0.1, first_order=True).clone()
    optimiser = torch.optim.SGD(twin.parameters(), 0.1)
    for _ in range(3):
        clone.adapt(F.mse_loss(clone(x), y))
        optimiser.zero_grad()
        F.mse_loss(twin(x), y).backward()
        optimiser.step()
    assert torch.allclose(clone(x), twin(x), rtol=0, atol=1e-12)
    for name, p in clone.named_parameters():
        assert torch.allclose(p, twin.get_parameter(name), rtol=0, atol=1e-12)


def test_the_points_of_a_warp_are_as_the_forward_pass_leaves_them() -> None:
    model, x, y = words()
    warp = WRAPPERS["Warp"](model, "words", "head")
    warp.register_task([(x, y)])
    warp.init_adaptation()
    F.mse_loss(warp(x), y).backward()
    torch.optim.SGD(warp.adapt_parameters(), 0.1).step()
    recorded = warp.buffer[0, 0].fast["words.weight"]
    assert (recorded[x.unique()].norm(dim=1) < 0.5 + 1e-6).all()


def test_cached_weights_are_refused() -> None:
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(2, 1))).double()
    clone, (x, _) = metarl.MAML(model, 0.1).clone(), some_data()
    with parametrize.cached(), pytest.raises(RuntimeError, match="cached"):
        clone(x)


def test_sparse_gradients_adapt_as_dense_ones_in_first_order() -> None:
    torch.manual_seed(0)
    ids, y = torch.randint(0, 10, (6, 3)), torch.randn(6, 1)
    found = []
    for sparse in (True, False):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Embedding(10, 4, sparse=sparse), nn.Flatten(), nn.Linear(12, 1))
        maml = metarl.MAML(model, rule=metarl.sgd(0.1, 0.9), first_order=True)
        clone = maml.clone()
        for _ in range(3):
            clone.adapt(F.mse_loss(clone(ids), y))
        F.mse_loss(clone(ids), y).backward()
        found.append(
            [clone(ids), *(p.grad.to_dense() for p in model.parameters() if p.grad is not None)]
        )
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_sparse_gradients_are_named_in_second_order() -> None:
    model = nn.Sequential(nn.Embedding(10, 4, sparse=True), nn.Flatten(), nn.Linear(12, 1))
    clone = metarl.MAML(model, 0.1).clone()
    with pytest.raises(NotImplementedError, match=r"sparse=False.*first order"):
        clone.adapt(clone(torch.randint(0, 10, (6, 3))).square().mean())


def test_the_model_and_the_clone_are_told_apart() -> None:
    model, (x, y) = mlp(), some_data()
    clone = metarl.MAML(model, 0.1).clone()
    with pytest.raises(ValueError, match="depends on none"):
        clone.adapt(F.mse_loss(model(x), y))
