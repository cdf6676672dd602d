"""Running statistics that evaluation would use though nothing has ever moved them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from metarl.core import Params

_WARNED: WeakSet[nn.Module] = WeakSet()


def warn_of_unmoved_statistics(model: nn.Module, buffers: Params) -> None:
    """Warn, once per model, of a norm in evaluation mode whose statistics are those it began with.

    Clones move statistics of their own, so that meta-training through clones leaves the model's as
    they were: mean 0, variance 1.

    Args:
        model: The module.
        buffers: What it is called with, by name.
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
