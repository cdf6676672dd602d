"""Multilayer perceptron over stacked parameters: dense layers one after the other, of N tasks.

Where there is a kernel (`native.perceptrons`) all layers are one operation, differentiable twice;
elsewhere a product and an activation each. Dense layers of other networks are computed here too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from metarl.core import Params
from metarl.errors import check_choices
from metarl.native.mlp import Activation, Perceptron, has_kernel, perceptrons
from metarl.nn.network import stage_in

ACTIVATIONS: dict[Activation, Callable[[Tensor, Tensor], Tensor]] = {
    "linear": lambda z, h: z,
    "relu": lambda z, h: torch.relu(z),
    "tanh": lambda z, h: torch.tanh(z),
    "residual": lambda z, h: h + torch.tanh(z),
}
"""What a layer makes of its sum z and its inputs h."""


@dataclass(frozen=True)
class Layers:
    """Layers ``s(h W + b)``, one after the other.

    Attributes:
        names: What the names of each layer's parameters begin with: ``NAME.weight [N, I, O]`` and
            ``NAME.bias [N, O]``.
        net: Their sizes and activations.
    """

    names: tuple[str, ...]
    net: Perceptron

    def __call__(self, params: Params, inputs: Tensor, known: Tensor | None = None) -> Tensor:
        """Outputs ``[N, B, O]`` of inputs ``[N, B, I]``.

        Args:
            params: Parameters of at least these layers.
            inputs: The inputs.
            known: The outputs, where they have been said of the same before, and would be said
                again to the last bit (`are_of_rows`): they get a graph.
        """
        own = self.own(params)
        if self._is_product:
            return self.eager(inputs, own)
        found = perceptrons(self.net, inputs, own, self.eager, known)
        return self.eager(inputs, own) if found is None else found

    def are_of_rows(self, params: Params) -> bool:
        """Whether the outputs of a row do not depend, in their last bits, on the other rows."""
        own = self.own(params)
        row = own[0].new_empty(len(own[0]), 1, self.net.sizes[0])
        return not self._is_product and has_kernel(self.net, row, own)

    def own(self, params: Params) -> list[Tensor]:
        """Weight and bias of each layer, in order."""
        return [params[f"{name}.{kind}"] for name in self.names for kind in ("weight", "bias")]

    @property
    def _is_product(self) -> bool:
        """Whether they are no more than the product that torch has."""
        return self.net.activations in ((), ("linear",))

    def eager(self, inputs: Tensor, params: Sequence[Tensor]) -> Tensor:
        """Compute a perceptron by operations of torch, of weight and bias of each layer."""
        h = inputs
        pairs = zip(params[::2], params[1::2], self.net.activations, strict=True)
        for weight, bias, activation in pairs:
            h = ACTIVATIONS[activation](affine(h, weight, bias), h)
        return h


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
        check_choices(self)
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


# One layer ----------------------------------------------------------------------------------------


def uniform_linear(
    num_inputs: int, num_outputs: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Weight ``[I, O]`` and bias ``[O]``, both uniform in +-1/sqrt(I) (PyTorch's default)."""
    bound = 1.0 / math.sqrt(num_inputs)
    weight = torch.empty(num_inputs, num_outputs).uniform_(-bound, bound, generator=generator)
    bias = torch.empty(num_outputs).uniform_(-bound, bound, generator=generator)
    return weight, bias


def linear(params: Params, name: str, inputs: Tensor) -> Tensor:
    """``x W + b`` for N layers: inputs ``[N, B, I]``, parameters as of `affine`."""
    return affine(inputs, params[f"{name}.weight"], params[f"{name}.bias"])


def affine(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``x W + b`` for N layers: inputs ``[N, B, I]``, weight ``[N, I, O]``, bias ``[N, O]``.

    Weight ``[1, I, O]`` and bias ``[1, O]`` are one layer for all N: one product.
    """
    if len(weight) == 1 < len(inputs):
        # [N, B, I] to [N B, I], and [N B, O] to [N, B, O]
        return torch.addmm(bias, inputs.flatten(0, 1), weight[0]).view(*inputs.shape[:2], -1)
    return torch.baddbmm(bias.unsqueeze(1), inputs, weight)  # [N, 1, O] + [N, B, I] @ [N, I, O]
