"""Cores of residual blocks: what looks back over the trial, and a perceptron, one after the other.

The pre-norm transformer of Xiong et al. (2020) and Radford et al. (2019), for any mixer of steps::

    e_t = W_e x_t + b_e
    e_t = e_t + mix(norm(e))_t            once per layer, over the trial so far
    e_t = e_t + W_n gelu(W_w norm(e_t) + b_w) + b_n
    h_t = norm(e_t)

with layer normalisation. A mixer (`nn.transformer`, `nn.linear_attention`) says what it remembers;
everything else is of one step alone, and so all steps of a sequence go through it at once.

Slow are the weights of the mixers, named ``mix_*``; embedding, norms and perceptrons are fast. A
warp layer of WarpGrad (Flennerhag et al. 2020) stands between layers that adapt, and its Jacobian
preconditions their gradient; it may look at the whole task. So do mixers: they stand between
embedding, perceptrons and heads, and alone look back over the trial. Keys and queries that move
slowly also keep what was stored readable while the fast weights learn to use it.

Matrices are stored [in, out] and multiply from the right; the weights of all layers of one kind
are one tensor, with an axis of L layers. Projections that end in the residual sum begin smaller by
sqrt(2L), the number of sums (Radford et al. 2019). Deviation: there is no dropout.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm

from metarl.core import Params
from metarl.nn.mlp import affine
from metarl.nn.native_core import NativeCore
from metarl.nn.recurrent import Weights, uniform
from metarl.nn.trace import NO_SLOT, Trace

Mixer = Callable[[int, Tensor], Tensor]
"""From the number of a layer and its normed inputs ``[N, M, H]`` to what is added, the same."""

OWN = (
    *("embed", "embed_bias", "norm_gain", "norm_bias", "last_gain", "last_bias"),
    *("widen", "widen_bias", "narrow", "narrow_bias"),
)
MIXER = ("mix_in", "mix_in_bias", "mix_out", "mix_out_bias")


@dataclass(frozen=True)
class BlockCore(NativeCore):
    """L blocks of width H on I inputs.

    Attributes:
        input_size: Number of inputs I.
        hidden_size: Number of outputs H, the width of the residual sum.
        layers: Number of blocks, L.
        heads: Parts of a mixer that look back each in its own way.
        widening: Hidden units of each block's perceptron, in multiples of H.

    Raises:
        ValueError: A size is below 1.
    """

    input_size: int
    hidden_size: int
    layers: int = 2
    heads: int = 4
    widening: int = 2

    slow = ("mix_*",)
    pace: ClassVar[float] = 0.25
    warmup_steps: ClassVar[int] = 100

    def __post_init__(self) -> None:
        for name in ("layers", "heads", "widening"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    @property
    @abstractmethod
    def head_size(self) -> int:
        """Numbers of a query, a key or a value, K."""

    @property
    @abstractmethod
    def num_mixed(self) -> int:
        """Numbers that a mixer makes of each step before it looks back."""

    @property
    def native_options(self) -> tuple[int, ...]:
        """Layers, heads and the widening."""
        return self.layers, self.heads, self.widening

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Uniform, of variance 1 over the number of inputs; biases 0, gains 1."""
        num_in, width, layers = self.input_size, self.hidden_size, self.layers
        wide, values = self.widening * width, self.heads * self.head_size
        residual = (2 * layers) ** -0.5
        return {
            "embed": uniform((num_in, width), (3 / num_in) ** 0.5, generator),
            "embed_bias": torch.zeros(width),
            "norm_gain": torch.ones(layers, 2, width),
            "norm_bias": torch.zeros(layers, 2, width),
            "last_gain": torch.ones(width),
            "last_bias": torch.zeros(width),
            "widen": uniform((layers, width, wide), (3 / width) ** 0.5, generator),
            "widen_bias": torch.zeros(layers, wide),
            "narrow": uniform((layers, wide, width), residual * (3 / wide) ** 0.5, generator),
            "narrow_bias": torch.zeros(layers, width),
            "mix_in": uniform((layers, width, self.num_mixed), (3 / width) ** 0.5, generator),
            "mix_in_bias": torch.zeros(layers, self.num_mixed),
            "mix_out": uniform((layers, values, width), residual * (3 / values) ** 0.5, generator),
            "mix_out_bias": torch.zeros(layers, width),
        }

    def fuse(self, params: Params) -> Weights:
        """Arrange the weights in the order of `OWN` and `MIXER`."""
        return tuple(params[name] for name in (*OWN, *MIXER))

    def through(self, weights: Weights, x: Tensor, mix: Mixer) -> Tensor:
        """The equations of the module's docstring, for M steps: ``[N, M, I]`` to ``[N, M, H]``."""
        embed, embed_bias, gain, bias, last_gain, last_bias = weights[:6]
        widen, widen_bias, narrow, narrow_bias = weights[6:10]
        e = affine(x, embed, embed_bias)  # [N, M, H]
        for k in range(self.layers):
            e = e + mix(k, normed(e, gain[:, k, 0], bias[:, k, 0]))
            seen = normed(e, gain[:, k, 1], bias[:, k, 1])
            wide = gelu(affine(seen, widen[:, k], widen_bias[:, k]))  # [N, M, F]
            e = e + affine(wide, narrow[:, k], narrow_bias[:, k])
        return normed(e, last_gain, last_bias)

    def mixed(self, weights: Weights, layer: int, a: Tensor) -> Tensor:
        """Numbers that a mixer makes of each step before it looks back, ``[N, M, num_mixed]``."""
        w_in, b_in = weights[10:12]
        return affine(a, w_in[:, layer], b_in[:, layer])

    def added(self, weights: Weights, layer: int, found: Tensor) -> Tensor:
        """Sum to add, ``[N, M, H]``, of what all heads have found, ``[N, M, heads * K]``."""
        w_out, b_out = weights[12:14]
        return affine(found, w_out[:, layer], b_out[:, layer])

    def eager_trace(self, shape: tuple[int, int, int], like: Tensor) -> Trace:
        """A trace for (N, T, B) without memory: nothing of it is gone back through."""
        trace = super().eager_trace(shape, like)
        trace.slots = [NO_SLOT] * shape[1]
        return trace


def normed(e: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
    """Layer normalisation of ``[N, M, H]``, with gain and bias ``[N, H]``."""
    # [N, M, H] by [N, 1, H]
    return layer_norm(e, e.shape[-1:]) * gain.unsqueeze(1) + bias.unsqueeze(1)


def per_head(size: int, heads: int, multiple: int = 1) -> int:
    """The least multiple of a number that lets all heads together have ``size`` numbers."""
    return multiple * math.ceil(size / (heads * multiple))
