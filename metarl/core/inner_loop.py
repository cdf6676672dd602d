"""The one inner loop: fast parameters of N tasks follow an update rule, slow ones stand still.

``phi_{k+1} = U(phi_k, grad_phi l(phi_k; slow))`` for every task at once. Everything is stacked over
tasks ``[N, ...]`` and nothing is written in place, so that with ``create_graph`` the adapted
parameters can be differentiated with respect to where they began, to the slow parameters and to
what the rule has learned, to any order.

*Features.* Where adaptation moves the last stages of a network alone (ANIL), the stages before them
make the same of the same batch in every inner step. What they make, the features, stands still like
a slow parameter, and takes its place (`run_once`): ``l(phi; slow) = l'(phi; features(slow))``.
Gradients pass through it to what made it, to any order. The slow parameters of the first half are
the same for all tasks, so that their batches go through it as one. Tasks whose support batch is
another in every step repeat nothing, and are left as they are.

*The way back.* With J_k the Jacobian of step k and v the gradient of a function at phi_K, its
gradient where the loop began is ``J_0^T J_1^T ... J_{K-1}^T v``. `rewind` takes it one step at a
time, with the memory of a single step: each product is a vector-Jacobian product of one step, which
is taken again from the recorded phi_k, rule state and batch (activation checkpointing at the level
of inner steps).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic

import torch
from torch import Tensor

from metarl.core.params import Params, cut, gradients, leaves, precise, scope, share
from metarl.core.second_order import refuse_second_derivative
from metarl.core.tasks import BatchT, Halves, Split, TaskBatch, is_staged
from metarl.core.update_rules import EMPTY, State, UpdateRule


@dataclass(frozen=True)
class Point(Generic[BatchT]):
    """The point at which N tasks stood before a step: all it takes to take the step again.

    Attributes:
        fast: phi_k, stacked ``[N, ...]``.
        state: The rule's state before the step.
        batch: The support experience of the step.
    """

    fast: dict[str, Tensor]
    state: State
    batch: BatchT


@dataclass(frozen=True)
class InnerStep(Generic[BatchT]):
    """One step of N tasks, from ``fast`` to ``next_fast``.

    Attributes:
        index: k, from 0.
        fast: phi_k, stacked ``[N, ...]``.
        state: The rule's state before the step.
        batch: The support experience of the step.
        loss: l(phi_k) on that batch ``[N]``.
        grads: Gradient of the loss with respect to phi_k ``[N, ...]``.
        next_fast: phi_{k+1}.
        next_state: The rule's state after the step.
    """

    index: int
    fast: dict[str, Tensor]
    state: State
    batch: BatchT
    loss: Tensor
    grads: dict[str, Tensor]
    next_fast: dict[str, Tensor]
    next_state: State

    @property
    def point(self) -> Point[BatchT]:
        """The point where the step began, without the step."""
        return Point(self.fast, self.state, self.batch)


def inner_step(
    tasks: TaskBatch[BatchT],
    fast: Params,
    slow: Params,
    rule: UpdateRule,
    *,
    state: State,
    batch: BatchT,
    rule_params: Params = EMPTY,
    index: int = 0,
    create_graph: bool = False,
    first_order: bool = False,
) -> InnerStep[BatchT]:
    """Take one step on a batch that has been drawn; see `inner_steps` for the arguments.

    With ``first_order`` the gradient is a constant in the graph that is created.
    """
    if torch.is_inference_mode_enabled():
        raise RuntimeError("adaptation takes gradients: leave torch.inference_mode() for it")
    exact = create_graph and not first_order
    with torch.enable_grad():
        whole = exact and all(p.requires_grad for p in fast.values())
        here = dict(fast) if whole else leaves(fast)
        before = _versions(fast, slow)
        loss = tasks.loss(here, slow, batch)
        _check_not_written(before, fast, slow)
        if tuple(loss.shape) != (tasks.num_tasks,):
            raise ValueError(
                f"the loss of {type(tasks).__name__} has shape {tuple(loss.shape)} where it must "
                f"be ({tasks.num_tasks},): one number per task, a mean within the task, never over "
                "tasks"
            )
        grads = gradients(loss.sum(), here, create_graph=exact)
        if exact:
            refuse_second_derivative(loss, list(grads.values()), here)
    if not exact:
        here, loss = {n: p.detach() for n, p in here.items()}, loss.detach()
    if create_graph and first_order:
        here = dict(fast)
    with torch.set_grad_enabled(create_graph):
        next_fast, next_state = rule.step(here, grads, state, rule_params, first_order=first_order)
    return InnerStep(index, here, state, batch, loss, grads, next_fast, next_state)


def _versions(*groups: Params) -> list[int]:
    """Return the counts of writes in place to each tensor, or to one that shares its numbers."""
    return [p._version for group in groups for p in group.values()]


def _check_not_written(before: list[int], fast: Params, slow: Params) -> None:
    """Check that a loss has left the parameters alone: all tasks and steps share them.

    Raises:
        ValueError: It has not.
    """
    now = _versions(fast, slow)
    if now != before:
        names = [*fast, *slow]
        written = [name for name, a, b in zip(names, before, now, strict=True) if a != b]
        raise ValueError(
            f"the loss writes in place into the parameters {', '.join(written)}, which now have "
            "other values: leave it, such as max_norm of nn.Embedding"
        )


def inner_steps(
    tasks: TaskBatch[BatchT],
    fast: Params,
    slow: Params,
    rule: UpdateRule,
    num_steps: int,
    *,
    rule_params: Params = EMPTY,
    create_graph: bool = False,
    num_first_order: int = 0,
) -> Iterator[InnerStep[BatchT]]:
    """Adapt N tasks for K steps, each on freshly sampled support experience.

    Args:
        tasks: N tasks.
        fast: phi_0, stacked ``[N, ...]`` (`share` stacks one initialisation).
        slow: Slow parameters, stacked ``[N, ...]``; they stand still.
        rule: The update rule.
        num_steps: K.
        rule_params: Learned parameters of the rule, unstacked.
        create_graph: Keep the graph through all steps (second order). Without it every step begins
            from a detached phi_k, memory does not grow with K, and the caller's grad mode does not
            matter.
        num_first_order: So many steps at the start are of first order in that graph: their
            gradients are constants, hence d phi_{k+1} / d phi_k is the identity, and what the rule
            has learned is differentiated through alone.

    Yields:
        The K steps, in order.
    """
    state = rule.init(fast)
    for index in range(num_steps):
        with torch.no_grad():
            batch = tasks.sample(fast, slow, "support")
        step = inner_step(
            tasks,
            fast,
            slow,
            rule,
            state=state,
            batch=batch,
            rule_params=rule_params,
            index=index,
            create_graph=create_graph,
            first_order=index < num_first_order,
        )
        yield step
        fast, state = step.next_fast, step.next_state


# Features, computed once --------------------------------------------------------------------------


PREFIX = "features."
"""The prefix of features among the slow parameters; the name of the split follows."""


@dataclass(frozen=True)
class FeatureTasks(Generic[BatchT]):
    """N tasks whose features are among the slow parameters: a `TaskBatch` of the second half.

    Attributes:
        num_tasks: N.
        halves: Both halves of the loss.
        batches: The batches drawn; no other batch has features.
    """

    num_tasks: int
    halves: Halves[BatchT]
    batches: Mapping[Split, BatchT]

    def sample(self, fast: Params, slow: Params, split: Split) -> BatchT:
        """Return the batch of a split that was drawn."""
        return self.batches[split]

    def loss(self, fast: Params, slow: Params, batch: BatchT) -> Tensor:
        """The second half on the features of the batch, ``[N]``."""
        split = next(s for s, drawn in self.batches.items() if drawn is batch)
        return self.halves.loss(fast, slow, slow[PREFIX + split], batch)


def run_once(
    tasks: TaskBatch[Any], fast: Collection[str], slow: Params, splits: Sequence[Split]
) -> tuple[TaskBatch[Any], dict[str, Tensor]]:
    """Take out of the inner loop what no fast parameter reaches.

    Args:
        tasks: N tasks.
        fast: Names of the fast parameters.
        slow: Slow parameters, unstacked; in grad mode what comes back has a graph to them.
        splits: Splits that the inner loop draws.

    Returns:
        Tasks and slow parameters ``[N, ...]`` for these splits, the same loss: with features where
        the tasks have a first half and draw each split once; else the tasks as they are.
    """
    if not slow or not is_staged(tasks):
        return tasks, share(slow, tasks.num_tasks)
    halves = tasks.halves(fast) if tasks.repeats else None
    if halves is None:
        return tasks, share(slow, tasks.num_tasks)
    with torch.no_grad():
        batches = {split: tasks.draw(split) for split in splits}
    features = {PREFIX + s: halves.features(slow, batch) for s, batch in batches.items()}
    stacked = share(halves.later(slow), tasks.num_tasks)
    return FeatureTasks(tasks.num_tasks, halves, batches), {**stacked, **features}


# The way back -------------------------------------------------------------------------------------


def rewind(
    tasks: TaskBatch[Any],
    path: Sequence[Point[Any] | InnerStep[Any]],
    slow: Params,
    rule: UpdateRule,
    cotangent: Params,
    rule_params: Params = EMPTY,
    num_first_order: int = 0,
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """Carry a gradient at phi_K back to phi_0.

    Args:
        tasks: The tasks the steps were taken on.
        path: Points where steps 0 to K - 1, taken without a graph, began; steps that are the
            identity may be left out, unless the rule's `first_state` has something of phi_0.
        slow: Slow parameters, stacked ``[N, ...]``.
        rule: The update rule.
        cotangent: The gradient with respect to phi_K ``[N, ...]``.
        rule_params: Learned parameters of the rule, unstacked.
        num_first_order: So many of the path's first steps are of first order (`inner_steps`).

    Returns:
        What the loop adds to the gradient: with respect to phi_0 ``[N, ...]``, to those slow
        parameters ``[N, ...]`` that require a gradient, and to the rule's parameters (summed over
        tasks).
    """
    slow, learned = cut(slow), leaves(rule_params)
    of_fast: Params = cotangent
    of_state: Params = _zeros(path[-1].state) if path else {}
    of_slow = _zeros({n: p for n, p in slow.items() if p.requires_grad})
    of_rule = _zeros(learned)
    for index, point in reversed(list(enumerate(path))):
        fast, state = leaves(point.fast), leaves(point.state)
        with torch.enable_grad():
            again = inner_step(
                tasks,
                fast,
                slow,
                rule,
                state=state,
                batch=point.batch,
                rule_params=learned,
                create_graph=True,
                first_order=index < num_first_order,
            )
            # <J, v>, whose gradient is J^T v.
            ends = [(again.next_fast, of_fast), (again.next_state, of_state)]
            products = [(precise(end[n]) * v[n]).sum() for end, v in ends for n in end]
            total = torch.stack([p.to(products[0].dtype) for p in products]).sum()
        of_fast, of_state, more_slow, more_rule = _gradients(total, fast, state, slow, learned)
        of_slow = {n: v + more_slow[n] for n, v in of_slow.items()}
        of_rule = {n: v + more_rule[n] for n, v in of_rule.items()}
    if of_state:
        fast = leaves(path[0].fast)
        made = first_state(rule, fast)
        if made:
            begun = pull_back({n: of_state[n] for n in made}, made, fast)
            of_fast = {n: v + begun[n] for n, v in of_fast.items()}
    return dict(of_fast), of_slow, of_rule


def first_state(rule: UpdateRule, fast: Params) -> dict[str, Tensor]:
    """What a rule makes its first state of, out of phi_0, with a graph to it; mostly nothing."""
    with torch.enable_grad():
        made = rule.init(fast)
    return {name: value for name, value in made.items() if value.requires_grad}


def pull_back(cotangent: Params, made: Params, params: Params) -> dict[str, Tensor]:
    """Carry a gradient with respect to what was made of parameters back to them.

    Args:
        cotangent: The gradient, by the names of ``made``.
        made: Tensors with a graph to the parameters.
        params: The parameters.

    Returns:
        By the names of ``params``.
    """
    if not cotangent:
        return {}
    with torch.enable_grad():
        products = [(precise(made[n]) * v).sum() for n, v in cotangent.items()]
        total = torch.stack([p.to(products[0].dtype) for p in products]).sum()
    return gradients(total, params)


def _zeros(params: Params) -> dict[str, Tensor]:
    """Sums to add to, in at least float32."""
    return {name: torch.zeros_like(precise(p)) for name, p in params.items()}


def _gradients(total: Tensor, *groups: Params) -> list[dict[str, Tensor]]:
    """The gradient with respect to each group of parameters, in one pass."""
    flat = {f"{i}.{n}": p for i, group in enumerate(groups) for n, p in group.items()}
    found = gradients(total, flat)
    return [scope(found, str(i)) for i in range(len(groups))]
