"""What learners are judged by, all alike: held-out drawings after 100 steps on an alphabet."""

from __future__ import annotations

from collections.abc import Collection

import torch

from experiments.omniglot.multishot_settings import MultiShotSettings
from experiments.omniglot.multishot_tasks import AlphabetBatch, fresh_heads
from metarl.evaluate.adaptation import Array
from metarl.evaluate.adaptation_curve import AdaptationCurve, adaptation_curve
from metarl.meta import MetaLearner
from metarl.nn import Network
from metarl.seeding import stream
from metarl.supervised import AlphabetBatches, AlphabetTasks, Examples
from metarl.supervised.criteria import cross_entropy
from metarl.supervised.tasks import SupervisedTasks

REFERENCE_IMAGES = 300
"""Training images (at least) whose statistics non-transductive batch norm takes."""


def measure(
    settings: MultiShotSettings,
    network: Network,
    learner: MetaLearner,
    alphabets: AlphabetTasks,
    seed: int,
    at: Collection[int],
) -> AdaptationCurve:
    """Adapt to alphabets, and classify their held-out drawings on the way.

    Args:
        settings: How images are drawn, and for how many steps.
        network: Of the learner.
        learner: It.
        alphabets: To be judged by, each once.
        seed: Of images and distortions.
        at: After which numbers of steps to look.
    """
    count = len(alphabets)
    batches = AlphabetBatches.start(alphabets, range(count), settings.images, (seed,))
    heads = {}
    if settings.head_reset:
        heads = fresh_heads(network, learner.fast, count, stream(seed, 0))
    # Their numbers are not those of training alphabets: nothing may look at them.
    indices = torch.full((count,), -1)
    return adaptation_curve(
        learner,
        AlphabetBatch(network, batches, cross_entropy, indices, heads),
        settings.test_steps,
        query=lambda tasks: tasks.source.draw("query"),
        reference=_reference,
        at=at,
        chunk_size=settings.execution(alphabets.train.inputs.device).stacked,
    )


def area_under(curve: Array) -> Array:
    """The mean height of curves ``[N, T]`` by trapezoids, ``[N]``: a constant's is itself.

    # Deviation: the published code divides the area by T, not by the T - 1 it is wide.
    """
    if curve.shape[1] == 1:
        return curve[:, 0]
    area: Array = (0.5 * (curve[:, 1:] + curve[:, :-1])).mean(1)
    return area


def _reference(tasks: SupervisedTasks) -> Examples:
    """Training images, as many as the training set has."""
    drawn = [tasks.source.draw("support")]
    while sum(d.inputs.shape[1] for d in drawn) < REFERENCE_IMAGES:
        drawn.append(tasks.source.draw("support"))
    return Examples(
        torch.cat([d.inputs for d in drawn], 1), torch.cat([d.targets for d in drawn], 1)
    )
