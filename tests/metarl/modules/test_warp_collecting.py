"""What is recorded, when batches are drawn, and what is refused."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import metarl
from tests.metarl.meta.problems import Data, each_task
from tests.metarl.meta.warp_problems import warped_regression
from tests.metarl.modules.warp_loop import FixedTask, adapt, collect, gradients_due, sgd, warp_of
from tests.metarl.modules.wrapped import mlp, some_data


def small(**options: Any) -> metarl.Warp:
    buffer = options.pop("buffer", None)
    options = {"rule": metarl.sgd(0.1), **options}
    return metarl.Warp(mlp(), ["0"], ["2"], metarl.DualUpdater(nn.MSELoss(), **options), buffer)


def step(warp: metarl.Warp, optimiser: torch.optim.Optimizer, data: Data) -> None:
    optimiser.zero_grad()
    F.mse_loss(warp(data[0]), data[1]).backward()
    optimiser.step()


def test_only_points_of_adaptation_are_recorded() -> None:
    """Not evaluation, nor a second pass at the same point, nor anything after no_collect."""
    warp, data = small(), some_data()
    warp.init_adaptation()
    warp(data[0])
    assert not warp.collecting
    warp.register_task([data])
    assert warp.collecting
    optimiser = sgd(warp.adapt_parameters())
    step(warp, optimiser, data)
    step(warp, optimiser, data)
    assert warp.buffer.keys() == [(0, 0), (0, 1)]
    with torch.no_grad():
        warp(data[0])
    warp.eval()
    warp(data[0])
    warp.train()
    assert len(warp.buffer) == 2
    F.mse_loss(warp(data[0]), data[1]).backward()  # gradients of two batches are added up
    F.mse_loss(warp(data[0]), data[1]).backward()
    optimiser.step()
    assert warp.buffer.keys() == [(0, 0), (0, 1), (0, 2)]
    warp.no_collect()
    assert not warp.collecting
    step(warp, optimiser, data)
    step(warp, optimiser, data)
    assert len(warp.buffer) == 3
    warp.register_task([data])
    assert warp.collecting


def test_the_points_are_those_before_the_steps_and_the_end_is_kept() -> None:
    warp, data = small(buffer=metarl.ReplayBuffer(include_final=True)), some_data()
    warp.register_task([data])
    warp.init_adaptation()
    optimiser = sgd(warp.adapt_parameters())
    points = []
    for _ in range(3):
        points.append({n: p.detach().clone() for n, p in warp.named_adapt_parameters()})
        step(warp, optimiser, data)
    points.append({n: p.detach().clone() for n, p in warp.named_adapt_parameters()})
    warp.no_collect()
    step(warp, optimiser, data)
    warp.init_adaptation()
    assert warp.buffer.keys() == [(0, k) for k in range(4)]
    for k, point in enumerate(points):
        fast = warp.buffer[0, k].fast
        assert all(torch.equal(fast[n], p) for n, p in point.items())


def test_a_pass_at_the_end_is_no_step() -> None:
    """A training-mode pass after the last step must not become a step of the path."""
    problem = warped_regression()
    found = []
    for look_again in (False, True):
        warp = warp_of(problem, warp_objective="none", init_objective="maml")
        for support, query in each_task(problem):
            warp.register_task(FixedTask(support, query))
            warp.init_adaptation()
            adapt(warp, problem, support, 2)
            if look_again:
                warp(support[0])
        found.append(gradients_due(warp)[0])
    assert all(torch.equal(found[0][n], g) for n, g in found[1].items())


@pytest.mark.parametrize("init_first", [False, True])
def test_registering_and_beginning_commute(init_first: bool) -> None:
    warp, data = small(), some_data()
    for _ in range(2):
        if init_first:
            warp.init_adaptation()
        warp.register_task([data])
        if not init_first:
            warp.init_adaptation()
        optimiser = sgd(warp.adapt_parameters())
        step(warp, optimiser, data)
        step(warp, optimiser, data)
    assert warp.buffer.keys() == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_adaptation_without_a_task_is_not_recorded() -> None:
    """Held-out tasks between two meta-batches; a begun task ends where another begins."""
    warp, data = small(), some_data()
    for _ in range(2):
        warp.register_task([data])
        warp.init_adaptation()
        step(warp, sgd(warp.adapt_parameters()), data)
        warp.init_adaptation()
        step(warp, sgd(warp.adapt_parameters()), data)
        assert not warp.collecting
        assert len(warp.buffer) == 1
        warp.backward(lambda: None)


def test_without_a_reset_adaptation_goes_on() -> None:
    warp, data = small(init_objective="none"), some_data()
    warp.init_adaptation()
    step(warp, sgd(warp.adapt_parameters()), data)
    here = warp.adapt_state()
    warp.init_adaptation(reset=False)
    assert all(torch.equal(p, here[n]) for n, p in warp.adapt_state().items())
    warp.init_adaptation()  # an initialisation that is not learned is gone back to all the same
    assert any(not torch.equal(p, here[n]) for n, p in warp.adapt_state().items())


def test_batches_are_drawn_when_they_are_due() -> None:
    """Two a point, while the points are worked on, and none before."""
    problem = warped_regression()
    warp = warp_of(problem, init_objective="none")
    tasks = collect(warp, problem)
    drawn: list[int] = []
    warp.backward(lambda: drawn.append(sum(t.num_draws for t in tasks)))
    assert drawn == list(range(2, 20, 2))


def test_a_loader_is_gone_through_without_starting_over() -> None:
    starts = []

    class Counted(TensorDataset):
        def __getitem__(self, index: int) -> tuple[Tensor, ...]:
            starts.append(index)
            return super().__getitem__(index)

    x, y = some_data(num=8)
    warp = small(init_objective="none")
    loader = DataLoader(Counted(x, y), batch_size=2)
    warp.register_task(loader)
    warp.init_adaptation()
    optimiser = sgd(warp.adapt_parameters())
    for _ in range(3):
        step(warp, optimiser, (x, y))
    warp.backward(lambda: None)
    assert starts == [*range(8), 0, 1, 2, 3]


def test_inputs_may_be_several_arguments() -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(2, 1), nn.Linear(1, 1)

        def forward(self, x: Tensor, z: Tensor) -> Tensor:
            return self.b(self.a(x) + z)

    x, y = some_data()
    warps = []
    for inputs in ((x, x[:, :1]), {"z": x[:, :1], "x": x}):
        torch.manual_seed(0)
        updater = metarl.DualUpdater(nn.MSELoss(), metarl.sgd(0.1))
        warp = metarl.Warp(Sum().double(), "a", "b", updater)
        warp.register_task([(inputs, y)])
        warp.init_adaptation()
        optimiser = sgd(warp.adapt_parameters())
        F.mse_loss(warp(x, z=x[:, :1]), y).backward()
        optimiser.step()
        warps.append(gradients_due(warp))
    for a, b in zip(*warps, strict=True):
        assert all(torch.equal(b[n], g) for n, g in a.items())


def one_shot() -> Iterator[Data]:
    yield some_data()


class PairOfThree:
    def sample(self, split: str) -> Any:
        return some_data()[0]


@pytest.mark.parametrize(
    ("task", "error", "message"),
    [
        (one_shot(), ValueError, "used up"),
        ([], ValueError, "empty"),
        (PairOfThree(), TypeError, "got Tensor"),
    ],
)
def test_tasks_without_batches_are_refused(task: Any, error: Any, message: str) -> None:
    warp, data = small(), some_data()
    warp.register_task(task)
    warp.init_adaptation()
    step(warp, sgd(warp.adapt_parameters()), data)
    with pytest.raises(error, match=message):
        warp.backward(lambda: None)


def test_what_is_no_task_is_refused() -> None:
    with pytest.raises(TypeError, match="a task is an iterable"):
        small().register_task(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a task is an iterable"):
        small().register_task(torch.ones(2, 2))  # type: ignore[arg-type]


def test_a_meta_batch_without_tasks_or_steps_is_refused() -> None:
    warp, data = small(), some_data()
    with pytest.raises(ValueError, match="register_task"):
        warp.backward(lambda: None)
    warp.register_task([data])
    warp.init_adaptation()
    warp.eval()
    warp(data[0])
    with pytest.raises(ValueError, match="took no step"):
        warp.backward(lambda: None)


def test_settings_that_mean_nothing_are_refused() -> None:
    with pytest.raises(TypeError, match="mse"):
        metarl.DualUpdater("mse")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="-1"):
        metarl.DualUpdater(nn.MSELoss(), seed=-1)
    with pytest.raises(ValueError, match=r"warp_objective must be .*'1'"):
        metarl.DualUpdater(nn.MSELoss(), warp_objective="1")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"init_objective must be .*'Leap'"):
        metarl.DualUpdater(nn.MSELoss(), init_objective="Leap")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 1"):
        metarl.DualUpdater(nn.MSELoss(), batch_size=0)
    warp = small()
    with pytest.raises(ValueError, match="no optimizer_parameters"):
        warp.optimizer_parameter_groups()


def test_a_criterion_must_give_one_number() -> None:
    warp, data = (
        metarl.Warp(
            mlp(), "0", "2", metarl.DualUpdater(nn.MSELoss(reduction="none"), metarl.sgd(0.1))
        ),
        some_data(),
    )
    warp.register_task([data])
    warp.init_adaptation()
    step(warp, sgd(warp.adapt_parameters()), data)
    with pytest.raises(ValueError, match="one number"):
        warp.backward(lambda: None)


def test_paths_with_gaps_say_nothing_about_the_start() -> None:
    warp, data = small(buffer=metarl.ReplayBuffer(capacity=2)), some_data()
    warp.register_task([data])
    warp.init_adaptation()
    optimiser = sgd(warp.adapt_parameters())
    for _ in range(4):
        step(warp, optimiser, data)
    with pytest.raises(ValueError, match="no capacity"):
        warp.backward(lambda: None)
    assert len(warp.buffer) == 2


def test_trajectories_may_be_kept() -> None:
    problem = warped_regression()
    warp = warp_of(problem, batch_size=None)
    collect(warp, problem)
    found: list[Tensor] = []

    def note() -> None:
        found.append(next(p.grad for p in warp.parameters() if p.grad is not None).clone())

    warp.backward(note, retain_trajectories=True)
    warp.backward(note)
    assert torch.allclose(found[0], found[2], rtol=1e-12)
    assert torch.equal(found[1], found[3])
    with pytest.raises(ValueError, match="nothing was collected"):
        warp.backward(note)


def test_the_mode_of_adaptation_is_that_of_replay() -> None:
    """Evaluation mode, left on before backward, must not reach the replayed batch norm."""
    torch.manual_seed(0)
    data = some_data()
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1)).double()
    updater = metarl.DualUpdater(nn.MSELoss(), metarl.sgd(0.1), batch_size=None)
    warp = metarl.Warp(model, ["0", "1"], "2", updater)
    found = []
    for leave_in_evaluation in (False, True):
        warp.register_task([data])
        warp.init_adaptation()
        step(warp, sgd(warp.adapt_parameters()), data)
        warp.train(not leave_in_evaluation)
        found.append(gradients_due(warp))
        assert warp.training != leave_in_evaluation
    for a, b in zip(*found, strict=True):
        assert all(torch.equal(b[n], g) for n, g in a.items())
    assert int(model[1].num_batches_tracked) == 0


def test_memory_is_free_after_every_meta_batch() -> None:
    warp, data = small(), some_data()
    optimiser = torch.optim.SGD(warp.meta_parameters(), 0.01)

    def meta_batch() -> None:
        warp.register_task([data])
        warp.init_adaptation()
        inner = sgd(warp.adapt_parameters())
        step(warp, inner, data)
        step(warp, inner, data)
        warp.backward(optimiser.step)

    def live() -> int:
        return sum(issubclass(type(o), Tensor) for o in gc.get_objects())

    meta_batch()
    gc.collect()
    gc.disable()
    try:
        meta_batch()
        before = live()
        for _ in range(30):
            meta_batch()
        assert live() == before
    finally:
        gc.enable()
