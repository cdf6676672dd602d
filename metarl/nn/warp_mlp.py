"""A multilayer perceptron with warp layers after every hidden layer, for regression and proofs.

The linear layers are fast, the warp layers slow. A linear warp has a constant Jacobian, so it
preconditions every gradient alike; that of a non-linear one depends on the input (Flennerhag et
al. 2020, section 3.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from metarl.core import Params
from metarl.errors import check_choices
from metarl.native.mlp import Activation, Perceptron
from metarl.nn.mlp import MLP, Layers, uniform_linear
from metarl.nn.network import stage_in


@dataclass(frozen=True)
class WarpMLP:
    """An MLP with a warp layer after every activation.

    Parameters are those of ``base``, and ``warp.I.weight`` and ``warp.I.bias`` after layer I.

    Attributes:
        base: The plain network; it needs a hidden layer.
        kind: linear: ``x W + b``; tanh: ``x + tanh(x W + b)``.
        start: random: uniform in +-1/sqrt(fan in); identity: the network begins as ``base``, bit
            for bit where matrix products are sums of products.
    """

    base: MLP
    kind: Literal["linear", "tanh"] = "linear"
    start: Literal["random", "identity"] = "random"

    def __post_init__(self) -> None:
        """Check that there is a place for a warp layer."""
        check_choices(self)
        if self.base.num_layers < 2:
            raise ValueError(f"warp layers follow hidden layers, got sizes {self.base.sizes}")

    @property
    def num_inputs(self) -> int:
        """Number of inputs of the base."""
        return self.base.num_inputs

    @property
    def slow(self) -> tuple[str, ...]:
        """The warp layers."""
        return ("warp.*",)

    @property
    def head(self) -> tuple[str, ...]:
        """The last layer."""
        return self.base.head

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw the base, then the warp layers."""
        params = self.base.init(generator)
        for i, size in enumerate(self.base.sizes[1:-1]):
            weight, bias = uniform_linear(size, size, generator)
            if self.start == "identity":
                weight = torch.eye(size) if self.kind == "linear" else torch.zeros(size, size)
                bias = torch.zeros(size)
            params |= {f"warp.{i}.weight": weight, f"warp.{i}.bias": bias}
        return params

    def __call__(self, params: Params, inputs: Tensor, num_reference: int = 0) -> Tensor:
        """Outputs ``[N, B, O]`` of inputs ``[N, B, I]``; nothing is normalised."""
        return self.run(params, inputs)

    @property
    def num_stages(self) -> int:
        """Each layer is one, with what follows it."""
        return self.base.num_layers

    def stage_of(self, name: str) -> int:
        """The number of the layer that it belongs to, or follows."""
        return stage_in(name, {"layers": self.num_stages, "warp": self.num_stages - 1})

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

    def warp(self, params: Params, name: str, h: Tensor) -> Tensor:
        """One warp layer on activations ``[N, B, H]``."""
        size = h.shape[-1]
        return Layers((name,), Perceptron((size, size), (self._activation,)))(params, h)

    @cache  # noqa: B019  # of a value
    def layers(self, start: int = 0, stop: int | None = None) -> Layers:
        """The layers of some stages, each with the warp layer that follows."""
        names: list[str] = []
        activations: list[Activation] = []
        sizes = list(self.base.layers(start, stop).net.sizes[:1])
        for i in range(self.num_stages)[start:stop]:
            plain = self.base.layers(i, i + 1)
            names += plain.names
            sizes.append(plain.net.sizes[1])
            activations += plain.net.activations
            if i < self.num_stages - 1:
                names.append(f"warp.{i}")
                sizes.append(sizes[-1])
                activations.append(self._activation)
        return Layers(tuple(names), Perceptron(tuple(sizes), tuple(activations)))

    @property
    def _activation(self) -> Activation:
        return "linear" if self.kind == "linear" else "residual"
