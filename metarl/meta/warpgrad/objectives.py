"""WarpGrad's meta-objective at one point of a trajectory (Flennerhag et al. 2020, section 3.3).

The fast parameters theta are a *sample* of where adaptation passes; how they came about is not
differentiated, so that the cost does not depend on the number of inner steps. With the inner step
``theta' = U(theta, grad_theta l_task(theta; phi))``, U(theta, g) = theta - alpha g in the paper,
the slow parameters phi have one of the objectives

    exact        l_meta(theta'; phi)                                                     (eq. 11)
    first_order  l_meta(sg[theta']; phi)                                                 (eq. 12)
    replay       l_task(theta; phi), no step: what the published code calls approximate

sg stops the gradient, l_task is the loss on support experience and l_meta on query experience. In
eq. 11 phi stands twice, in the loss and in the gradient of the step, whose derivative is the local
second-order term. What the rule U has learned gets its gradient from eq. 11 alike.

# Deviation: under first_order the rule's own parameters learn too: for them sg is on the gradient
inside the step, which needs no second derivative. By the letter of eq. 12 they would stand still.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import torch
from torch import Tensor

from metarl.core import (
    InnerStep,
    Params,
    TaskBatch,
    UpdateRule,
    cut,
    detached,
    gradients,
    inner_step,
    leaves,
    prefixed,
    scope,
    share,
)
from metarl.errors import check_choice

Objective: TypeAlias = Literal["exact", "first_order", "replay"]
OBJECTIVES: tuple[Objective, ...] = get_args(Objective)


class Look(NamedTuple):
    """The quantities seen from one sample theta of N tasks.

    Attributes:
        step: The inner step from theta to theta', without a graph.
        grads: The gradient of the objective by ``slow.NAME`` and ``rule.NAME``, summed over the
            tasks; a name may be missing: no gradient.
        ahead: ``query_loss``, l_meta(theta') ``[N]``; nothing where no step is looked ahead.
    """

    step: InnerStep[Any]
    grads: dict[str, Tensor]
    ahead: dict[str, Tensor]


def look(
    objective: Objective,
    tasks: TaskBatch[Any],
    fast: Params,
    state: Params,
    slow: Params,
    rule: UpdateRule,
    rule_params: Params,
    index: int = 0,
) -> Look:
    """Evaluate an objective on freshly sampled experience.

    Args:
        objective: Name of the objective.
        tasks: N tasks.
        fast: The sample theta ``[N, ...]``; it is not written to, no gradient flows into it.
        state: The rule's state there.
        slow: phi, unstacked.
        rule: The update rule U.
        rule_params: Learned parameters of the rule, unstacked.
        index: k, for the step that comes back.

    Returns:
        The inner step, and what it says about phi and the rule.
    """
    fast, state = detached(fast), detached(state)
    shared, learned = cut(slow), leaves(rule_params)
    with torch.enable_grad():
        stacked = share(shared, tasks.num_tasks)
    with torch.no_grad():
        batch = tasks.sample(fast, detached(stacked), "support")
    if objective == "replay":
        return _replay(tasks, fast, state, shared, rule, learned, batch, index)
    exact = objective == "exact"
    step = inner_step(
        tasks,
        leaves(fast),
        stacked if exact else detached(stacked),
        rule,
        state=state,
        batch=batch,
        rule_params=learned,
        index=index,
        create_graph=exact,
    )
    with torch.enable_grad():
        if exact:
            adapted = step.next_fast
        else:
            adapted, _ = rule.step(step.fast, step.grads, state, learned)
        with torch.no_grad():
            query = tasks.sample(detached(adapted), detached(stacked), "query")
        loss = tasks.loss(adapted, stacked, query)
    grads = gradients(loss.sum(), {**prefixed(shared, "slow"), **prefixed(learned, "rule")})
    return Look(_without_graph(step), grads, {"query_loss": loss.detach()})


def _without_graph(step: InnerStep[Any]) -> InnerStep[Any]:
    """Return a step as constants."""
    return replace(
        step,
        fast=detached(step.fast),
        loss=step.loss.detach(),
        grads=detached(step.grads),
        next_fast=detached(step.next_fast),
        next_state=detached(step.next_state),
    )


def check_settings(objective: Objective, learned: Params, initialisation: object) -> None:
    """Check that the objective is known, and that the learner learns something.

    Args:
        objective: Name of the objective.
        learned: The parameters that it trains: slow ones, and the rule's own.
        initialisation: Objective of the initialisation, or None.

    Raises:
        ValueError: See above.
    """
    check_choice("objective", objective, OBJECTIVES)
    if not any(p.requires_grad for p in learned.values()) and initialisation is None:
        raise ValueError(
            "nothing is learned: name slow parameters (slow=), learn the rule's own, or give an "
            "initialisation objective"
        )


def _replay(
    tasks: TaskBatch[Any],
    fast: Params,
    state: Params,
    slow: Params,
    rule: UpdateRule,
    learned: Params,
    batch: Any,
    index: int,
) -> Look:
    """The task loss itself: one pass gives the slow gradient and that of the step."""
    here = leaves(fast)
    with torch.enable_grad():
        loss = tasks.loss(here, share(slow, tasks.num_tasks), batch)
    found = gradients(loss.sum(), {**prefixed(here, "fast"), **prefixed(slow, "slow")})
    grads = scope(found, "fast")
    with torch.no_grad():
        next_fast, next_state = rule.step(fast, grads, state, learned)
    step = InnerStep(index, dict(fast), state, batch, loss.detach(), grads, next_fast, next_state)
    return Look(step, prefixed(scope(found, "slow"), "slow"), {})
