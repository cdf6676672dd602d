"""Parameters by dotted name as one module: optimisers, ``to`` and ``state_dict`` see them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

from torch import Tensor, nn

from metarl.core import Params, precise


class NamedTree(nn.Module):
    """What `core` calls `Params`, as an `nn.Module` with the same names.

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
