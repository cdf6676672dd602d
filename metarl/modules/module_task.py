"""One task of a module as the learners see tasks: a `TaskBatch` with N = 1, and its batches.

Batches are drawn when they are needed, from whatever a user has registered (`TaskSource`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import Parameter, signature
from typing import Any, Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor, nn

from metarl.core import Params, Split
from metarl.modules.functional import call, lock_of

Batch: TypeAlias = tuple[Any, Any]
"""Inputs (a tensor; a tuple or mapping of arguments of the model) and targets."""


Policy: TypeAlias = Callable[..., Any]
"""The model with the parameters that experience is drawn for; called as the model is, no graph."""


@runtime_checkable
class Samples(Protocol):
    """A task that tells support from query experience."""

    def sample(self, split: Split) -> Batch:
        """Draw (inputs, targets)."""


@runtime_checkable
class Plays(Protocol):
    """A task whose experience depends on who acts in it (reinforcement learning)."""

    def sample(self, split: Split, policy: Policy, /) -> Batch:
        """Act by the policy, draw (inputs, targets)."""


class TaskSource:
    """Endless batches of one task.

    An iterable is gone through again and again, by one iterator, and both splits take its next
    batch, so that the inner step and the loss after it are taken on different ones.
    """

    def __init__(self, data: Samples | Plays | Iterable[Batch]) -> None:
        """Take a data loader, a list of (inputs, targets), or an object with ``sample(split)``.

        Where ``sample`` has a second argument, ``sample(split, policy)``, it is given the policy.

        Raises:
            TypeError: It is nothing of the kind.
        """
        given: object = data
        no_batches = isinstance(given, Tensor | Mapping) or (
            isinstance(given, tuple) and any(isinstance(part, Tensor) for part in given)
        )
        if no_batches or not isinstance(given, Samples | Iterable):
            raise TypeError(
                "a task is an iterable of (inputs, targets) or has sample(split), got "
                f"{type(data).__name__}; one batch is a task too: [(inputs, targets)]"
            )
        self._data: Any = data
        self._samples = isinstance(given, Samples)
        self._plays = self._samples and _takes_policy(data)
        self._iterator: Iterator[Batch] | None = None

    def draw(self, split: Split, device: torch.device, policy: Policy) -> Batch:
        """One batch, on the device.

        Args:
            split: Support or query experience.
            device: Device of the batch.
            policy: The policy that acts, in tasks that ask for it.

        Raises:
            TypeError: It is no pair.
            ValueError: There is no batch (any more).
        """
        batch: object
        if self._samples:
            batch = self._data.sample(split, *((policy,) if self._plays else ()))
        else:
            batch = self._next()
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise TypeError(
                f"a batch is a pair (inputs, targets), got {type(batch).__name__}: let the task "
                "give pairs, e.g. by sample(split); inputs may be a mapping of the model's inputs"
            )
        return moved(batch[0], device), moved(batch[1], device)

    def _next(self) -> Batch:
        if self._iterator is not None:
            for batch in self._iterator:
                return batch
        self._iterator = iter(self._data)
        for batch in self._iterator:
            return batch
        raise ValueError(
            "the task has no batch: it is empty, or an iterator that is used up (register "
            "something that can be iterated again, such as the data loader itself)"
        )


def _takes_policy(task: Any) -> bool:
    """Whether ``sample`` has a second argument by place: a required one, or one called policy."""
    places = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    second = [p for p in signature(task.sample).parameters.values() if p.kind in places][1:2]
    return any(p.name == "policy" or p.default is Parameter.empty for p in second)


def moved(value: Any, device: torch.device) -> Any:
    """Return a structure of tuples, lists and mappings with its tensors on the device."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, Mapping):
        return {key: moved(v, device) for key, v in value.items()}
    if type(value) in (tuple, list):
        return type(value)(moved(v, device) for v in value)
    return value


Criterion: TypeAlias = Callable[[Any, Any], Tensor]
"""The model's output and the targets in, a scalar out."""

Modes: TypeAlias = Mapping[str, bool]
"""The modes of modules by name: whether each is in training mode."""


@dataclass(frozen=True)
class ModuleTask:
    """A model, one task's batches, and how its outputs are judged.

    Attributes:
        model: Called with other parameters, never changed.
        criterion: The loss.
        source: The batches.
        modes: The mode of every module; a task is replayed as it was played.
    """

    model: nn.Module
    criterion: Criterion
    source: TaskSource
    modes: Modes

    @property
    def num_tasks(self) -> int:
        """Number of tasks, N = 1."""
        return 1

    def sample(self, fast: Params, slow: Params, split: Split) -> Batch:
        """A batch, where the parameters are; tasks of reinforcement learning act by these."""
        device = next(iter(fast.values())).device

        @torch.no_grad()
        def policy(*args: Any, **kwargs: Any) -> Any:
            return self._output(fast, slow, moved(args, device), moved(kwargs, device))

        return self.source.draw(split, device, policy)

    def loss(self, fast: Params, slow: Params, batch: Batch) -> Tensor:
        """The loss ``[1]`` of parameters ``[1, ...]``; buffers start from the model's."""
        inputs, targets = batch
        loss = self.criterion(self._output(fast, slow, *_arguments(inputs)), targets)
        if loss.numel() != 1:
            raise ValueError(f"the criterion must give one number, got {tuple(loss.shape)}")
        return loss.reshape(1)

    def _output(
        self, fast: Params, slow: Params, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        """The model's with parameters ``[1, ...]``, in the modes of adaptation."""
        params = {name: p.squeeze(0).clone() for name, p in {**fast, **slow}.items()}
        with lock_of(self.model), _in_modes(self.model, self.modes):
            buffers = dict(self.model.named_buffers())
            output, _ = call(self.model, params, buffers, args, kwargs)
        return output


def modes_of(model: nn.Module) -> dict[str, bool]:
    """The modes as they are."""
    return {name: module.training for name, module in model.named_modules()}


def _arguments(inputs: Any) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    if isinstance(inputs, tuple):
        return inputs, {}
    if isinstance(inputs, Mapping):
        return (), inputs
    return (inputs,), {}


@contextmanager
def _in_modes(model: nn.Module, modes: Modes) -> Iterator[None]:
    before = modes_of(model)
    try:
        _set_modes(model, modes)
        yield
    finally:
        _set_modes(model, before)


def _set_modes(model: nn.Module, modes: Modes) -> None:
    for name, module in model.named_modules():
        module.training = modes[name]
