"""The autograd graph behind tensors, looked through for what cannot be differentiated rightly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.autograd.graph import Node

from metarl.core import Params, nested_tensors

ATTENTION = (
    "fused attention has no second derivative. Call model, clone and Warp.backward within `with "
    "torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):`, or go to first order"
)


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """Name the remedy where a second derivative that is taken inside does not exist.

    Raises:
        NotImplementedError: It does not.
    """
    try:
        yield
    except RuntimeError as error:
        if "derivative for" in str(error) and "attention" in str(error):
            raise NotImplementedError(ATTENTION) from error
        raise


def refuse_second_derivative(loss: Tensor, grads: Sequence[Tensor], until: Params) -> None:
    """The same for a backward pass that is not ours: attend to the gradients of a loss.

    Args:
        loss: The loss.
        grads: Its gradients, with their graph.
        until: The parameters that both were made from.
    """
    if not any("ScaledDotProduct" in node.name() for node in nodes_of(loss, until)):
        return
    if any("NotImplemented" in node.name() for node in nodes_of(grads, until)):
        for g in grads:
            if g.requires_grad:
                g.register_hook(_refuse)  # type: ignore[no-untyped-call]


def _refuse(gradient: Tensor) -> None:
    raise NotImplementedError(ATTENTION)


def nodes_of(values: Any, until: Params) -> Iterator[Node]:
    """Every node between tensors and the parameters that they were made from, once.

    Args:
        values: Tensors, in tuples, lists and mappings of any depth.
        until: The parameters: what lies behind them is left out.
    """
    seen = {p.grad_fn for p in until.values()} | {None}
    waiting = [t.grad_fn for t in nested_tensors(values)]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        waiting += [before for before, _ in node.next_functions]
