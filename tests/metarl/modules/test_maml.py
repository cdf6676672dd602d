"""A user's loop over clones gives the gradients of the batched learners and of plain loops."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import metarl
from metarl import meta
from metarl.core import Chain, Momentum, StepSize, WeightDecay, adam, prefixed, sgd
from tests.metarl.meta.problems import (
    Problem,
    classification,
    regression,
    relative_error,
)
from tests.metarl.meta.test_maml import meta_gradient as batched_gradient
from tests.metarl.modules.wrapped import Wrapped, meta_gradient, mlp, some_data, wrapped

RULES = {
    "sgd": sgd(0.1),
    "nesterov": sgd(0.1, 0.9, nesterov=True),
    "adam": adam(0.05),
    "decay": Chain((WeightDecay(0.1), Momentum(0.8), StepSize(0.1))),
    "learned": sgd(0.1, 0.9, learned="parameter"),
}


@pytest.mark.parametrize("make", [regression, classification])
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_the_gradient_is_that_of_the_batched_learner(
    make: Callable[[], Problem], rule: Chain
) -> None:
    problem = make()
    learner = meta.MAML(problem.init(), rule=rule, num_steps=3)
    found = meta_gradient(metarl.MAML(wrapped(problem), rule=rule), problem, 3)
    expected = {
        n.replace("fast.", "model.tree.", 1)
        .replace("rule.0.", "learned.0.")
        .replace("rule.1.log_lr.", "learned.1.log_lr.tree."): g
        for n, g in batched_gradient(learner, problem).items()
    }
    assert relative_error(found, expected) < 1e-9


@pytest.mark.parametrize("make", [regression, classification])
@pytest.mark.parametrize("name", ["sgd", "adam", "decay"])
def test_the_first_order_gradient_is_that_of_the_batched_learner(
    make: Callable[[], Problem], name: str
) -> None:
    problem, rule = make(), RULES[name]
    learner = meta.MAML(problem.init(), rule=rule, num_steps=3, first_order=True)
    maml = metarl.MAML(wrapped(problem), rule=rule, first_order=True)
    found = meta_gradient(maml, problem, 3)
    expected = {n.removeprefix("fast."): g for n, g in batched_gradient(learner, problem).items()}
    assert relative_error(found, prefixed(expected, "model.tree")) < 1e-9
    second_order = meta_gradient(metarl.MAML(wrapped(problem), rule=rule), problem, 3)
    assert relative_error(second_order, prefixed(expected, "model.tree")) > 1e-3


OPTIMISERS = {
    "adam": (adam(0.03), lambda p: torch.optim.Adam(p, 0.03)),
    "nesterov": (
        sgd(0.1, 0.9, nesterov=True),
        lambda p: torch.optim.SGD(p, 0.1, 0.9, nesterov=True),
    ),
}


@pytest.mark.parametrize("name", OPTIMISERS)
@pytest.mark.parametrize("first_order", [False, True])
def test_a_rule_walks_like_the_torch_optimiser(name: str, first_order: bool) -> None:
    rule, make = OPTIMISERS[name]
    model, (x, y) = mlp(), some_data()
    reference = copy.deepcopy(model)
    optimiser = make(reference.parameters())
    clone = metarl.MAML(model, rule=rule, first_order=first_order).clone()
    for _ in range(7):
        clone.adapt(F.mse_loss(clone(x), y))
        optimiser.zero_grad()
        F.mse_loss(reference(x), y).backward()
        optimiser.step()
    assert clone.num_steps == 7
    for mine, theirs in zip(clone.parameters(), reference.parameters(), strict=True):
        assert torch.allclose(mine, theirs, rtol=0, atol=1e-12)


def test_the_model_is_not_changed() -> None:
    model, (x, y) = mlp(), some_data()
    before = copy.deepcopy(model.state_dict())
    attributes = set(vars(model))
    clone = metarl.MAML(model, 0.1).clone()
    for _ in range(3):
        clone.adapt(F.mse_loss(clone(x), y))
    assert any(not torch.equal(a, before[n]) for n, a in clone.state_dict().items())
    assert all(torch.equal(p, before[n]) for n, p in model.state_dict().items())
    assert all(isinstance(p, nn.Parameter) and p.grad is None for p in model.parameters())
    assert set(vars(model)) == attributes


def test_an_outer_step_lowers_the_loss_after_adaptation() -> None:
    maml = metarl.MAML(mlp(), 0.1)
    optimiser = torch.optim.Adam(maml.parameters(), 0.02)
    losses = []
    for _ in range(40):
        optimiser.zero_grad()
        total = torch.zeros((), dtype=torch.float64)
        for seed in range(2):
            clone, (x, y) = maml.clone(), some_data(seed)
            clone.adapt(F.mse_loss(clone(x), y))
            total = total + F.mse_loss(clone(x), y)
        total.backward()
        optimiser.step()
        losses.append(total.item())
    assert losses[-1] < 0.5 * losses[0]


def test_reinforce_adapts_a_policy() -> None:
    """A bandit whose third arm pays: any loss that reaches the parameters will do."""
    torch.manual_seed(0)
    policy = nn.Linear(1, 3)
    maml = metarl.MAML(policy, 1.0)
    clone = maml.clone()
    x = torch.ones(64, 1)
    for _ in range(20):
        log_p = F.log_softmax(clone(x), -1)
        arms = torch.multinomial(log_p.detach().exp(), 1)
        reward = (arms == 2).to(log_p)
        clone.adapt(-(log_p.gather(1, arms) * (reward - reward.mean())).mean())
    final = F.log_softmax(clone(x), -1)[0, 2]
    assert final.exp() > 0.8 > F.softmax(policy(x), -1)[0, 2]
    final.backward()
    assert policy.weight.grad is not None
    assert policy.weight.grad.abs().sum() > 0


def test_a_clone_of_a_clone_branches_off() -> None:
    maml, (x, y) = metarl.MAML(mlp(), rule=sgd(0.1, 0.9)), some_data()
    trunk = maml.clone()
    trunk.adapt(F.mse_loss(trunk(x), y))
    here = trunk.state_dict()
    branch = trunk.clone()
    branch.adapt(F.mse_loss(branch(x), y))
    assert (trunk.num_steps, branch.num_steps) == (1, 2)
    assert all(torch.equal(p, here[n]) for n, p in trunk.state_dict().items())
    trunk.adapt(F.mse_loss(trunk(x), y))
    for mine, theirs in zip(trunk.parameters(), branch.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    F.mse_loss(branch(x), y).backward()
    assert all(p.grad is not None for p in maml.parameters())


def test_frozen_parameters_stay_frozen() -> None:
    model, (x, y) = mlp(), some_data()
    model[0].requires_grad_(False)
    maml = metarl.MAML(model, rule=sgd(0.1, learned="parameter"))
    clone = maml.clone()
    clone.adapt(F.mse_loss(clone(x), y))
    F.mse_loss(clone(x), y).backward()
    named = dict(clone.named_parameters())
    assert torch.equal(named["0.weight"], model[0].weight)
    assert not torch.equal(named["2.weight"], model[2].weight)
    assert model[0].weight.grad is None
    assert model[2].weight.grad is not None
    model[0].requires_grad_(True)
    with pytest.raises(ValueError, match="frozen when wrapped"):
        maml.clone()


def test_an_unused_parameter_stays_where_it_is() -> None:
    model = nn.ModuleDict({"used": nn.Linear(2, 1), "unused": nn.Linear(2, 1)}).double()
    model.forward = lambda x: model["used"](x)
    clone, (x, y) = metarl.MAML(model, 0.1).clone(), some_data()
    clone.adapt(F.mse_loss(clone(x), y))
    F.mse_loss(clone(x), y).backward()
    named = dict(clone.named_parameters())
    assert torch.equal(named["unused.weight"], model["unused"].weight)
    assert not torch.equal(named["used.weight"], model["used"].weight)
    assert model["unused"].weight.grad is None


class Tied(nn.Module):
    """Encoder and decoder share a weight."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Linear(3, 3, bias=False).double()
        self.decoder = nn.Linear(3, 3).double()
        self.decoder.weight = self.encoder.weight

    def forward(self, x: Tensor) -> Tensor:
        """Twice through the same weight."""
        return self.decoder(torch.tanh(self.encoder(x)))


def test_tied_parameters_stay_tied() -> None:
    model = Tied()
    x = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def plain(w: Tensor, b: Tensor) -> Tensor:
        return (torch.tanh(x @ w.T) @ w.T + b - x).square().mean()

    clone = metarl.MAML(model, 0.1).clone()
    for _ in range(2):
        clone.adapt((clone(x) - x).square().mean())
    (clone(x) - x).square().mean().backward()

    start = w, b = [p.detach().clone().requires_grad_() for p in model.parameters()]
    for _ in range(2):
        grads = torch.autograd.grad(plain(w, b), (w, b), create_graph=True)
        w, b = w - 0.1 * grads[0], b - 0.1 * grads[1]
    expected = torch.autograd.grad(plain(w, b), start)
    for p, g in zip(model.parameters(), expected, strict=True):
        assert p.grad is not None
        assert torch.allclose(p.grad, g, rtol=0, atol=1e-12)


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_go_on_alike_and_apart(copier: Callable[[metarl.MAML], metarl.MAML]) -> None:
    maml, (x, y) = metarl.MAML(mlp(), rule=sgd(0.1, learned="parameter")), some_data()
    maml.clone()(x)
    twin = copier(maml)
    clones = [maml.clone(), twin.clone()]
    for clone in clones:
        clone.adapt(F.mse_loss(clone(x), y))
    assert torch.equal(clones[0](x), clones[1](x))
    with torch.no_grad():
        next(twin.parameters()).add_(1)
    assert not torch.equal(next(twin.parameters()), next(maml.parameters()))


def test_a_state_dict_brings_back_model_and_rule() -> None:
    maml = metarl.MAML(mlp(0), rule=sgd(0.1, learned="parameter"))
    with torch.no_grad():
        for p in maml.parameters():
            p.add_(0.1)
    other = metarl.MAML(mlp(1), rule=sgd(0.1, learned="parameter"))
    other.load_state_dict(maml.state_dict())
    assert len(list(maml.parameters())) == 8
    for mine, theirs in zip(other.parameters(), maml.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_calling_the_wrapper_is_calling_the_model() -> None:
    model, (x, _) = mlp(), some_data()
    assert torch.equal(metarl.MAML(model, 0.1)(x), model(x))


def test_threads_may_share_a_model() -> None:
    """Eight tasks in four threads, many calls: swapped parameters must not be seen by others."""
    maml = metarl.MAML(mlp(), 0.1)

    def adapted(seed: int) -> dict[str, Tensor]:
        clone, (x, y) = maml.clone(), some_data(seed, num=2)
        for _ in range(30):
            clone.adapt(F.mse_loss(clone(x), y))
        return clone.state_dict()

    results: dict[int, dict[str, Tensor]] = {}

    def work(seeds: range) -> None:
        for seed in seeds:
            results[seed] = adapted(seed)

    threads = [threading.Thread(target=work, args=(range(i, 8, 4),)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in range(8):
        assert all(torch.equal(p, results[seed][n]) for n, p in adapted(seed).items())
    assert all(isinstance(p, nn.Parameter) for p in maml.parameters())


def test_either_a_step_size_or_a_rule() -> None:
    with pytest.raises(ValueError, match="either lr or rule"):
        metarl.MAML(mlp())
    with pytest.raises(ValueError, match="either lr or rule"):
        metarl.MAML(mlp(), 0.1, rule=sgd(0.1))


def test_something_must_adapt() -> None:
    with pytest.raises(ValueError, match="nothing adapts"):
        metarl.MAML(mlp().requires_grad_(False), 0.1)


def test_the_wrapper_of_the_tests_is_the_network() -> None:
    problem = regression()
    model = Wrapped(problem.network, problem.init())
    x = problem.support[0]
    stacked = {n: p.expand(3, *p.shape) for n, p in problem.init().items()}
    assert torch.equal(model(x[1]), problem.network(stacked, x)[1])
