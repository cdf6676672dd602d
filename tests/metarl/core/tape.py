"""What a CUDA graph does, on a CPU: the operations of a call, repeated on the same memory.

No Python of the recorded function runs in a replay. A function that leaves a counter, a decision
or a result to Python is wrong here as it would be on a GPU.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from metarl.core import cuda_graph


class Tape(TorchDispatchMode):
    """Takes down every operation; `replay` repeats them."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, tuple, dict, list[Tensor]]] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        given = {storage(t) for t in tensors((args, kwargs))}
        made = [t for t in tensors(result) if storage(t) not in given]
        self.operations.append((function, args, kwargs, made))
        return result

    @torch.no_grad()
    def replay(self) -> None:
        for function, args, kwargs, made in self.operations:
            repeated = tensors(function(*args, **kwargs))
            if "empty" in function.__name__:  # memory is taken, nothing is written
                repeated = [t.fill_(float("nan")) if t.is_floating_point() else t for t in repeated]
            for old, new in zip(made, repeated if made else [], strict=True):
                old.copy_(new)


def record(
    function: Callable[[], Any], generators: list[torch.Generator]
) -> tuple[Any, Callable[[], None]]:
    """In place of `cuda_graph.record`."""
    for _ in range(cuda_graph.NUM_WARM_UPS):
        function()
    with Tape() as tape:
        result = function()
    return result, tape.replay


def tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
