"""A cache of keys and values that a kernel writes: the memory of `nn.transformer` in a rollout."""

from __future__ import annotations

import torch
from torch import Tensor

from metarl.native.call import readable
from metarl.nn.native_core import NativeTrace


class NativeCache(NativeTrace):
    """Entries of T steps, to which a trial brings none: see `Transformer.initial_state`."""

    @staticmethod
    def begins_with(state: tuple[Tensor, ...] | None) -> bool:
        """Whether a state is that of trials that have not begun.

        Raises:
            TypeError: The number of steps that are seen cannot be read.
        """
        if state is None:
            return True
        *entries, seen = state
        if entries[0].shape[-2]:
            return False
        return not bool(readable(seen, tuple(seen.shape), torch.int64).any())

    def states(self, t: int) -> tuple[Tensor, ...]:
        """Keys and values of each layer, views ``[N, B, heads, t + 1, K]``, and what is seen."""
        (seen,) = self.run.states(t)  # [N, B, 1]
        return (*self.run.caches(t), seen.squeeze(-1).to(torch.int64))

    def _begin(self, state: tuple[Tensor, ...] | None, *, starts: bool = False) -> None:
        if not self.begins_with(state):
            raise ValueError(
                "the memory of a rollout begins with an empty cache: hand in the initial state, or "
                "take steps without a slot"
            )
        super()._begin(None, starts=starts)

    def _go_on_from(self, t: int, state: tuple[Tensor, ...]) -> None:
        *entries, seen = state
        for own, given in zip(self.run.caches(t - 1), entries, strict=True):
            if given.shape != own.shape:
                raise ValueError(
                    f"step {t} of a rollout goes on from caches of the shape {tuple(own.shape)}, "
                    f"got {tuple(given.shape)}"
                )
            if (given.data_ptr(), given.stride()) != (own.data_ptr(), own.stride()):
                own.copy_(given)
        if bool(((seen < 0) | (seen > t)).any()):
            raise ValueError(
                f"after {t} steps of a rollout a trial has seen 0 to {t} of them, got "
                f"{int(seen.min())} to {int(seen.max())}"
            )
        super()._go_on_from(t, (seen.to(self.run.dtype).unsqueeze(-1),))
