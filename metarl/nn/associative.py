"""Associative memory: linear attention whose keys are the queries of the step before.

Linear attention as a recurrent network (Schmidhuber 1992, "fast weight programmer"; Katharopoulos
et al. 2020): a matrix M, empty at the start of a trial, to which every step adds an outer product
of a key and a value, and which is read with a query::

    q_t = tanh(W_q x_t + b_q) / sqrt(K)
    v_t = (W_v x_t) * (W_g x_t)
    M_t = M_{t-1} + q_{t-1} v_t^T,  q_{-1} = 0
    h_t = tanh(W_m M_t^T q_t + W_x x_t + b)

with * elementwise. The key is the query of the step before, and so what is read is what followed
the last times that the input asked the same. For a meta-learner, whose input is the state beside
its last action and reward, that is a table of what each action paid in this state; the product in
v_t lets an action and a reward meet. A network of gates has to learn first to build such a table.

Deviation: keys of their own, and any normalisation of what is read, are left out.

Nothing but M runs through time, so that `sequence` is a few products over all steps at once, and
the order of differentiation is free. What a kernel has recorded is differentiated once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from metarl.core import Params
from metarl.nn.native_core import NativeCore
from metarl.nn.recurrent import State, Weights, uniform
from metarl.nn.trace import NO_SLOT, Trace

NAMES = ("query", "query_bias", "value", "gate", "weight_mh", "weight_ih", "bias")


@dataclass(frozen=True)
class AssociativeMemory(NativeCore):
    """I inputs, H hidden units, and a memory of K keys by V values.

    Attributes:
        key_size: K.
        value_size: V.
        compress_read: Whether what is read goes through asinh, about the logarithm of a sum of many
            steps. Where all a trial is spent in one state (a bandit), sums of the sheer values
            saturate h; and a share, such as what an arm paid of its pulls, is a difference of logs.
    """

    input_size: int
    hidden_size: int
    key_size: int = 32
    value_size: int = 32
    compress_read: bool = False

    native: ClassVar[str | None] = "associative"

    @property
    def native_options(self) -> tuple[int, ...]:
        """K, V, and whether reads are compressed."""
        return self.key_size, self.value_size, int(self.compress_read)

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Queries large enough that different states ask differently; the rest in 1/sqrt(in)."""
        num_in, num_hidden, values = self.input_size, self.hidden_size, self.value_size
        bound = num_in**-0.5
        return {
            "query": torch.randn(num_in, self.key_size, generator=generator),
            "query_bias": torch.zeros(self.key_size),
            "value": bound * torch.randn(num_in, values, generator=generator),
            "gate": bound * torch.randn(num_in, values, generator=generator),
            "weight_mh": uniform((values, num_hidden), values**-0.5, generator),
            "weight_ih": uniform((num_in, num_hidden), bound, generator),
            "bias": torch.zeros(num_hidden),
        }

    def fuse(self, params: Params) -> Weights:
        """Arrange weights in the order of `NAMES`; biases ``[N, 1, ...]``."""
        # biases [N, O] to [N, 1, O]
        return tuple(params[n].unsqueeze(-2) if "bias" in n else params[n] for n in NAMES)

    def initial_state(
        self, weights: Weights, batch_size: int, num_steps: int | None = None
    ) -> State:
        """Zero q ``[N, B, K]`` and M ``[N, B, K, V]``."""
        size = weights[0].shape[0], batch_size, self.key_size
        return weights[0].new_zeros(size), weights[0].new_zeros(*size, self.value_size)

    def eager_step(
        self, weights: Weights, x: Tensor, state: State, slot: Any = NO_SLOT
    ) -> tuple[Tensor, State]:
        """The equations of the module's docstring."""
        before, memory = state
        query, value = self._query(weights, x), self._value(weights, x)
        memory = memory + before.unsqueeze(-1) * value.unsqueeze(-2)  # [N, B, K, V]
        read = (query.unsqueeze(-2) @ memory).squeeze(-2)  # [N, B, V]
        return self._output(weights, read, x), (query, memory)

    def sequence(
        self,
        params: Params,
        inputs: Tensor,
        state: State | None = None,
        starts: Tensor | None = None,
        trace: Trace | None = None,
    ) -> Tensor:
        """All steps at once: ``M_t^T q_t = sum_{s <= t} (q_t . q_{s-1}) v_s``.

        The sum goes over the steps since the last start; before the first one, M_{-1} is read too.
        Costs T^2 numbers per trial where one step after another costs T K V.
        """
        weights = self.fuse(params)
        if self.goes_back(trace, state):
            return self.recorded(weights, inputs, starts, trace)
        num_tasks, num_steps, batch_size, _ = inputs.shape
        x = inputs.transpose(1, 2).flatten(1, 2)  # [N, B * T, I]
        shape = num_tasks, batch_size, num_steps, -1
        queries = self._query(weights, x).view(shape)  # [N, B, T, K]
        values = self._value(weights, x).view(shape)  # [N, B, T, V]
        keys = torch.nn.functional.pad(queries[:, :, :-1], (0, 0, 1, 0))  # of the step before
        if state is not None:
            keys = torch.cat((state[0].unsqueeze(2), keys[:, :, 1:]), 2)  # [N, B, T, K]
        if starts is not None:
            starts = starts.transpose(1, 2)  # [N, B, T]
            keys = keys.masked_fill(starts.unsqueeze(-1), 0)  # [N, B, T, 1]
        scores = (queries @ keys.transpose(-1, -2)).tril()  # [N, B, T, T]
        if starts is not None:
            stretch = starts.cumsum(-1)  # [N, B, T]: which one a step belongs to
            scores = scores.masked_fill(stretch.unsqueeze(-1) != stretch.unsqueeze(-2), 0)  # T by T
        weighted = scores @ values  # [N, B, T, V]
        if state is not None:
            read = queries @ state[1]  # [N, B, T, V]
            if starts is not None:
                read = read.masked_fill((stretch > 0).unsqueeze(-1), 0)  # [N, B, T, 1]
            weighted = weighted + read
        hidden = self._output(weights, weighted.flatten(1, 2), x)  # [N, B * T, H]
        return hidden.view(*shape[:3], self.hidden_size).transpose(1, 2)  # [N, T, B, H]

    def _query(self, weights: Weights, x: Tensor) -> Tensor:
        """Compute the queries of inputs ``[N, M, I]``: q ``[N, M, K]``."""
        asked = torch.baddbmm(weights[1], x, weights[0]).tanh()
        return asked / math.sqrt(self.key_size)

    def _value(self, weights: Weights, x: Tensor) -> Tensor:
        """Compute the values of inputs ``[N, M, I]``: v ``[N, M, V]``."""
        return (x @ weights[2]) * (x @ weights[3])

    def _output(self, weights: Weights, read: Tensor, x: Tensor) -> Tensor:
        """The hidden units, h ``[N, M, H]``."""
        read = read.asinh() if self.compress_read else read
        return torch.tanh(torch.baddbmm(weights[6], read, weights[4]) + x @ weights[5])
