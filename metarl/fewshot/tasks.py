"""Supervised tasks as a learner sees them: a network, examples to draw, a criterion."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from inspect import Parameter, signature
from threading import RLock
from typing import Protocol, Self

from torch import Tensor

from metarl.core import Params, Split
from metarl.fewshot.criteria import Criterion
from metarl.fewshot.examples import Examples
from metarl.nn import Network


class Source(Protocol):
    """Where the examples of N tasks come from.

    A few-shot batch gives the same support and query sets every time; a larger data set draws a
    minibatch. What a task draws does not depend on which other tasks are there.
    """

    @property
    def num_tasks(self) -> int:
        """N."""

    def draw(self, split: Split) -> Examples:
        """Inputs ``[N, B, ...]`` and targets ``[N, B, ...]``."""

    def select(self, tasks: slice) -> Self:
        """These tasks alone."""


@dataclass(frozen=True)
class SupervisedTasks:
    """N tasks of one network: a divisible `TaskBatch`.

    Attributes:
        network: One of `metarl.nn`, a pure function of its parameters; or any function
            ``(params, inputs)``, such as `torch.func.functional_call` of a module under
            `torch.vmap`. What such a function calls may be shared between threads (that call swaps
            a module's own parameters), so that calls wait for each other. It may take
            ``num_reference`` as a third argument (`nn.Network`).
        source: Where examples come from.
        criterion: The loss of each task.
    """

    network: Network
    source: Source
    criterion: Criterion

    @property
    def num_tasks(self) -> int:
        """N."""
        return self.source.num_tasks

    def sample(self, fast: Params, slow: Params, split: Split) -> Examples:
        """Draw examples; the parameters do not matter."""
        return self.draw(split)

    def draw(self, split: Split) -> Examples:
        """Draw examples."""
        return self.source.draw(split)

    @property
    def loss_identity(self) -> Hashable:
        """What the loss is, beside parameters and examples."""
        return type(self), self.network, self.criterion

    def loss(self, fast: Params, slow: Params, batch: Examples) -> Tensor:
        """The criterion ``[N]``, normalisation over the whole batch."""
        return self.criterion(self.outputs(fast, slow, batch.inputs), batch.targets)

    def outputs(self, fast: Params, slow: Params, inputs: Tensor, num_reference: int = 0) -> Tensor:
        """What the networks make of inputs ``[N, B, ...]``: ``[N, B, D]``.

        Raises:
            ValueError: There are reference examples, and the network knows nothing of them.
        """
        params = {**fast, **slow}
        if hasattr(self.network, "init"):
            return self.network(params, inputs, num_reference)
        if takes_reference(self.network):
            with _FOREIGN:
                return self.network(params, inputs, num_reference)
        if num_reference:
            raise ValueError(
                f"{self.network!r} cannot be normalised by {num_reference} reference examples: it "
                "takes no num_reference. Write it with that argument, or evaluate transductively"
            )
        with _FOREIGN:
            return self.network(params, inputs)

    def select(self, tasks: slice) -> SupervisedTasks:
        """These tasks alone."""
        return replace(self, source=self.source.select(tasks))


_FOREIGN = RLock()
"""Held while a function runs that is not known to be pure."""


def takes_reference(network: Network) -> bool:
    """Whether a function of ``(params, inputs)`` takes ``num_reference`` as well."""
    kinds = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    parameters = signature(network).parameters.values()
    positional = sum(p.kind in kinds for p in parameters)
    return positional > 2 or any(p.kind is Parameter.VAR_POSITIONAL for p in parameters)
