"""Tasks as the rows of one tensor: how a tensor environment is told what to play.

A task's numbers are small arrays (`Task.arrays`), of which an environment needs the first few. Flat
and side by side they are a row of D numbers of one type; N tasks are a tensor [N, D], which is made
once, repeated, indexed and handed over without a Python object per task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch

from .arrays import as_tensor
from .tasks import Task, Tensors

__all__ = ["TaskNumbers"]


@dataclass(frozen=True)
class TaskNumbers:
    """The form of the numbers of one kind of task.

    Attributes:
        shapes: Names of the arrays of a task that are needed, the first ones, and their shapes, in
            order.
        dtype: Type of all numbers.
        device: Device of the tensors.
    """

    shapes: Mapping[str, tuple[int, ...]]
    dtype: torch.dtype
    device: torch.device

    @property
    def sizes(self) -> list[int]:
        """Counts of numbers in each array of a task; together D."""
        return [prod(shape) for shape in self.shapes.values()]

    def rows(self, tasks: Sequence[Task]) -> torch.Tensor:
        """The numbers of N tasks, [N, D]."""
        needed = [task.arrays()[: len(self.shapes)] for task in tasks]
        rows = [np.concatenate([array.ravel() for array in arrays]) for arrays in needed]
        numbers = np.stack(rows) if rows else np.empty((0, sum(self.sizes)))
        return torch.tensor(numbers, dtype=self.dtype, device=self.device)

    def read(self, numbers: Any, num_tasks: int) -> Tensors:
        """The arrays of the tasks of given rows.

        Args:
            numbers: A tensor or an array.
            num_tasks: Number of rows it must have.

        Raises:
            ValueError: If it has another shape or type.
        """
        rows, expected = as_tensor(numbers, self.device), (num_tasks, sum(self.sizes))
        if tuple(rows.shape) != expected or rows.dtype != self.dtype:
            raise ValueError(
                f"tasks given as numbers must be {self.dtype} of shape (num_envs, D) = {expected}, "
                f"got {rows.dtype} of shape {tuple(rows.shape)}: make them with task_tensor"
            )
        return self.arrays(rows)

    def arrays(self, rows: torch.Tensor) -> Tensors:
        """Rows [N, D] as arrays [N, ...] of their own."""
        parts = torch.split(rows, self.sizes, dim=1)
        return tuple(
            part.reshape(-1, *shape).clone(memory_format=torch.contiguous_format)  # [N, ...]
            for part, shape in zip(parts, self.shapes.values(), strict=True)
        )
