"""Random streams: named generators, all grown from one seed, one set a training run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch


def spawn_generators(
    seed: int, names: Sequence[str], device: torch.device | str = "cpu"
) -> dict[str, torch.Generator]:
    """Independent generators of one seed.

    Args:
        seed: Not negative.
        names: One stream each, e.g. ``("init", "policy", "environment")``; their order matters.
        device: Where the generators draw. The one called ``init`` always draws on the CPU, so
            that an agent starts alike on every device.

    Returns:
        Name to generator.
    """
    children = np.random.SeedSequence(seed).spawn(len(names))
    generators = {}
    for name, child in zip(names, children, strict=True):
        place = "cpu" if name == "init" else device
        generators[name] = torch.Generator(place)
        generators[name].manual_seed(int(child.generate_state(1, np.uint64)[0] >> np.uint64(1)))
    return generators
