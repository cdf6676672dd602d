"""Call a module with other parameters and buffers than its own, leaving the module as it was."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor, is_grad_enabled, nn
from torch.autograd.graph import disable_saved_tensors_hooks
from torch.nn.utils import parametrize

from metarl.core import Params
from metarl.core.second_order import composed, nodes_of
from metarl.modules.statistics import warn_of_unmoved_statistics

RECOMPUTED = (
    "activation checkpointing (torch.utils.checkpoint) and other saved-tensor hooks cannot be used "
    "inside or around a clone or a Warp: the backward pass would compute activations anew, with "
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
        params: By name, the caller's own copies: they are written into where the forward pass
            writes into weights. What is missing is copied from the model. A tied parameter goes by
            its first name.
        buffers: By name; not written to.
        args: Of the call.
        kwargs: Of the call.
        function: What is called instead of the model: something that uses its modules.

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
    """What to hold while the model's own parameters are read, lest they be another thread's."""
    with _NEW_LOCK:
        return _LOCKS.setdefault(model, threading.RLock())


def copy_buffers(model: nn.Module) -> dict[str, Tensor]:
    """The model's buffers by name, copied."""
    return {name: b.detach().clone() for name, b in model.named_buffers()}
