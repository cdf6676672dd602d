"""Settings of convolution nets, plain or with warp layers; and how many of them fit a cache."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch

from metarl.core import Execution
from metarl.errors import check_choices
from metarl.native import unavailable
from metarl.nn.conv_net import ConvNet
from metarl.nn.network import Network
from metarl.nn.warp_conv_net import Activation, WarpConvNet

CHANNEL_IMAGES = 40 * 64
"""Images times filters that are worked on at a time on a CPU, each task with its own filters.

Measured on one thread (benchmarks/omniglot): of convolutions with 64 filters about 40 images at a
time are fastest, with 32 filters about 80. Larger stacks leave the caches. Twice as many where all
tasks share their convolutions (benchmarks/meta_step).
"""

NATIVE_CHANNEL_IMAGES = 4 * CHANNEL_IMAGES
"""The same of native kernels, which take one task after the other: a larger stack spares Python's
time, and costs memory.
"""


@dataclass(frozen=True)
class ConvNetSettings:
    """Four convolutions, pooled before they are normalised, and a linear layer.

    Attributes:
        filters: Channels of each of the four convolutions.
    """

    filters: int = 64

    # Bytes of weights, gradients, moments of 3 x 3 places (`run.counts`).
    HELD: ClassVar[tuple[tuple[int | str, ...], ...]] = ((144, "filters", "filters"),)

    def __post_init__(self) -> None:
        """Check that the network can be built."""
        check_choices(self)
        if self.filters < 1:
            raise ValueError(f"filters must be at least 1, got {self.filters}")
        _ = self.build(2)

    @property
    def has_kernels(self) -> bool:
        """Whether native kernels are written for the network."""
        return True

    def base(self, num_classes: int) -> ConvNet:
        """Make the network without warp layers."""
        return ConvNet(num_classes, self.filters, reduction="pool", pool_first=True)

    def build(self, num_classes: int) -> Network:
        """Make the network."""
        return self.base(num_classes)


@dataclass(frozen=True)
class ReducedConvNetSettings(ConvNetSettings):
    """Four convolutions of stride 2, or pooled after they are normalised, and a linear layer.

    Attributes:
        reduction: stride: convolutions of stride 2, the mean over places at the end; pool:
            max-pooling.
    """

    reduction: Literal["stride", "pool"] = "stride"

    def base(self, num_classes: int) -> ConvNet:
        """Make the network without warp layers."""
        return ConvNet(num_classes, self.filters, reduction=self.reduction)


@dataclass(frozen=True)
class WarpLayers(ConvNetSettings):
    """The same with warp layers after every block.

    Attributes:
        warp_kind: scaling: a factor and a shift per channel; or a 1x1 or 3x3 convolution.
        warp_layers: Warp layers after each block.
        warp_filters: Channels between the layers of a stack. None: as many as the blocks have.
        warp_activation: Activation of every warp layer.
        warp_residual: Add a warp layer's input to its output.
        warp_batch_norm: Normalise what enters a warp layer and, with a residual, what leaves it.
        warp_head: The linear layer that makes the classes is a warp layer too.
        warp_start: identity: the network begins as the one without warp layers; random; auto:
            identity where the layers can be it, else random.
    """

    warp_kind: Literal["scaling", "1x1", "3x3"] = "3x3"
    warp_layers: int = 1
    warp_filters: int | None = None
    warp_activation: Activation = "none"
    warp_residual: bool = False
    warp_batch_norm: bool = False
    warp_head: bool = False
    warp_start: Literal["auto", "identity", "random"] = "auto"

    HELD: ClassVar[tuple[tuple[int | str, ...], ...]] = (
        (144, "filters", "filters"),
        (144, "warp_filters"),
        (128, "warp_layers"),
    )

    @property
    def has_kernels(self) -> bool:
        """Whether native kernels are written for the network."""
        return self.build(2).layer is not None

    def build(self, num_classes: int) -> WarpConvNet:
        """Put the layers after the blocks of the network.

        Raises:
            ValueError: They cannot be built, or not so that they begin as the identity.
        """
        for name in ("warp_layers", "warp_filters"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        drawn = WarpConvNet(
            self.base(num_classes),
            kind=self.warp_kind,
            num_layers=self.warp_layers,
            filters=self.warp_filters,
            activation=self.warp_activation,
            residual=self.warp_residual,
            batch_norm=self.warp_batch_norm,
            warped_head=self.warp_head,
        )
        if self.warp_start == "random" or (self.warp_start == "auto" and drawn.not_identity):
            return drawn
        if drawn.not_identity:
            reasons = " or ".join(self._reason(name) for name in drawn.not_identity)
            raise ValueError(
                f"warp_start must be random or auto with {reasons}: the layers cannot begin as "
                "the identity"
            )
        return replace(drawn, start="identity")

    def _reason(self, name: str) -> str:
        """Return how an attribute of `WarpConvNet` was asked for."""
        if name in ("warped_head", "batch_norm"):
            return "warp_head" if name == "warped_head" else "warp_batch_norm"
        return f"warp_{name} {getattr(self, f'warp_{name}')}"


@dataclass(frozen=True)
class WarpReducedSettings(WarpLayers, ReducedConvNetSettings):
    """Convolutions of stride 2, or pooled after they are normalised, with warp layers."""


def network_of(settings: ConvNetSettings, num_classes: int, *, warped: bool) -> Network:
    """Make a convolution net.

    Args:
        settings: Its settings.
        num_classes: Classes that it tells apart.
        warped: Whether it is to have warp layers.

    Raises:
        ValueError: It has warp layers and should not, or has none and should.
    """
    if isinstance(settings, WarpLayers) != warped:
        kind, word = type(settings).__name__, "with" if warped else "without"
        raise ValueError(f"network must be one {word} warp layers for this method, got {kind}")
    return settings.build(num_classes)


def stacked(
    execution: Execution,
    device: torch.device,
    num_images: int,
    network: ConvNetSettings,
    *,
    shared: bool = False,
) -> Execution:
    """Return an execution whose number of stacked tasks is known.

    Args:
        execution: Execution as asked for; its numbers are kept, ``auto`` becomes one.
        device: Device of the tasks: on a GPU all are stacked.
        num_images: Images of a task in one inner step.
        network: The network.
        shared: The convolutions are those of all tasks: adaptation leaves them alone.
    """
    if execution.chunk_size != "auto":
        return execution
    if device.type != "cpu":
        return replace(execution, chunk_size=None)
    # Threads are left chunks to share.
    native = network.has_kernels and execution.native == "auto" and execution.num_threads == 1
    fits = CHANNEL_IMAGES
    if native and unavailable("conv") is None:
        fits = NATIVE_CHANNEL_IMAGES
    elif shared:
        fits = 2 * CHANNEL_IMAGES
    return replace(execution, chunk_size=max(1, fits // (num_images * network.filters)))
