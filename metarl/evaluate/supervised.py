"""Accuracies and errors of adapted networks on N supervised tasks, after 0, 1, ... inner steps.

Batch norm uses the statistics of a batch. Where those of the query images help to classify them,
accuracy is *transductive*: every query is seen among the others. Where they are those of other
images, whose classes are known (the support set), it is not, and a query alone has the same answer.
The two differ by several points, so that both are always measured.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

import torch
from torch import Tensor

from metarl.core import Params, share
from metarl.evaluate.adaptation import Array, Stage, measure
from metarl.meta import MetaLearner
from metarl.supervised.criteria import accuracy, mean_absolute_error, mean_squared_error
from metarl.supervised.examples import Examples
from metarl.supervised.tasks import SupervisedTasks

ExamplesOf = Callable[[SupervisedTasks], Examples]


class AdaptationCurve(NamedTuple):
    """Accuracies of N tasks after S chosen numbers of inner steps: a view of `Adaptation`.

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


class Errors(NamedTuple):
    """Errors of N tasks after 0 to K gradient steps, each ``[N, K + 1]``: a view of `Adaptation`.

    Attributes:
        squared: Mean squared error at the test points.
        absolute: Mean absolute error there.
        batch: Loss on the batch that the next step learns from; at the end on that of one more
            step. It is the family's, for DAML the learned one.
    """

    squared: Array
    absolute: Array
    batch: Array


def adaptation_curve(
    learner: MetaLearner,
    tasks: SupervisedTasks,
    num_steps: int,
    *,
    query: ExamplesOf,
    reference: ExamplesOf,
    at: Collection[int] | None = None,
    chunk_size: int | None = None,
) -> AdaptationCurve:
    """Adapt to tasks, and classify their queries on the way; leaves the learner untouched.

    Args:
        learner: Whose initialisation and update rule.
        tasks: N tasks of classification.
        num_steps: K.
        query: The images ``[n, B, ...]`` of some of the tasks to be judged by; called once per
            chunk.
        reference: Images ``[n, R, ...]`` of them that non-transductive batch norm looks at.
        at: After which numbers of steps to look, out of 0 to K; all if None.
        chunk_size: Tasks that are stacked; all if None.
    """

    def look(part: SupervisedTasks) -> Callable[[Stage], dict[str, Tensor]]:
        queries, known = query(part), reference(part).inputs
        both, num_known = torch.cat([known, queries.inputs], 1), known.shape[1]
        together = adapted_outputs(learner, part, queries.inputs)
        apart = adapted_outputs(learner, part, both, num_known)

        def accuracies(stage: Stage) -> dict[str, Tensor]:
            outputs = {
                "transductive": together(stage.fast),
                "non_transductive": apart(stage.fast)[:, num_known:],
            }
            return {n: accuracy(o.double(), queries.targets) for n, o in outputs.items()}

        return accuracies

    first = tasks.select(slice(None))  # from their first batch on
    found = measure(learner, first, num_steps, look, at=at, chunk_size=chunk_size)
    return AdaptationCurve(found.steps, **found.figures, support_loss=found.losses)


def fit_errors(learner: MetaLearner, tasks: SupervisedTasks, num_steps: int) -> Errors:
    """Adapt to tasks, and measure how far their query points are missed on the way.

    Args:
        learner: Whose initialisation and update rule.
        tasks: N tasks of regression.
        num_steps: K.
    """

    def look(part: SupervisedTasks) -> Callable[[Stage], dict[str, Tensor]]:
        query = part.source.draw("query")
        at_query = adapted_outputs(learner, part, query.inputs)

        def errors(stage: Stage) -> dict[str, Tensor]:
            outputs = at_query(stage.fast)
            return {
                "squared": mean_squared_error(outputs, query.targets),
                "absolute": mean_absolute_error(outputs, query.targets),
            }

        return errors

    first = tasks.select(slice(None))  # from their first batch on
    # One step more than is asked for: its loss is that of the batch after the last one.
    found = measure(learner, first, num_steps + 1, look, at=range(num_steps + 1))
    return Errors(**found.figures, batch=found.losses)


@torch.no_grad()
def adapted_outputs(
    learner: MetaLearner, tasks: SupervisedTasks, inputs: Tensor, num_reference: int = 0
) -> Callable[[Params], Tensor]:
    """Outputs of adapted networks for inputs, as a function of the fast parameters ``[N, ...]``.

    The stages before them are run once, now (`core.run_once`).

    Args:
        learner: Whose slow parameters the networks share.
        tasks: N tasks.
        inputs: ``[N, B, ...]``.
        num_reference: Number of them that normalisation looks at; 0: all (`nn.Network`).

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
