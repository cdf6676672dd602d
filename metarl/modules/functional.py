"""Call a module with other parameters and buffers than its own, leaving the module as it was."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor, nn
from torch.func import functional_call

from metarl.core import Params

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
    state elsewhere than in parameters and buffers keeps it; one that recomputes activations in the
    backward pass (`torch.utils.checkpoint`) would recompute them with its own parameters.

    Args:
        model: The module; it is not changed.
        params: By name; what is missing is the model's own. A tied parameter goes by its first
            name.
        buffers: By name; not written to.
        args: Of the call.
        kwargs: Of the call.

    Returns:
        The output, and the buffers after the call (batch norm moves its running statistics).
    """
    # Copies: an earlier graph may hold the old buffers, which batch norm overwrites unannounced.
    state = {**params, **{name: b.clone() for name, b in buffers.items()}}
    with lock_of(model):
        output = functional_call(model, state, tuple(args), dict(kwargs))
    return output, {name: state[name] for name in buffers}


def lock_of(model: nn.Module) -> threading.RLock:
    """What to hold while the model's own parameters are read, lest they be another thread's."""
    with _NEW_LOCK:
        return _LOCKS.setdefault(model, threading.RLock())


def copy_buffers(model: nn.Module) -> dict[str, Tensor]:
    """The model's buffers by name, copied."""
    return {name: b.detach().clone() for name, b in model.named_buffers()}
