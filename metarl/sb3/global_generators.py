"""SB3 draws from the global generators; they are lent to it with a seed, and put back after.

So a model repeats from a seed, and neither disturbs other draws nor is disturbed by them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

MAX_SEED = 2**32
"""NumPy's global generator takes no larger ones."""


@contextmanager
def seeded(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Within, the global generators of Python, NumPy and torch begin at a seed; see the module.

    Args:
        seed: Seed in ``[0, 2**32)``.
        device: Device of the model; its generator is lent beside the CPU's.
    """
    place = torch.device(device)
    cuda = [place] if place.type == "cuda" else []
    of_python, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  # SB3 draws here
    with torch.random.fork_rng(cuda):
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        torch.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(place):
                torch.cuda.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(of_python)
            np.random.set_state(of_numpy)  # noqa: NPY002


def child_seed(*path: int) -> int:
    """The seed at a place in the tree of seeds: another path, another seed."""
    return int(np.random.SeedSequence(path).generate_state(1)[0])


def draw_seed(generator: torch.Generator) -> int:
    """A seed that is drawn."""
    return int(torch.randint(MAX_SEED, (), generator=generator, device=generator.device))
