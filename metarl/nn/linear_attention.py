"""Gated linear attention: a memory of fixed size that forgets at a pace of its own choice.

The blocks of `nn.blocks`, mixed by linear attention whose memory decays (retention, Sun et al.
2023; gated linear attention, Yang et al. 2024; as state-space duality, Dao & Gu 2024)::

    q, k, v, g, z, u = W norm(e_t) + b,  split into heads
    S_t = a_t S_{t-1} + b_t k_t v_t^T,   a_t = sigmoid(z_t),  b_t = sigmoid(u_t)
    o_t = norm(S_t^T q_t) * silu(g_t)

where q and k are silu'd and of length 1, a and b are one number per head, and norm divides by the
root of the mean square. Gates of both kinds on linear attention are what Pramanik et al. (2024,
AGaLiTe) found as good as a gated transformer (GTrXL) or better in partially observed worlds, at a
constant cost per step; that a memory is emptied within a sequence is as in Lu et al. (2023).

Deviation: decays are of one number per head, not one per key (AGaLiTe, GLA): decays between any
two steps are then differences of sums of logarithms, never above 0, and cannot overflow. Values
have no features of products, and reads no denominators: they are normed.

`sequence` takes a chunk of steps at a time: within it as attention, from chunk to chunk by the
memory. The logarithms of a are added up, not the numbers multiplied.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, normalize, silu

from metarl.core import Params
from metarl.nn.blocks import BlockCore, per_head
from metarl.nn.recurrent import State, Weights
from metarl.nn.trace import NO_SLOT, Trace, outputs_trace

SHORTEST, LONGEST = 8.0, 4096.0
"""Steps over which the memories of the first and of the last head fade by 1/e, at the start."""

EPSILON = 1e-5
"""Added to mean squares that are divided by."""


class Mixed(NamedTuple):
    """Parts made of T steps before looking back, with heads in front of time."""

    query: Tensor  # [N, B, heads, T, K]
    key: Tensor  # [N, B, heads, T, K], times b
    value: Tensor  # [N, B, heads, T, K]
    gate: Tensor  # [N, B, heads, T, K], silu(g)
    log_decay: Tensor  # [N, B, heads, T], log a


@dataclass(frozen=True)
class LinearAttention(BlockCore):
    """L blocks of gated linear attention with I inputs and H outputs.

    Attributes:
        chunk: Steps that `sequence` takes at a time.
    """

    chunk: int = 32

    native: ClassVar[str | None] = "linear_attention"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.chunk < 1:
            raise ValueError(f"chunk must be at least 1, got {self.chunk}")

    @property
    def head_size(self) -> int:
        """Numbers of a key, and of a value, K."""
        return per_head(self.hidden_size, self.heads)

    @property
    def num_mixed(self) -> int:
        """Query, key, value and output gate per head, and its two gates of one number."""
        return 4 * self.heads * self.head_size + 2 * self.heads

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw as all blocks do; heads begin with memories of `SHORTEST` to `LONGEST` steps."""
        params = super().init(generator)
        ends = math.log(SHORTEST), math.log(LONGEST)
        steps = torch.linspace(*ends, self.heads).exp() if self.heads > 1 else torch.tensor([64.0])
        # sigmoid(z) = 1 - 1 / steps
        params["mix_in_bias"][:, -2 * self.heads : -self.heads] = (steps - 1).log()
        return params

    def initial_state(
        self, weights: Weights, batch_size: int, num_steps: int | None = None
    ) -> State:
        """Zero S of each layer, ``[N, B, heads * K, K]``: those of all heads, one below another."""
        size = self.heads * self.head_size, self.head_size
        empty = weights[0].new_zeros(weights[0].shape[0], batch_size, *size)
        return (empty,) * self.layers

    def eager_outputs(self, shape: tuple[int, int, int], like: Tensor) -> Trace:
        """Allocate a trace of the outputs."""
        return outputs_trace(shape, self.hidden_size, like)

    def eager_step(
        self, weights: Weights, x: Tensor, state: State, slot: Any = NO_SLOT
    ) -> tuple[Tensor, State]:
        """The equations of the module's docstring."""
        after: list[Tensor] = []

        def mix(layer: int, a: Tensor) -> Tensor:
            now = self._split(self.mixed(weights, layer, a), x.shape[1])
            decay = now.log_decay.exp().unsqueeze(-1)  # [N, B, heads, 1, 1]
            # [N, B, heads, K, 1] by [N, B, heads, 1, K]: quicker than many tiny products
            memory = decay * self._by_head(state[layer]) + now.key.transpose(-1, -2) * now.value
            after.append(memory.flatten(2, 3))
            # [N, B, heads, 1, K]
            read = (now.query.transpose(-1, -2) * memory).sum(-2, keepdim=True)
            return self._found(weights, layer, read, now)

        h = self.through(weights, x, mix)
        if slot.h is not None:
            slot.h.copy_(h)
        return h, tuple(after)

    def sequence(
        self,
        params: Params,
        inputs: Tensor,
        state: State | None = None,
        starts: Tensor | None = None,
        trace: Trace | None = None,
    ) -> Tensor:
        """Run whole sequences chunk by chunk, differentiable to any order; or what is recorded."""
        weights = self.fuse(params)
        if self.goes_back(trace, state):
            return self.recorded(weights, inputs, starts, trace)
        return self._chunks(weights, inputs, state, starts)[0]

    def unrolled(
        self,
        params: Params,
        inputs: Tensor,
        state: State | None = None,
        starts: Tensor | None = None,
    ) -> Tensor:
        """Run whole sequences chunk by chunk, whatever has been recorded."""
        return self._chunks(self.fuse(params), inputs, state, starts)[0]

    def eager_advanced(
        self, weights: Weights, inputs: Tensor, state: State, starts: Tensor | None = None
    ) -> State:
        """The memories after whole sequences."""
        return self._chunks(weights, inputs, state, starts)[1]

    def _chunks(
        self, weights: Weights, inputs: Tensor, state: State | None, starts: Tensor | None
    ) -> tuple[Tensor, State]:
        """Outputs ``[N, T, B, H]`` of whole sequences, and the state after them."""
        num_tasks, num_steps, batch_size = inputs.shape[:3]
        if state is None:
            state = self.initial_state(weights, batch_size)
        trials = None if starts is None else starts.transpose(1, 2).unsqueeze(2)  # [N, B, 1, T]
        after: list[Tensor] = []

        def mix(layer: int, a: Tensor) -> Tensor:
            whole = self._split(self.mixed(weights, layer, a), batch_size)
            memory, found = self._by_head(state[layer]), []
            for begin in range(0, num_steps, self.chunk):
                part = slice(begin, begin + self.chunk)
                of_key, of_number = (..., part, slice(None)), (..., part)
                chunk = (whole.query[of_key], whole.key[of_key], whole.value[of_key])
                begun = None if trials is None else trials[of_number]
                read, memory = chunk_read(*chunk, whole.log_decay[of_number], memory, begun)
                found.append(read)
            after.append(memory.flatten(2, 3))
            return self._found(weights, layer, torch.cat(found, -2), whole)

        x = inputs.transpose(1, 2).flatten(1, 2)  # [N, B T, I]
        h = self.through(weights, x, mix)
        outputs = h.view(num_tasks, batch_size, num_steps, -1).transpose(1, 2)  # [N, T, B, H]
        return outputs, tuple(after)

    def _by_head(self, memory: Tensor) -> Tensor:
        """S, ``[N, B, heads * K, K]``, as ``[N, B, heads, K, K]``."""
        return memory.reshape(*memory.shape[:2], self.heads, self.head_size, self.head_size)

    def _split(self, mixed: Tensor, batch_size: int) -> Mixed:
        """The parts of ``[N, B T, num_mixed]``."""
        heads, size = self.heads, self.head_size
        vectors, decay, write = torch.split(mixed, [4 * heads * size, heads, heads], -1)
        # [N, B T, 4 heads K] to [4, N, B, heads, T, K]
        shape = len(mixed), batch_size, -1
        query, key, value, gate = vectors.view(*shape, 4, heads, size).permute(3, 0, 1, 4, 2, 5)
        # [N, B T, heads] to [N, B, heads, T]
        log_decay = logsigmoid(decay).view(*shape, heads).transpose(-1, -2)
        # [N, B T, heads] to [N, B, heads, T, 1]
        written = write.sigmoid().view(*shape, heads).transpose(-1, -2).unsqueeze(-1)
        return Mixed(unit(query), unit(key) * written, value, silu(gate), log_decay)

    def _found(self, weights: Weights, layer: int, read: Tensor, of: Mixed) -> Tensor:
        """Sum to add, of what was read: ``[N, B, heads, T, K]`` to ``[N, B T, H]``."""
        size = (read.square().mean(-1, keepdim=True) + EPSILON).rsqrt()
        found = read * size * of.gate
        found = found.transpose(2, 3).flatten(3).flatten(1, 2)  # [N, B T, heads K]
        return self.added(weights, layer, found)


def unit(x: Tensor) -> Tensor:
    """``silu(x)`` of length 1 along the last axis."""
    return normalize(silu(x), dim=-1, eps=1e-6)


def chunk_read(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    log_decay: Tensor,
    memory: Tensor,
    begun: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Reads of a chunk of t steps, and the memory after it.

    With L_i the sum of log a up to step i of the chunk, in which S_0 is what the memory was::

        S_i^T q_i = sum_{j <= i} exp(L_i - L_j) (q_i . k_j) v_j + exp(L_i) S_0^T q_i

    over the steps of i's own trial alone. No exponent is above 0.

    Args:
        query: ``[N, B, heads, t, K]``.
        key: The same.
        value: The same.
        log_decay: ``[N, B, heads, t]``, not above 0.
        memory: S_0, ``[N, B, heads, K, K]``.
        begun: bool ``[N, B, 1, t]``: the memory is emptied before these steps; None: nowhere.
    """
    total = log_decay.cumsum(-1)  # L, [N, B, heads, t]
    num_steps = total.shape[-1]
    later = torch.ones(num_steps, num_steps, dtype=torch.bool, device=total.device).triu(1)
    apart, kept = later, total.exp()  # kept of S_0, [N, B, heads, t]
    fade = total[..., -1:] - total  # from each step to the last, [N, B, heads, t]
    if begun is not None:
        trial = begun.cumsum(-1)  # [N, B, 1, t]: how many have begun
        apart = later | (trial.unsqueeze(-1) != trial.unsqueeze(-2))  # [N, B, 1, t, t]
        kept = kept.masked_fill(trial > 0, 0)
        fade = fade.masked_fill(trial != trial[..., -1:], -math.inf)
    between = total.unsqueeze(-1) - total.unsqueeze(-2)  # L_i - L_j, [N, B, heads, t, t]
    weight = between.masked_fill(apart, -math.inf).exp()
    # exp(L_i - L_j) (q_i . k_j), [N, B, heads, t, t]
    scores = (query @ key.transpose(-1, -2)) * weight
    read = scores @ value + kept.unsqueeze(-1) * (query @ memory)  # [N, B, heads, t, K]
    faded = key * fade.exp().unsqueeze(-1)  # [N, B, heads, t, K]
    # [N, B, heads, 1, 1] by [N, B, heads, K, K], plus [..., K, t] @ [..., t, K]
    after = kept[..., -1:].unsqueeze(-1) * memory + faded.transpose(-1, -2) @ value
    return read, after
