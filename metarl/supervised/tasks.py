"""Supervised tasks as a learner sees them: a network, examples to draw, a criterion.

The loss of a staged network comes in two halves as well, parted before its first fast parameter, so
that what stands still is computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass, replace
from inspect import Parameter, signature
from typing import ClassVar, Protocol, Self, TypeAlias, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metarl.core import Params, Split, share
from metarl.core.pure import is_ours
from metarl.nn import ModuleNetwork, StagedNetwork
from metarl.nn.network import by_reference
from metarl.supervised.examples import Examples

Criterion: TypeAlias = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over the B examples of -log p(target), in nats; targets ``[N, B]`` are classes."""
    log_p = F.log_softmax(logits, -1)
    return -log_p.gather(-1, targets.unsqueeze(-1)).squeeze(-1).mean(1)


def accuracy(logits: Tensor, targets: Tensor) -> Tensor:
    """Fraction of the B examples whose largest logit is the target's; targets ``[N, B]``."""
    chosen = logits.argmax(-1)
    _check_alike("choices of the largest logit", chosen, targets)
    return (chosen == targets).to(logits.dtype).mean(1)


def mean_squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean of squared differences over examples and outputs; targets ``[N, B, D]``."""
    _check_alike("outputs", outputs, targets)
    return (outputs - targets).square().flatten(1).mean(1)


def mean_absolute_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean of absolute differences over examples and outputs; targets ``[N, B, D]``."""
    _check_alike("outputs", outputs, targets)
    return (outputs - targets).abs().flatten(1).mean(1)


def _check_alike(what: str, outputs: Tensor, targets: Tensor) -> None:
    """Refuse to compare every output with every target, as torch would by broadcasting."""
    if outputs.shape != targets.shape:
        raise ValueError(
            f"targets of shape {tuple(targets.shape)} do not fit {what} of shape "
            f"{tuple(outputs.shape)}: give one target for each, as targets.reshape(...) does"
        )


@dataclass(frozen=True)
class NetworkHalves:
    """The stages of a network before and from ``start`` on, and a criterion.

    Attributes:
        network: Network in stages.
        criterion: Criterion of the network's outputs.
        start: The first stage of the second half, at least 1.
    """

    network: StagedNetwork
    criterion: Criterion
    start: int

    def features(self, slow: Params, batch: Examples) -> Tensor:
        """Compute the features of the inputs, ``[N, B, ...]``, by the first half."""
        return self.of_inputs(slow, batch.inputs)

    def of_inputs(self, slow: Params, inputs: Tensor, num_reference: int = 0) -> Tensor:
        """Compute the features of inputs ``[N, B, ...]``; ``num_reference`` as in `nn.Network`."""
        first = {n: p for n, p in slow.items() if self.network.stage_of(n) < self.start}
        inputs = widened(inputs, first)
        return self.network.run(share(first, 1), inputs, num_reference, stop=self.start)

    def later(self, slow: Params) -> dict[str, Tensor]:
        """The slow parameters of the second half."""
        return {n: p for n, p in slow.items() if self.network.stage_of(n) >= self.start}

    def outputs(
        self, fast: Params, slow: Params, features: Tensor, num_reference: int = 0
    ) -> Tensor:
        """Compute outputs ``[N, B, D]`` of features by the second half; parameters are stacked."""
        return self.network.run({**fast, **slow}, features, num_reference, start=self.start)

    def loss(self, fast: Params, slow: Params, features: Tensor, batch: Examples) -> Tensor:
        """The criterion ``[N]`` of its outputs."""
        return self.criterion(self.outputs(fast, slow, features), batch.targets)


def network_halves(
    network: Callable[..., Tensor], criterion: Criterion, fast: Collection[str]
) -> NetworkHalves | None:
    """The halves before and after the first fast parameter; None where nothing comes before.

    A class that says again what a call is, and not what its stages are, has none.
    """
    if not hasattr(network, "run") or _says(network, "run") is not _says(network, "__call__"):
        return None
    staged = cast(StagedNetwork, network)
    start = min(staged.stage_of(name) for name in fast)
    return NetworkHalves(staged, criterion, start) if start else None


def _says(network: Callable[..., Tensor], method: str) -> type:
    """The class that a network has a method from."""
    return next(kind for kind in type(network).__mro__ if method in vars(kind))


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
        inputs = widened(inputs, params)
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


def widened(inputs: Tensor, params: Params) -> Tensor:
    """Single-precision inputs of networks with weights in double precision, which lose nothing."""
    if inputs.dtype != torch.float32 or all(p.dtype != torch.float64 for p in params.values()):
        return inputs
    return inputs.double()


def takes_reference(network: Callable[..., Tensor]) -> bool:
    """Whether a function takes ``num_reference``."""
    parameters = signature(network).parameters
    return "num_reference" in parameters or any(
        p.kind is Parameter.VAR_KEYWORD for p in parameters.values()
    )


DEFINE_THE_LOSS = ("sample", "draw", "loss", "outputs")
"""The methods that `SupervisedTasks.halves` speaks for."""
