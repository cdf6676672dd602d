"""Supervised tasks as a learner sees them: a network, examples to draw, a criterion."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass, replace
from inspect import Parameter, signature
from typing import ClassVar, Protocol, Self

import torch
from torch import Tensor, nn

from metarl.core import Params, Split
from metarl.core.pure import is_ours
from metarl.nn import ModuleNetwork
from metarl.nn.reference import by_reference
from metarl.supervised.criteria import Criterion
from metarl.supervised.examples import Examples
from metarl.supervised.halves import NetworkHalves, network_halves


class Source(Protocol):
    """A source of the examples of N tasks.

    A few-shot batch gives the same support and query sets every time; a larger data set draws a
    minibatch. What a task draws does not depend on which other tasks are there. A source that
    gives the same sets every time may say so: ``repeats = True``.
    """

    @property
    def num_tasks(self) -> int:
        """Number of tasks, N."""

    def draw(self, split: Split) -> Examples:
        """Inputs ``[N, B, ...]`` and targets ``[N, B, ...]``."""

    def select(self, tasks: slice) -> Self:
        """Return a source of these tasks alone."""


@dataclass(frozen=True)
class SupervisedTasks:
    """N tasks of one network: a divisible `TaskBatch`.

    Attributes:
        network: One of `metarl.nn`; a module, which stands for `nn.ModuleNetwork` of it; or any
            function of ``(params, inputs)`` like them, which may take ``num_reference`` as well.
        source: Source of the examples.
        criterion: The loss of each task.
    """

    network: Callable[..., Tensor]
    source: Source
    criterion: Criterion

    def __post_init__(self) -> None:
        """Turn a module into a network."""
        if isinstance(self.network, nn.Module):
            object.__setattr__(self, "network", ModuleNetwork(self.network))

    @property
    def num_tasks(self) -> int:
        """Number of tasks, N."""
        return self.source.num_tasks

    def sample(self, fast: Params, slow: Params, split: Split) -> Examples:
        """Draw examples; the parameters do not matter."""
        return self.draw(split)

    def draw(self, split: Split) -> Examples:
        """Draw examples."""
        return self.source.draw(split)

    @property
    def loss_identity(self) -> Hashable:
        """The identity of the loss, without parameters and examples."""
        return type(self), self.network, self.criterion

    def loss(self, fast: Params, slow: Params, batch: Examples) -> Tensor:
        """The criterion ``[N]``, normalisation over the whole batch."""
        return self.criterion(self.outputs(fast, slow, batch.inputs), batch.targets)

    def outputs(self, fast: Params, slow: Params, inputs: Tensor, num_reference: int = 0) -> Tensor:
        """Compute the networks' outputs for inputs ``[N, B, ...]``: ``[N, B, D]``.

        Raises:
            ValueError: There are reference examples, and the network takes no notice of them though
                its outputs depend on other examples.
        """
        network, params = self.network, {**fast, **slow}
        if not num_reference:
            return network(params, inputs)
        if is_ours(network):
            return network(params, inputs, num_reference)
        reference = {"num_reference": num_reference} if takes_reference(network) else {}
        return by_reference(
            lambda x: network(params, x, **reference), inputs, num_reference, repr(network)
        )

    @property
    def repeats(self) -> bool:
        """Whether a split is the same batch whenever it is drawn."""
        return bool(getattr(self.source, "repeats", False))

    def halves(self, fast: Collection[str]) -> NetworkHalves | None:
        """The loss before and after the first of these parameters; None: nothing comes before.

        A subclass with a loss of its own has none.
        """
        kind = type(self)
        own = all(getattr(kind, n) is getattr(SupervisedTasks, n) for n in DEFINE_THE_LOSS)
        return network_halves(self.network, self.criterion, fast) if own else None

    def select(self, tasks: slice) -> SupervisedTasks:
        """Return a batch of these tasks alone."""
        return replace(self, source=self.source.select(tasks))


@dataclass(frozen=True)
class ShowingTasks(SupervisedTasks):
    """Tasks that show a learned loss (`meta.DAML`) their inputs, and what the network says."""

    thread_safe: ClassVar[bool] = True

    def features(self, fast: Params, slow: Params, batch: Examples) -> Tensor:
        """Return input and prediction side by side, ``[N, B, 2]`` of functions of a line."""
        return torch.cat([batch.inputs, self.outputs(fast, slow, batch.inputs)], -1)

    def select(self, tasks: slice) -> ShowingTasks:
        """Return these tasks alone."""
        return replace(self, source=self.source.select(tasks))


def takes_reference(network: Callable[..., Tensor]) -> bool:
    """Whether a function takes ``num_reference``."""
    parameters = signature(network).parameters
    return "num_reference" in parameters or any(
        p.kind is Parameter.VAR_KEYWORD for p in parameters.values()
    )


DEFINE_THE_LOSS = ("sample", "draw", "loss", "outputs")
"""The methods that `SupervisedTasks.halves` speaks for."""
