"""Back through the inner loop one step at a time, with the memory of a single step.

With J_k the Jacobian of step k and v the gradient of a function at phi_K, its gradient where the
loop began is ``J_0^T J_1^T ... J_{K-1}^T v``. Each product is a vector-Jacobian product of one
step, which is taken again from the recorded phi_k, rule state and batch: activation checkpointing
at the level of inner steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from metarl.core.inner_loop import InnerStep, Point, inner_step
from metarl.core.params import Params, cut, gradients, leaves, precise, scope
from metarl.core.tasks import TaskBatch
from metarl.core.update_rules import EMPTY, UpdateRule


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
            identity may be left out.
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
    return dict(of_fast), of_slow, of_rule


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
