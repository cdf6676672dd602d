"""Euclidean norms of stacked tensors, task by task."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from metarl.core.params import precise


def task_norms(tensors: Iterable[Tensor]) -> Tensor:
    """Euclidean norm of each task's numbers over all tensors ``[N, ...]``: ``[N]``.

    Nothing over- or underflows on the way, half precision is lifted to float32, and where all
    numbers are 0 the norm is 0 and its derivative, which does not exist, is taken for 0.
    """
    flat = [precise(t).reshape(t.shape[0], -1) for t in tensors if t.numel()]
    largest = torch.stack([f.detach().abs().amax(1) for f in flat]).amax(0)
    some = largest > 0
    unit = torch.where(some, largest, 1.0)
    squares = torch.stack([(f / unit[:, None]).square().sum(1) for f in flat]).sum(0)
    return torch.where(some, unit * torch.where(some, squares, 1.0).sqrt(), 0.0)
