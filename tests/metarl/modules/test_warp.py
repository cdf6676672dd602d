"""`Warp`: the gradients are those of the batched learner, whatever the objectives."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import metarl
from metarl.core import adam
from metarl.core import sgd as sgd_rule
from metarl.meta import (
    SIMPLIFIED,
    LeapObjective,
    MAMLObjective,
    OfflineWarpGrad,
    ReptileObjective,
    TrajectoryObjective,
)
from tests.metarl.meta.problems import Problem, each_task, relative_error
from tests.metarl.meta.warp_problems import warped_classification, warped_regression
from tests.metarl.modules.warp_loop import (
    LR,
    FixedTask,
    adapt,
    collect,
    gradients_due,
    sgd,
    warp_of,
)
from tests.metarl.modules.wrapped import mlp, some_data

PROBLEMS = [warped_regression, warped_classification]


def batched(problem: Problem, **options: Any) -> list[dict[str, Tensor]]:
    """What `OfflineWarpGrad` gives, by the names of a `Warp`."""
    options = {"rule": sgd_rule(LR), "num_steps": 3, "iterates_per_step": None, **options}
    learner = OfflineWarpGrad(problem.init(), slow=("warp.*",), **options)
    found = []
    for _ in learner.meta_gradients(problem):
        found.append(
            {
                "model.tree." + n.split(".", 1)[1]: p.grad.clone()
                for n, p in learner.params.items()
                if p.grad is not None and not n.startswith("rule.")
            }
        )
        for p in learner.params.values():
            p.grad = None
    return found


@pytest.mark.parametrize("make", PROBLEMS)
@pytest.mark.parametrize("objective", ["exact", "first_order", "replay"])
def test_the_warp_gradient_is_that_of_the_batched_learner(
    make: Callable[[], Problem], objective: Any
) -> None:
    problem = make()
    warp = warp_of(problem, warp_objective=objective, init_objective="none", batch_size=None)
    collect(warp, problem)
    (found,) = gradients_due(warp)
    (expected,) = batched(problem, objective=objective)
    assert relative_error(found, expected) < 1e-9


OBJECTIVES: dict[str, TrajectoryObjective] = {
    "leap": LeapObjective(),
    "leap_simplified": LeapObjective(SIMPLIFIED),
    "reptile": ReptileObjective(),
    "maml": MAMLObjective(),
}


@pytest.mark.parametrize("make", PROBLEMS)
@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_start_gradient_is_that_of_the_batched_learner(
    make: Callable[[], Problem], name: Any
) -> None:
    problem = make()
    warp = warp_of(problem, init_objective=name, batch_size=None)
    collect(warp, problem)
    steps = gradients_due(warp)
    expected = batched(problem, initialisation=OBJECTIVES[name])
    assert len(steps) == len(expected) == 2
    for mine, theirs in zip(steps, expected, strict=True):
        assert relative_error(mine, theirs) < 1e-9


@pytest.mark.parametrize("include_final", [False, True])
def test_energy_without_the_loss_is_reptile(include_final: bool) -> None:
    """Twice theta_0 - theta_K, or theta_{K-1} as the published code leaves out the last point."""
    problem = warped_regression()
    options = {"warp_objective": "none", "distance": "energy", "include_final": include_final}
    warp = warp_of(problem, init_objective="leap_simplified", **options)
    reptile = warp_of(problem, warp_objective="none", init_objective="reptile")
    collect(warp, problem, 4)
    collect(reptile, problem, 4 if include_final else 3)
    (found,), (half,) = gradients_due(warp), gradients_due(reptile)
    assert relative_error(found, {n: 2 * g for n, g in half.items()}) < 1e-12


@pytest.mark.parametrize("size", [1, 2, 4, None])
def test_every_step_is_the_mean_of_its_own_points(size: int | None) -> None:
    """9 points: the last step has fewer, and is divided by their number."""
    problem = warped_regression()
    warp = warp_of(problem, init_objective="none", batch_size=size)
    collect(warp, problem)
    steps = gradients_due(warp)
    counts = [min(size or 9, 9 - first) for first in range(0, 9, size or 9)]
    assert len(steps) == len(counts)
    mean = {n: sum(g[n] * c for g, c in zip(steps, counts, strict=True)) / 9 for n in steps[0]}
    (expected,) = batched(problem)
    assert relative_error(mean, expected) < 1e-9


@pytest.mark.parametrize("name", ["adam", "nesterov"])
def test_replayed_steps_are_those_of_the_optimiser_with_its_state(name: str) -> None:
    """Momentum and second moments are recorded with every point."""
    problem = warped_regression()
    rule, make = {
        "adam": (adam(0.01), lambda p: torch.optim.Adam(p, 0.01)),
        "nesterov": (
            sgd_rule(LR, 0.9, nesterov=True),
            lambda p: torch.optim.SGD(p, LR, 0.9, nesterov=True),
        ),
    }[name]
    warp = warp_of(problem, rule=None, init_objective="maml", batch_size=None)
    collect(warp, problem, make=make, register=True)
    expected = batched(problem, rule=rule, initialisation=MAMLObjective())
    for mine, theirs in zip(gradients_due(warp), expected, strict=True):
        assert relative_error(mine, theirs) < 1e-8


def test_steps_that_are_not_known_are_refused() -> None:
    """By hand: without a rule, or with one that carries a state."""
    problem = warped_regression()
    for rule, message in (
        (None, "moved by no optimiser.*DualUpdater"),
        (sgd_rule(LR, 0.9), "Momentum carries a state.*register_optimizer"),
    ):
        warp = warp_of(problem, rule=rule)
        warp.register_task(FixedTask(*next(iter(each_task(problem)))))
        warp.init_adaptation()
        x = next(iter(each_task(problem)))[0][0]
        with pytest.raises(ValueError, match=message):
            for _ in range(2):
                warp(x).sum().backward()
                with torch.no_grad():
                    for p in warp.adapt_parameters():
                        p.sub_(0.1)


def test_adaptation_changes_nothing_that_is_meta_learned() -> None:
    problem = warped_regression()
    warp = warp_of(problem)
    before = copy.deepcopy(warp.state_dict())
    collect(warp, problem)
    assert all(torch.equal(t, before[n]) for n, t in warp.state_dict().items())
    assert all(p.grad is None for p in warp.parameters())
    moved = dict(warp.named_adapt_parameters())
    assert all(not torch.equal(p, before[f"model.{n}"]) for n, p in moved.items())
    warp.init_adaptation()
    assert all(torch.equal(p, before[f"model.{n}"]) for n, p in moved.items())


def test_the_adapted_path_is_that_of_the_plain_model() -> None:
    """BatchNorm statistics too; the warp layer stands still."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1)
    ).double()
    reference, (x, y) = copy.deepcopy(model), some_data()
    updater = metarl.DualUpdater(nn.MSELoss(), metarl.sgd(LR))
    warp = metarl.Warp(model, ["0", "1", "4"], "2", updater)
    adapted = [p for n, p in reference.named_parameters() if not n.startswith("2.")]
    for f, optimiser in (
        (warp, torch.optim.SGD(warp.adapt_parameters(), LR)),
        (reference, torch.optim.SGD(adapted, LR)),
    ):
        for _ in range(3):
            optimiser.zero_grad()
            F.mse_loss(f(x), y).backward()
            optimiser.step()
    state = warp.adapt_state()
    for name, expected in reference.state_dict().items():
        if not name.startswith("2."):
            assert torch.allclose(state[name], expected, rtol=0, atol=1e-12), name
    warp.eval()
    reference.eval()
    assert torch.allclose(warp(x), reference(x), rtol=0, atol=1e-12)
    warp.init_adaptation()
    assert warp.training
    assert int(warp.adapt_state()["1.num_batches_tracked"]) == 0


def test_names_follow_the_model_whatever_the_order_of_the_list() -> None:
    """Layers of one shape listed backwards: nothing may be confused."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 1)).double()
    updater = metarl.DualUpdater(nn.MSELoss(), metarl.sgd(LR), init_objective="reptile")
    data = some_data()
    gradients = []
    for order in (["0", "1"], ["1", "0"], [model[1], model[0]]):
        warp = metarl.Warp(model, order, ["2"], updater)
        assert [n for n, _ in warp.named_adapt_parameters()] == [
            "0.weight",
            "0.bias",
            "1.weight",
            "1.bias",
        ]
        warp.register_task([data])
        warp.init_adaptation()
        optimiser = sgd(warp.adapt_parameters())
        F.mse_loss(warp(data[0]), data[1]).backward()
        optimiser.step()
        gradients.append(gradients_due(warp)[-1])
    assert relative_error(gradients[1], gradients[0]) == 0
    assert relative_error(gradients[2], gradients[0]) == 0


def test_a_meta_step_moves_only_what_is_due() -> None:
    """Adam with momentum would drift by zero gradients; None it skips."""
    problem = warped_regression()
    warp = warp_of(problem, init_objective="leap", batch_size=4)
    optimiser = torch.optim.Adam(warp.meta_parameters(), 0.01)
    collect(warp, problem)
    moves: list[set[str]] = []

    def meta_step() -> None:
        before = copy.deepcopy(dict(warp.named_parameters()))
        optimiser.step()  # and zero_grad() is forgotten
        moves.append(
            {n.split(".")[2] for n, p in warp.named_parameters() if not torch.equal(p, before[n])}
        )

    losses = warp.backward(meta_step)
    assert moves == [{"warp"}, {"warp"}, {"warp"}, {"layers"}]
    assert set(losses) == {"support_loss", "query_loss"}
    assert all(p.grad is None for p in warp.parameters())


def test_meta_training_lowers_the_loss_after_adaptation() -> None:
    problem = warped_regression()

    def loss_after_adaptation(warp: metarl.Warp) -> float:
        total = 0.0
        for support, query in each_task(problem):
            warp.init_adaptation()
            adapt(warp, problem, support, 3)
            with torch.no_grad():
                total += float(F.mse_loss(warp(query[0]), query[1]))
        return total

    ratios = []
    for uphill in (False, True):
        warp = warp_of(problem, init_objective="none", batch_size=3)
        optimiser = torch.optim.Adam(warp.warp_parameters(), 0.01, maximize=uphill)
        before = loss_after_adaptation(warp)
        for _ in range(8):
            collect(warp, problem)
            warp.backward(optimiser.step)
        assert int(warp.turn) == 8
        ratios.append(loss_after_adaptation(warp) / before)
    assert ratios[0] < 0.95 < 1.05 < ratios[1]


def test_the_warp_may_be_absent() -> None:
    """Leap alone: one meta-step a meta-batch."""
    model, data = mlp(), some_data()
    warp = metarl.Warp(model, model, (), metarl.DualUpdater(nn.MSELoss(), init_objective="leap"))
    warp.register_task([data])
    warp.init_adaptation()
    optimiser = sgd(warp.adapt_parameters())
    for _ in range(2):
        optimiser.zero_grad()
        F.mse_loss(warp(data[0]), data[1]).backward()
        optimiser.step()
    (found,) = gradients_due(warp)
    assert found.keys() == {f"model.{n}" for n, _ in model.named_parameters()}


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda w: pickle.loads(pickle.dumps(w))])
def test_copies_and_state_dicts_go_on_alike(
    copier: Callable[[metarl.Warp], metarl.Warp],
) -> None:
    model, data = mlp(), some_data()
    updater = metarl.DualUpdater(nn.MSELoss(), metarl.sgd(LR), batch_size=2)
    warp = metarl.Warp(model, ["0"], ["2"], updater)

    def turn(warp: metarl.Warp) -> list[dict[str, Tensor]]:
        warp.register_task([data, some_data(1)])
        warp.init_adaptation()
        optimiser = sgd(warp.adapt_parameters())
        for _ in range(5):
            optimiser.zero_grad()
            F.mse_loss(warp(data[0]), data[1]).backward()
            optimiser.step()
        return gradients_due(warp)

    turn(warp)
    twin = copier(warp)
    third = metarl.Warp(mlp(1), ["0"], ["2"], updater)
    third.load_state_dict(warp.state_dict())
    first, second, loaded = turn(warp), turn(twin), turn(third)
    assert len(first) == 4
    for a, b, c in zip(first, second, loaded, strict=True):
        assert relative_error(a, b) == 0
        assert relative_error(a, c) == 0


@pytest.mark.parametrize("objective", ["leap", "leap_simplified"])
@pytest.mark.parametrize("scale", [1.0, 1e-9, 1e-100, 1e-200])
def test_near_convergence_leap_pulls_with_force_one_per_step(objective: Any, scale: float) -> None:
    """On ``(w / 2)^2`` from w > 0 every step leads straight down; the loss hardly counts."""
    model = torch.nn.Linear(1, 1, bias=False).double()
    torch.nn.init.constant_(model.weight, scale)
    rule = metarl.sgd(0.1)
    updater = metarl.DualUpdater(torch.nn.MSELoss(), rule=rule, init_objective=objective)
    warp = metarl.Warp(model, "", [], updater)
    x, y = (torch.full((1, 1), value, dtype=torch.float64) for value in (0.5, 0.0))
    warp.register_task([(x, y)])
    warp.init_adaptation()
    optimiser = torch.optim.SGD(warp.adapt_parameters(), 0.1)
    for _ in range(5):
        optimiser.zero_grad()
        torch.nn.functional.mse_loss(warp(x), y).backward()
        optimiser.step()
    found: list[float] = []
    warp.backward(lambda: found.append(model.weight.grad.item()))  # type: ignore[union-attr]
    if objective == "leap_simplified" or scale < 1:
        assert found == [pytest.approx(5.0, rel=1e-12)]
    else:
        assert found[0] != pytest.approx(5.0, rel=1e-3)


def test_a_copy_has_a_buffer_of_its_own(tmp_path: Path) -> None:
    buffer = metarl.ReplayBuffer(folder=tmp_path, stride=2)
    data = some_data()
    warp = metarl.Warp(mlp(), ["0"], ["2"], metarl.DualUpdater(nn.MSELoss()), buffer)
    warp.register_task([data])
    warp.init_adaptation()
    warp(data[0]).sum().backward()
    torch.optim.SGD(warp.adapt_parameters(), 0.1).step()
    twin = copy.deepcopy(warp)
    assert (len(twin.buffer), twin.buffer.stride) == (0, 2)
    assert twin.buffer.folder != buffer.folder
    assert not twin.collecting
    twin.clear()
    assert warp.buffer[0, 0].fast.keys() == {"0.weight", "0.bias"}


def test_moving_moves_the_copies() -> None:
    warp = metarl.Warp(mlp(), ["0"], ["2"], metarl.DualUpdater(nn.MSELoss())).float()
    assert all(p.dtype == torch.float32 for p in warp.adapt_parameters())
    assert warp(some_data()[0].float()).dtype == torch.float32


def test_every_parameter_is_on_one_side() -> None:
    updater = metarl.DualUpdater(nn.MSELoss())
    with pytest.raises(ValueError, match=r"on neither: 2\.bias, 2\.weight"):
        metarl.Warp(mlp(), "0", (), updater)
    with pytest.raises(ValueError, match=r"on both sides: 2\.bias, 2\.weight"):
        metarl.Warp(mlp(), "*", "2", updater)
    model = mlp()
    model[2].requires_grad_(False)
    assert len(list(metarl.Warp(model, "0", (), updater).meta_parameters())) == 2
    with pytest.raises(ValueError, match="nothing adapts"):
        metarl.Warp(model, "2", "0", updater)


@pytest.mark.parametrize("on_disk", [False, True])
def test_the_buffer_may_be_on_disk(on_disk: bool, tmp_path: Path) -> None:
    problem = warped_regression()
    buffer = metarl.ReplayBuffer(folder=tmp_path if on_disk else None)
    warp = warp_of(problem, buffer=buffer, batch_size=None, init_objective="leap")
    collect(warp, problem, 12)
    assert len(buffer) == 36
    assert len(list(tmp_path.rglob("*.pt"))) == 36 * on_disk
    found = gradients_due(warp)
    expected = batched(problem, num_steps=12, initialisation=LeapObjective())
    for mine, theirs in zip(found, expected, strict=True):
        assert relative_error(mine, theirs) < 1e-9
    assert not list(tmp_path.rglob("*.pt"))
    assert len(buffer) == 0
