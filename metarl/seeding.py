"""Random streams: generators that belong to a key, and named ones grown from one seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch


def spawn_generators(
    seed: int, names: Sequence[str], device: torch.device | str = "cpu"
) -> dict[str, torch.Generator]:
    """Independent generators of one seed.

    Args:
        seed: At least 0, of any size.
        names: One stream each, e.g. ``("init", "policy", "environment")``; their order matters.
        device: Where the generators draw. The one called ``init`` always draws on the CPU, so
            that an agent starts alike on every device.

    Returns:
        Name to generator.
    """
    check_seed(seed)
    children = np.random.SeedSequence(seed).spawn(len(names))
    generators = {}
    for name, child in zip(names, children, strict=True):
        place = "cpu" if name == "init" else device
        generators[name] = torch.Generator(place)
        generators[name].manual_seed(int(child.generate_state(1, np.uint64)[0] >> np.uint64(1)))
    return generators


def stream(*key: int) -> torch.Generator:
    """A generator on the CPU that belongs to this key, e.g. ``stream(seed, task)``.

    Different keys give independent streams, so that what one task draws does not depend on which
    others are drawn beside it. The whole of every number counts: a generator that is seeded with
    a number by itself may read its lowest 32 bits alone.

    Args:
        key: Numbers of at least 0.
    """
    for number in key:
        check_seed(number)
    # The length comes first: a seed sequence takes (s,) and (s, 0) for the same.
    word = np.random.SeedSequence((len(key), *map(int, key))).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(word >> np.uint64(1)))


def check_seed(seed: int) -> None:
    """Check that a seed is a whole number of at least 0, Python's or NumPy's.

    Raises:
        TypeError: It is no whole number.
        ValueError: It is negative.
    """
    if not isinstance(seed, int | np.integer):
        raise TypeError(f"a seed must be a whole number, got {seed!r}")
    if seed < 0:
        raise ValueError(f"a seed must be at least 0, got {seed}")
