"""The contract of meta-learners: meta-parameters, a meta-gradient, adaptation to new tasks.

The meta-parameters have three sides, told apart by the prefix of their names: ``fast.`` (where
adaptation begins), ``slow.`` (what stands still while it goes on) and ``rule.`` (what the update
rule has learned). A learner turns a meta-batch of tasks into their gradient; an ordinary
`torch.optim` optimiser steps on it:

    for metrics in learner.meta_gradients(tasks):
        optimiser.step()
        optimiser.zero_grad()

A term of the meta-objective that does not depend on adaptation, a penalty on theta, goes with any
learner (`regularised_gradients`).

To add a learner, subclass `TaskwiseLearner` and write `task_gradients`: `maml.py` is the example.
Its settings stand beside it, and a line in `metarl.methods` gives it to every script.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, NamedTuple, TypeAlias

import torch
from torch import Tensor

from metarl.core import (
    Execution,
    InnerStep,
    Model,
    Params,
    Split,
    TaskBatch,
    UpdateRule,
    add_to_grads,
    detached,
    frozen,
    gradients,
    inner_steps,
    named_params,
    partition,
    prefixed,
    run_once,
    scope,
    share,
)
from metarl.core.update_rules import check_rule
from metarl.errors import UserError
from metarl.meta.task_views import Noted, check_offers, explained

Metrics: TypeAlias = dict[str, Tensor]
"""Metrics of every task, ``[N]``, without a graph."""


class SideStep(NamedTuple):
    """A step of one side of the meta-parameters on what lies in their ``.grad``.

    Attributes:
        side: One of `MetaLearner.sides`.
        skips: bool, one per agent: those that keep weights and moments; None: no agent.
        restart: Values by name that the parameters go back to after the step, where also the
            optimiser begins again; None: it goes on.
    """

    side: str
    skips: Tensor | None = None
    restart: Params | None = None


class MetaLearner(ABC):
    """Meta-parameters and what is done with them.

    Attributes:
        params: The meta-parameters by name, unstacked leaf tensors; their values change in place
            when an optimiser steps, and at no other time.
        frozen: Parameters of a module that had ``requires_grad=False``, by name: networks read them
            as they read slow ones, but nothing adapts or learns them.
        rule: The update rule of the inner loop.
        num_steps: K, inner steps per task in meta-training.
        execution: Number of tasks that are worked on at a time.
        compilable: The meta-gradient branches on no value, so that it can be compiled.
        asks: Names of what it asks of tasks beside what every `TaskBatch` has.
        num_agents: Agents that are stacked on a leading axis of ``params``; None: there is one
            agent, and no such axis.
    """

    num_agents: ClassVar[int | None] = None
    compilable: ClassVar[bool] = False
    asks: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        params: Model,
        *,
        rule: UpdateRule,
        num_steps: int,
        slow: Sequence[str] = (),
        execution: Execution | None = None,
    ) -> None:
        """Copy a model's parameters, split by the name patterns of the slow ones.

        Args:
            params: Those of one network, by name; or a module. They are copied: the model
                itself stays as it is (`model_params` goes back into it).
            rule: Update rule by which fast parameters adapt.
            num_steps: K.
            slow: Name patterns of what stands still while tasks adapt.
            execution: Number of tasks that are worked on at a time.

        Raises:
            ValueError: ``num_steps`` is below 1, or nothing adapts: all is slow or frozen.
            TypeError: ``rule`` is no update rule, or ``params`` holds no parameters.
        """
        if num_steps < 1:
            raise ValueError(f"num_steps must be at least 1, got {num_steps}")
        check_rule(rule)
        params = named_params(params)
        fast_side, slow_side = partition(params, slow=slow).split(params)
        self.frozen = {n: p.detach().clone() for n, p in frozen(params).items()}
        fast_side, slow_side = (
            {n: p for n, p in side.items() if n not in self.frozen}
            for side in (fast_side, slow_side)
        )
        if not fast_side:
            raise ValueError(
                f"nothing adapts: of {len(params)} parameters {len(self.frozen)} are frozen "
                "(requires_grad=False), and none of the others is fast"
            )
        sides = {"fast": fast_side, "slow": slow_side, "rule": rule.parameters(fast_side)}
        self.params: dict[str, Tensor] = {
            f"{side}.{name}": p.detach().clone().requires_grad_()
            for side, named in sides.items()
            for name, p in named.items()
        }
        self._names = tuple(params)
        self.rule, self.num_steps = rule, num_steps
        self.execution = execution or Execution()
        if self.execution.compile and not self.compilable:
            raise UserError(
                f"{type(self).__name__} cannot be compiled: leave out `compile` (--compile)"
            )

    def to(self, dtype: torch.dtype) -> None:
        """Give the meta-parameters another precision, before an optimiser or a graph has them.

        What the rule learns is kept in single precision at least.
        """
        of_rule = torch.promote_types(dtype, torch.float32)
        self.params = {
            n: p.detach().to(of_rule if n.startswith("rule.") else dtype).requires_grad_()
            for n, p in self.params.items()
        }
        self.frozen = {n: p.to(dtype) for n, p in self.frozen.items()}

    @property
    def fast(self) -> dict[str, Tensor]:
        """Parameters where adaptation begins, unstacked; the frozen too, by the model's names."""
        return {**scope(self.params, "fast"), **self.frozen}

    @property
    def adapting(self) -> dict[str, Tensor]:
        """Parameters that inner steps move, unstacked: the fast ones but for the frozen."""
        return scope(self.params, "fast")

    @property
    def slow(self) -> dict[str, Tensor]:
        """Parameters that all tasks share, unstacked; the frozen as well."""
        return {**scope(self.params, "slow"), **self.frozen}

    @property
    def model_params(self) -> dict[str, Tensor]:
        """The model's parameters where adaptation begins, unstacked, by its names, in its order.

        Copies without a graph: ``net.load_state_dict(learner.model_params)`` puts what was learned
        into a module (``strict=False`` where it has buffers, or one parameter under two names).
        """
        own = {**self.fast, **self.slow}
        return {name: own[name].detach().clone() for name in self._names}

    @property
    def rule_params(self) -> dict[str, Tensor]:
        """Parameters that the rule has learned."""
        return scope(self.params, "rule")

    @property
    def incidents(self) -> dict[str, int]:
        """Counts of incidents in the last meta-batch, by name: all that did not go as planned.

        It was survived: a run's metrics say how often it happens.
        """
        return {}

    @property
    def shareable(self) -> bool:
        """Whether processes may share a meta-batch: what each learns is added up."""
        return True

    @property
    def sides(self) -> dict[str, list[str]]:
        """Names of ``params``, by the first word: each side has an optimiser of its own."""
        sides: dict[str, list[str]] = {}
        for name in self.params:
            sides.setdefault(name.partition(".")[0], []).append(name)
        return sides

    def due(self, skips: Tensor | None) -> Sequence[SideStep]:
        """Return the sides that step on a gradient that is complete: all that have one, by default.

        Called by what drives the learner, between `meta_gradients`' yield and the step, when
        ``.grad`` has been clipped and found finite; a learner that lets gradients pile up takes
        them from there, and leaves there what is stepped on.

        Args:
            skips: bool, one per agent: whose gradient was not finite and has been set to 0; None:
                all were.
        """
        return [SideStep(side, skips) for side in self.sides]

    def meta_gradients(self, tasks: TaskBatch[Any]) -> Iterator[Metrics]:
        """Learn from a meta-batch: add to ``.grad`` of the meta-parameters.

        Args:
            tasks: N tasks.

        Yields:
            Metrics, each time a gradient is complete: the caller steps on it and zeroes it before
            going on. Most learners yield once per meta-batch. A meta-parameter whose gradient is
            not due has ``.grad`` None. What the tasks say of all that was drawn so far, such as
            their returns, is among the metrics (`core.MeasuredTaskBatch`).
        """
        if isinstance(tasks, Noted) or not hasattr(tasks, "measured"):
            yield from self._gradients(tasks)
            return
        noted: Noted[Any] = Noted(tasks)
        for metrics in self._gradients(noted):
            yield {**metrics, **noted.metrics}

    @abstractmethod
    def _gradients(self, tasks: TaskBatch[Any]) -> Iterator[Metrics]:
        """Yield the learner's own metrics, each time a gradient is complete."""

    def initial_fast(self, tasks: TaskBatch[Any]) -> dict[str, Tensor]:
        """Return the parameters where adaptation to these tasks begins, stacked ``[N, ...]``."""
        return share(self.adapting, tasks.num_tasks)

    def standing_still(
        self, tasks: TaskBatch[Any], *splits: Split
    ) -> tuple[TaskBatch[Any], dict[str, Tensor]]:
        """Tasks for the inner loop, and what stands still in it.

        Features in the place of slow parameters that only they depend on (`core.run_once`).

        Args:
            tasks: N tasks.
            splits: Splits to be drawn of the tasks that come back.

        Returns:
            The tasks, and slow parameters ``[N, ...]``, in grad mode with their graph.
        """
        return run_once(tasks, self.adapting.keys(), self.slow, splits)

    def differentiable_adaptation(
        self,
        tasks: TaskBatch[Any],
        slow: Params,
        *,
        create_graph: bool = True,
        num_first_order: int = 0,
    ) -> Iterator[InnerStep[Any]]:
        """Adapt to tasks for K steps, with a graph back to the meta-parameters, in grad mode.

        Args:
            tasks: N tasks.
            slow: The slow parameters, stacked ``[N, ...]`` with their graph (`core.share`, or
                `standing_still` with its tasks).
            create_graph: Keep the graph; without it every step begins from a constant.
            num_first_order: So many steps at the start are of first order (`core.inner_steps`).
        """
        return inner_steps(
            tasks,
            share(self.adapting, tasks.num_tasks),
            slow,
            self.rule,
            self.num_steps,
            rule_params=self.rule_params,
            create_graph=create_graph,
            num_first_order=num_first_order,
        )

    def adaptation(self, tasks: TaskBatch[Any], num_steps: int) -> Iterator[InnerStep[Any]]:
        """Adapt to tasks step by step, without a graph; leaves the learner untouched."""
        check_offers(tasks, self)
        with torch.no_grad():
            fast = self.initial_fast(tasks)
        with self.explained(tasks):
            with torch.no_grad():
                views, slow = self.standing_still(tasks, "support")
            yield from inner_steps(
                views, fast, slow, self.rule, num_steps, rule_params=self.rule_params
            )

    def explained(self, tasks: TaskBatch[Any]) -> AbstractContextManager[None]:
        """Within it, errors that come out of the tasks, or of torch in them, are said in words."""
        return explained(
            tasks, lambda: (self.initial_fast(tasks), share(self.slow, tasks.num_tasks))
        )

    def adapt(self, tasks: TaskBatch[Any], num_steps: int) -> dict[str, Tensor]:
        """The fast parameters ``[N, ...]`` after ``num_steps`` (at least 0) inner steps.

        Frozen ones are among them, as they were.
        """
        if num_steps < 0:
            raise ValueError(f"num_steps must be at least 0, got {num_steps}")
        with torch.no_grad():
            fast = self.initial_fast(tasks)
        for step in self.adaptation(tasks, num_steps) if num_steps else ():
            fast = step.next_fast
        whole = {**share(self.frozen, tasks.num_tasks), **fast}
        return detached(whole)

    def state_dict(self) -> dict[str, Any]:
        """Everything the learner needs to go on; tensors are copies."""
        state = {"params": {name: p.detach().clone() for name, p in self.params.items()}}
        if self.frozen:
            state["frozen"] = {name: p.detach().clone() for name, p in self.frozen.items()}
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where `state_dict` left off.

        Raises:
            ValueError: The names or shapes are not this learner's.
        """
        own = {**self.params, **prefixed(self.frozen, "frozen")}
        saved = {**state["params"], **prefixed(state.get("frozen", {}), "frozen")}
        if saved.keys() != own.keys():
            odd = sorted(saved.keys() ^ own.keys())
            raise ValueError(f"these parameters are on one side only: {', '.join(odd)}")
        for name, p in own.items():
            if saved[name].shape != p.shape:
                raise ValueError(
                    f"{name} is {tuple(saved[name].shape)} in the state, {tuple(p.shape)} here"
                )
        with torch.no_grad():
            for name, p in own.items():
                p.copy_(saved[name])

    def agent_state(self, index: int) -> dict[str, Any]:
        """Everything one of the agents needs to go on; here is one."""
        return self.state_dict()

    def load_agent_states(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Take up where `agent_state` of all agents left off.

        Raises:
            ValueError: The names or shapes are not this learner's.
        """
        (state,) = states
        self.load_state_dict(state)


Penalty: TypeAlias = Callable[[Params, Params, Sequence[Any]], Tensor]
"""A scalar to be small, of the fast and the slow meta-parameters, unstacked, and of the first
batches to adapt by that the learner has drawn, one for each chunk of the tasks."""


def regularised_gradients(
    learner: MetaLearner, tasks: TaskBatch[Any], penalty: Penalty
) -> Iterator[Metrics]:
    """`MetaLearner.meta_gradients` with the penalty's gradient in every one that is complete.

    Parameters whose gradient is not due are left alone, as by the learner.

    Args:
        learner: Learns.
        tasks: N tasks.
        penalty: Called each time, after the learner has drawn from the tasks.

    Yields:
        The learner's metrics and ``penalty``, ``[1]``.
    """
    noted: Noted[Any] = Noted(tasks)
    for metrics in learner.meta_gradients(noted):
        due = {name: p for name, p in learner.params.items() if p.grad is not None}
        with torch.enable_grad():
            value = penalty(learner.fast, learner.slow, noted.first)
        add_to_grads(learner.params, gradients(value, due))
        yield {**metrics, **noted.metrics, "penalty": value.detach().view(1)}
