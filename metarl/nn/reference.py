"""Reference examples: outputs that do not depend on what else is asked for.

Where a network normalises over a batch, the outputs of a query depend on the other queries, and a
score of them is transductive. Networks of this package take their statistics from reference
examples instead, the first ones of the batch (`nn.Network`). Of other functions it is checked that
they do, or that they need not.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def by_reference(
    network: Callable[[Tensor], Tensor], inputs: Tensor, num_reference: int, name: str
) -> Tensor:
    """The outputs of a network, checked where there are reference examples.

    Args:
        network: Called with inputs ``[N, B, ...]``.
        inputs: Reference examples first.
        num_reference: Number of reference inputs; 0: no check.
        name: Name of the network, in words.

    Returns:
        ``[N, B, ...]``.

    Raises:
        ValueError: What comes out of the reference examples depends on the examples after them.
    """
    outputs = network(inputs)
    if 0 < num_reference < inputs.shape[1]:
        with torch.no_grad():
            alone, among = network(inputs[:, :num_reference]), outputs[:, :num_reference]
        near = torch.finfo(among.dtype).eps ** 0.5
        # Rounding depends on the size of a batch, by far less than this.
        if not torch.allclose(alone, among, near, near * float(alone.abs().max())):
            raise ValueError(
                f"{name} gives its {num_reference} reference examples other outputs where there "
                "are examples after them: its normalisation takes no notice of num_reference, or "
                "it draws at random. Take GroupNorm for batch norm, evaluation mode for dropout, a "
                "network of metarl.nn, or num_reference=0: a transductive score"
            )
    return outputs
