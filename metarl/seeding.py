"""Random streams: generators that belong to a key, and named ones grown from one seed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor


def spawn_generators(
    seed: int,
    names: Sequence[str],
    device: torch.device | str = "cpu",
    on_cpu: Collection[str] = ("init",),
) -> dict[str, torch.Generator]:
    """Independent generators of one seed.

    Args:
        seed: At least 0, of any size.
        names: One stream each, e.g. ``("init", "policy", "environment")``; their order matters.
        device: Where the generators draw.
        on_cpu: Names of those that draw on the CPU whatever the device, so that what they draw is
            the same everywhere: how an agent starts, the tasks that it is measured on.

    Returns:
        Name to generator.
    """
    check_seed(seed)
    children = np.random.SeedSequence(seed).spawn(len(names))
    generators = {}
    for name, child in zip(names, children, strict=True):
        place = "cpu" if name in on_cpu else device
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


def set_streams(
    streams: Mapping[str, torch.Generator], states: Mapping[str, Tensor], seed: Sequence[int]
) -> list[str]:
    """Put random streams where they were, as far as they are on the same kind of device.

    What a kind of device draws, no other can go on with. There a stream begins again.

    Args:
        streams: By name.
        states: Their states, by the same names; a state's size says the kind of device.
        seed: Numbers of at least 0 that a stream begins again from, as of `stream`.

    Returns:
        Names of the streams that begin again.

    Raises:
        KeyError: A state is missing.
    """
    moved = []
    for number, (name, generator) in enumerate(streams.items()):
        state = states[name]
        if len(state) == len(generator.get_state()):
            generator.set_state(state)
            continue
        moved.append(name)
        generator.manual_seed(stream(*seed, number).initial_seed())
    return moved
