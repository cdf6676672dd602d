"""Call a module with other parameters and buffers than its own, leaving the module as it was."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, Self
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor, is_grad_enabled, nn
from torch.autograd.graph import disable_saved_tensors_hooks
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.utils import parametrize

from metarl.core import Params, precise
from metarl.core.second_order import composed, nodes_of

RECOMPUTED = (
    "activation checkpointing (torch.utils.checkpoint) and other saved-tensor hooks cannot be used "
    "inside or around a clone or a Warp: the backward pass would compute activations again, with "
    "the model's own parameters instead of the adapted ones. Switch it off in the model; "
    "first_order=True saves the memory of the inner graph"
)
CACHED = (
    "torch.nn.utils.parametrize.cached() cannot be used around a clone or a Warp: weights that "
    "were computed from other parameters would come out of the cache. Leave it out"
)

_SEEN: WeakKeyDictionary[nn.Module, set[tuple[bool, str]]] = WeakKeyDictionary()
_LOCKS: WeakKeyDictionary[nn.Module, threading.RLock] = WeakKeyDictionary()
_NEW_LOCK = threading.Lock()


def call(
    model: nn.Module,
    params: Params,
    buffers: Params,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    function: Callable[..., Any] | None = None,
) -> tuple[Any, dict[str, Tensor]]:
    """``model(*args, **kwargs)`` as if ``params`` and ``buffers`` were the model's.

    The swap is seen by every thread, so calls of one model wait for each other. A model that keeps
    state elsewhere than in parameters and buffers keeps it.

    Args:
        model: The module; it is not changed, not by a forward pass that writes into its weights
            either.
        params: The caller's own copies by name: they are written into where the forward pass
            writes into weights. What is missing is copied from the model. A tied parameter goes by
            its first name.
        buffers: Buffers by name; not written to.
        args: Arguments of the call.
        kwargs: Keyword arguments of the call.
        function: Function to call instead of the model: something that uses its modules.

    Returns:
        The output, and the buffers after the call (batch norm moves its running statistics).

    Raises:
        RuntimeError: The model recomputes activations in the backward pass, or weights are cached.
    """
    if parametrize._cache_enabled:
        raise RuntimeError(CACHED)
    # Copies: an earlier graph may hold the old buffers, which batch norm overwrites unannounced.
    state = {**params, **{name: b.clone() for name, b in buffers.items()}}
    with lock_of(model), disable_saved_tensors_hooks(RECOMPUTED), composed(model):
        warn_of_unmoved_statistics(model, buffers)
        state |= {n: p.clone() for n, p in model.named_parameters() if n not in state}
        with _swapped(model, state):
            output = (function or model)(*args, **kwargs)
            after = dict(model.named_buffers())
        _refuse_reentrant(model, function, output, params)
    return output, {name: after.get(name, state[name]) for name in buffers}


@contextmanager
def _swapped(model: nn.Module, state: Params) -> Iterator[None]:
    """Within it, tensors stand where the model's parameters and buffers of these names stood.

    # Deviation: `torch.func.functional_call` leaves its tensors in a module that the model has
    # under two names (torch 2.13).
    """
    own = dict(chain(model.named_parameters(), model.named_buffers()))
    instead = {id(own[name]): tensor for name, tensor in state.items() if name in own}
    before: list[tuple[dict[str, Any], str, Any]] = []
    try:
        for module in model.modules():
            slots: dict[str, Any]
            for slots in (module._parameters, module._buffers):
                for name, tensor in slots.items():
                    if id(tensor) in instead:
                        before.append((slots, name, tensor))
        for slots, name, tensor in before:
            slots[name] = instead[id(tensor)]
        yield
    finally:
        for slots, name, tensor in before:
            slots[name] = tensor


def _refuse_reentrant(
    model: nn.Module, function: Callable[..., Any] | None, output: Any, params: Params
) -> None:
    """The older checkpointing sets no hook but hides parameters: look for its node, once a mode."""
    seen = _SEEN.setdefault(model, set())
    key = (model.training, getattr(function, "__qualname__", ""))
    if not is_grad_enabled() or key in seen:
        return
    if any(node.name() == "CheckpointFunctionBackward" for node in nodes_of(output, params)):
        raise RuntimeError(RECOMPUTED)
    seen.add(key)


def lock_of(model: nn.Module) -> threading.RLock:
    """The lock to hold while the model's own parameters are read: a thread may swap them."""
    with _NEW_LOCK:
        return _LOCKS.setdefault(model, threading.RLock())


def copy_buffers(model: nn.Module) -> dict[str, Tensor]:
    """The model's buffers by name, copied."""
    return {name: b.detach().clone() for name, b in model.named_buffers()}


_WARNED: WeakSet[nn.Module] = WeakSet()


def warn_of_unmoved_statistics(model: nn.Module, buffers: Params) -> None:
    """Warn, once per model, of a norm in evaluation mode whose statistics are those it began with.

    Clones move statistics of their own, so that meta-training through clones leaves the model's as
    they were: mean 0, variance 1.

    Args:
        model: The module.
        buffers: Buffers of the call, by name.
    """
    if model in _WARNED:
        return
    found = dict(_evaluating(model, buffers))
    if not found:
        return
    untouched = torch.stack(list(found.values())).tolist()
    names = [name for name, is_untouched in zip(found, untouched, strict=True) if is_untouched]
    if names:
        _WARNED.add(model)
        warnings.warn(
            f"{names[0]} is in evaluation mode, and its running statistics have never been moved "
            "(mean 0, variance 1): clones and Warp move copies, meta-training leaves the model's "
            "alone. Evaluate in training mode, make it with track_running_stats=False, or keep the "
            "statistics of a task: "
            "model.load_state_dict(dict(clone.named_buffers()), strict=False)",
            stacklevel=4,
        )


def _evaluating(model: nn.Module, buffers: Params) -> Iterator[tuple[str, Tensor]]:
    """Norms that would use running statistics; whether these are untouched, a boolean each."""
    for name, module in model.named_modules():
        if not isinstance(module, _NormBase) or module.training or not module.track_running_stats:
            continue
        prefix = f"{name}." if name else ""
        mean, variance = (buffers.get(f"{prefix}running_{what}") for what in ("mean", "var"))
        if mean is not None and variance is not None and mean.numel():
            yield name or type(module).__name__, ((mean == 0) & (variance == 1)).all().cpu()


class NamedTree(nn.Module):
    """`Params` of `core` as an `nn.Module` with the same names.

    A module's own parameters may have no dot in their names; a tree of modules may. Cast to half
    precision with the model around it, they stay in float32: logarithms of step sizes, logits and
    matrices near the identity would be rounded away, and so would the steps of an optimiser.
    """

    def __init__(self, params: Params) -> None:
        """Copy the values; every one is learned."""
        super().__init__()
        for name, value in params.items():
            *path, last = name.split(".")
            node: nn.Module = self
            for part in path:
                if part not in node._modules:
                    node.add_module(part, nn.Module())
                node = node.get_submodule(part)
            node.register_parameter(last, nn.Parameter(value.detach().clone()))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move and cast, but not below float32."""

        def kept(value: Tensor) -> Tensor:
            moved = fn(value)
            dtype = precise(moved).dtype
            return moved if dtype == moved.dtype else value.to(moved.device, dtype)

        super()._apply(kept, recurse)  # type: ignore[no-untyped-call]
        return self

    def params(self) -> dict[str, nn.Parameter]:
        """The parameters themselves, by name."""
        return dict(self.named_parameters())
