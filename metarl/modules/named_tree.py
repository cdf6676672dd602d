"""Parameters by dotted name as one module: optimisers, ``to`` and ``state_dict`` see them."""

from __future__ import annotations

from torch import nn

from metarl.core import Params


class NamedTree(nn.Module):
    """What `core` calls `Params`, as an `nn.Module` with the same names.

    A module's own parameters may have no dot in their names; a tree of modules may.
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

    def params(self) -> dict[str, nn.Parameter]:
        """The parameters themselves, by name."""
        return dict(self.named_parameters())
