"""Dense layers one after the other, of N tasks at once: what perceptrons are made of.

Where there is a kernel (`native.perceptrons`) all of them are one operation, differentiable twice;
elsewhere a product and an activation each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from metarl.core import Params
from metarl.native.mlp import Activation, Perceptron, has_kernel, perceptrons
from metarl.nn.network import affine

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
        """The same in operations of torch, of weight and bias of each layer."""
        h = inputs
        pairs = zip(params[::2], params[1::2], self.net.activations, strict=True)
        for weight, bias, activation in pairs:
            h = ACTIVATIONS[activation](affine(h, weight, bias), h)
        return h
