"""Call a module with other parameters and buffers than its own, leaving the module as it was."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.autograd.graph import disable_saved_tensors_hooks
from torch.func import functional_call

from metarl.core import Params
from metarl.core.second_order import composed, nodes_of

RECOMPUTED = (
    "activation checkpointing (torch.utils.checkpoint) and other saved-tensor hooks cannot be used "
    "inside or around a clone or a Warp: the backward pass would compute activations anew, with "
    "the model's own parameters instead of the adapted ones. Switch it off in the model; "
    "first_order=True saves the memory of the inner graph"
)

_SEEN: WeakKeyDictionary[nn.Module, set[bool]] = WeakKeyDictionary()  # modes whose graph was seen
_LOCKS: WeakKeyDictionary[nn.Module, threading.RLock] = WeakKeyDictionary()
_NEW_LOCK = threading.Lock()


def call(
    model: nn.Module,
    params: Params,
    buffers: Params,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> tuple[Any, dict[str, Tensor]]:
    """``model(*args, **kwargs)`` as if ``params`` and ``buffers`` were the model's.

    The swap is seen by every thread, so calls of one model wait for each other. A model that keeps
    state elsewhere than in parameters and buffers keeps it.

    Args:
        model: The module; it is not changed.
        params: By name; what is missing is the model's own. A tied parameter goes by its first
            name.
        buffers: By name; not written to.
        args: Of the call.
        kwargs: Of the call.

    Returns:
        The output, and the buffers after the call (batch norm moves its running statistics).

    Raises:
        RuntimeError: The model recomputes activations in the backward pass.
    """
    # Copies: an earlier graph may hold the old buffers, which batch norm overwrites unannounced.
    state = {**params, **{name: b.clone() for name, b in buffers.items()}}
    with lock_of(model), disable_saved_tensors_hooks(RECOMPUTED), composed(model):
        output = functional_call(model, state, tuple(args), dict(kwargs))
        _refuse_reentrant(model, output, params)
    return output, {name: state[name] for name in buffers}


def _refuse_reentrant(model: nn.Module, output: Any, params: Params) -> None:
    """The older checkpointing sets no hook but hides parameters: look for its node, once a mode."""
    seen = _SEEN.setdefault(model, set())
    if not torch.is_grad_enabled() or model.training in seen:
        return
    if any(node.name() == "CheckpointFunctionBackward" for node in nodes_of(output, params)):
        raise RuntimeError(RECOMPUTED)
    seen.add(model.training)


def lock_of(model: nn.Module) -> threading.RLock:
    """What to hold while the model's own parameters are read, lest they be another thread's."""
    with _NEW_LOCK:
        return _LOCKS.setdefault(model, threading.RLock())


def copy_buffers(model: nn.Module) -> dict[str, Tensor]:
    """The model's buffers by name, copied."""
    return {name: b.detach().clone() for name, b in model.named_buffers()}
