"""The optimiser that adapts is seen when it steps: no rule has to be given, nothing registered."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import CrossEntropyLoss, Linear, Sequential
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop
from torch.optim.lr_scheduler import LambdaLR

import metarl
from metarl.core.optimiser_rules import Momentum
from metarl.core.update_rules import UpdateRule
from tests.metarl.modules.wrapped import mlp, some_data

Make = Callable[[Iterable[Tensor]], Optimizer]


def published_loop(updater: metarl.DualUpdater, meta_steps: int) -> tuple[metarl.Warp, list[float]]:
    """The loop of the published code's README, as it stands there."""
    torch.manual_seed(0)
    num_layers, hidden_size = 4, 3
    warp_layer_idx = range(0, num_layers, 2)
    adapt_layer_idx = range(1, num_layers + 1, 2)
    layers = [Linear(hidden_size, hidden_size, dtype=torch.float64) for _ in range(num_layers)]
    model: Any = Sequential(*layers)
    warp_layers = [layers[i] for i in warp_layer_idx]
    adapt_layers = [layers[i] for i in adapt_layer_idx]
    replay_buffer = metarl.ReplayBuffer()
    model = metarl.Warp(model, adapt_layers, warp_layers, updater, replay_buffer)
    meta_opt = SGD(model.warp_parameters(), lr=0.5)
    criterion = CrossEntropyLoss()

    def meta_step_fn() -> None:
        meta_opt.step()
        meta_opt.zero_grad()

    def tasks() -> list[list[tuple[Tensor, Tensor]]]:
        generator = torch.Generator().manual_seed(1)
        x = torch.randn(2, 12, 3, generator=generator, dtype=torch.float64)
        return [[(x[i], (x[i] @ torch.eye(3).double().roll(i, 0)).argmax(1))] * 4 for i in (0, 1)]

    losses = []
    for _ in range(meta_steps):
        for task in tasks():
            model.init_adaptation()
            model.register_task(task)
            model.collect()
            opt = SGD(model.adapt_parameters(), lr=0.3, momentum=0.5)
            for x, y in task:
                loss = criterion(model(x), y)
                loss.backward()
                opt.step()
                opt.zero_grad()
            model.eval()
            model.no_collect()
            losses.append(criterion(model(task[0][0]), task[0][1]).item())
        model.backward(meta_step_fn)
    return model, losses


def test_the_published_loop_runs_as_printed_and_learns() -> None:
    _, losses = published_loop(metarl.DualUpdater(criterion=CrossEntropyLoss), 6)  # type: ignore[arg-type]
    assert sum(losses[-2:]) < 0.9 * sum(losses[:2])


def test_it_is_the_loop_with_the_rule_given() -> None:
    rule = metarl.sgd(0.3, 0.5)
    found = [
        published_loop(metarl.DualUpdater(CrossEntropyLoss(), given), 2)[0]
        for given in (None, rule)
    ]
    for seen, given in zip(*(w.warp_parameters() for w in found), strict=True):
        assert torch.equal(seen, given)


def warp_of(rule: UpdateRule | None, **options: Any) -> metarl.Warp:
    model = nn.Sequential(*mlp(), nn.Tanh(), nn.Linear(1, 1)).double()
    with torch.no_grad():
        model[4].weight.fill_(0.7)
    return metarl.Warp(model, ["0", "4"], "2", metarl.DualUpdater(nn.MSELoss(), rule, **options))


def play(warp: metarl.Warp, make: Make, *, register: bool = False, tasks: int = 2) -> None:
    """Three steps on each task, by an optimiser of its own."""
    for i in range(tasks):
        x, y = some_data(i)
        warp.register_task([(x, y)])
        warp.init_adaptation()
        optimiser = make(warp.adapt_parameters())
        if register:
            warp.register_optimizer(optimiser)
        for _ in range(3):
            optimiser.zero_grad()
            F.mse_loss(warp(x), y).backward()
            optimiser.step()
        warp.no_collect()


def gradients(warp: metarl.Warp) -> list[Tensor]:
    found: list[Tensor] = []
    warp.backward(
        lambda: found.extend(p.grad.clone() for p in warp.parameters() if p.grad is not None)
    )
    return found


SEEN: dict[str, tuple[Make, UpdateRule]] = {
    "sgd": (lambda p: SGD(p, 0.1), metarl.sgd(0.1)),
    "momentum": (
        lambda p: SGD(p, 0.1, 0.9, weight_decay=0.01),
        metarl.sgd(0.1, 0.9, weight_decay=0.01),
    ),
    "nesterov": (lambda p: SGD(p, 0.1, 0.9, nesterov=True), metarl.sgd(0.1, 0.9, nesterov=True)),
    "adam": (lambda p: Adam(p, 0.02), metarl.adam(0.02)),
    "adamw": (lambda p: AdamW(p, 0.02, weight_decay=0.1), metarl.adamw(0.02, weight_decay=0.1)),
    "rmsprop": (lambda p: RMSprop(p, 0.01), metarl.rmsprop(0.01)),
    "groups": (
        lambda p: SGD([{"params": [q], "lr": 0.1 / (1 + i // 2)} for i, q in enumerate(p)]),
        metarl.sgd({"0.*": 0.1, "4.*": 0.05}),
    ),
}


@pytest.mark.parametrize("name", SEEN)
@pytest.mark.parametrize("objective", ["exact", "first_order"])
@pytest.mark.parametrize("init", ["leap", "maml"])
def test_the_gradient_is_that_of_the_rule_given(name: str, objective: Any, init: Any) -> None:
    make, rule = SEEN[name]
    options = {"warp_objective": objective, "init_objective": init}
    given, seen, named = (
        warp_of(rule, **options),
        warp_of(None, **options),
        warp_of(None, **options),
    )
    play(given, make)
    play(seen, make)
    play(named, make, register=True)
    expected = gradients(given)
    for found in (gradients(seen), gradients(named)):
        assert len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            assert torch.allclose(a, b, rtol=1e-9, atol=1e-12)


def rules_seen(warp: metarl.Warp) -> list[list[UpdateRule | None]]:
    return [path.rules for path in warp._recorder.paths]


def test_schedules_and_tasks_with_step_sizes_of_their_own() -> None:
    warp = warp_of(None)
    for i, lr in enumerate((0.1, 0.3)):
        x, y = some_data(i)
        warp.register_task([(x, y)])
        warp.init_adaptation()
        optimiser = SGD(warp.adapt_parameters(), lr)
        schedule = LambdaLR(optimiser, lambda k: 0.5**k)
        for _ in range(3):
            optimiser.zero_grad()
            F.mse_loss(warp(x), y).backward()
            optimiser.step()
            schedule.step()
        warp.no_collect()
    expected = [[metarl.sgd(lr * 0.5**k) for k in range(3)] for lr in (0.1, 0.3)]
    assert rules_seen(warp) == expected
    assert len(gradients(warp)) > 0


def test_a_closure_a_second_pass_and_an_optimiser_for_all_tasks() -> None:
    warp = warp_of(None)
    x, y = some_data()
    optimiser = SGD(warp.adapt_parameters(), 0.1, 0.9)
    for _ in range(2):
        warp.init_adaptation()
        warp.register_task([(x, y)])

        def closure() -> Tensor:
            optimiser.zero_grad()
            loss = F.mse_loss(warp(x), y)
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        for _ in range(2):
            optimiser.step(closure)  # type: ignore[arg-type]
        warp(x)
        closure()
        optimiser.step()
        warp(x)
    warp.no_collect()
    assert rules_seen(warp) == [[metarl.sgd(0.1, 0.9)] * 3] * 2
    assert warp.buffer.keys() == [(i, k) for i in range(2) for k in range(3)]
    first, last = (warp.buffer[key].state["0.0.weight"] for key in ((0, 0), (1, 0)))
    assert not first.any()
    assert last.any()  # momentum that the optimiser brought along


def test_dampening_is_seen_step_by_step() -> None:
    """From the second step on, lr (1 - d) with momentum m / (1 - d)."""
    warp = warp_of(None)
    play(warp, lambda p: SGD(p, 0.1, 0.9, dampening=0.5), tasks=1)
    assert rules_seen(warp) == [[metarl.sgd(0.1, 0.9), *[metarl.sgd(0.05, 0.9)] * 2]]
    path, (x, y) = warp._recorder.paths[0], some_data()
    for k in range(2):
        here, after = warp.buffer[0, k], (warp.buffer[0, 1] if k == 0 else warp.buffer[0, 2])
        fast = {n: p[None].requires_grad_() for n, p in here.fast.items()}
        task = warp_task(warp, x, y)
        loss = task(fast)
        grads = dict(zip(fast, torch.autograd.grad(loss, list(fast.values())), strict=True))
        rule = path.rules[k]
        assert rule is not None
        state = {n: s[None] for n, s in here.state.items()}
        found, _ = rule.step(fast, grads, state)
        assert all(
            torch.allclose(found[n][0], p, rtol=0, atol=1e-12) for n, p in after.fast.items()
        )


def warp_task(warp: metarl.Warp, x: Tensor, y: Tensor) -> Callable[[dict[str, Tensor]], Tensor]:
    def loss(fast: dict[str, Tensor]) -> Tensor:
        params = {n: p.squeeze(0) for n, p in fast.items()}
        return F.mse_loss(torch.func.functional_call(warp.model, params, (x,)), y)

    return loss


def test_what_has_no_rule_is_named_at_its_first_step() -> None:
    warp = warp_of(None)
    with pytest.raises(ValueError, match=r"Adagrad.*AdamW and RMSprop.*replay"):
        play(warp, lambda p: torch.optim.Adagrad(p, 0.1))
    warp = warp_of(None, warp_objective="replay")
    play(warp, lambda p: torch.optim.Adagrad(p, 0.1))
    gradients(warp)
    warp = warp_of(None)
    with pytest.raises(ValueError, match=r"does not step on 4.weight, 4.bias"):
        play(warp, lambda p: SGD(list(p)[:2], 0.1))
    warp = warp_of(None)
    with pytest.raises(ValueError, match=r"differ in momentum.*lr"):
        play(warp, lambda p: SGD([{"params": [q], "momentum": 0.1 * i} for i, q in enumerate(p)]))


def test_learned_momenta_need_no_registration() -> None:
    parameters = metarl.OptimizerParameters(0.1, 0.5)
    found = []
    for register in (False, True):
        updater = metarl.DualUpdater(nn.MSELoss())
        warp = metarl.Warp(mlp(), "0", "2", updater, optimizer_parameters=parameters)
        groups = lambda _, warp=warp: SGD(warp.optimizer_parameter_groups())  # noqa: E731
        play(warp, groups, register=register)
        found.append(gradients(warp))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_a_pause_leaves_out_what_happens_in_it() -> None:
    warp = warp_of(None, init_objective="none")
    x, y = some_data()
    warp.register_task([(x, y)])
    warp.init_adaptation()
    optimiser = Adam(warp.adapt_parameters(), 0.02)

    def step() -> None:
        optimiser.zero_grad()
        F.mse_loss(warp(x), y).backward()
        optimiser.step()

    step()
    warp(x)
    warp.no_collect()
    step()
    warp.collect()
    step()
    warp(x)
    warp.no_collect()
    assert warp.buffer.keys() == [(0, 0), (0, 1)]
    assert float(warp.buffer[0, 1].state["0.t"]) == 2
    assert len(gradients(warp)) > 0


def test_momentum_of_a_rule_given_is_read_from_the_optimiser() -> None:
    assert isinstance(metarl.sgd(0.1, 0.9).links[0], Momentum)
    warp = warp_of(metarl.sgd(0.1, 0.9))
    play(warp, lambda p: SGD(p, 0.1, 0.9), tasks=1)
    assert warp.buffer[0, 2].state["0.0.weight"].any()


def test_published_keywords_are_refused_by_their_names_here() -> None:
    updater: Any = metarl.DualUpdater
    for options, message in (
        ({"bsz": 1}, "DualUpdater has no bsz=1: use batch_size"),
        ({"norm": False}, "distance"),
        ({"approx": True}, "replay"),
        ({"rule": 1}, r"rule must be .* metarl\.sgd\(0\.1\), got 1"),
    ):
        with pytest.raises(TypeError, match=message):
            updater(nn.MSELoss(), **options)
    with pytest.raises(ValueError, match=r"warp_objective must be .*exact.*got 1"):
        updater(nn.MSELoss(), warp_objective=1)
    buffer: Any = metarl.ReplayBuffer
    with pytest.raises(TypeError, match="ReplayBuffer has no tmpdir='x': use folder"):
        buffer(tmpdir="x")
    warp: Any = warp_of(None)
    with pytest.raises(TypeError, match="init_adaptation has no reset_adapt_parameters"):
        warp.init_adaptation(reset_adapt_parameters=True)
    with pytest.raises(TypeError, match=r"backward has no momentum.*optimiser"):
        warp.backward(lambda: None, momentum=0.9)
