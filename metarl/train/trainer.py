"""The trainer: the one place where a gradient is complete.

    for each gradient that the learner writes:
        add it up over processes, clip it, check that it is finite
        ask the learner which sides step on it; step

Each side of the meta-parameters (``fast``, ``slow``, ``rule``, ...: `MetaLearner.sides`) has an
optimiser of its own, so that each may have its own learning rate. Agents (seeds) may be stacked:
each is clipped, checked and stepped as it would be alone.

A gradient that is not finite never reaches the weights: it counts as 0, its agent skips the rest
of the meta-batch, and that is counted (``skipped``); too many in a row end the training.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from metarl.core import (
    OptimiserSettings,
    TaskBatch,
    along,
    clip_gradients,
    gradient_norms,
    precise,
)
from metarl.core.optimisers import StackedOptimiser
from metarl.core.processes import current
from metarl.core.tasks import is_divisible
from metarl.errors import UserError
from metarl.meta import (
    MetaLearner,
    Metrics,
    NonFiniteLossError,
    Penalty,
    SideStep,
    regularised_gradients,
)
from metarl.runs.directory import RunDirectory

logger = logging.getLogger(__name__)

MAX_SKIPPED = 10
"""Meta-batches in a row without a finite gradient that are taken for bad luck."""


class Learner(Protocol):
    """A learner as a trainer sees it: a `MetaLearner`, or agents that are stacked `[N, ...]`."""

    @property
    def params(self) -> dict[str, Tensor]:
        """Leaf tensors by name, which steps change in place."""

    @property
    def num_agents(self) -> int | None:
        """N, where all of ``params`` begin with an axis of agents; None: one, without an axis."""

    @property
    def sides(self) -> dict[str, list[str]]:
        """Names of ``params``, side by side: each has an optimiser of its own."""

    @property
    def shareable(self) -> bool:
        """Whether processes may share a meta-batch."""

    @property
    def incidents(self) -> Mapping[str, int]:
        """Counts of incidents in the last meta-batch, by name."""

    def meta_gradients(self, tasks: TaskBatch[Any]) -> Iterator[Metrics]:
        """Write ``.grad``; yields each time a gradient is complete."""

    def due(self, skips: Tensor | None) -> Sequence[SideStep]:
        """Return the sides that step on a gradient."""

    def agent_state(self, index: int) -> dict[str, Any]:
        """Everything agent ``index`` needs to go on."""

    def load_agent_states(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Take up where `agent_state` of all agents left off."""


class Steps(Protocol):
    """Settings of a learner's steps: `OuterSettings`, or a learner's own."""

    @property
    def max_grad_norm(self) -> float | None:
        """Clip each agent's gradient, over all sides, to this norm; None: never."""

    def of_side(self, side: str) -> OptimiserSettings:
        """The optimiser of one side."""


def check_shared(learner: Learner, num_tasks: int | None = None) -> None:
    """Check that the processes of now can share the meta-batches of a learner.

    Args:
        learner: Learns from them.
        num_tasks: Tasks of a meta-batch; None: that is looked at elsewhere.

    Raises:
        UserError: They cannot: it learns in one process, or there are too few tasks.
    """
    if num_tasks is not None:
        current().share(num_tasks, "tasks of a meta-batch")
    if current().count > 1 and not learner.shareable:
        raise UserError(
            f"{type(learner).__name__} learns from one task after the other: train it in one "
            "process, without torchrun"
        )


class Trainer:
    """A learner and the optimisers that step on its gradient, as `MetaTraining` drives them.

    Attributes:
        measured: Metrics of the last gradient, as the learner says them: one per task of this
            process, or per agent.

    Args:
        learner: Whose parameters are learned, in place.
        settings: Settings of their steps.
        max_skipped: n: the n-th meta-batch of an agent in a row without a finite gradient ends the
            training; 1: the first one does.

    The processes of now (`core.processes`) share each meta-batch, and all take the same steps.

    Raises:
        UserError: The learner learns in one process, and there are several.
    """

    def __init__(
        self,
        learner: Learner,
        settings: Steps,
        *,
        max_skipped: int = MAX_SKIPPED,
    ) -> None:
        self.learner, self.settings, self.processes = learner, settings, current()
        check_shared(learner)
        self._stacked = learner.num_agents is not None
        self.measured: Metrics = {}
        self.skips = Skips(learner.num_agents or 1, max_skipped)
        self.optimisers = {
            side: StackedOptimiser(
                settings.of_side(side), {n: learner.params[n] for n in names}, self._stacked
            )
            for side, names in learner.sides.items()
        }

    def set_learning_rate_factor(self, factor: float) -> None:
        """Scale all learning rates, for a schedule."""
        for optimiser in self.optimisers.values():
            optimiser.scale(factor)

    def step(self, tasks: TaskBatch[Any], penalty: Penalty | None = None) -> dict[str, Tensor]:
        """Learn from one meta-batch: from each gradient that the learner yields.

        Args:
            tasks: N tasks, of which this process works on its share; or the tasks of all agents,
                of which each process brings its share already (`metarl.rl.SharedTrials`).
            penalty: A term of the meta-objective beside the learner's own.

        Returns:
            Metrics, one per agent, means over tasks and gradients: the learner's own, and
            ``grad_norm`` before clipping; ``skipped``: 1 where a metric or the gradient was not
            finite, so that no step was taken on it nor on what would have followed; and what else
            was survived (`MetaLearner.incidents`).

        Raises:
            NonFiniteLossError: An agent's meta-batches were skipped too often in a row; no step was
                taken on the last of them.
            UserError: There are fewer tasks than processes.
        """
        tasks = self._own(tasks)
        seen: dict[str, list[Tensor]] = {}
        skips: Tensor | None = None  # bool [agents]
        gradients = self._gradients(tasks, penalty)
        for metrics in gradients:
            self.measured = metrics
            found, skips = self._complete(metrics, skips)
            everyone_skips = skips is not None and bool(skips.all())
            self._step(skips)
            if everyone_skips:
                break
            for name, value in found.items():
                seen.setdefault(name, []).append(value)
        if isinstance(gradients, Generator):
            gradients.close()  # at once, for what it holds
        skipped = next(iter(self.learner.params.values())).new_zeros(len(self.skips.in_a_row))
        skipped = skipped if skips is None else skipped.masked_fill(skips, 1)
        self.skips.end(skipped.tolist())
        means = {
            name: values[0] if len(values) == 1 else torch.stack(values).mean(0)
            for name, values in seen.items()
        }
        counts = {n: torch.full_like(skipped, k) for n, k in self.learner.incidents.items()}
        return {**means, **counts, "skipped": skipped}

    def agent_state(self, index: int) -> dict[str, Any]:
        """Everything agent ``index`` needs to go on: the learner's state, and the optimisers'."""
        return {
            **self.learner.agent_state(index),
            "optimisers": {side: o.agent_state(index) for side, o in self.optimisers.items()},
            "skipped_in_a_row": self.skips.in_a_row[index],
        }

    def load_agent_states(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Take up where every agent left off.

        Raises:
            KeyError: Something is missing in a state.
            RuntimeError: It is another learner's.
        """
        try:
            self.learner.load_agent_states(states)
            for side, optimiser in self.optimisers.items():
                optimiser.load_agent_states([state["optimisers"][side] for state in states])
        except ValueError as error:
            raise RuntimeError(str(error)) from error
        self.skips.in_a_row = [int(state.get("skipped_in_a_row", 0)) for state in states]

    def _own(self, tasks: TaskBatch[Any]) -> TaskBatch[Any]:
        """The tasks that this process works on."""
        if self.processes.count == 1 or self._stacked:
            return tasks
        share = self.processes.share(tasks.num_tasks, "tasks of a meta-batch")
        if not is_divisible(tasks):
            raise UserError(
                f"{type(tasks).__name__} has no `select`: its tasks cannot be shared by "
                f"{self.processes.count} processes"
            )
        return tasks.select(share)

    def _gradients(self, tasks: TaskBatch[Any], penalty: Penalty | None) -> Iterator[Metrics]:
        """The learner's gradients, with that of the penalty."""
        if penalty is None:
            return self.learner.meta_gradients(tasks)
        if not isinstance(self.learner, MetaLearner):
            raise TypeError(f"{type(self.learner).__name__} takes no penalty: leave it out")
        return regularised_gradients(self.learner, tasks, penalty)

    def _complete(
        self, metrics: Metrics, skips: Tensor | None
    ) -> tuple[dict[str, Tensor], Tensor | None]:
        """Make of ``.grad`` what is stepped on: reduced, clipped, 0 where an agent skips.

        Args:
            metrics: Metrics of the learner.
            skips: bool, one per agent: who skips already.

        Returns:
            Metrics, one per agent; and who skips now.

        Raises:
            NonFiniteLossError: An agent skips too often in a row.
        """
        num_agents = len(self.skips.in_a_row)
        means = self._whole(metrics)
        params = [p for p in self.learner.params.values() if p.grad is not None]
        gradients = [p.grad for p in params if p.grad is not None]
        if not self._stacked:
            gradients = [g.unsqueeze(0) for g in gradients]  # [1, ...]
        if self.settings.max_grad_norm is not None and gradients:
            gradients, norms = clip_gradients(gradients, self.settings.max_grad_norm)
        elif gradients:
            norms = gradient_norms(gradients)
        else:
            norms = next(iter(self.learner.params.values())).new_zeros(num_agents)
        means["grad_norm"] = norms
        finite = torch.stack(list(means.values())).isfinite().all(0)  # [agents], everywhere alike
        if not bool(finite.all()):
            bad = ~finite
            new = (bad if skips is None else bad & ~skips).tolist()
            self.skips.note(*_said([n for n, is_new in enumerate(new) if is_new], means))
            skips = bad if skips is None else skips | bad
        if skips is not None:
            gradients = [torch.where(along(skips, g), 0.0, g) for g in gradients]
        for p, gradient in zip(params, gradients, strict=True):
            p.grad = gradient if self._stacked else gradient[0]
        return means, skips

    def _whole(self, metrics: Metrics) -> dict[str, Tensor]:
        """Make ``.grad`` that of the whole meta-batch; metrics ``[agents]`` of it.

        What a process has is a mean over as many tasks as its first metric has numbers, and counts
        as much; a metric of one number is such a mean too. Of agents that are stacked it is its
        part of a sum.
        """
        # [agents, tasks]
        tables = {n: v.detach().reshape(len(self.skips.in_a_row), -1) for n, v in metrics.items()}
        if self.processes.count == 1:
            return {n: t.mean(1) for n, t in tables.items()}  # copies: a replay writes again
        params = list(self.learner.params.values())
        like = precise(params[0].detach())
        counts = [1 if self._stacked else table.shape[1] for table in tables.values()]
        weight = counts[0] if counts else 1
        tables = {n: t * weight if t.shape[1] == 1 else t for n, t in tables.items()}
        counts = [weight if count == 1 else count for count in counts]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in params]
        given = like.new_tensor([p.grad is not None for p in params])
        sums = [table.to(like.dtype).sum(1) for table in tables.values()]
        numbers = like.new_tensor([weight, *counts])
        found = self.processes.total(
            [*(precise(g) * weight for g in gradients), *sums, given, numbers]
        )
        *found, given, numbers = found
        if self._stacked:
            numbers = torch.ones_like(numbers)
        # A process that had no task to say something of has no gradient either.
        for p, whole, has_one in zip(params, found[: len(params)], given.tolist(), strict=True):
            p.grad = (whole / numbers[0]).to(p.dtype) if has_one else None
        means = zip(tables, found[len(params) :], numbers[1:], strict=True)
        return {name: total / number for name, total, number in means}

    def _step(self, skips: Tensor | None) -> None:
        """Take the steps that are due, and leave no gradient behind."""
        params = self.learner.params
        for step in self.learner.due(skips):
            optimiser = self.optimisers[step.side]
            optimiser.step({n: params[n].grad for n in optimiser.params}, step.skips)
            if step.restart is not None:
                optimiser.forget()
                with torch.no_grad():
                    for name, value in step.restart.items():
                        params[name].copy_(value)
        for p in params.values():
            p.grad = None


class Skips:
    """Meta-batches without a finite gradient, agent by agent.

    Attributes:
        most: So many in a row end the training.
        in_a_row: Number that each agent has skipped since its last good one.
    """

    def __init__(self, num_agents: int = 1, most: int = MAX_SKIPPED) -> None:
        self.most = most
        self.in_a_row = [0] * num_agents

    def note(self, agents: Sequence[int], what: str) -> None:
        """Warn of what is not finite.

        Args:
            agents: Agents whose meta-batch is skipped; none: nothing is said.
            what: The event, in words.

        Raises:
            NonFiniteLossError: For some agent it is one too many.
        """
        too_many = [n for n in agents if self.in_a_row[n] + 1 >= self.most]
        if too_many:
            again = f", {self.most} meta-batches in a row" if self.most > 1 else ""
            raise NonFiniteLossError(what + again, too_many)
        if agents:
            logger.warning("a meta-batch was skipped: %s", what)

    def end(self, skipped: Sequence[float]) -> None:
        """Count a meta-batch, of which some agents were skipped."""
        self.in_a_row = [n + 1 if s else 0 for n, s in zip(self.in_a_row, skipped, strict=True)]


def _said(agents: Sequence[int], found: Mapping[str, Tensor]) -> tuple[Sequence[int], str]:
    """Agents without a finite gradient, and what was found of them, in words."""
    values = (
        f"{name} {', '.join(f'{float(value[n]):.4g}' for n in agents)}"
        for name, value in found.items()
    )
    return agents, f"loss or gradient is not finite ({', '.join(values)})"


def load_learner(run: RunDirectory, learner: MetaLearner) -> int:
    """Give a learner the meta-parameters of a run's checkpoint; returns its iteration.

    Raises:
        UserError: The checkpoint is missing or damaged, or it is another learner's.
    """
    state = run.load_checkpoint()
    with run.fits_settings():
        learner.load_state_dict(state["learner"])
    return int(state["iteration"])
