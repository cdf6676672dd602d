"""WarpGrad offline and on a stream: draws, chunks of draws, what is due when."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from metarl.core import Execution, ReplayBuffer, adam, sgd
from metarl.meta import (
    SIMPLIFIED,
    ContinualWarpGrad,
    LeapObjective,
    MetaLearner,
    OfflineWarpGrad,
    OnlineWarpGrad,
    ReptileObjective,
)
from metarl.meta.warpgrad.objectives import Objective
from tests.metarl.meta.problems import Data, Problem, each_task, relative_error
from tests.metarl.meta.warp_problems import (
    LR,
    all_points,
    plain_gradient,
    plain_loss,
    sides,
    warped_classification,
    warped_regression,
)

OBJECTIVES: tuple[Objective, ...] = get_args(Objective)
SLOW = ("warp.*",)
LEARNED_MOMENTUM = sgd(LR, 0.9, learned="parameter")


def gradient_at_each_yield(learner: MetaLearner, problem: Any) -> list[dict[str, Tensor]]:
    """What is due each time; nothing steps, so that slow parameters stand still."""
    found = []
    for _ in learner.meta_gradients(problem):
        found.append({n: p.grad for n, p in learner.params.items() if p.grad is not None})
        for p in learner.params.values():
            p.grad = None
    return found


def offline(problem: Problem, **options: Any) -> OfflineWarpGrad:
    options = {"rule": sgd(LR), "num_steps": 3, **options}
    return OfflineWarpGrad(problem.init(), slow=SLOW, **options)


def mean_of(grads: list[dict[str, Tensor]], weights: list[float]) -> dict[str, Tensor]:
    return {
        n: torch.stack([g[n] * w for g, w in zip(grads, weights, strict=True)]).sum(0)
        / sum(weights)
        for n in grads[0]
    }


@pytest.mark.parametrize("make", [warped_regression, warped_classification])
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize(
    "rule", [sgd(LR), LEARNED_MOMENTUM, adam(0.05)], ids=["sgd", "mom", "adam"]
)
def test_all_draws_in_one_step_are_the_online_gradient(
    make: Callable[[], Problem], objective: Objective, rule: Any
) -> None:
    problem = make()
    options: dict[str, Any] = {"rule": rule, "objective": objective}
    learner = offline(problem, iterates_per_step=None, **options)
    (found,) = gradient_at_each_yield(learner, problem)
    peer = OnlineWarpGrad(problem.init(), num_steps=3, slow=SLOW, **options)
    (expected,) = gradient_at_each_yield(peer, problem)
    assert relative_error(found, expected) < 1e-9
    assert len(learner.buffer) == 0


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_chunk_of_draws_is_the_mean_of_its_draws_and_a_short_one_of_its_own(
    objective: Objective,
) -> None:
    """9 draws: chunks of 4, 4 and 1. The published code divided the last by 4."""
    problem = warped_regression()
    singles = gradient_at_each_yield(offline(problem, objective=objective, seed=7), problem)
    assert len(singles) == 9
    chunks = gradient_at_each_yield(
        offline(problem, objective=objective, seed=7, iterates_per_step=4), problem
    )
    assert len(chunks) == 3
    for i, chunk in enumerate(chunks):
        part = singles[4 * i : 4 * i + 4]
        assert relative_error(chunk, mean_of(part, [1.0] * len(part))) < 1e-9
    whole = plain_gradient(problem, problem.init(), objective, 3)
    assert relative_error(mean_of(chunks, [4, 4, 1]), whole) < 1e-9


def test_draws_come_without_replacement_and_in_a_seeded_order() -> None:
    problem = warped_regression()
    first = gradient_at_each_yield(offline(problem, seed=1), problem)
    again = gradient_at_each_yield(offline(problem, seed=1), problem)
    other = gradient_at_each_yield(offline(problem, seed=2), problem)
    name = "slow.warp.0.weight"

    def sizes(grads: list[dict[str, Tensor]]) -> list[float]:
        return [float(g[name].norm()) for g in grads]

    assert sizes(first) == sizes(again)
    assert sizes(first) != sizes(other)
    assert sorted(sizes(first)) == pytest.approx(sorted(sizes(other)))
    assert len(set(sizes(first))) == 9
    two = sizes(gradient_at_each_yield(offline(problem, seed=1, num_epochs=2), problem))
    assert two[:9] == sizes(first)
    assert two[9:] != two[:9]
    assert sorted(two[9:]) == pytest.approx(sorted(two[:9]))


def test_a_saved_learner_draws_on_where_it_stopped() -> None:
    problem = warped_regression()
    learner, copy = offline(problem, seed=1), offline(problem, seed=5)
    gradient_at_each_yield(learner, problem)
    copy.load_state_dict(learner.state_dict())
    expected = gradient_at_each_yield(learner, problem)
    found = gradient_at_each_yield(copy, problem)
    assert all(torch.equal(a[n], b[n]) for a, b in zip(found, expected, strict=True) for n in a)


def test_a_saved_learner_keeps_the_points_that_it_would_have_kept() -> None:
    """Which ones a full buffer keeps depends on how often it was cleared."""
    problem = warped_regression()
    full: dict[str, Any] = {"capacity": 3, "include_final": True}
    learner, copy = (
        offline(problem, buffer=ReplayBuffer(**full), iterates_per_step=None) for _ in range(2)
    )
    for _ in range(3):
        gradient_at_each_yield(learner, problem)
    copy.load_state_dict(learner.state_dict())
    for _ in range(3):
        (expected,), (found,) = (gradient_at_each_yield(who, problem) for who in (learner, copy))
        assert all(torch.equal(found[n], expected[n]) for n in expected)


@pytest.mark.parametrize("execution", [Execution(1), Execution(2), Execution(1, 2)])
def test_chunks_of_tasks_and_where_points_are_kept_do_not_matter(
    execution: Execution, tmp_path: Path
) -> None:
    problem = warped_regression()
    options: dict[str, Any] = {
        "rule": LEARNED_MOMENTUM,
        "initialisation": LeapObjective(),
        "iterates_per_step": 2,
    }
    sampled: dict[str, Any] = {"capacity": 6, "include_final": True}
    expected = gradient_at_each_yield(
        offline(problem, buffer=ReplayBuffer(**sampled), **options), problem
    )
    buffer = ReplayBuffer(folder=tmp_path, **sampled)
    found = gradient_at_each_yield(
        offline(problem, execution=execution, buffer=buffer, **options), problem
    )
    assert len(found) == len(expected) == 4
    assert all(relative_error(a, b) < 1e-9 for a, b in zip(found, expected, strict=True))
    assert not list(tmp_path.glob("*/*"))


@pytest.mark.parametrize("name", ["adam", "momentum"])
@pytest.mark.parametrize("objective", ["exact", "first_order"])
def test_a_replayed_step_is_the_step_that_torch_took(name: str, objective: Objective) -> None:
    """With the rule's saved state: the published code replayed gradient descent whatever ran."""
    problem = warped_regression()
    params = problem.init()
    rule = adam(0.05) if name == "adam" else sgd(0.05, 0.9)

    def torch_rule(tensors: list[Tensor]) -> torch.optim.Optimizer:
        if name == "adam":
            return torch.optim.Adam(tensors, 0.05)
        return torch.optim.SGD(tensors, 0.05, 0.9)

    points = all_points(problem, params, 4, torch_rule)
    loss, phi = plain_loss(problem), sides(params)[1]
    expected = sorted(
        float(loss({**theta, **phi}, query))
        for path, (_, query) in zip(points, each_task(problem), strict=True)
        for theta in path[1:]
    )
    learner = offline(problem, rule=rule, num_steps=4, objective=objective)
    found = sorted(float(m["query_loss"]) for m in learner.meta_gradients(problem))
    assert found == pytest.approx(expected, rel=1e-9)


@dataclass(frozen=True)
class Drawing(Problem):
    """Draws noisy examples and counts the draws of each split."""

    draws: Counter[str] = field(default_factory=Counter)

    def sample(self, fast: Any, slow: Any, split: Any) -> Data:
        self.draws[split] += 1
        inputs, targets = super().sample(fast, slow, split)
        return inputs + 0.1 * self.draws[split], targets


def test_experience_is_drawn_afresh_for_each_draw_and_not_before() -> None:
    problem = Drawing(**vars(warped_regression()))
    learner = offline(problem)
    for count, metrics in enumerate(learner.meta_gradients(problem), 1):
        assert problem.draws == {"support": 3 + count, "query": count}
        assert metrics["support_loss"].shape == metrics["query_loss"].shape == (1,)


def test_slow_parameters_stand_still_while_points_are_collected_and_then_move() -> None:
    problem = warped_regression()
    learner = offline(problem)
    before = learner.state_dict()["params"]
    optimiser = torch.optim.SGD(learner.params.values(), 0.1)
    thetas = None
    for i, _ in enumerate(learner.meta_gradients(problem)):
        if i == 0:
            assert all(torch.equal(p, before[n]) for n, p in learner.params.items())
            thetas = [learner.buffer[key].fast["layers.0.weight"] for key in learner.buffer]
        optimiser.step()
        optimiser.zero_grad()
    assert thetas is not None
    points = all_points(problem, problem.init(), 3)
    expected = [theta["layers.0.weight"] for path in points for theta in path[:3]]
    torch.testing.assert_close(torch.stack(thetas), torch.stack(expected), rtol=1e-9, atol=1e-12)
    assert not torch.equal(learner.params["slow.warp.0.weight"], before["slow.warp.0.weight"])


@pytest.mark.parametrize("set_to_none", [True, False])
def test_one_optimiser_with_momentum_moves_only_what_is_due(set_to_none: bool) -> None:
    """Zero gradients would let Adam's moments carry the initialisation along (and back)."""
    problem = warped_regression()
    learner = offline(problem, initialisation=ReptileObjective(), num_steps=2)
    optimiser = torch.optim.Adam(learner.params.values(), 0.01)
    for _ in range(2):
        last = {n: p.detach().clone() for n, p in learner.params.items()}
        moved = []
        for _ in learner.meta_gradients(problem):
            optimiser.step()
            optimiser.zero_grad(set_to_none=set_to_none)
            moved.append(
                {n.split(".")[0] for n, p in learner.params.items() if not torch.equal(p, last[n])}
            )
            last = {n: p.detach().clone() for n, p in learner.params.items()}
        assert moved == [{"slow"}] * 6 + [{"fast"}]


@pytest.mark.parametrize("make", [OfflineWarpGrad, OnlineWarpGrad])
def test_without_a_learned_initialisation_every_task_still_begins_from_it(make: Any) -> None:
    """The published code went on from where the last task had ended."""
    problem = warped_regression()
    learner = make(problem.init(), rule=sgd(LR), num_steps=3, slow=SLOW)
    seen = [
        sorted(torch.cat([m["support_loss"] for m in learner.meta_gradients(problem)]).tolist())
        for _ in range(2)
    ]
    assert seen[0] == seen[1]


def test_the_buffer_is_emptied_even_when_the_caller_stops_early() -> None:
    problem = warped_regression()
    learner = offline(problem, initialisation=LeapObjective(SIMPLIFIED))
    gradients = learner.meta_gradients(problem)
    next(gradients)
    assert len(learner.buffer) == 9
    gradients.close()  # type: ignore[attr-defined]
    assert len(learner.buffer) == 0


def test_counts_that_mean_nothing_are_refused() -> None:
    problem = warped_regression()
    for options in ({"iterates_per_step": 0}, {"iterates_per_step": -1}, {"num_epochs": 0}):
        with pytest.raises(ValueError, match="at least 1"):
            offline(problem, **options)
    with pytest.raises(ValueError, match="warp_period"):
        continual(problem, warp_period=0)


def continual(problem: Problem, **options: Any) -> ContinualWarpGrad:
    options = {"rule": sgd(LR), "num_steps": 3, **options}
    return ContinualWarpGrad(problem.init(), slow=SLOW, **options)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_period_of_a_stream_is_the_online_gradient_of_as_many_steps(
    objective: Objective,
) -> None:
    problem = warped_regression()
    learner = continual(problem, num_steps=2, warp_period=5, objective=objective)
    assert [len(gradient_at_each_yield(learner, problem)) for _ in range(2)] == [0, 0]
    (found,) = gradient_at_each_yield(learner, problem)
    assert relative_error(found, plain_gradient(problem, problem.init(), objective, 5)) < 1e-9
    points = all_points(problem, problem.init(), 6)
    for i, path in enumerate(points):
        live = {n: p[i] for n, p in learner.live.items()}
        assert relative_error(live, path[-1]) < 1e-9


def test_a_stream_goes_on_with_the_slow_parameters_of_now() -> None:
    """Two periods with a step between; the fast parameters are not reset."""
    problem = warped_regression()
    learner = continual(problem, num_steps=4, warp_period=2)
    optimiser = torch.optim.SGD(learner.params.values(), 0.5)
    params, grads = problem.init(), []
    for _ in learner.meta_gradients(problem):
        grads.append({n: p.grad.clone() for n, p in learner.params.items() if p.grad is not None})
        optimiser.step()
        optimiser.zero_grad()
    middle = [path[-1] for path in all_points(problem, params, 2)]
    phi = {n: p - 0.5 * grads[0][f"slow.{n}"] for n, p in sides(params)[1].items()}
    singles = []
    for i, theta in enumerate(middle):
        one = problem.select(slice(i, i + 1))
        singles.append(plain_gradient(one, {**theta, **phi}, "exact", 2))
    assert relative_error(grads[1], mean_of(singles, [1.0] * 3)) < 1e-9


@pytest.mark.parametrize("execution", [Execution(2), Execution(1, 2)])
def test_chunks_and_interruptions_do_not_change_a_stream(execution: Execution) -> None:
    problem = warped_regression()
    options: dict[str, Any] = {"rule": adam(0.05, eps=1e-3, learned="parameter"), "warp_period": 4}
    whole = continual(problem, num_steps=8, **options)
    expected = gradient_at_each_yield(whole, problem)
    parts = continual(problem, num_steps=3, execution=execution, **options)
    found = gradient_at_each_yield(parts, problem)
    again = continual(problem, num_steps=5, execution=execution, **options)
    again.load_state_dict(parts.state_dict())
    found += gradient_at_each_yield(again, problem)
    assert len(found) == len(expected) == 2
    assert all(relative_error(a, b) < 1e-9 for a, b in zip(found, expected, strict=True))
    assert relative_error(again.live, whole.live) < 1e-9


def test_a_stream_has_the_same_tasks_all_the_time() -> None:
    problem = warped_regression()
    learner = continual(problem)
    gradient_at_each_yield(learner, problem)
    with pytest.raises(ValueError, match="3 tasks, got 2"):
        gradient_at_each_yield(learner, problem.select(slice(0, 2)))
