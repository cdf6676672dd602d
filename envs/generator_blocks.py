"""Random draws for B mazes by G generators, each of which serves B / G mazes in a row.

This is how several training seeds share one program: block g of the mazes sees exactly what an
environment of B / G mazes with generator g alone would see.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from envs.tasks import TaskDistribution

__all__ = ["GeneratorBlocks"]

MAX_DRAWS = 2**22
"""Teleports one generator draws at once, at most (32 MiB of int64)."""


class GeneratorBlocks:
    """Generators and the mazes they serve.

    Args:
        generator: One generator, several, or None for an own one with a random seed.
        num_envs: Number of mazes, B; a multiple of the number of generators.
        device: Where the draws are made; the generators must live there.

    Raises:
        ValueError: If the mazes cannot be shared equally, or a generator is on another device.
    """

    def __init__(
        self,
        generator: torch.Generator | Sequence[torch.Generator] | None,
        num_envs: int,
        device: torch.device,
    ) -> None:
        if generator is None:
            generator = torch.Generator(device)
            generator.seed()
        if isinstance(generator, torch.Generator):
            generator = (generator,)
        self.generators = tuple(generator)
        self.device = device
        if not self.generators or num_envs % len(self.generators):
            raise ValueError(
                f"{num_envs} mazes cannot be shared equally by {len(self.generators)} generators: "
                f"num_envs must be a multiple of their number"
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

        Raises:
            ValueError: If there is not one seed for each generator.
        """
        count = len(self.generators)
        seeds = list(seed) if isinstance(seed, Sequence) else [seed + g for g in range(count)]
        if len(seeds) != count:
            raise ValueError(
                f"got {len(seeds)} seeds for {count} generators: give an integer or one seed for "
                f"each generator"
            )
        for generator, one in zip(self.generators, seeds, strict=True):
            if one is not None:
                generator.manual_seed(one)

    def goals(self, tasks: TaskDistribution) -> torch.Tensor:
        """int64 [B], cell numbers of goals drawn from `tasks`."""
        drawn = [
            tasks.sample_goals(self.block_size, generator, self.device)
            for generator in self.generators
        ]
        return drawn[0] if len(drawn) == 1 else torch.cat(drawn)

    def integers(self, high: int, max_steps: int) -> torch.Tensor:
        """int64 [T', B], uniform in [0, high), for the next T' steps of an episode.

        T' is `max_steps`, or less to keep to `MAX_DRAWS` a generator. It does not depend on how
        many generators there are, so a block is drawn alone as it is drawn in company.
        """
        num_steps = min(max_steps, max(1, MAX_DRAWS // self.block_size))
        drawn = [
            torch.randint(
                high, (num_steps, self.block_size), generator=generator, device=self.device
            )
            for generator in self.generators
        ]
        return drawn[0] if len(drawn) == 1 else torch.cat(drawn, dim=1)
