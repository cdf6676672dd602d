"""The convolution network of few-shot learning: blocks of convolution, batch norm, ReLU, pooling.

Of N stacked networks the N tasks are groups of one grouped convolution, with the activations laid
out ``[B, N C, height, width]`` from the first layer to the last; one network alone is an ordinary
convolution. Batch norm uses the statistics of the batch, always: those of all inputs together
(transductive, as MAML's published numbers), or those of the first inputs of it, the support set
(``num_reference``), so that no query helps another.

On a CPU the blocks are one operation (`native.conv`), task after task; else, and for subclasses,
which may have blocks of their own, they are torch's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from metarl.core import Params
from metarl.errors import check_choices
from metarl.native.conv import Convolution, ConvStack, conv_stack
from metarl.nn.mlp import linear, uniform_linear
from metarl.nn.network import stage_in

BATCH_NORM_EPS = 1e-5


@dataclass(frozen=True)
class ConvNet:
    """Convolution blocks and a linear head.

    Parameters of block I are ``blocks.I.conv.weight``, ``.conv.bias``, ``.norm.weight``,
    ``.norm.bias``; the head's ``head.weight`` and ``head.bias``.

    Attributes:
        num_outputs: Classes C.
        filters: Channels of every block.
        num_blocks: Convolutions.
        image_size: Height and width of the images.
        in_channels: Channels of the images.
        reduction: stride: convolutions of stride 2, the mean over what is left of the image goes
            to the head (Finn et al. 2017 on Omniglot); pool: max-pooling, all that is left goes on.
        pool_first: Pool before batch norm and ReLU (the multi-shot experiment of Flennerhag et al.
            2020) instead of after.
    """

    num_outputs: int
    filters: int = 64
    num_blocks: int = 4
    image_size: int = 28
    in_channels: int = 1
    reduction: Literal["stride", "pool"] = "stride"
    pool_first: bool = False

    def __post_init__(self) -> None:
        """Check that all sizes are positive, and that something of the image is left."""
        check_choices(self)
        for name in ("num_outputs", "filters", "num_blocks", "image_size", "in_channels"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.reduction == "pool" and self.image_size >> self.num_blocks < 1:
            raise ValueError(
                f"{self.num_blocks} poolings leave nothing of an image of {self.image_size}"
            )

    @property
    def slow(self) -> tuple[str, ...]:
        """All parameters are fast."""
        return ()

    @property
    def head(self) -> tuple[str, ...]:
        """The linear layer."""
        return ("head.*",)

    @property
    def num_features(self) -> int:
        """Number of features of an image that the head sees."""
        if self.reduction == "stride":
            return self.filters
        return self.filters * (self.image_size >> self.num_blocks) ** 2

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Glorot-uniform convolutions, zero biases, unit norms; the head as PyTorch's default."""
        params: dict[str, Tensor] = {}
        channels = self.in_channels
        for i in range(self.num_blocks):
            bound = math.sqrt(6.0 / (9 * (channels + self.filters)))
            weight = torch.empty(self.filters, channels, 3, 3)
            params |= {
                f"blocks.{i}.conv.weight": weight.uniform_(-bound, bound, generator=generator),
                f"blocks.{i}.conv.bias": torch.zeros(self.filters),
                f"blocks.{i}.norm.weight": torch.ones(self.filters),
                f"blocks.{i}.norm.bias": torch.zeros(self.filters),
            }
            channels = self.filters
        weight, bias = uniform_linear(self.num_features, self.num_outputs, generator)
        return params | {"head.weight": weight, "head.bias": bias}

    def __call__(self, params: Params, inputs: Tensor, num_reference: int = 0) -> Tensor:
        """Logits ``[N, B, C]`` of images ``[N, B, channels, height, width]``."""
        return self.run(params, inputs, num_reference)

    @property
    def num_stages(self) -> int:
        """The blocks and the head."""
        return self.num_blocks + 1

    def stage_of(self, name: str) -> int:
        """The number of the block; the head comes after all of them."""
        head = name in ("head.weight", "head.bias")
        return self.num_blocks if head else stage_in(name, {"blocks": self.num_blocks})

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
        return self.stages(
            lambda blocks: self.activations(params, inputs, num_reference, blocks),
            lambda h: linear(params, "head", h),
            inputs,
            range(self.num_stages)[start:stop],
        )

    def stages(
        self,
        activations: Callable[[range], Tensor],
        head: Callable[[Tensor], Tensor],
        inputs: Tensor,
        stages: range,
    ) -> Tensor:
        """Some of the stages, of this network or of one that is built on its blocks.

        Args:
            activations: Activations after some of the blocks, of the inputs.
            head: Outputs, of features.
            inputs: Of the first stage.
            stages: Numbers of the stages, in a row.
        """
        blocks = range(stages.start, min(stages.stop, self.num_blocks))
        h = activations(blocks) if blocks else inputs
        if self.num_blocks - 1 in blocks:
            h = self.features(h)
        return head(h) if self.num_blocks in stages else h

    def activations(
        self, params: Params, inputs: Tensor, num_reference: int, blocks: range
    ) -> Tensor:
        """Activations ``[N, B, C, height, width]`` after some of the blocks."""

        def eager(params: Params, inputs: Tensor) -> Tensor:
            h, num_tasks = side_by_side(inputs), len(inputs)
            for i in blocks:
                h = self.block(params, i, h, num_tasks, num_reference)
            return apart(h, num_tasks)

        if type(self) is ConvNet:
            layers = {f"blocks.{i}": self.layer for i in blocks}
            h = natively(layers, params, inputs, num_reference, eager)
            if h is not None:
                return h
        return eager(params, inputs)

    @property
    def layer(self) -> Convolution:
        """Description of a block, without its parameters."""
        if self.reduction == "stride":
            return Convolution(stride=2)
        return Convolution(pool="first" if self.pool_first else "last")

    def block(
        self, params: Params, index: int, h: Tensor, num_tasks: int, num_reference: int
    ) -> Tensor:
        """One block on activations ``[B, N C, height, width]``."""
        name = f"blocks.{index}"
        stride = 2 if self.reduction == "stride" else 1
        h = convolution(params, f"{name}.conv", h, num_tasks, stride=stride)
        if self.reduction == "pool" and self.pool_first:
            h = F.max_pool2d(h, 2)
        h = torch.relu(batch_norm(params, f"{name}.norm", h, num_reference))
        return F.max_pool2d(h, 2) if self.reduction == "pool" and not self.pool_first else h

    def features(self, h: Tensor) -> Tensor:
        """Features ``[N, B, F]`` for the head, of the last activations ``[N, B, C, ...]``."""
        # [N, B, C] or [N, B, C height width]
        return h.mean((3, 4)) if self.reduction == "stride" else h.flatten(2)


def natively(
    layers: Mapping[str, Convolution],
    params: Params,
    inputs: Tensor,
    num_reference: int,
    eager: Callable[[Params, Tensor], Tensor],
) -> Tensor | None:
    """Layers as one operation; None where there is none for them.

    Args:
        layers: By the prefix of their parameters: ``conv.*`` and, where normalised, ``norm.*``.
        params: Stacked parameters.
        inputs: ``[N, B, C, height, width]``.
        num_reference: See `batch_norm`.
        eager: The same function of parameters and inputs, by torch's operations.
    """
    names = [
        f"{prefix}.{part}.{side}"
        for prefix, layer in layers.items()
        for part in ("conv", "norm")[: layer.num_params // 2]
        for side in ("weight", "bias")
    ]
    stack = ConvStack(tuple(layers.values()), BATCH_NORM_EPS, num_reference)
    return conv_stack(
        stack,
        inputs,
        [params[name] for name in names],
        lambda images, values: eager(dict(zip(names, values, strict=True)), images),
    )


def side_by_side(inputs: Tensor) -> Tensor:
    """Images ``[N, B, C, height, width]`` with the tasks among the channels ``[B, N C, ...]``."""
    # [B, N, C, ...] first
    return inputs.transpose(0, 1).reshape(inputs.shape[1], -1, *inputs.shape[3:])


def apart(h: Tensor, num_tasks: int) -> Tensor:
    """The inverse of `side_by_side`."""
    return h.reshape(len(h), num_tasks, -1, *h.shape[2:]).transpose(0, 1)  # [B, N, C, ...] first


def convolution(params: Params, name: str, h: Tensor, num_tasks: int, *, stride: int = 1) -> Tensor:
    """N convolutions with as much padding as keeps the size at stride 1.

    Args:
        params: ``NAME.weight`` ``[N, O, C, k, k]`` with odd k, and ``NAME.bias`` ``[N, O]``; or
            ``[1, ...]``, the same for all tasks: then their images are those of one convolution.
        name: Name of the layer.
        h: ``[B, N C, height, width]``.
        num_tasks: N.
        stride: Stride in both directions.

    Returns:
        ``[B, N O, ...]``.
    """
    weight, bias = params[f"{name}.weight"], params[f"{name}.bias"]
    padding = weight.shape[-1] // 2
    if len(weight) == 1 < num_tasks:
        images = h.reshape(len(h) * num_tasks, -1, *h.shape[2:])  # [B N, C, ...]
        out = F.conv2d(images, weight[0], bias[0], stride, padding)
        return out.reshape(len(h), -1, *out.shape[2:])  # [B N, O, ...] to [B, N O, ...]
    # [N, O, C, k, k] to [N O, C, k, k], [N, O] to [N O]
    return F.conv2d(h, weight.flatten(0, 1), bias.flatten(), stride, padding, groups=num_tasks)


def batch_norm(params: Params, name: str, h: Tensor, num_reference: int = 0) -> Tensor:
    """Normalise each channel of each task over images and places, then scale and shift.

    Args:
        params: ``NAME.weight`` and ``NAME.bias`` ``[N, C]``, or ``[1, C]``.
        name: Name of the layer.
        h: ``[B, N C, height, width]``.
        num_reference: Images to take mean and variance from, the first ones; 0 takes all. Their
            statistics are constants then: for evaluation, not for learning.

    Returns:
        The shape of ``h``.
    """
    scale, shift = (per_channel(params[f"{name}.{side}"], h) for side in ("weight", "bias"))
    if not num_reference:
        return F.batch_norm(h, None, None, scale, shift, training=True, eps=BATCH_NORM_EPS)
    variance, mean = torch.var_mean(h[:num_reference].detach(), (0, 2, 3), correction=0)
    return F.batch_norm(h, mean, variance, scale, shift, training=False, eps=BATCH_NORM_EPS)


def per_channel(values: Tensor, h: Tensor) -> Tensor:
    """Values ``[N, C]`` or ``[1, C]`` for each channel of activations ``[B, N C, ...]``."""
    num_tasks = h.shape[1] // values.shape[1]
    # In one piece: batch norm of torch, going back at one place, reads a view of one number as if
    # it had one for each channel.
    return values.expand(num_tasks, -1).flatten().contiguous()  # [N * C]
