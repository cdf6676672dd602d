"""Random draws that tasks are made of: without replacement."""

from __future__ import annotations

import torch
from torch import Tensor


def draw_distinct(population: Tensor, num: int, generator: torch.Generator) -> Tensor:
    """Draw without replacement, many times at once, in an order that is uniform as well.

    Floyd's algorithm: for j = n - num .. n - 1, draw t from 0..j and keep it, or j if t is kept
    already. Its work does not grow with the population, and nothing waits for the device.

    Args:
        population: int64 ``[...]``, each at least ``num``: draw from ``0 .. population - 1``.
        num: Number of draws of each.
        generator: Generator on the population's device.

    Returns:
        int64 ``[..., num]``, distinct along the last axis.
    """
    shape, device = (*population.shape, num), population.device
    uniform = torch.rand(shape, generator=generator, dtype=torch.float64, device=device)
    drawn = torch.empty(shape, dtype=torch.int64, device=device)
    for i in range(num):
        last = population - (num - i)
        value = (uniform[..., i] * (last + 1)).long()
        taken = (drawn[..., :i] == value.unsqueeze(-1)).any(-1)
        drawn[..., i] = torch.where(taken, last, value)
    order = torch.rand(shape, generator=generator, device=device).argsort(-1)
    return drawn.gather(-1, order)
