"""One task of a module as the learners see tasks: a `TaskBatch` with N = 1."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from metarl.core import Params, Split
from metarl.modules.functional import call, lock_of
from metarl.modules.task_source import Batch, TaskSource, moved

Criterion: TypeAlias = Callable[[Any, Any], Tensor]
"""The model's output and the targets in, a scalar out."""

Modes: TypeAlias = Mapping[str, bool]
"""Of every module, whether it is in training mode."""


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
        """One."""
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
