"""Count the tensors that a computation keeps alive: in the graph, or in hand."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor


class _Saved:
    """What a graph holds in place of a tensor that it saved for the way back."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor.detach()


class LiveTensors:
    """While entered, tensors that graphs save are counted as long as a graph holds them.

    Attributes:
        most: The largest `count` at a `watch`.
    """

    def __init__(self) -> None:
        self.most = 0
        self._held: list[weakref.ref[Any]] = []
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda s: s.tensor)

    def __enter__(self) -> LiveTensors:
        self._hooks.__enter__()
        return self

    def __exit__(self, *failure: Any) -> None:
        self._hooks.__exit__(*failure)

    def watch(self, tensor: Tensor) -> None:
        """Count this tensor too, as long as somebody holds it."""
        self._held.append(weakref.ref(tensor))
        self.most = max(self.most, self.count())

    def count(self) -> int:
        """Tensors alive now."""
        return sum(ref() is not None for ref in self._held)

    def _pack(self, tensor: Tensor) -> _Saved:
        saved = _Saved(tensor)
        self._held.append(weakref.ref(saved))
        return saved
