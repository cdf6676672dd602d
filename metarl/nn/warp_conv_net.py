"""The warped convolution net of the multi-shot experiment (Flennerhag et al. 2020, section 4.2).

After every block of a `ConvNet` stands a stack of warp layers. The blocks and the head are fast,
the warp layers slow: they stand still while a task is learned, and their Jacobians precondition
the gradient of what lies before them (their eq. 6). One warp layer is

    a = act(W * norm_in(x) + b),   y = a,   or with a residual   y = norm_out(x + a).

Without batch norm both norms are the identity; a 1x1 convolution brings x to the channels of y
where they differ. The layers differ in what ``W *`` is: a factor for each channel, a 1x1 or a 3x3
convolution.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from metarl.core import Params
from metarl.errors import check_choices
from metarl.native.conv import Convolution
from metarl.nn.conv_net import (
    ConvNet,
    apart,
    batch_norm,
    convolution,
    natively,
    per_channel,
    side_by_side,
)
from metarl.nn.mlp import linear, uniform_linear
from metarl.nn.network import stage_in

Activation = Literal["none", "relu", "leaky_relu", "sigmoid", "tanh"]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "relu": torch.relu,
    "leaky_relu": F.leaky_relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
}


@dataclass(frozen=True)
class WarpConvNet:
    """A convolution net with warp layers after every block.

    Parameters are those of ``base``; layer J after block I adds ``warp.I.J.conv.weight`` and
    ``.bias``, and as needed ``.norm_in.*``, ``.norm_out.*`` and ``.skip.*``; a warped head adds
    ``warp.head.*``.

    Attributes:
        base: The plain network.
        kind: Kind of warp layers: scale and shift channels, or a convolution.
        num_layers: Warp layers after each block.
        filters: Channels between the warp layers of a stack; None: as many as the blocks have.
        activation: Activation of every warp layer.
        residual: Add the layer's input to its output.
        batch_norm: Normalise what enters a warp layer and, with a residual, what leaves it.
        warped_head: The fast head keeps the number of features and a slow linear layer makes the
            outputs.
        start: random: Glorot-uniform; identity: the warp layers begin as the identity, so that
            the network begins as ``base``: bit for bit where convolutions are sums of products
            (a zero residual always is) and both or none are native, else to rounding.
    """

    base: ConvNet
    kind: Literal["scaling", "1x1", "3x3"] = "3x3"
    num_layers: int = 1
    filters: int | None = None
    activation: Activation = "none"
    residual: bool = False
    batch_norm: bool = False
    warped_head: bool = False
    start: Literal["random", "identity"] = "random"

    def __post_init__(self) -> None:
        """Check that the network can be built."""
        check_choices(self)
        if self.num_layers < 1 or self.width < 1:
            raise ValueError(
                f"num_layers and filters must be at least 1, got {self.num_layers}, {self.width}"
            )
        narrows = self.num_layers > 1 and self.width != self.base.filters
        if self.kind == "scaling" and narrows:
            raise ValueError(f"scaling keeps the {self.base.filters} filters, got {self.width}")
        if self.start == "identity" and self.not_identity:
            raise ValueError(
                "warp layers begin as the identity only without other filters, batch norm, a "
                f"warped head and activations that bend; not with {', '.join(self.not_identity)}: "
                "use start='random'"
            )

    @property
    def not_identity(self) -> tuple[str, ...]:
        """The attributes that keep the warp layers from beginning as the identity, by name."""
        bent = ("sigmoid",) if self.residual else ("sigmoid", "tanh")
        reasons = {
            "filters": self.num_layers > 1 and self.width != self.base.filters,
            "activation": self.activation in bent,
            "batch_norm": self.batch_norm,
            "warped_head": self.warped_head,
        }
        return tuple(name for name, holds in reasons.items() if holds)

    @property
    def width(self) -> int:
        """Channels between the warp layers of a stack."""
        return self.base.filters if self.filters is None else self.filters

    @property
    def slow(self) -> tuple[str, ...]:
        """The warp layers."""
        return ("warp.*",)

    @property
    def head(self) -> tuple[str, ...]:
        """The fast linear layer."""
        return ("head.*",)

    @property
    def num_features(self) -> int:
        """Number of features of an image that the head sees."""
        return self.base.num_features

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw the base, then the warp layers."""
        params = self.base.init(generator)
        for i in range(self.base.num_blocks):
            for j in range(self.num_layers):
                layer = self._init_layer(*self._channels(j), generator)
                params |= {f"warp.{i}.{j}.{name}": p for name, p in layer.items()}
        if self.warped_head:
            for name, size in (("head", self.num_features), ("warp.head", self.base.num_outputs)):
                weight, bias = uniform_linear(self.num_features, size, generator)
                params |= {f"{name}.weight": weight, f"{name}.bias": bias}
        return params

    def __call__(self, params: Params, inputs: Tensor, num_reference: int = 0) -> Tensor:
        """Logits ``[N, B, C]`` of images ``[N, B, channels, height, width]``."""
        return self.run(params, inputs, num_reference)

    @property
    def num_stages(self) -> int:
        """The blocks with their warp layers, and the head with its own."""
        return self.base.num_stages

    def stage_of(self, name: str) -> int:
        """The number of the block that it belongs to, or follows; the heads come after all."""
        if name.startswith("warp."):
            head = name in ("warp.head.weight", "warp.head.bias")
            return self.base.num_blocks if head else stage_in(name, {"warp": self.base.num_blocks})
        return self.base.stage_of(name)

    def run(
        self,
        params: Params,
        inputs: Tensor,
        num_reference: int = 0,
        *,
        start: int = 0,
        stop: int | None = None,
    ) -> Tensor:
        """Some of the stages; see `nn.network.StagedNetwork`. The head takes features."""

        def head(features: Tensor) -> Tensor:
            outputs = linear(params, "head", features)
            return linear(params, "warp.head", outputs) if self.warped_head else outputs

        return self.base.stages(
            lambda blocks: self.activations(params, inputs, num_reference, blocks),
            head,
            inputs,
            range(self.num_stages)[start:stop],
        )

    def activations(
        self, params: Params, inputs: Tensor, num_reference: int, blocks: range
    ) -> Tensor:
        """Activations ``[N, B, C, height, width]`` after some of the blocks and their layers."""

        def eager(params: Params, inputs: Tensor) -> Tensor:
            h, num_tasks = side_by_side(inputs), len(inputs)
            for i in blocks:
                h = self.base.block(params, i, h, num_tasks, num_reference)
                for j in range(self.num_layers):
                    h = self.warp(params, f"warp.{i}.{j}", h, num_tasks, num_reference)
            return apart(h, num_tasks)

        layer = self.layer
        if layer is not None and type(self) is WarpConvNet and type(self.base) is ConvNet:
            layers: dict[str, Convolution] = {}
            for i in blocks:
                layers[f"blocks.{i}"] = self.base.layer
                layers |= {f"warp.{i}.{j}": layer for j in range(self.num_layers)}
            h = natively(layers, params, inputs, num_reference, eager)
            if h is not None:
                return h
        return eager(params, inputs)

    @property
    def layer(self) -> Convolution | None:
        """Warp layer without its parameters; None: no convolution and ReLU at most."""
        beyond = self.residual or self.batch_norm or self.activation not in ("none", "relu")
        if self.kind == "scaling" or beyond:
            return None
        size, bent = (3 if self.kind == "3x3" else 1), self.activation == "relu"
        return Convolution(size, normalised=False, rectified=bent)

    def warp(
        self, params: Params, name: str, h: Tensor, num_tasks: int, num_reference: int = 0
    ) -> Tensor:
        """One warp layer on activations ``[B, N C, height, width]``."""
        x = batch_norm(params, f"{name}.norm_in", h, num_reference) if self.batch_norm else h
        if self.kind == "scaling":
            scale = per_channel(params[f"{name}.conv.weight"], x)
            shift = per_channel(params[f"{name}.conv.bias"], x)
            x = x * scale.reshape(-1, 1, 1) + shift.reshape(-1, 1, 1)  # [N C, 1, 1] by channel
        else:
            x = convolution(params, f"{name}.conv", x, num_tasks)
        x = ACTIVATIONS[self.activation](x)
        if not self.residual:
            return x
        if f"{name}.skip.weight" in params:
            h = convolution(params, f"{name}.skip", h, num_tasks)
        x = x + h
        return batch_norm(params, f"{name}.norm_out", x, num_reference) if self.batch_norm else x

    def _channels(self, layer: int) -> tuple[int, int]:
        """Channels into and out of a layer of a stack."""
        first, last = layer == 0, layer == self.num_layers - 1
        filters = self.base.filters
        return filters if first else self.width, filters if last else self.width

    def _init_layer(
        self, channels: int, filters: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """One layer, names without prefix."""
        layer = {"conv.weight": self._weight(channels, filters, generator)}
        layer["conv.bias"] = torch.zeros(filters)
        if self.residual and channels != filters:
            layer |= {"skip.weight": glorot(channels, filters, 1, generator)}
            layer |= {"skip.bias": torch.zeros(filters)}
        if self.batch_norm:
            layer |= {"norm_in.weight": torch.ones(channels), "norm_in.bias": torch.zeros(channels)}
        if self.batch_norm and self.residual:
            layer |= {"norm_out.weight": torch.ones(filters), "norm_out.bias": torch.zeros(filters)}
        return layer

    def _weight(self, channels: int, filters: int, generator: torch.Generator) -> Tensor:
        """``W``: per channel ``[C]`` or a kernel ``[O, C, k, k]``."""
        size = 3 if self.kind == "3x3" else 1
        if self.kind == "scaling":
            # A factor near 1, whatever the start: random signs would only silence channels.
            return torch.zeros(filters) if self.residual else torch.ones(filters)
        weight = glorot(channels, filters, size, generator)
        if self.start == "random":
            return weight
        return torch.zeros_like(weight) if self.residual else torch.nn.init.dirac_(weight)


def glorot(channels: int, filters: int, size: int, generator: torch.Generator) -> Tensor:
    """A Glorot-uniform kernel ``[O, C, k, k]``."""
    bound = math.sqrt(6.0 / (size * size * (channels + filters)))
    return torch.empty(filters, channels, size, size).uniform_(-bound, bound, generator=generator)
