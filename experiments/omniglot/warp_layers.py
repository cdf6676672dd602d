"""What the warp layers of a convolution net are, for both protocols."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from metarl.errors import UserError
from metarl.nn import ConvNet
from metarl.nn.warp_conv_net import Activation, WarpConvNet


@dataclass(frozen=True)
class WarpLayers:
    """What the warp layers of warp, warp-leap, ... are; other learners have none.

    Attributes:
        kind: scaling: a factor and a shift a channel; or a 1x1 or 3x3 convolution.
        num_layers: Warp layers after each block.
        filters: Channels between the layers of a stack; None: as many as the blocks have.
        activation: Of every warp layer.
        residual: Add a warp layer's input to its output.
        batch_norm: Normalise what enters a warp layer and, with a residual, what leaves it.
        head: The linear layer that makes the classes is a warp layer too.
        start: identity: the network begins as the one without warp layers; random; auto: identity
            where the layers can be it, else random.
    """

    kind: Literal["scaling", "1x1", "3x3"] = "3x3"
    num_layers: int = 1
    filters: int | None = None
    activation: Activation = "none"
    residual: bool = False
    batch_norm: bool = False
    head: bool = False
    start: Literal["auto", "identity", "random"] = "auto"

    def check_unused(self, method: str, having: tuple[str, ...]) -> None:
        """Refuse warp layers for a learner without.

        Raises:
            UserError: One of the settings was changed.
        """
        # Runs of earlier versions keep start="random" whatever their learner is.
        if replace(self, start="auto") != WarpLayers() or self.start == "identity":
            raise UserError(f"--warp is for {', '.join(having)}; {method} has no warp layers")

    def build(self, base: ConvNet) -> WarpConvNet:
        """Put the layers after the blocks of a network.

        Raises:
            UserError: They cannot be built, or not so that they begin as the identity.
        """
        try:
            drawn = WarpConvNet(
                base,
                kind=self.kind,
                num_layers=self.num_layers,
                filters=self.filters,
                activation=self.activation,
                residual=self.residual,
                batch_norm=self.batch_norm,
                warped_head=self.head,
            )
        except ValueError as error:
            raise UserError(f"--warp: {error}") from error
        if self.start == "random" or (self.start == "auto" and drawn.not_identity):
            return drawn
        if drawn.not_identity:
            options = " or ".join(self._option(name) for name in drawn.not_identity)
            raise UserError(
                f"warp layers cannot begin as the identity with {options}: "
                "--warp.start random, or auto"
            )
        return replace(drawn, start="identity")

    def _option(self, name: str) -> str:
        """How an attribute of `WarpConvNet` was asked for on the command line."""
        match name:
            case "warped_head":
                return "--warp.head"
            case "batch_norm":
                return "--warp.batch-norm"
            case _:
                return f"--warp.{name} {getattr(self, name)}"
