"""Random draws for B environments: of tasks, and of the numbers of an episode's steps.

G generators serve B / G environments in a row each. So several training seeds, or a meta-batch of
tasks, share one program: block g sees exactly what B / G environments with generator g alone would
see. The numbers of an episode's steps are drawn ahead in blocks, or given beforehand, which makes
an episode repeatable to the bit, on another device or in the single twin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from .arrays import as_tensor
from .checks import check_seeds, torch_seed
from .tasks import NumberSource

__all__ = ["GeneratorBlocks", "Generators", "Share", "StepRandomness"]

Generators = torch.Generator | Sequence[torch.Generator] | None
"""One generator, several, or None for an own one with a random seed."""

MAX_DRAWS = 2**22
"""Numbers one generator draws at once for the steps to come, at most (32 MiB of int64)."""


class Share(NamedTuple):
    """Part of each generator's environments that is here, where others are in other processes.

    Attributes:
        whole: Number of all environments of a generator.
        start: Number of the first one that is here.
    """

    whole: int
    start: int


class GeneratorBlocks:
    """Generators and the environments they serve.

    Args:
        generator: One generator, several, or None for an own one with a random seed.
        num_envs: Number of environments, B; a multiple of the number of generators.
        device: Device of the draws and of the generators.
        share: Which environments of each generator these are: what all of them draw is drawn, and
            what is theirs of it is taken. None: they are all.

    Raises:
        ValueError: If they cannot be shared equally, a generator is on another device, torch has
            no such device, or there are more of them than `share` says.
    """

    def __init__(
        self,
        generator: torch.Generator | Sequence[torch.Generator] | None,
        num_envs: int,
        device: torch.device,
        share: Share | None = None,
    ) -> None:
        self._own = generator is None
        if generator is None:
            generator = _own_generator(device)
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
        self.share = share
        if share and not 0 <= share.start <= share.whole - self.block_size:
            raise ValueError(
                f"{self.block_size} environments from number {share.start} on are not among "
                f"{share.whole}"
            )

    @property
    def _drawn(self) -> int:
        """Environments for which a generator draws."""
        return self.share.whole if self.share else self.block_size

    @property
    def _here(self) -> slice:
        """Columns of the environments that are here."""
        start = self.share.start if self.share else 0
        return slice(start, start + self.block_size)

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
            self.generators = tuple(_own_generator(self.device) for _ in range(count))
            self.block_size = self.num_envs // count
        for generator, one in zip(self.generators, seeds, strict=True):
            if one is not None:
                generator.manual_seed(torch_seed(one))

    def tasks(self, source: NumberSource) -> tuple[torch.Tensor, ...]:
        """The arrays of B tasks drawn from `source`, [B, ...] each."""
        drawn = [source.draw(self._drawn, generator, self.device) for generator in self.generators]
        if self.share:
            drawn = [tuple(array[self._here] for array in arrays) for arrays in drawn]
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
        num_steps = min(max_steps, max(1, MAX_DRAWS // self._drawn))
        drawn = [draw((num_steps, self._drawn), generator) for generator in self.generators]
        if self.share:
            drawn = [numbers[:, self._here] for numbers in drawn]
        return drawn[0] if len(drawn) == 1 else torch.cat(drawn, dim=1)


def _own_generator(device: torch.device) -> torch.Generator:
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


class StepRandomness:
    """One number of each kind for each step and environment.

    Args:
        kinds: ``"uniforms"`` in [0, 1) and ``"normals"``, float32; others are whole numbers.
        generators: Source of the numbers that are not given.
        horizon: Steps in an episode, T.
        bounds: Bounds of whole numbers: kind k lies in [0, bounds[k]).
    """

    def __init__(
        self,
        kinds: tuple[str, ...],
        generators: GeneratorBlocks,
        horizon: int,
        bounds: Mapping[str, int],
    ) -> None:
        self.kinds = kinds
        self.generators = generators
        self.horizon = horizon
        self.bounds = bounds
        self._given: dict[str, torch.Tensor] = {}
        self._covered = dict.fromkeys(kinds, 0)
        self._rows: dict[str, Iterator[torch.Tensor]] = {}

    def read(
        self, given: Mapping[str, Any], bounds: Mapping[str, int] | None = None
    ) -> dict[str, torch.Tensor]:
        """The numbers that `given` has, [T, B] each. Changes nothing.

        Args:
            given: Numbers of some kinds, or None.
            bounds: Bounds of whole numbers, where they are others than those of the draws.

        Raises:
            ValueError: If they are of another shape or type, or out of range.
        """
        return {
            kind: self._read(kind, given[kind], self.bounds if bounds is None else bounds)
            for kind in self.kinds
            if given.get(kind) is not None
        }

    def begin(self, given: dict[str, torch.Tensor]) -> None:
        """Starts an episode with the numbers that `read` gave; others are drawn."""
        self._given = given
        self._covered = dict.fromkeys(self.kinds, 0)
        self._rows = dict.fromkeys(self.kinds, iter(()))

    def next(self) -> tuple[torch.Tensor, ...]:
        """The numbers of the next step, [B] for each kind."""
        return tuple(self._row(kind) for kind in self.kinds)

    def block(self, kind: str) -> torch.Tensor:
        """The numbers of one kind of the next T' steps, [T', B], where `next` is not called."""
        block = self._given.get(kind)
        if block is None:
            left = self.horizon - self._covered[kind]
            if kind in self.bounds:
                block = self.generators.integers(self.bounds[kind], left)
            elif kind == "uniforms":
                block = self.generators.uniforms(left)
            else:
                block = self.generators.normals(left)
        self._covered[kind] += len(block)
        return block

    def _row(self, kind: str) -> torch.Tensor:
        """This step's numbers, from a block that is drawn when its first ones are needed."""
        row = next(self._rows[kind], None)
        if row is None:
            row, *rest = self.block(kind).unbind(0)
            self._rows[kind] = iter(rest)
        return row

    def _read(self, kind: str, values: Any, bounds: Mapping[str, int]) -> torch.Tensor:
        device, expected = self.generators.device, (self.horizon, self.generators.num_envs)
        bound = bounds.get(kind)
        numbers = as_tensor(values, device, torch.float32 if bound is None else None)
        if tuple(numbers.shape) != expected:
            raise ValueError(
                f"{kind} must have shape (horizon, num_envs) = {expected}, got "
                f"{tuple(numbers.shape)}"
            )
        if bound is None:
            return numbers
        if numbers.dtype != torch.int64:
            raise ValueError(f"{kind} must be int64, got {numbers.dtype}")
        if bool(((numbers < 0) | (numbers >= bound)).any()):
            raise ValueError(
                f"{kind} must lie in [0, {bound}), got values from {int(numbers.min())} to "
                f"{int(numbers.max())}"
            )
        return numbers
