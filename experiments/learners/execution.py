"""How many tasks are stacked where the settings leave it open, by device and network.

Measured on one CPU thread (benchmarks/omniglot): of convolutions with 64 filters about 40 images at
a time are fastest, with 32 filters about 80. Larger stacks leave the caches. Twice as many where
all tasks share their convolutions (benchmarks/meta_step).
"""

from __future__ import annotations

from dataclasses import replace

import torch

from metarl.core import Execution

CHANNEL_IMAGES = 40 * 64
"""Images times filters that are worked on at a time on a CPU, each task with its own filters."""


def resolved(
    execution: Execution,
    device: torch.device,
    num_images: int,
    filters: int,
    *,
    shared: bool = False,
) -> Execution:
    """An execution whose number of stacked tasks is known.

    Args:
        execution: As it was asked for; what it says is kept, ``auto`` becomes a number.
        device: What the tasks are worked on with: on a GPU all are stacked.
        num_images: Images of a task in one inner step.
        filters: Of each convolution.
        shared: The convolutions are those of all tasks: adaptation leaves them alone.
    """
    if execution.chunk_size != "auto":
        return execution
    fits = max(1, (1 + shared) * CHANNEL_IMAGES // (num_images * filters))
    return replace(execution, chunk_size=fits if device.type == "cpu" else None)
