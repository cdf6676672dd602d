"""The random numbers of the steps of an episode: drawn ahead in blocks, or given beforehand.

Given ones make an episode repeatable to the bit, on another device or in the single twin.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from .arrays import as_tensor
from .generator_blocks import GeneratorBlocks

__all__ = ["StepRandomness"]


class StepRandomness:
    """One number of each kind for each step and environment.

    Args:
        kinds: ``"uniforms"`` in [0, 1), ``"normals"``, or both.
        generators: Where numbers that are not given come from.
        horizon: Steps in an episode, T.
    """

    def __init__(self, kinds: tuple[str, ...], generators: GeneratorBlocks, horizon: int) -> None:
        self.kinds = kinds
        self.generators = generators
        self.horizon = horizon
        self._blocks: dict[str, torch.Tensor] = {}  # [T', B] each, the steps from _first on
        self._first = dict.fromkeys(kinds, 0)
        self._elapsed = 0

    def read(self, given: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """The numbers that `given` has, float32 [T, B] each. Changes nothing.

        Raises:
            ValueError: If they are of another shape.
        """
        return {
            kind: self._read(kind, given[kind])
            for kind in self.kinds
            if given.get(kind) is not None
        }

    def begin(self, given: dict[str, torch.Tensor]) -> None:
        """Starts an episode with the numbers that `read` gave; others are drawn."""
        self._blocks = dict(given)
        self._first = dict.fromkeys(self.kinds, 0)
        self._elapsed = 0

    def next(self) -> tuple[torch.Tensor, ...]:
        """The numbers of the next step, float32 [B] for each kind."""
        numbers = tuple(self._row(kind) for kind in self.kinds)
        self._elapsed += 1
        return numbers

    def _row(self, kind: str) -> torch.Tensor:
        """This step's numbers, from a block that is drawn when its first ones are needed."""
        block = self._blocks.get(kind)
        if block is None or self._elapsed == self._first[kind] + len(block):
            draw = self.generators.uniforms if kind == "uniforms" else self.generators.normals
            block = self._blocks[kind] = draw(self.horizon - self._elapsed)
            self._first[kind] = self._elapsed
        return block[self._elapsed - self._first[kind]]

    def _read(self, kind: str, values: Any) -> torch.Tensor:
        device, expected = self.generators.device, (self.horizon, self.generators.num_envs)
        tensor = as_tensor(values, device, torch.float32)
        if tuple(tensor.shape) != expected:
            raise ValueError(
                f"{kind} must have shape (horizon, num_envs) = {expected}, got "
                f"{tuple(tensor.shape)}"
            )
        return tensor
