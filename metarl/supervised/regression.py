"""Regression tasks: a task is one function of a line, learned from a few of its points.

Parameters of a task are tensors ``[N, 1, 1]``, so that functions are vectorised over tasks. The
families themselves are in `metarl.supervised.regression_families`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import torch
from torch import Tensor

from metarl.supervised.criteria import Criterion
from metarl.supervised.examples import Examples, FewShotBatch

Range: TypeAlias = tuple[float, float]
TaskParams: TypeAlias = Mapping[str, Tensor]


@dataclass(frozen=True)
class RegressionFamily(ABC):
    """A distribution of functions, and where they are looked at.

    Draws are made on the generator's device and moved: with a generator on the CPU, tasks are the
    same on every device.

    Attributes:
        inputs: Range of x, which is uniform.
        num_points: Usual number of points to learn a task from.
    """

    criterion: ClassVar[Criterion]
    """The loss ``[N]`` the family is usually learned with."""

    inputs: Range
    num_points: int

    @abstractmethod
    def sample(
        self, num_tasks: int, generator: torch.Generator, device: torch.device | str = "cpu"
    ) -> dict[str, Tensor]:
        """Draw N functions: their parameters by name, each ``[N, 1, 1]``."""

    @abstractmethod
    def function(self, params: TaskParams, x: Tensor) -> Tensor:
        """The values of each task's function at its own points: ``[N, B, 1]`` to ``[N, B, 1]``."""

    def sample_inputs(
        self,
        num_tasks: int,
        num_points: int,
        generator: torch.Generator,
        device: torch.device | str = "cpu",
    ) -> Tensor:
        """Draw points for N tasks, ``[N, B, 1]``."""
        return uniform((num_tasks, num_points, 1), self.inputs, generator).to(device)

    def sample_examples(
        self, params: TaskParams, num_points: int, generator: torch.Generator
    ) -> Examples:
        """Draw points of given tasks: inputs and targets ``[N, B, 1]``, where the tasks live."""
        first = next(iter(params.values()))
        x = self.sample_inputs(first.shape[0], num_points, generator, first.device)
        return Examples(x, self.function(params, x))

    def sample_tasks(
        self,
        num_tasks: int,
        num_support: int,
        num_query: int,
        generator: torch.Generator,
        device: torch.device | str = "cpu",
    ) -> FewShotBatch:
        """Draw N functions, points of each to adapt with, and other points to be judged by."""
        params = self.sample(num_tasks, generator, device)
        return FewShotBatch(
            self.sample_examples(params, num_support, generator),
            self.sample_examples(params, num_query, generator),
        )


def uniform(shape: tuple[int, ...], bounds: Range, generator: torch.Generator) -> Tensor:
    """Uniform draws between two bounds, on the generator's device."""
    draws = torch.rand(shape, generator=generator, device=generator.device)
    return draws * (bounds[1] - bounds[0]) + bounds[0]


def check_range(name: str, bounds: Range) -> None:
    """Check that a range is finite and in order.

    Raises:
        ValueError: It is infinite or upside down.
    """
    low, high = bounds
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(f"{name} must be (low, high), finite and in order, got {bounds}")
