"""Regression tasks: a task is one function of a line, learned from a few of its points.

Parameters of a task are tensors ``[N, 1, 1]``, so that functions are vectorised over tasks. There
are four families:

- `Sine`: amplitude and phase vary (Finn et al. 2017, section 5.1).
- `PhaseSine`: only the phase varies, 0 or π.
- `TwoDomainSine`: the same, but what tells the phase is an unlabelled input from another domain
  (domain-adaptive meta-learning, DAML, Yu et al. 2018).
- `Logistic`: L / (1 + exp(-k (x - x0))).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import torch
from torch import Tensor

from metarl.supervised.examples import Examples, FewShotBatch
from metarl.supervised.tasks import Criterion, mean_absolute_error, mean_squared_error

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


__all__ = ["REGRESSION_FAMILIES", "Logistic", "PhaseSine", "Sine", "TwoDomainSine"]


@dataclass(frozen=True)
class Sine(RegressionFamily):
    """The sines a sin(x - b), a and b uniform; learned with the squared error.

    Attributes:
        inputs: Range of x.
        num_points: Usual number of points to learn a task from.
        amplitude: Range of a.
        phase: Range of b, radians.
    """

    criterion: ClassVar[Criterion] = staticmethod(mean_squared_error)
    inputs: Range = (-5.0, 5.0)
    num_points: int = 10
    amplitude: Range = (0.1, 5.0)
    phase: Range = (0.0, math.pi)

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("inputs", "amplitude", "phase"):
            check_range(name, getattr(self, name))

    def sample(
        self, num_tasks: int, generator: torch.Generator, device: torch.device | str = "cpu"
    ) -> dict[str, Tensor]:
        """Draw ``amplitude`` and ``phase``, each ``[N, 1, 1]``."""
        shape = (num_tasks, 1, 1)
        return {
            "amplitude": uniform(shape, self.amplitude, generator).to(device),
            "phase": uniform(shape, self.phase, generator).to(device),
        }

    def function(self, params: TaskParams, x: Tensor) -> Tensor:
        """The sine a sin(x - b) at x ``[N, B, 1]``."""
        return params["amplitude"] * torch.sin(x - params["phase"])


@dataclass(frozen=True)
class PhaseSine(RegressionFamily):
    """The sines sin(x + b), b either 0 or π with equal chances; learned with the absolute error.

    Attributes:
        inputs: Range of x.
        num_points: Usual number of points to learn a task from.
    """

    criterion: ClassVar[Criterion] = staticmethod(mean_absolute_error)
    inputs: Range = (-2 * math.pi, 2 * math.pi)
    num_points: int = 4

    def __post_init__(self) -> None:
        """Check the range."""
        check_range("inputs", self.inputs)

    def sample(
        self, num_tasks: int, generator: torch.Generator, device: torch.device | str = "cpu"
    ) -> dict[str, Tensor]:
        """Draw ``phase`` ``[N, 1, 1]``."""
        shifted = uniform((num_tasks, 1, 1), (0.0, 1.0), generator) < 0.5
        return {"phase": (shifted * math.pi).to(device)}

    def function(self, params: TaskParams, x: Tensor) -> Tensor:
        """The sine sin(x + b) at x ``[N, B, 1]``."""
        return torch.sin(x + params["phase"])


@dataclass(frozen=True)
class TwoDomainSine(PhaseSine):
    """The target domain is `PhaseSine`; a source domain shows, without labels, which phase it is.

    An input of the source domain is a number z, not an x: its sign tells the phase (positive for
    phase 0, negative for π), its size says nothing. It goes into the same input of the network as
    x does. The learner adapts to such inputs through a loss that it has learned, since they have
    no labels, and is judged by x and sin(x + b) of the target domain.

    Attributes:
        inputs: Range of x, in the target domain.
        num_points: Labelled points of the target domain in a task.
        signal: Range of abs(z); ``(1, 1)`` makes z one of two numbers.
    """

    signal: Range = (math.pi / 4, math.pi / 2)

    def __post_init__(self) -> None:
        """Check the ranges, and that the signal is above 0."""
        check_range("inputs", self.inputs)
        check_range("signal", self.signal)
        if self.signal[0] <= 0:
            raise ValueError(f"signal must begin above 0, got {self.signal}: its sign is the phase")

    def sample_source(
        self, params: TaskParams, num_points: int, generator: torch.Generator
    ) -> Tensor:
        """Draw unlabelled inputs z of the source domain, ``[N, B, 1]``, where the tasks live."""
        phase = params["phase"]
        size = uniform((phase.shape[0], num_points, 1), self.signal, generator)
        return size.to(phase.device) * torch.where(phase > 0, -1.0, 1.0)

    def sample_tasks(
        self,
        num_tasks: int,
        num_support: int,
        num_query: int,
        generator: torch.Generator,
        device: torch.device | str = "cpu",
    ) -> FewShotBatch:
        """Draw N functions: source inputs, whose targets are NaN, and other points."""
        params = self.sample(num_tasks, generator, device)
        shown = self.sample_source(params, num_support, generator)
        query = self.sample_examples(params, num_query, generator)
        return FewShotBatch(Examples(shown, torch.full_like(shown, torch.nan)), query)


@dataclass(frozen=True)
class Logistic(RegressionFamily):
    """L / (1 + exp(-k (x - x0))), all three uniform; learned with the squared error.

    Attributes:
        inputs: Range of x.
        num_points: Usual number of points to learn a task from.
        maximum: Range of L.
        steepness: Range of k.
        midpoint: Range of x0.
    """

    criterion: ClassVar[Criterion] = staticmethod(mean_squared_error)
    inputs: Range = (-4.0, 4.0)
    num_points: int = 10
    maximum: Range = (1.0, 10.0)
    steepness: Range = (1.0, 10.0)
    midpoint: Range = (-1.0, 1.0)

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("inputs", "maximum", "steepness", "midpoint"):
            check_range(name, getattr(self, name))

    def sample(
        self, num_tasks: int, generator: torch.Generator, device: torch.device | str = "cpu"
    ) -> dict[str, Tensor]:
        """Draw ``maximum``, ``steepness`` and ``midpoint``, each ``[N, 1, 1]``."""
        shape = (num_tasks, 1, 1)
        return {
            "maximum": uniform(shape, self.maximum, generator).to(device),
            "steepness": uniform(shape, self.steepness, generator).to(device),
            "midpoint": uniform(shape, self.midpoint, generator).to(device),
        }

    def function(self, params: TaskParams, x: Tensor) -> Tensor:
        """The logistic curve at x ``[N, B, 1]``."""
        return params["maximum"] * torch.sigmoid(params["steepness"] * (x - params["midpoint"]))


REGRESSION_FAMILIES: Mapping[str, RegressionFamily] = {
    "sine": Sine(),
    "sine-phase": PhaseSine(),
    "sine-domain": TwoDomainSine(),
    "logistic": Logistic(),
}
"""The families with their usual ranges, by name."""
