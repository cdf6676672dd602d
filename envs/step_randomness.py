"""The random numbers of the steps of an episode: drawn ahead in blocks, or given beforehand.

Given ones make an episode repeatable to the bit, on another device or in the single twin.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from envs.generator_blocks import GeneratorBlocks

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
        self._numbers: dict[str, Iterator[torch.Tensor]] = {}

    def begin(self, given: Mapping[str, Any]) -> None:
        """Starts an episode with the numbers of `given`, float [T, B] each, where it has them.

        Raises:
            ValueError: If given numbers are of another shape.
        """
        read = {kind: self._read(kind, given.get(kind)) for kind in self.kinds}
        self._numbers = {
            kind: self._drawn(kind) if values is None else iter(values.unbind(0))
            for kind, values in read.items()
        }

    def next(self) -> tuple[torch.Tensor, ...]:
        """The numbers of the next step, float32 [B] for each kind."""
        return tuple(next(self._numbers[kind]) for kind in self.kinds)

    def _drawn(self, kind: str) -> Iterator[torch.Tensor]:
        """The numbers of an episode, drawn a block at a time when they are needed."""
        draw = self.generators.uniforms if kind == "uniforms" else self.generators.normals
        left = self.horizon
        while left:
            block = draw(left).unbind(0)
            yield from block
            left -= len(block)

    def _read(self, kind: str, values: Any) -> torch.Tensor | None:
        if values is None:
            return None
        device, expected = self.generators.device, (self.horizon, self.generators.num_envs)
        tensor = torch.as_tensor(values, dtype=torch.float32, device=device)
        if tuple(tensor.shape) != expected:
            raise ValueError(
                f"{kind} must have shape (horizon, num_envs) = {expected}, got "
                f"{tuple(tensor.shape)}"
            )
        return tensor
