"""Gradients through torch's operations, of a function whose outputs a kernel has computed.

This is the way of what is differentiated further than kernels go, and of tensors that they cannot
read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

Eager: TypeAlias = Callable[[Tensor, Sequence[Tensor]], Tensor]
"""The function of inputs and parameters, written in torch's operations."""


def eager_gradients(
    eager: Eager, wanted: Sequence[bool], cotangent: Tensor, tensors: Sequence[Tensor]
) -> list[Tensor | None]:
    """The gradients of ``<cotangent, outputs>``, with a graph where gradients are recorded.

    Args:
        eager: The function.
        wanted: Of which tensors.
        cotangent: Like the outputs.
        tensors: Inputs and parameters.

    Returns:
        One for each tensor; of those that are not wanted, None.
    """
    graph = torch.is_grad_enabled()
    with torch.enable_grad():
        # Views: the way back ends here, and of two tensors one may be made of the other.
        inputs, *params = here = [t.view_as(t) for t in tensors]
        outputs = eager(inputs, params)
        sources = [t for t, want in zip(here, wanted, strict=True) if want]
        found = iter(
            torch.autograd.grad(
                outputs, sources, cotangent, create_graph=graph, materialize_grads=True
            )
        )
    return [next(found) if want else None for want in wanted]


def eager_second(
    eager: Eager,
    asked: Sequence[bool],
    wanted: Sequence[bool],
    cotangent: Tensor,
    tensors: Sequence[Tensor],
    ways: Sequence[Tensor | None],
) -> list[Tensor | None]:
    """The gradients of ``sum <way, gradient>`` by cotangent and tensors, likewise.

    Args:
        eager: The function.
        asked: Of which tensors there are gradients.
        wanted: What it is differentiated by: the cotangent and the tensors.
        cotangent: See `eager_gradients`.
        tensors: Inputs and parameters.
        ways: One for each gradient; None: zero.
    """
    graph = torch.is_grad_enabled()
    with torch.enable_grad():
        by = [t.view_as(t) for t in (cotangent, *tensors)]
        first = eager_gradients(eager, asked, by[0], by[1:])
        pairs = [
            (gradient, way)
            for gradient, way in zip(first, ways, strict=True)
            if gradient is not None and way is not None
        ]
        sources = [t for t, want in zip(by, wanted, strict=True) if want]
        found = iter(
            torch.autograd.grad(
                [gradient for gradient, _ in pairs],
                sources,
                [way for _, way in pairs],
                create_graph=graph,
                materialize_grads=True,
            )
        )
    return [next(found) if want else None for want in wanted]
