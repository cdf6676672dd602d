"""Regression tasks as the experiment draws them, and the networks that learn them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from experiments.learners import WARP_METHODS, LearnedLoss, make_learner
from experiments.regression.settings import TrainSettings
from metarl.core import Params
from metarl.meta import MetaLearner
from metarl.nn import MLP, Network, WarpMLP
from metarl.supervised import (
    REGRESSION_FAMILIES,
    Examples,
    FewShotBatch,
    RegressionFamily,
    TwoDomainSine,
)
from metarl.supervised.minibatches import in_minibatches
from metarl.supervised.tasks import Source, SupervisedTasks


@dataclass(frozen=True)
class RegressionTasks(SupervisedTasks):
    """Tasks that show a learned loss (DAML) their inputs and what the network makes of them."""

    thread_safe: ClassVar[bool] = True

    def features(self, fast: Params, slow: Params, batch: Examples) -> Tensor:
        """Input and prediction, ``[N, B, 2]``."""
        return torch.cat([batch.inputs, self.outputs(fast, slow, batch.inputs)], -1)

    def select(self, tasks: slice) -> RegressionTasks:
        """These tasks alone."""
        return replace(self, source=self.source.select(tasks))


def make_family(settings: TrainSettings) -> RegressionFamily:
    """The distribution of functions."""
    return REGRESSION_FAMILIES[settings.family]


def make_network(settings: TrainSettings) -> Network:
    """A perceptron, with warp layers where the learner learns them."""
    plain = MLP((1, *settings.hidden, 1), settings.activation)
    return WarpMLP(plain, start="identity") if settings.method in WARP_METHODS else plain


def make_untrained(
    settings: TrainSettings, generator: torch.Generator, device: torch.device
) -> MetaLearner:
    """The learner before its first iteration.

    Args:
        settings: Of the run.
        generator: Draws the initial parameters.
        device: Where they live.
    """
    network, loss = make_network(settings), MLP((2, 40, 40, 1), "tanh")
    params = _on(network.init(generator), device)
    learned_loss = LearnedLoss(loss, _on(loss.init(generator), device))
    return make_learner(
        settings.method, network, params, settings.learner, learned_loss=learned_loss
    )


def draw_tasks(
    settings: TrainSettings,
    network: Network,
    num_tasks: int,
    points: tuple[int, int],
    generator: torch.Generator,
    device: torch.device,
    *,
    batches: tuple[int, int] | None = None,
) -> RegressionTasks:
    """Draw new tasks.

    Args:
        settings: Of the run.
        network: That learns them.
        num_tasks: N.
        points: How many to adapt with, and how many others to be judged by.
        generator: Draws functions, points and the order of the points.
        device: Where the tasks live.
        batches: How many points an inner step, and how many steps; None: all points, every step.
    """
    family = make_family(settings)
    if isinstance(family, TwoDomainSine):
        batch = _two_domains(family, num_tasks, points, generator, device)
    else:
        batch = family.sample_tasks(num_tasks, *points, generator, device)
    source: Source = batch
    if batches is not None:
        # One more than the steps: some learners look at where the last one led.
        source = in_minibatches(batch, batches[0], batches[1] + 1, generator)
    return RegressionTasks(network, source, type(family).criterion)


def _two_domains(
    family: TwoDomainSine,
    num_tasks: int,
    points: tuple[int, int],
    generator: torch.Generator,
    device: torch.device,
) -> FewShotBatch:
    """Adapt with inputs of the source domain, which have no targets: these are NaN."""
    params = family.sample(num_tasks, generator, device)
    shown = family.sample_source(params, points[0], generator)
    query = family.sample_examples(params, points[1], generator)
    return FewShotBatch(Examples(shown, torch.full_like(shown, torch.nan)), query)


def _on(params: Params, device: torch.device) -> dict[str, Tensor]:
    return {name: p.to(device) for name, p in params.items()}
