"""A transformer over the trial: causal attention to every step since its start.

The blocks of `nn.blocks`, mixed by scaled dot-product attention (Vaswani et al. 2017)::

    q, k, v = W norm(e_t) + b,  split into heads
    o_t = sum_s softmax_s(R(p_t) q_t . R(p_s) k_s / sqrt(K)) v_s,  s from the trial's start to t

R(p) turns pairs of numbers by p times their frequency (rotary positions, Su et al. 2021), and so
attention depends on how long ago a step was, and works in trials longer than those of training.

What is remembered are the keys and values of every step so far: a cache that grows by one entry a
step. A step adds an entry to a copy, so that any earlier state stays what it was. In a rollout, the
trace of `new_outputs` holds memory for all T steps, and the entry is written in its place.
`sequence` looks at all steps at once, under a mask that keeps the trials of a batch apart.

Deviation: nothing gates the residual sums (GTrXL, Parisotto et al. 2020); projections that begin
small and a rising learning rate do for two layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from metarl.core import Params
from metarl.nn.blocks import BlockCore, per_head
from metarl.nn.native_cache import NativeCache
from metarl.nn.native_core import NativeTrace
from metarl.nn.recurrent import State, Weights
from metarl.nn.trace import NO_SLOT, Trace, TraceSpec

LONGEST_WAVE = 10_000.0
"""Steps over 2 pi in which the slowest pair of numbers turns once, as published."""

Attention = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]
"""Of queries, keys, values ``[N * B, heads, T or S, K]`` and a mask (None: causal)."""


class Cache(NamedTuple):
    """A state by its parts.

    Attributes:
        keys: Of each layer, ``[N, B, heads, S, K]``; turned to their positions.
        values: The same.
        seen: int64 ``[N, B]``: the last so many of the S entries are of this trial.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    seen: Tensor

    @classmethod
    def of(cls, state: State) -> Cache:
        """The parts of a state: keys of all layers, values of all layers, seen."""
        layers = len(state) // 2
        return cls(state[:layers], state[layers:-1], state[-1])

    @property
    def length(self) -> int:
        """Number of entries, S."""
        return self.keys[0].shape[-2]


@dataclass(frozen=True)
class Transformer(BlockCore):
    """L blocks of causal attention with I inputs and H outputs."""

    grows = True
    native: ClassVar[str | None] = "transformer"
    native_trace: ClassVar[type[NativeTrace]] = NativeCache

    @property
    def head_size(self) -> int:
        """K: an even number, for pairs to turn."""
        return per_head(self.hidden_size, self.heads, 2)

    @property
    def num_mixed(self) -> int:
        """A query, a key and a value per head."""
        return 3 * self.heads * self.head_size

    def initial_state(
        self, weights: Weights, batch_size: int, num_steps: int | None = None
    ) -> State:
        """A cache without entries: it grows with the trial, whose length it need not know."""
        num_tasks = weights[0].shape[0]
        none = weights[0].new_zeros(num_tasks, batch_size, self.heads, 0, self.head_size)
        seen = torch.zeros(num_tasks, batch_size, dtype=torch.int64, device=none.device)
        return (*[none] * (2 * self.layers), seen)

    def begins(self, state: State | None) -> bool:
        """Whether a state has no entries yet: the kernel's memory is of its own steps."""
        return NativeCache.begins_with(state)

    def emptied(self, state: State, empty: State, where: Tensor) -> State:
        """A cache whose entries are of a trial that is over, where bool ``[N, B]`` says so."""
        *entries, seen = state
        return (*entries, seen.masked_fill(where, 0))

    def fits(self, state: State, empty: State) -> bool:
        """Whether a state is one of these trials; it may have any number of entries."""
        if len(state) != len(empty):
            return False
        *entries, seen = state
        length = entries[0].shape[-2:-1]
        wanted = [(*one.shape[:3], *length, *one.shape[4:]) for one in empty[:-1]]
        return [tuple(one.shape) for one in entries] == wanted and seen.shape == empty[-1].shape

    def eager_trace(self, shape: tuple[int, int, int], like: Tensor) -> Trace:
        """Allocate the cache of a rollout of (N, T, B), when it begins."""
        return CacheTrace(self, shape, like, keeps_outputs=False)

    def eager_outputs(self, shape: tuple[int, int, int], like: Tensor) -> Trace:
        """Allocate its outputs too."""
        return CacheTrace(self, shape, like, keeps_outputs=True)

    def eager_step(
        self, weights: Weights, x: Tensor, state: State, slot: Any = NO_SLOT
    ) -> tuple[Tensor, State]:
        """One step on the cache: the query of this step, and the keys and values of all."""
        outputs, state = self._steps(weights, x.unsqueeze(1), state, None, attended, slot.cache)
        h = outputs.squeeze(1)  # [N, 1, B, H] to [N, B, H]
        if slot.h is not None:
            slot.h.copy_(h)
        return h, state

    def sequence(
        self,
        params: Params,
        inputs: Tensor,
        state: State | None = None,
        starts: Tensor | None = None,
        trace: Trace | None = None,
    ) -> Tensor:
        """Run whole sequences, all steps at once, differentiable once; or what is recorded."""
        weights = self.fuse(params)
        if self.goes_back(trace, state):
            return self.recorded(weights, inputs, starts, trace)
        return self._steps(weights, inputs, state, starts, fast_attended)[0]

    def unrolled(
        self,
        params: Params,
        inputs: Tensor,
        state: State | None = None,
        starts: Tensor | None = None,
    ) -> Tensor:
        """Run in operations that are differentiable to any order and in either mode."""
        return self._steps(self.fuse(params), inputs, state, starts, attended)[0]

    def eager_advanced(
        self, weights: Weights, inputs: Tensor, state: State, starts: Tensor | None = None
    ) -> State:
        """The cache after whole sequences."""
        return self._steps(weights, inputs, state, starts, fast_attended)[1]

    def _steps(
        self,
        weights: Weights,
        inputs: Tensor,
        state: State | None,
        starts: Tensor | None,
        attention: Attention,
        memory: tuple[Sequence[Tensor], Sequence[Tensor]] | None = None,
    ) -> tuple[Tensor, State]:
        """Outputs ``[N, T, B, H]`` of T steps at once, and the state after them.

        Args:
            weights: Weights that `fuse` returned.
            inputs: ``[N, T, B, I]``.
            state: See `sequence`.
            starts: See `sequence`.
            attention: How it is worked out.
            memory: Of a rollout, for the keys and for the values of each layer.
        """
        num_tasks, num_steps, batch_size = inputs.shape[:3]
        if state is None:
            state = self.initial_state(weights, batch_size)
        cache, mask = Cache.of(state), allowed(Cache.of(state), num_steps, starts)
        positions = since_start(cache.seen, num_steps, starts)  # [N, B, T]
        angles = turns(positions, self.head_size).unsqueeze(2)  # [N, B, 1, T, K / 2]
        ways = angles.cos().to(inputs.dtype), angles.sin().to(inputs.dtype)
        all_keys, all_values = [], []

        def mix(layer: int, a: Tensor) -> Tensor:
            parts = self.mixed(weights, layer, a)
            # [N, B T, 3 heads K] to [3, N, B, heads, T, K]
            parts = parts.view(num_tasks, batch_size, num_steps, 3, self.heads, self.head_size)
            query, key, value = parts.permute(3, 0, 1, 4, 2, 5)
            places = (None, None) if memory is None else (memory[0][layer], memory[1][layer])
            keys = appended(cache.keys[layer], turned(key, ways), places[0])
            values = appended(cache.values[layer], value, places[1])
            all_keys.append(keys)
            all_values.append(values)
            asked = turned(query, ways).flatten(0, 1)  # [N B, heads, T, K]
            found = attention(asked, keys.flatten(0, 1), values.flatten(0, 1), mask)
            # [N B, heads, T, K] to [N, B T, heads K]
            found = found.transpose(1, 2).reshape(num_tasks, batch_size * num_steps, -1)
            return self.added(weights, layer, found)

        x = inputs.transpose(1, 2).flatten(1, 2)  # [N, B T, I]
        h = self.through(weights, x, mix)
        outputs = h.view(num_tasks, batch_size, num_steps, -1).transpose(1, 2)  # [N, T, B, H]
        seen = positions[..., -1] + 1  # [N, B]
        return outputs, (*all_keys, *all_values, seen)


class CacheTrace(Trace):
    """Memory for the keys and values of all steps of a rollout, and perhaps for its outputs."""

    def __init__(
        self,
        core: Transformer,
        shape: tuple[int, int, int],
        like: Tensor,
        *,
        keeps_outputs: bool,
    ) -> None:
        """Allocate outputs: ``shape`` is (N, T, B), ``like`` gives dtype and device."""
        spec = TraceSpec({"h": core.hidden_size} if keeps_outputs else {})
        super().__init__(spec, shape, shape[1], like)
        num_tasks, num_steps, batch_size = shape
        self._size = num_tasks, batch_size, core.heads, num_steps, core.head_size
        self._layers, self._like = core.layers, like.new_empty(0)
        self.slots = [CacheSlot(self, getattr(slot, "h", None)) for slot in self.slots]

    @cached_property
    def cache(self) -> tuple[list[Tensor], list[Tensor]]:
        """Memory for the keys of each layer, and for the values, allocated by the first step."""
        keys, values = (
            [self._like.new_empty(self._size) for _ in range(self._layers)] for _ in range(2)
        )
        return keys, values


class CacheSlot:
    """The memory of one step of a `CacheTrace`."""

    def __init__(self, trace: CacheTrace, h: Tensor | None) -> None:
        """Write the output to ``h``, if that is kept."""
        self._trace, self.h = trace, h

    @property
    def cache(self) -> tuple[list[Tensor], list[Tensor]]:
        """See `CacheTrace.cache`."""
        return self._trace.cache


def appended(old: Tensor, new: Tensor, memory: Tensor | None = None) -> Tensor:
    """Entries ``[N, B, heads, S, K]`` with new ones behind.

    Args:
        old: The entries so far.
        new: More of them.
        memory: Of a rollout, for all entries there will be: where the old ones lie in it already,
            the new ones are written behind them, and nothing is copied.
    """
    before = old.shape[-2]
    if memory is None or (before and old.data_ptr() != memory.data_ptr()):
        return torch.cat((old, new), -2) if before else new
    end = before + new.shape[-2]
    memory[..., before:end, :].copy_(new)
    return memory[..., :end, :]


def turns(positions: Tensor, head_size: int) -> Tensor:
    """Angles of positions ``[...]``: ``[..., K / 2]``, float64 where that exists."""
    exact = torch.float32 if positions.device.type == "mps" else torch.float64
    pairs = head_size // 2
    speeds = LONGEST_WAVE ** (-torch.arange(pairs, device=positions.device, dtype=exact) / pairs)
    return positions.to(exact).unsqueeze(-1) * speeds  # [..., 1] by [K / 2]


def turned(x: Tensor, ways: tuple[Tensor, Tensor]) -> Tensor:
    """Vectors ``[..., K]``, whose pairs (k, k + K / 2) are turned.

    Args:
        x: The vectors.
        ways: Cosine and sine of the angles, ``[..., K / 2]`` each.
    """
    cos, sin = ways
    first, second = x.chunk(2, -1)
    return torch.cat((first * cos - second * sin, first * sin + second * cos), -1)


def allowed(cache: Cache, num_steps: int, starts: Tensor | None) -> Tensor | None:
    """The entries that T steps behind a cache look at, bool ``[N * B, 1, T, S + T]``.

    Args:
        cache: S entries before.
        num_steps: T.
        starts: bool ``[N, T, B]``: before these steps the trial before is over.

    Returns:
        None where each step looks at all steps up to itself.
    """
    length, device = cache.length, cache.seen.device
    if starts is None and not length:
        return None
    entry = torch.arange(length + num_steps, device=device)
    mask = entry <= entry[length:, None]  # [T, S + T]: none of later
    trial = torch.zeros(*cache.seen.shape, num_steps, dtype=torch.int64, device=device)
    if starts is not None:
        trial = starts.transpose(1, 2).cumsum(-1)  # [N, B, T]: how many have begun
    # Entries that are of no trial that any step is in are of trial -1.
    own = entry[:length] >= length - cache.seen.unsqueeze(-1)  # [N, B, S]
    trials = torch.cat((own.to(torch.int64) - 1, trial), -1)  # [N, B, S + T]
    mask = mask & (trials.unsqueeze(-2) == trial.unsqueeze(-1))  # [N, B, T, S + T]
    return mask.flatten(0, 1).unsqueeze(1)  # [N B, 1, T, S + T]


def since_start(seen: Tensor, num_steps: int, starts: Tensor | None) -> Tensor:
    """Positions of T steps in their trials, int64 ``[N, B, T]``.

    Args:
        seen: Steps of the trial before, ``[N, B]``.
        num_steps: T.
        starts: bool ``[N, T, B]``: before these steps the trial before is over.
    """
    time = torch.arange(num_steps, device=seen.device)
    usual = seen.unsqueeze(-1) + time  # [N, B, T]
    if starts is None:
        return usual
    begun = starts.transpose(1, 2)  # [N, B, T]
    last = (begun * time).cummax(-1).values  # the last step that began a trial; 0: perhaps none
    return torch.where(begun.cumsum(-1) > 0, time - last, usual)


def attended(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """``softmax(q . k / sqrt(K)) v`` in plain operations, see `Attention`."""
    scores = query @ keys.transpose(-1, -2) / math.sqrt(query.shape[-1])  # [N B, heads, T, S]
    if mask is None:
        num_steps = scores.shape[-1]
        mask = scores.new_ones(num_steps, num_steps, dtype=torch.bool).tril()
    return scores.masked_fill(~mask, -math.inf).softmax(-1) @ values


def fast_attended(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """Attend by torch's kernel, differentiable once; as `attended`."""
    return scaled_dot_product_attention(query, keys, values, mask, is_causal=mask is None)
