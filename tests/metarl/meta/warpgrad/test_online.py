"""WarpGrad online: equations 11 and 12 against plain autograd, and what reduces to what."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from metarl.core import Chain, Execution, StepSize, adam, sgd
from metarl.meta import (
    MAML,
    SIMPLIFIED,
    ContinualWarpGrad,
    Leap,
    LeapMetric,
    LeapObjective,
    MAMLObjective,
    MetaLearner,
    OfflineWarpGrad,
    OnlineWarpGrad,
    Reptile,
    ReptileObjective,
    TrajectoryObjective,
)
from metarl.meta.warpgrad.objectives import Objective
from tests.metarl.meta.problems import Problem, each_task, plain_sgd, relative_error
from tests.metarl.meta.warp_problems import (
    LR,
    WARPED_NETS,
    all_points,
    linear_regression,
    mean_objective,
    plain_gradient,
    plain_loss,
    sides,
    warped_classification,
    warped_images,
    warped_regression,
)

PROBLEMS = [linear_regression, warped_regression, warped_classification]
OBJECTIVES: tuple[Objective, ...] = get_args(Objective)
SLOW = ("warp.*",)


def due(learner: MetaLearner) -> dict[str, Tensor]:
    """The gradients that are there; they are taken away."""
    found = {n: p.grad for n, p in learner.params.items() if p.grad is not None}
    for p in learner.params.values():
        p.grad = None
    return found


def meta_gradient(learner: MetaLearner, problem: Problem) -> dict[str, Tensor]:
    list(learner.meta_gradients(problem))
    return due(learner)


def online(problem: Problem, **options: Any) -> OnlineWarpGrad:
    options = {"rule": sgd(LR), "num_steps": 3, **options}
    return OnlineWarpGrad(problem.init(), slow=SLOW, **options)


@pytest.mark.parametrize("make", PROBLEMS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_slow_gradient_is_that_of_plain_autograd(
    make: Callable[[], Problem], objective: Objective
) -> None:
    problem = make()
    found = meta_gradient(online(problem, objective=objective), problem)
    expected = plain_gradient(problem, problem.init(), objective, 3)
    assert relative_error(found, expected) < 1e-9


@pytest.mark.parametrize("name", WARPED_NETS)
def test_every_warped_network_has_the_second_order_gradient_of_a_plain_loop(name: str) -> None:
    """Eq. 11 of the warp layers, and MAML through them for all that adapts."""
    problem = warped_images(WARPED_NETS[name])
    params = problem.init()
    slow = meta_gradient(online(problem, num_steps=2), problem)
    assert relative_error(slow, plain_gradient(problem, params, "exact", 2)) < 1e-9
    learner = MAML(params, rule=sgd(LR), num_steps=2, slow=SLOW)
    found, loss = meta_gradient(learner, problem), plain_loss(problem)
    start = {n: p.clone().requires_grad_() for n, p in params.items()}
    adapted = set(sides(params)[0])
    ends = [
        loss(plain_sgd(loss, start, support, LR, 2, adapted), query)
        for support, query in each_task(problem)
    ]
    grads = torch.autograd.grad(torch.stack(ends).mean(), list(start.values()))
    side = {n: "fast" if n in adapted else "slow" for n in start}
    expected = {f"{side[n]}.{n}": g for n, g in zip(start, grads, strict=True)}
    assert relative_error(found, expected) < 1e-9


@pytest.mark.parametrize("make", PROBLEMS)
def test_the_three_objectives_are_three(make: Callable[[], Problem]) -> None:
    """The published code's exact mode was equation 12, its approximate one takes no step."""
    problem = make()
    grads = [meta_gradient(online(problem, objective=o), problem) for o in OBJECTIVES]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert relative_error(grads[a], grads[b]) > 1e-3


def test_the_exact_gradient_is_that_of_finite_differences() -> None:
    problem = warped_regression()
    params = problem.init()
    points = all_points(problem, params, 3)  # the sample stays as it is while phi moves
    phi = sides(params)[1]
    generator = torch.Generator().manual_seed(0)
    way = {n: torch.randn(p.shape, generator=generator).double() for n, p in phi.items()}

    def at(distance: float) -> float:
        moved = {n: p + distance * way[n] for n, p in phi.items()}
        return float(mean_objective(problem, "exact", moved, points, 3).detach())

    def slope(h: float) -> float:
        return (at(h) - at(-h)) / (2 * h)

    expected = (4 * slope(1e-3) - slope(2e-3)) / 3  # error O(h^4)
    found = meta_gradient(online(problem), problem)
    along = sum(float((found[f"slow.{n}"] * way[n]).sum()) for n in phi)
    assert along == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("objective", ["exact", "first_order"])
def test_learned_step_sizes_need_no_momentum(objective: Objective) -> None:
    """d l_meta(theta - exp(a) g) / d a = -exp(a) g * grad l_meta: the step's own derivative."""
    problem = warped_regression()
    params = problem.init()
    learner = online(problem, rule=Chain((StepSize(LR, "element"),)), objective=objective)
    found = meta_gradient(learner, problem)
    loss, phi = plain_loss(problem), sides(params)[1]
    expected = {n: torch.zeros_like(p) for n, p in sides(params)[0].items()}
    for path, (support, query) in zip(
        all_points(problem, params, 3), each_task(problem), strict=True
    ):
        for theta in path[:3]:
            here = {n: p.clone().requires_grad_() for n, p in theta.items()}
            g = torch.autograd.grad(loss({**here, **phi}, support), list(here.values()))
            step = dict(zip(here, g, strict=True))
            there = {n: (p - LR * step[n]).detach().requires_grad_() for n, p in here.items()}
            ahead = torch.autograd.grad(loss({**there, **phi}, query), list(there.values()))
            for n, a in zip(there, ahead, strict=True):
                expected[n] += -LR * step[n] * a / (3 * problem.num_tasks)
    rule = {n.removeprefix("rule.0.log_lr."): g for n, g in found.items() if n.startswith("rule.")}
    assert relative_error(rule, expected) < 1e-9
    slow = {n: g for n, g in found.items() if n.startswith("slow.")}
    assert relative_error(slow, plain_gradient(problem, params, objective, 3)) < 1e-9


def test_a_replayed_loss_says_nothing_about_the_rule() -> None:
    problem = warped_regression()
    learner = online(problem, rule=sgd(LR, learned="parameter"), objective="replay")
    assert {n.split(".")[0] for n in meta_gradient(learner, problem)} == {"slow"}


@pytest.mark.parametrize("make", [warped_regression, warped_classification])
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize(
    "execution",
    [Execution(1), Execution(2), Execution(1, num_threads=2)],
    ids=["one-by-one", "uneven-chunks", "threads"],
)
def test_execution_does_not_change_the_gradient(
    make: Callable[[], Problem], objective: Objective, execution: Execution
) -> None:
    problem = make()
    options: dict[str, Any] = {
        "objective": objective,
        "rule": adam(0.05, eps=1e-3, learned="parameter"),
        "initialisation": LeapObjective(),
    }
    whole = meta_gradient(online(problem, **options), problem)
    parts = meta_gradient(online(problem, execution=execution, **options), problem)
    assert relative_error(parts, whole) < 1e-9


LEARNERS: list[tuple[TrajectoryObjective, Callable[..., MetaLearner]]] = [
    (ReptileObjective(), Reptile),
    (LeapObjective(), Leap),
    (
        LeapObjective(SIMPLIFIED, False),
        lambda *a, **o: Leap(*a, **o, metric=SIMPLIFIED, include_final=False),
    ),
    (MAMLObjective(), MAML),
    (MAMLObjective(first_order=True), lambda *a, **o: MAML(*a, **o, first_order=True)),
]


@pytest.mark.parametrize(
    ("initialisation", "peer"), LEARNERS, ids=["reptile", "leap", "simplified", "maml", "fomaml"]
)
@pytest.mark.parametrize("learner", [OnlineWarpGrad, OfflineWarpGrad])
def test_the_initialisation_learns_as_in_the_learner_of_that_name(
    initialisation: TrajectoryObjective, peer: Callable[..., MetaLearner], learner: Any
) -> None:
    problem = warped_regression()
    options: dict[str, Any] = {"rule": sgd(LR, 0.9), "num_steps": 3, "slow": SLOW}
    warp = learner(problem.init(), initialisation=initialisation, **options)
    found = {n: g for n, g in meta_gradient(warp, problem).items() if n.startswith("fast.")}
    expected = meta_gradient(peer(problem.init(), **options), problem)
    expected = {n: g for n, g in expected.items() if n.startswith("fast.")}
    assert relative_error(found, expected) < 1e-9


def test_simplified_leap_without_norm_is_reptile_of_one_step_less() -> None:
    problem = warped_regression()
    metric = LeapMetric("energy", loss=False)
    found = meta_gradient(
        online(problem, num_steps=4, initialisation=LeapObjective(metric, False)), problem
    )
    peer = meta_gradient(Reptile(problem.init(), rule=sgd(LR), num_steps=3, slow=SLOW), problem)
    found = {n: g / 2 for n, g in found.items() if n.startswith("fast.")}
    assert relative_error(found, peer) < 1e-9
    with pytest.raises(ValueError, match="2 inner steps"):
        meta_gradient(
            online(problem, num_steps=1, initialisation=LeapObjective(metric, False)), problem
        )


def test_one_step_of_warp_maml_is_maml_with_slow_parameters() -> None:
    problem = warped_regression()
    options: dict[str, Any] = {"rule": sgd(LR, learned="element"), "num_steps": 1}
    found = meta_gradient(online(problem, initialisation=MAMLObjective(), **options), problem)
    peer = meta_gradient(MAML(problem.init(), slow=SLOW, **options), problem)
    assert relative_error(found, peer) < 1e-9


@pytest.mark.parametrize("make", [OnlineWarpGrad, OfflineWarpGrad, ContinualWarpGrad])
def test_neither_adaptation_nor_a_gradient_changes_a_parameter(make: Any) -> None:
    problem = warped_regression(num_tasks=1)
    learner = make(problem.init(), rule=adam(0.1), num_steps=3, slow=SLOW)
    before = learner.state_dict()["params"]
    adapted = learner.adapt(problem, 5)
    grads = meta_gradient(learner, problem)
    assert all(torch.equal(p, before[n]) for n, p in learner.params.items())
    assert grads
    assert not any(n.startswith("fast.") for n in grads)
    assert any(not torch.equal(adapted[n][0], before[f"fast.{n}"]) for n in adapted)


@dataclass(frozen=True)
class Counting(Problem):
    """Counts the tensors that live when the loss is asked for the n-th time."""

    calls: Any = None
    at: int = 0

    def loss(self, fast: Any, slow: Any, batch: Any) -> Tensor:
        self.calls.append(live_tensors() if len(self.calls) == self.at - 1 else 0)
        return super().loss(fast, slow, batch)


def live_tensors() -> int:
    gc.collect()
    return sum(issubclass(type(o), Tensor) for o in gc.get_objects())


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("path", [LeapObjective(SIMPLIFIED), MAMLObjective(first_order=True)])
def test_memory_does_not_grow_with_the_number_of_steps(
    objective: Objective, path: TrajectoryObjective
) -> None:
    counts = []
    for num_steps in (1, 3, 10, 100):
        losses = num_steps * (1 if objective == "replay" else 2)
        plain = warped_regression()
        problem = Counting(**{**vars(plain), "calls": [], "at": losses})
        learner = online(
            plain,
            num_steps=num_steps,
            objective=objective,
            initialisation=path,
        )
        meta_gradient(learner, problem)
        counts.append(problem.calls[losses - 1])
    assert 0 < counts[0] <= counts[1] == counts[2] == counts[3]


@dataclass(frozen=True)
class Valleys:
    """Quadratics of one bad condition number, seen through a slow matrix:
    l = 1/2 |phi theta - target|^2_H with H = diag(1, 0.01)."""

    targets: Tensor
    detached: bool = False

    @property
    def num_tasks(self) -> int:
        return len(self.targets)

    def sample(self, fast: Any, slow: Any, split: str) -> None:
        return None

    def loss(self, fast: Any, slow: Any, batch: None) -> Tensor:
        phi = slow["warp.phi"].detach() if self.detached else slow["warp.phi"]
        miss = torch.einsum("nij,nj->ni", phi, fast["theta"]) - self.targets
        return 0.5 * (miss.square() * miss.new_tensor([1.0, 0.01])).sum(1)

    def select(self, tasks: slice) -> Valleys:
        return replace(self, targets=self.targets[tasks])


def loss_after_learning(make: Callable[..., MetaLearner], detached: bool, num: int) -> float:
    """Held-out loss after 3 inner steps, relative to that of the plain gradient."""
    generator = torch.Generator().manual_seed(0)
    params = {"theta": torch.zeros(2).double(), "warp.phi": torch.eye(2).double()}
    learner = make(params, rule=sgd(0.5), num_steps=3, slow=SLOW)
    held_out = Valleys(torch.randn(50, 2, generator=generator).double())

    def loss() -> float:
        with torch.no_grad():
            slow = {n: p.expand(50, 2, 2) for n, p in learner.slow.items()}
            return float(held_out.loss(learner.adapt(held_out, 3), slow, None).mean())

    before = loss()
    optimiser = torch.optim.Adam(learner.params.values(), 0.05)
    for _ in range(num):
        tasks = Valleys(torch.randn(8, 2, generator=generator).double(), detached)
        for _ in learner.meta_gradients(tasks):
            optimiser.step()
            optimiser.zero_grad()
    return loss() / before


@pytest.mark.parametrize(
    ("make", "num"),
    [
        (OnlineWarpGrad, 150),
        (lambda *a, **o: OfflineWarpGrad(*a, **o, iterates_per_step=8), 50),
    ],
    ids=["online", "offline"],
)
def test_it_learns_a_metric_and_a_detached_twin_does_not(
    make: Callable[..., MetaLearner], num: int
) -> None:
    assert loss_after_learning(make, detached=False, num=num) < 0.2
    assert loss_after_learning(make, detached=True, num=num) > 0.9
