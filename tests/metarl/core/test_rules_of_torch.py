"""Every update rule beside `torch.optim`, in every precision, and its meta-gradient."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss

import metarl

OPTIM = torch.optim
RULES = {
    "sgd": (metarl.sgd(0.05), partial(OPTIM.SGD, lr=0.05)),
    "momentum": (metarl.sgd(0.05, momentum=0.9), partial(OPTIM.SGD, lr=0.05, momentum=0.9)),
    "nesterov": (
        metarl.sgd(0.05, momentum=0.9, nesterov=True),
        partial(OPTIM.SGD, lr=0.05, momentum=0.9, nesterov=True),
    ),
    "decay": (metarl.sgd(0.05, weight_decay=0.1), partial(OPTIM.SGD, lr=0.05, weight_decay=0.1)),
    "adam": (metarl.adam(0.01), partial(OPTIM.Adam, lr=0.01)),
    "adam-decay": (
        metarl.adam(0.01, weight_decay=0.1),
        partial(OPTIM.Adam, lr=0.01, weight_decay=0.1),
    ),
    "adamw": (
        metarl.adamw(0.01, weight_decay=0.1),
        partial(OPTIM.AdamW, lr=0.01, weight_decay=0.1),
    ),
    "rmsprop": (metarl.rmsprop(0.01), partial(OPTIM.RMSprop, lr=0.01)),
    "rmsprop-centered": (
        metarl.rmsprop(0.01, momentum=0.9, centered=True),
        partial(OPTIM.RMSprop, lr=0.01, momentum=0.9, centered=True),
    ),
}
PRECISIONS = {
    torch.float64: 1e-12,
    torch.float32: 1e-5,
    torch.float16: 0.02,
    torch.bfloat16: 0.1,  # torch's moments are in bfloat16 themselves, which is less exact
}


def problem(dtype):
    torch.manual_seed(0)
    net = nn.Linear(4, 1).to(dtype)
    return net, torch.randn(32, 4).to(dtype), torch.randn(32, 1).to(dtype)


def path(net, x, y, rule, num_steps):
    clone = metarl.MAML(net, rule=rule).clone()
    for _ in range(num_steps):
        clone.adapt(mse_loss(clone(x), y))
    return clone


def moved(start, end):
    pairs = zip(start.parameters(), end.parameters(), strict=True)
    return torch.cat([(q - p).detach().double().flatten() for p, q in pairs])


@pytest.mark.parametrize("num_steps", [1, 3, 10])
@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
@pytest.mark.parametrize("name", RULES)
def test_the_path_is_that_of_torch_optim(name, dtype, num_steps):
    rule, make = RULES[name]
    net, x, y = problem(dtype)
    clone = path(net, x, y, rule, num_steps)
    twin = problem(torch.float64 if dtype == torch.bfloat16 else dtype)[0]
    with torch.no_grad():
        for p, q in zip(twin.parameters(), net.parameters(), strict=True):
            p.copy_(q)
    optimiser = make(twin.parameters())
    start = {n: p.detach().clone() for n, p in twin.named_parameters()}
    own_x, own_y = x.to(twin.weight.dtype), y.to(twin.weight.dtype)
    for _ in range(num_steps):
        optimiser.zero_grad()
        mse_loss(twin(own_x), own_y).backward()
        optimiser.step()
    theirs = torch.cat(
        [(p.detach() - start[n]).double().flatten() for n, p in twin.named_parameters()]
    )
    error = (moved(net, clone) - theirs).norm() / theirs.norm()
    assert error < PRECISIONS[dtype]
    assert all(p.dtype == dtype for p in clone.parameters())
    mse_loss(clone(x), y).backward()
    assert all(p.grad.isfinite().all() for p in net.parameters())


CHAINS = {
    **{name: rule for name, (rule, _) in RULES.items()},
    "clipped": metarl.chain(metarl.clip_by_norm(0.5), metarl.sgd(0.1)),
    "by-name": metarl.sgd({"bias": 0.01, "*": 0.1}),
    "by-step": metarl.sgd([0.1, 0.05, 0.01]),
}


@pytest.mark.parametrize("name", CHAINS)
def test_the_meta_gradient_is_that_of_finite_differences(name):
    net, x, y = problem(torch.float64)
    mse_loss(path(net, x, y, CHAINS[name], 3)(x), y).backward()
    found = net.weight.grad.clone()
    step, expected = 1e-6, torch.zeros_like(found)
    for i in range(found.numel()):
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                net.weight.view(-1)[i] += sign * step
            ends.append(mse_loss(path(net, x, y, CHAINS[name], 3)(x), y).item())
            with torch.no_grad():
                net.weight.view(-1)[i] -= sign * step
        expected.view(-1)[i] = (ends[0] - ends[1]) / (2 * step)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-8)


def test_step_sizes_by_step_and_name_are_those_asked_for():
    net, x, y = problem(torch.float64)
    clone = metarl.MAML(net, rule=metarl.sgd({"bias": [0.1, 0.0001], "*": 0.2})).clone()
    for bias_lr in (0.1, 0.0001, 0.0001):
        before = dict(clone.named_parameters())
        loss = mse_loss(clone(x), y)
        grads = torch.autograd.grad(loss, list(before.values()), retain_graph=True)
        clone.adapt(loss)
        for (name, p), g in zip(before.items(), grads, strict=True):
            lr = bias_lr if name == "bias" else 0.2
            torch.testing.assert_close(dict(clone.named_parameters())[name], p - lr * g)


def test_clipping_is_that_of_torch():
    net, x, y = problem(torch.float64)
    rule = metarl.chain(metarl.clip_by_norm(0.1), metarl.sgd(1.0))
    clone = path(net, x, y, rule, 1)
    mse_loss(net(x), y).backward()
    nn.utils.clip_grad_norm_(net.parameters(), 0.1)
    theirs = torch.cat([-p.grad.flatten() for p in net.parameters()])
    torch.testing.assert_close(moved(net, clone), theirs)
