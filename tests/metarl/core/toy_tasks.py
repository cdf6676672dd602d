"""A toy `TaskBatch`: each task's own data, a loss smooth in fast and slow, and drawn batches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from metarl.core import Params, Split


@dataclass(frozen=True)
class ToyTasks:
    """Regress ``y [N, B]`` on ``x [N, B, 2]`` by ``tanh(x w) s``; w fast, s slow."""

    x: Tensor
    y: Tensor
    thread_safe: ClassVar[bool] = True

    @property
    def num_tasks(self) -> int:
        return len(self.x)

    def sample(self, fast: Params, slow: Params, split: Split) -> tuple[Tensor, Tensor]:
        """The first half is support, the second query."""
        assert not torch.is_grad_enabled(), "sampling must not be recorded"
        half = self.x.shape[1] // 2
        part = slice(0, half) if split == "support" else slice(half, None)
        return self.x[:, part], self.y[:, part]

    def loss(self, fast: Params, slow: Params, batch: tuple[Tensor, Tensor]) -> Tensor:
        hidden = torch.tanh(torch.einsum("nbi,nih->nbh", batch[0], fast["w"]))
        return ((hidden * slow["s"].unsqueeze(1)).sum(-1) - batch[1]).square().mean(1)

    def select(self, tasks: slice) -> ToyTasks:
        return replace(self, x=self.x[tasks], y=self.y[tasks])


def toy(num_tasks: int = 3) -> tuple[ToyTasks, dict[str, Tensor], dict[str, Tensor]]:
    """Tasks, fast and slow parameters, stacked, float64."""
    g = torch.Generator().manual_seed(num_tasks)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g, dtype=torch.float64)

    tasks = ToyTasks(draw(num_tasks, 8, 2), draw(num_tasks, 8))
    return tasks, {"w": draw(num_tasks, 2, 3)}, {"s": draw(num_tasks, 3)}
