"""Methods, properties and submodules of a clone: adapted, and nothing is left behind."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import metarl
from tests.metarl.modules.wrapped import some_data


class Coder(nn.Module):
    """Has what models have beside ``forward``."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(2, 4), nn.Tanh())
        self.norm = nn.BatchNorm1d(4)
        self.heads = nn.ModuleList([nn.Linear(4, 1), nn.Linear(4, 1)])
        self.named = nn.ModuleDict({"a": self.heads[0]})
        self.scale = nn.Parameter(torch.ones(()))
        self.shift = lambda x: x + self.scale
        self.temperature = 2.0

    def encode(self, x: Tensor) -> Tensor:
        """Features, through a norm that moves statistics."""
        out: Tensor = self.norm(self.encoder(x))
        return out

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.heads[0](self.encode(x)) * self.scale
        return out

    def adapt(self, x: Tensor) -> Tensor:
        """A name that clones have, too."""
        return self.encode(x)

    def features(self, x: Tensor) -> Iterator[Tensor]:
        """A generator."""
        yield self.encode(x)

    def head(self) -> nn.Module:
        """A module."""
        return self.heads[0]

    def decoder(self) -> Any:
        """A function that is called later."""
        return lambda h: self.heads[0](h)

    def fails(self, x: Tensor) -> Tensor:
        """Fails after the swap."""
        self.encode(x)
        raise KeyError("here")

    @property
    def size(self) -> Tensor:
        """Made of parameters."""
        return self.heads[0].weight.square().sum()


def adapted(num_steps: int = 2) -> tuple[metarl.Clone, Coder, Coder]:
    """A clone, the model, and a model with the clone's parameters."""
    torch.manual_seed(0)
    model, (x, y) = Coder().double(), some_data()
    clone = metarl.MAML(model, 0.2).clone()
    for _ in range(num_steps):
        clone.adapt(F.mse_loss(clone(x), y))
    twin = copy.deepcopy(model)
    twin.load_state_dict(clone.state_dict())
    twin.shift = lambda h: h + twin.scale
    return clone, model, twin


def test_everything_is_adapted() -> None:
    clone, model, twin = adapted()
    x, _ = some_data()
    h = twin.encode(x).detach()
    pairs = [
        (clone.encode(x), twin.encode(x)),
        (clone.encoder(x), twin.encoder(x)),
        (clone.encoder[0](x), twin.encoder[0](x)),
        (clone.heads[1](h), twin.heads[1](h)),
        (next(head(h) for head in clone.heads), twin.heads[0](h)),
        (clone.named["a"](h), twin.named["a"](h)),
        (clone.heads[:1][0](h), twin.heads[0](h)),
        (clone.head()(h), twin.heads[0](h)),
        (clone.decoder()(h), twin.heads[0](h)),
        (clone.shift(h), twin.shift(h)),
        (clone.size, twin.size),
        (clone.scale, twin.scale),
        (clone.heads[0].weight, twin.heads[0].weight),
        (clone.forward(x), twin(x)),
        (clone.module(x), twin(x)),
        (clone.module.adapt(x), twin.adapt(x)),
        (clone.module.encoder(x), twin.encoder(x)),
    ]
    for i, (found, expected) in enumerate(pairs):
        assert torch.allclose(found, expected, rtol=0, atol=1e-12), i
    assert clone.temperature == 2.0
    assert clone.training
    assert len(clone.heads) == 2
    assert not torch.allclose(model.encode(x), clone.encode(x))


def test_gradients_pass_and_methods_can_be_adapted_to() -> None:
    """By a method or by forward: the same meta-gradient."""
    x, y = some_data()
    found = []
    for by_method in (True, False):
        torch.manual_seed(0)
        model = Coder().double()
        clone = metarl.MAML(model, 0.2).clone()
        out = lambda: (  # noqa: E731
            clone.heads[0](clone.encode(x)) * clone.scale if by_method else clone(x)  # noqa: B023
        )
        clone.adapt(F.mse_loss(out(), y))
        F.mse_loss(out(), y).backward()
        found.append([p.grad for p in model.parameters() if p.grad is not None])
        found[-1].append(dict(clone.named_buffers())["norm.running_mean"])
    assert len(found[0]) == len(found[1])
    assert all(torch.allclose(a, b, rtol=0, atol=1e-13) for a, b in zip(*found, strict=True))


def test_nothing_is_left_behind() -> None:
    clone, model, _ = adapted()
    x, _ = some_data()
    before = copy.deepcopy(model.state_dict())
    own = dict(model.named_parameters())
    with pytest.raises(KeyError, match="here"):
        clone.fails(x)
    clone.encode(x)
    assert all(p is own[n] for n, p in model.named_parameters())
    assert all(torch.equal(before[n], t) for n, t in model.state_dict().items())


def test_what_would_run_later_is_refused() -> None:
    clone, _, _ = adapted()
    with pytest.raises(TypeError, match=r"generator runs later.*return a list"):
        clone.features(some_data()[0])


@pytest.mark.parametrize("name", ["eval", "to", "zero_grad", "load_state_dict", "_parameters"])
def test_what_would_change_the_model_is_refused(name: str) -> None:
    clone, model, _ = adapted()
    for thing in (clone, clone.module, clone.encoder):
        assert not hasattr(thing, name)
        with pytest.raises(AttributeError, match=f"no '{name}'.*model"):
            getattr(thing, name)
    with pytest.raises(AttributeError, match="set it on the model"):
        clone.encoder.training = False
    with pytest.raises(AttributeError, match="missing"):
        clone.missing  # noqa: B018
    assert model.training


def test_a_clone_in_each_thread() -> None:
    torch.manual_seed(0)
    model, (x, y) = Coder().double(), some_data()
    maml = metarl.MAML(model, 0.2)

    def work(step: int) -> Tensor:
        clone = maml.clone(first_order=True)
        for _ in range(step):
            clone.adapt(F.mse_loss(clone.heads[0](clone.encode(x)), y))
        return clone.encode(x).detach()

    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(work, [0, 1, 2, 3] * 5))
    assert all(torch.equal(f, work(i % 4)) for i, f in enumerate(found))


def test_parts_show_what_they_are() -> None:
    clone, _, _ = adapted()
    assert repr(clone.heads[0]).startswith("adapted Linear")
    assert {"encode", "encoder"} <= set(dir(clone.module))
    assert "eval" not in dir(clone.module)
    assert bool(clone.module)
