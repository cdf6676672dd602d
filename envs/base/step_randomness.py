"""The random numbers of the steps of an episode: drawn ahead in blocks, or given beforehand.

Given ones make an episode repeatable to the bit, on another device or in the single twin.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from .arrays import as_tensor
from .generator_blocks import GeneratorBlocks

__all__ = ["StepRandomness"]


class StepRandomness:
    """One number of each kind for each step and environment.

    Args:
        kinds: ``"uniforms"`` in [0, 1) and ``"normals"``, float32; others are whole numbers.
        generators: Where numbers that are not given come from.
        horizon: Steps in an episode, T.
        bounds: Of whole numbers: kind k lies in [0, bounds[k]).
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

    def read(self, given: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """The numbers that `given` has, [T, B] each. Changes nothing.

        Raises:
            ValueError: If they are of another shape or type, or out of range.
        """
        return {
            kind: self._read(kind, given[kind])
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
        """The numbers of one kind of the next T' steps, [T', B], for who does not call `next`."""
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

    def _read(self, kind: str, values: Any) -> torch.Tensor:
        device, expected = self.generators.device, (self.horizon, self.generators.num_envs)
        bound = self.bounds.get(kind)
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
