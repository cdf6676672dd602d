"""Random draws for B environments by G generators, each of which serves B / G of them in a row.

This is how several training seeds share one program: block g sees exactly what B / G environments
with generator g alone would see.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from .tasks import TaskSource
from .whole_numbers import check_seeds, torch_seed

__all__ = ["GeneratorBlocks"]

MAX_DRAWS = 2**22
"""Numbers one generator draws at once for the steps to come, at most (32 MiB of int64)."""


class GeneratorBlocks:
    """Generators and the environments they serve.

    Args:
        generator: One generator, several, or None for an own one with a random seed.
        num_envs: Number of environments, B; a multiple of the number of generators.
        device: Where the draws are made; the generators must live there.

    Raises:
        ValueError: If they cannot be shared equally, a generator is on another device, or torch
            has no such device.
    """

    def __init__(
        self,
        generator: torch.Generator | Sequence[torch.Generator] | None,
        num_envs: int,
        device: torch.device,
    ) -> None:
        self._own = generator is None
        if generator is None:
            generator = _seeded_anew(device)
        if isinstance(generator, torch.Generator):
            generator = (generator,)
        self.generators = tuple(generator)
        self.device = device
        self.num_envs = num_envs
        if not self.generators or num_envs % len(self.generators):
            raise ValueError(
                f"{num_envs} environments cannot be shared equally by {len(self.generators)} "
                f"generators: num_envs must be a multiple of their number"
            )
        for one in self.generators:
            if one.device.type != device.type:
                raise ValueError(
                    f"the generator is on {one.device} and the environment on {device}: make it "
                    f"with torch.Generator({str(device)!r})"
                )
        self.block_size = num_envs // len(self.generators)

    def seed(self, seed: int | Sequence[int | None]) -> None:
        """Seeds generator g with ``seed + g``, or with entry g (None leaves it as it is).

        As many seeds as environments give each its own generator, from then on until the next
        single seed, unless generators were given.

        Raises:
            ValueError: If there is not one seed for each generator, or one is no seed; nothing has
                been seeded then.
        """
        several = isinstance(seed, Sequence | np.ndarray) and not isinstance(seed, str | bytes)
        alone = self._own and several and len(seed) == self.num_envs  # type: ignore[arg-type]
        count = self.num_envs if alone else 1 if self._own else len(self.generators)
        seeds = check_seeds(seed, count)
        if len(self.generators) != count:
            self.generators = tuple(_seeded_anew(self.device) for _ in range(count))
            self.block_size = self.num_envs // count
        for generator, one in zip(self.generators, seeds, strict=True):
            if one is not None:
                generator.manual_seed(torch_seed(one))

    def tasks(self, source: TaskSource[Any]) -> tuple[torch.Tensor, ...]:
        """The arrays of B tasks drawn from `source`, [B, ...] each."""
        drawn = [
            source.draw(self.block_size, generator, self.device) for generator in self.generators
        ]
        if len(drawn) == 1:
            return drawn[0]
        return tuple(torch.cat(column) for column in zip(*drawn, strict=True))

    def integers(self, high: int, max_steps: int) -> torch.Tensor:
        """int64 [T', B], uniform in [0, high), for the next T' steps of an episode.

        T' is `max_steps`, or less to keep to `MAX_DRAWS` a generator. It does not depend on how
        many generators there are, so a block is drawn alone as it is drawn in company.
        """
        return self._steps(
            lambda shape, generator: torch.randint(
                high, shape, generator=generator, device=self.device
            ),
            max_steps,
        )

    def uniforms(self, max_steps: int) -> torch.Tensor:
        """float32 [T', B], uniform in [0, 1), likewise."""
        return self._steps(
            lambda shape, generator: torch.rand(
                shape, generator=generator, device=self.device, dtype=torch.float32
            ),
            max_steps,
        )

    def normals(self, max_steps: int) -> torch.Tensor:
        """float32 [T', B], standard normal, likewise."""
        return self._steps(
            lambda shape, generator: torch.randn(
                shape, generator=generator, device=self.device, dtype=torch.float32
            ),
            max_steps,
        )

    def _steps(
        self,
        draw: Callable[[tuple[int, int], torch.Generator], torch.Tensor],
        max_steps: int,
    ) -> torch.Tensor:
        """[T', B] from `draw`, which takes a shape and a generator."""
        num_steps = min(max_steps, max(1, MAX_DRAWS // self.block_size))
        drawn = [draw((num_steps, self.block_size), generator) for generator in self.generators]
        return drawn[0] if len(drawn) == 1 else torch.cat(drawn, dim=1)


def _seeded_anew(device: torch.device) -> torch.Generator:
    """A generator with a random seed; the first thing that needs the device to be there."""
    try:
        generator = torch.Generator(device)
    except (AssertionError, RuntimeError) as error:
        first = str(error).strip().partition("\n")[0].partition(". ")[0]
        raise ValueError(
            f"device {str(device)!r} was asked for, but torch cannot use it ({first}): give "
            "device='cpu', or install a torch and a driver for it"
        ) from error
    generator.seed()
    return generator
