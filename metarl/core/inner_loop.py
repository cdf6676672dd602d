"""The one inner loop: fast parameters of N tasks follow an update rule, slow ones stand still.

``phi_{k+1} = U(phi_k, grad_phi l(phi_k; slow))`` for every task at once. Everything is stacked over
tasks ``[N, ...]`` and nothing is written in place, so that with ``create_graph`` the adapted
parameters can be differentiated with respect to where they began, to the slow parameters and to
what the rule has learned, to any order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from metarl.core.params import Params, gradients, leaves
from metarl.core.second_order import refuse_second_derivative
from metarl.core.tasks import TaskBatch
from metarl.core.update_rules import EMPTY, State, UpdateRule

BatchT = TypeVar("BatchT")


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
