"""Learning of a `Warp` from a meta-batch: warp layers and initialisation, by an objective each.

The meta-objective of Flennerhag et al. 2020, eq. 13 and 15: J(phi, theta_0) = L(phi) + C(theta_0),
by their Algorithm 2. L is one of `metarl.meta.warpgrad.objectives`, C one of
`metarl.meta.policy.trajectory_objectives`. `metarl.meta.OfflineWarpGrad` does the same to a whole
meta-batch as one tensor program.

# Deviation: what the trajectory objectives need of a path is evaluated on batches drawn again,
# since a user's own loop does not say which it took; with one batch per task it is the same. So is,
# for the objective maml, the Jacobian of every step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from metarl.core import (
    InnerStep,
    Params,
    ReplayBuffer,
    UpdateRule,
    add_to_grads,
    added,
    detached,
    gradients,
    leaves,
    scope,
    sgd,
    share,
)
from metarl.core.replay import Key, Visit
from metarl.core.second_order import twice_differentiable
from metarl.errors import check_choice, renamed
from metarl.meta.leap import SIMPLIFIED, Distance, LeapMetric
from metarl.meta.policy.trajectory_objectives import (
    LeapObjective,
    MAMLObjective,
    ReptileObjective,
    TrajectoryObjective,
)
from metarl.meta.warpgrad.objectives import OBJECTIVES, Look, Objective, look
from metarl.modules.module_task import Criterion, ModuleTask
from metarl.modules.recorder import TaskPath
from metarl.seeding import check_seed, stream

InitObjective: TypeAlias = Literal["none", "leap", "leap_simplified", "reptile", "maml"]
MetaStep = Callable[[], Any]
"""Steps a meta-optimiser on ``.grad``; it may also set the gradients to None."""


@dataclass(frozen=True)
class DualUpdater:
    """Objectives and settings of `Warp.backward`.

    Attributes:
        criterion: The loss: the model's output and targets in, a scalar out. A class of losses,
            such as ``nn.CrossEntropyLoss``, stands for its instance.
        rule: The update rule of adaptation, e.g. ``metarl.sgd(0.1)``; an optimiser that steps by
            another is refused. None: that of the optimiser which steps (SGD, Adam, AdamW or
            RMSprop of `torch.optim`, with its settings at every step).
        warp_objective: exact: eq. 11; first_order: eq. 12; replay: the task loss at every point,
            no step looked ahead; none.
        init_objective: leap: Leap with the loss and the stabiliser; leap_simplified: without both
            (the published code's); reptile; maml; none: the initialisation stays as it is.
        distance: Leap minimises the length of the paths, or their energy.
        include_final: Leap's paths end at theta_K (the published code's at theta_{K-1}).
        epochs: Number of draws of every recorded point for the warp objective.
        batch_size: Points that make one step of the warp layers; None: all.
        eps: Added to the norm that Leap's length divides by; the published code has 1e-9.
        seed: Seed of the order in which points are drawn, at least 0.
    """

    criterion: Criterion
    rule: UpdateRule | None = None
    warp_objective: Objective | Literal["none"] = "exact"
    init_objective: InitObjective = "leap"
    distance: Distance = "length"
    include_final: bool = True
    epochs: int = 1
    batch_size: int | None = 1
    eps: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Check what would fail only after a meta-batch of work."""
        if isinstance(self.criterion, type):
            object.__setattr__(self, "criterion", self.criterion())
        if not callable(self.criterion):
            raise TypeError(f"criterion must be a function or a loss, got {self.criterion}")
        if self.rule is not None and not isinstance(self.rule, UpdateRule):
            raise TypeError(f"rule must be a rule such as metarl.sgd(0.1), got {self.rule!r}")
        check_seed(self.seed)
        check_choice("warp_objective", self.warp_objective, ("none", *OBJECTIVES))
        check_choice("init_objective", self.init_objective, get_args(InitObjective))
        check_choice("distance", self.distance, get_args(Distance))
        if self.epochs < 1 or (self.batch_size is not None and self.batch_size < 1):
            raise ValueError(
                "epochs and batch_size must be at least 1 (batch_size None: all), got "
                f"{self.epochs}, {self.batch_size}"
            )

    @property
    def takes_steps(self) -> bool:
        """Whether steps of adaptation are taken again, so that their rule must be known."""
        return self.warp_objective in ("exact", "first_order") or self.init_objective == "maml"

    def backward(self, collected: Collected, meta_step: MetaStep) -> dict[str, float]:
        """Learn: a step of warp layers and rule every ``batch_size`` points, then one of the start.

        Parameters whose step it is not have ``.grad`` None, so that no optimiser's momentum moves
        them; after every call of ``meta_step`` all have. Batches are drawn when they are needed.

        Args:
            collected: The meta-batch.
            meta_step: Called whenever a gradient is complete.

        Returns:
            ``support_loss``, the mean loss at the points drawn, and ``query_loss``, after one more
            step from there (unless replayed).
        """
        _forget(collected)
        with twice_differentiable():
            return self._learn(collected, meta_step)

    def _learn(self, collected: Collected, meta_step: MetaStep) -> dict[str, float]:
        start = self._start_gradient(collected)
        seen: list[dict[str, Tensor]] = []
        for draws in self._draws(collected):
            total: dict[str, Tensor] = {}
            for key in draws:
                glance = self._look(collected, key)
                total = added(total, glance.grads, 1.0 / len(draws))
                seen.append({"support_loss": glance.step.loss, **glance.ahead})
            add_to_grads(collected.slow, scope(total, "slow"))
            add_to_grads(collected.learned, scope(total, "rule"))
            meta_step()
            _forget(collected)
        if start:
            add_to_grads(collected.init, start, 1.0 / len(collected.paths))
            meta_step()
            _forget(collected)
        names = seen[0] if seen else ()
        return {name: float(torch.cat([s[name] for s in seen]).mean()) for name in names}

    def _draws(self, collected: Collected) -> Iterator[list[Key]]:
        """(task, k) without replacement, the last few perhaps fewer than ``batch_size``."""
        if self.warp_objective == "none" or not (collected.slow or collected.learned):
            return
        generator = stream(self.seed, collected.turn)
        keys = collected.buffer.keys()
        size = self.batch_size or len(keys)
        for _ in range(self.epochs):
            order = torch.randperm(len(keys), generator=generator).tolist()
            for first in range(0, len(keys), size):
                yield [keys[i] for i in order[first : first + size]]

    def _look(self, collected: Collected, key: Key) -> Look:
        """The warp objective at one recorded point."""
        assert self.warp_objective != "none"
        visit, path = collected.buffer[key], collected.paths[key[0]]
        rule = path.rules[min(visit.step, path.num_steps - 1)]
        if self.warp_objective == "replay":
            rule = sgd(1.0)  # its step is not looked at
        return look(
            self.warp_objective,
            collected.task(visit.task, self.criterion),
            collected.stacked(visit.fast),
            collected.stacked(visit.state),
            collected.slow,
            _known(rule),
            collected.learned,
            visit.step,
        )

    def _start_gradient(self, collected: Collected) -> dict[str, Tensor]:
        """The gradient of the initialisation by name, summed over tasks."""
        total: dict[str, Tensor] = {}
        objective = self._trajectory_objective()
        if objective is None:
            return total
        for path in collected.paths:
            grads = self._path_gradient(collected, path, objective)
            total = added(total, {name: g.squeeze(0) for name, g in grads.items()})
        return total

    def _path_gradient(
        self, collected: Collected, path: TaskPath, objective: TrajectoryObjective
    ) -> dict[str, Tensor]:
        """Gradient ``[1, ...]`` of the objective of one path, by its initial parameters."""
        follower = objective.begin()
        evaluate = self.init_objective in ("leap", "maml")
        step: InnerStep[Any]
        for step in collected.steps(path, self.criterion, evaluate=evaluate):
            follower.see(step)
        rule = sgd(1.0)  # only maml reads it
        if self.init_objective == "maml":
            rule = _known(path.rules[0])
            if collected.buffer.stride != 1 or any(r != rule for r in path.rules):
                raise ValueError("maml goes back through every step: use stride 1, a constant lr")
        slow = share(detached(collected.slow), 1)
        task = collected.task(path.task, self.criterion)
        return follower.gradient(task, slow, rule, collected.learned)

    def _trajectory_objective(self) -> TrajectoryObjective | None:
        match self.init_objective:
            case "none":
                return None
            case "reptile":
                return ReptileObjective()
            case "maml":
                return MAMLObjective()
            case "leap":
                metric = LeapMetric(self.distance, eps=self.eps)
                return LeapObjective(metric, self.include_final)
            case "leap_simplified":
                metric = replace(SIMPLIFIED, distance=self.distance, eps=self.eps)
                return LeapObjective(metric, self.include_final)


DualUpdater.__init__ = renamed(  # type: ignore[method-assign]
    bsz="batch_size (None for all)",
    norm='distance="length" for True, "energy" for False',
    approx='warp_objective="replay" for True, "first_order" for False',
)(DualUpdater.__init__)


def _known(rule: UpdateRule | None) -> UpdateRule:
    if rule is None:
        raise ValueError(
            "the steps of adaptation are not known: give DualUpdater a rule, or the optimiser to "
            "warp.register_optimizer before the first step"
        )
    return rule


def _forget(collected: Collected) -> None:
    for params in (collected.init, collected.slow, collected.learned):
        for p in params.values():
            p.grad = None


@dataclass(frozen=True)
class Collected:
    """The paths and points to learn from, and the parameters that learn.

    Attributes:
        model: The module.
        init: Initial parameters of adaptation: the model's own of the adapting modules.
        slow: The model's parameters of the warp modules.
        learned: Learned parameters of the rule.
        paths: One per task.
        buffer: The points of all of them.
        turn: The number of meta-batches before.
    """

    model: nn.Module
    init: dict[str, nn.Parameter]
    slow: dict[str, nn.Parameter]
    learned: dict[str, nn.Parameter]
    paths: Sequence[TaskPath]
    buffer: ReplayBuffer
    turn: int

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return next(iter(self.init.values())).device

    def task(self, number: int, criterion: Criterion) -> ModuleTask:
        """Return one of the tasks."""
        path = self.paths[number]
        return ModuleTask(self.model, criterion, path.source, path.modes)

    def stacked(self, params: Params) -> dict[str, Tensor]:
        """Return one point as tasks take it: ``[1, ...]``, on the device."""
        return {name: p.unsqueeze(0).to(self.device) for name, p in params.items()}

    def steps(
        self, path: TaskPath, criterion: Criterion, *, evaluate: bool
    ) -> Iterator[InnerStep[Any]]:
        """The steps of a path from one recorded point to the next, without a graph.

        Args:
            path: The path of one task.
            criterion: The loss.
            evaluate: Draw a batch for every point and take loss and gradient there; else both
                are zero.

        Raises:
            ValueError: The buffer has dropped points of the path.
        """
        wanted = list(range(0, path.num_steps, self.buffer.stride))
        kept = set(self.buffer.keys())
        if not kept.issuperset((path.task, k) for k in wanted):
            raise ValueError("the initialisation learns from whole paths: use no capacity")
        slow = share(detached(self.slow), 1)
        visits = [self.buffer[path.task, k] for k in wanted]
        end = Visit(path.task, path.num_steps, dict(path.end), dict(path.end_state))
        for before, after in pairwise([*visits, end]):
            fast, state = self.stacked(before.fast), self.stacked(before.state)
            batch, loss, grads = None, torch.zeros(1, device=self.device), fast
            if evaluate:
                task = self.task(path.task, criterion)
                batch = task.sample(fast, slow, "support")
                with torch.enable_grad():
                    here = leaves(fast)
                    loss = task.loss(here, slow, batch)
                grads = gradients(loss.sum(), here)
            next_fast, next_state = self.stacked(after.fast), self.stacked(after.state)
            yield InnerStep(
                before.step, fast, state, batch, loss.detach(), grads, next_fast, next_state
            )
