"""Multilayer perceptron over stacked parameters: one operation, or one product a layer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from metarl.core import Params
from metarl.native.mlp import Activation, Perceptron
from metarl.nn.layers import Layers
from metarl.nn.network import stage_in, uniform_linear


@dataclass(frozen=True)
class MLP:
    """Linear layers with an activation between them.

    Parameters are ``layers.I.weight`` and ``layers.I.bias``.

    Attributes:
        sizes: Inputs, hidden layers, outputs, e.g. ``(1, 40, 40, 1)``.
        activation: Between the layers.
        activate_last: Also after the last layer, for a trunk that heads stand on.
    """

    sizes: tuple[int, ...]
    activation: Literal["relu", "tanh"] = "relu"
    activate_last: bool = False

    def __post_init__(self) -> None:
        """Check that there is a layer, and that all sizes are positive."""
        if len(self.sizes) < 2 or min(self.sizes) < 1:
            raise ValueError(f"sizes must be at least two positive counts, got {self.sizes}")

    @property
    def num_inputs(self) -> int:
        """Number of inputs, I."""
        return self.sizes[0]

    @property
    def num_layers(self) -> int:
        """Number of linear layers."""
        return len(self.sizes) - 1

    @property
    def slow(self) -> tuple[str, ...]:
        """All parameters are fast."""
        return ()

    @property
    def head(self) -> tuple[str, ...]:
        """The last layer."""
        return (f"layers.{self.num_layers - 1}.*",)

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Uniform in +-1/sqrt(fan in)."""
        params: dict[str, Tensor] = {}
        for i in range(self.num_layers):
            weight, bias = uniform_linear(self.sizes[i], self.sizes[i + 1], generator)
            params |= {f"layers.{i}.weight": weight, f"layers.{i}.bias": bias}
        return params

    def __call__(self, params: Params, inputs: Tensor, num_reference: int = 0) -> Tensor:
        """Outputs ``[N, B, O]`` of inputs ``[N, B, I]``; nothing is normalised."""
        return self.run(params, inputs)

    @property
    def num_stages(self) -> int:
        """Each layer is one, with its activation."""
        return self.num_layers

    def stage_of(self, name: str) -> int:
        """The number of the layer."""
        return stage_in(name, {"layers": self.num_layers})

    def run(
        self,
        params: Params,
        inputs: Tensor,
        num_reference: int = 0,
        *,
        start: int = 0,
        stop: int | None = None,
    ) -> Tensor:
        """Some of the layers; see `nn.network.StagedNetwork`."""
        return self.layers(start, stop)(params, inputs)

    @cache  # noqa: B019  # of a value
    def layers(self, start: int = 0, stop: int | None = None) -> Layers:
        """The layers of some stages."""
        stages = range(self.num_layers)[start:stop]
        hidden: Activation = self.activation
        last: Activation = hidden if self.activate_last else "linear"
        return Layers(
            tuple(f"layers.{i}" for i in stages),
            Perceptron(
                tuple(self.sizes[i] for i in (*stages, *(i + 1 for i in stages[-1:]))),
                tuple(hidden if i < self.num_layers - 1 else last for i in stages),
            ),
        )
