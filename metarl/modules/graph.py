"""The autograd graph behind tensors, looked through for what cannot be differentiated rightly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor
from torch.autograd.graph import Node

from metarl.core import Params


def nodes_of(values: Any, until: Params) -> Iterator[Node]:
    """Every node between tensors and the parameters that they were made from, once.

    Args:
        values: Tensors, in tuples, lists and mappings of any depth.
        until: The parameters: what lies behind them is left out.
    """
    seen = {p.grad_fn for p in until.values()} | {None}
    waiting = [t.grad_fn for t in _tensors(values)]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        waiting += [before for before, _ in node.next_functions]


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, Mapping):
        yield from _tensors(tuple(values.values()))
    elif isinstance(values, tuple | list):
        for value in values:
            yield from _tensors(value)
