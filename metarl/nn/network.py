"""Feed-forward networks: values whose parameters are passed in, stacked over tasks."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from metarl.core import Params


class Network(Protocol):
    """N networks on N batches of inputs, as one tensor program.

    Attributes:
        slow: Name patterns of the parameters that stand still in the inner loop (warp layers).
        head: Name patterns of the last layer.
    """

    @property
    def slow(self) -> tuple[str, ...]:
        """Name patterns of the slow parameters; empty for most networks."""

    @property
    def head(self) -> tuple[str, ...]:
        """Name patterns of the last layer, which ANIL adapts alone."""

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw the parameters of one network (no leading axis), float32, on the CPU."""

    def __call__(self, params: Params, inputs: Tensor, num_reference: int = 0) -> Tensor:
        """Outputs of N networks.

        Args:
            params: Stacked parameters ``[N, ...]``.
            inputs: ``[N, B, ...]``.
            num_reference: How many of the B inputs normalisation takes its statistics from, the
                first ones; 0 takes all.

        Returns:
            ``[N, B, D]``.
        """


def uniform_linear(
    num_inputs: int, num_outputs: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Weight ``[I, O]`` and bias ``[O]``, both uniform in +-1/sqrt(I) (PyTorch's default)."""
    bound = 1.0 / math.sqrt(num_inputs)
    weight = torch.empty(num_inputs, num_outputs).uniform_(-bound, bound, generator=generator)
    bias = torch.empty(num_outputs).uniform_(-bound, bound, generator=generator)
    return weight, bias


def linear(params: Params, name: str, inputs: Tensor) -> Tensor:
    """``x W + b`` for N layers: inputs ``[N, B, I]``, weight ``[N, I, O]``, bias ``[N, O]``."""
    return torch.baddbmm(params[f"{name}.bias"].unsqueeze(1), inputs, params[f"{name}.weight"])
