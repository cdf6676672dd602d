"""How well N supervised tasks are classified after 0, 1, ... inner steps.

Batch norm uses the statistics of a batch. Where those of the query images help to classify them,
accuracy is *transductive*: every query is seen among the others. Where they are those of other
images, whose classes are known (the support set), it is not, and a query alone has the same answer.
The two differ by several points, so that both are always measured.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarl.core import Params, share
from metarl.meta import MetaLearner
from metarl.supervised.criteria import accuracy
from metarl.supervised.examples import Examples
from metarl.supervised.tasks import SupervisedTasks

Array = NDArray[np.float64]
Split = Callable[[SupervisedTasks], Examples]


class AdaptationCurve(NamedTuple):
    """What N tasks come to after S chosen numbers of inner steps.

    Attributes:
        steps: The numbers of inner steps ``[S]``, rising.
        transductive: Fraction of the queries that is right, normalised together, ``[N, S]``.
        non_transductive: The same, normalised as the reference images are, ``[N, S]``.
        support_loss: Loss on the batch that each of the K steps learned from, ``[N, K]``.
    """

    steps: tuple[int, ...]
    transductive: Array
    non_transductive: Array
    support_loss: Array


def adaptation_curve(
    learner: MetaLearner,
    tasks: SupervisedTasks,
    num_steps: int,
    *,
    query: Split,
    reference: Split,
    at: Collection[int] | None = None,
    chunk_size: int | None = None,
) -> AdaptationCurve:
    """Adapt to tasks, and classify their queries on the way; leaves the learner untouched.

    Args:
        learner: Whose initialisation and update rule.
        tasks: N tasks of classification.
        num_steps: K.
        query: The images ``[n, B, ...]`` of some of the tasks to be judged by; called once a chunk.
        reference: Images ``[n, R, ...]`` of them that non-transductive batch norm looks at.
        at: After which numbers of steps to look, out of 0 to K; all if None.
        chunk_size: Tasks that are stacked; all if None.
    """
    chosen = tuple(sorted(range(num_steps + 1) if at is None else set(at)))
    if not chosen or chosen[0] < 0 or chosen[-1] > num_steps:
        raise ValueError(f"at must be numbers of steps from 0 to {num_steps}, got {chosen}")
    size = chunk_size or tasks.num_tasks
    parts = [
        _one_chunk(learner, tasks.select(slice(i, i + size)), num_steps, query, reference, chosen)
        for i in range(0, tasks.num_tasks, size)
    ]
    columns = (torch.cat(side).double().cpu().numpy() for side in zip(*parts, strict=True))
    return AdaptationCurve(chosen, *columns)


def _one_chunk(
    learner: MetaLearner,
    tasks: SupervisedTasks,
    num_steps: int,
    query: Split,
    reference: Split,
    chosen: tuple[int, ...],
) -> tuple[Tensor, Tensor, Tensor]:
    """Transductive and non-transductive accuracy ``[n, S]``, and losses ``[n, K]``."""
    queries, known = query(tasks), reference(tasks).inputs
    both = torch.cat([known, queries.inputs], 1)
    num_known = known.shape[1]
    together = adapted_outputs(learner, tasks, queries.inputs)
    apart = adapted_outputs(learner, tasks, both, num_known)
    rows: list[tuple[Tensor, ...]] = []
    losses: list[Tensor] = []

    @torch.no_grad()
    def look(index: int, fast: dict[str, Tensor]) -> None:
        if index not in chosen:
            return
        outputs = (together(fast), apart(fast)[:, num_known:])
        rows.append(tuple(accuracy(logits.double(), queries.targets) for logits in outputs))

    if num_steps == 0:
        look(0, learner.initial_fast(tasks))
    for step in learner.adaptation(tasks, num_steps):
        look(step.index, step.fast)
        losses.append(step.loss)
        if step.index == num_steps - 1:
            look(num_steps, step.next_fast)
    transductive, non_transductive = (torch.stack(side, 1) for side in zip(*rows, strict=True))
    empty = transductive.new_zeros(tasks.num_tasks, 0)
    return transductive, non_transductive, torch.stack(losses, 1) if losses else empty


@torch.no_grad()
def adapted_outputs(
    learner: MetaLearner, tasks: SupervisedTasks, inputs: Tensor, num_reference: int = 0
) -> Callable[[Params], Tensor]:
    """What adapted networks make of inputs: a function of the fast parameters ``[N, ...]``.

    The stages before them are run once, now (`core.run_once`).

    Args:
        learner: Whose slow parameters the networks share.
        tasks: N tasks.
        inputs: ``[N, B, ...]``.
        num_reference: How many of them normalisation looks at; 0: all (`nn.Network`).

    Returns:
        The function; its outputs are ``[N, B, D]``.
    """
    halves = tasks.halves(learner.adapting)
    if halves is None:
        slow = share(learner.slow, tasks.num_tasks)
        return lambda fast: tasks.outputs(fast, slow, inputs, num_reference)
    features = halves.of_inputs(learner.slow, inputs, num_reference)
    later = share(halves.later(learner.slow), tasks.num_tasks)
    return lambda fast: halves.outputs(fast, later, features, num_reference)
