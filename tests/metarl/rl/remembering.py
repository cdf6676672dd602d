"""Policies that remember, written down task by task, and their exact return in a small process.

The cells follow the papers' equations on one set of weights, with one matrix product each; nothing
of `metarl.nn` or of the policy is used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from metarl.core import Params, Split, scope, unstack
from metarl.nn import GRU, LSTM, RNN, RecurrentCore, WarpRNN
from metarl.rl import Categorical, Policy, recurrent_policy
from tests.metarl.rl.enumerable import TinyMDP

H = 3
CORES: dict[str, Callable[[int, int], RecurrentCore]] = {
    "rnn": RNN,
    "gru": GRU,
    "lstm": LSTM,
    "warp": WarpRNN,
}


def remembering(name: str, *, critic: bool = False, num_inputs: int = 3) -> Policy:
    return recurrent_policy(CORES[name](num_inputs, H), Categorical(2), critic=critic)


def _rnn(p: Params, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (torch.tanh(x @ p["weight_ih"] + state[0] @ p["weight_hh"] + p["bias"]),)


def _gru(p: Params, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    (h,) = state
    x_r, x_z, x_n = (x @ p["weight_ih"] + p["bias_ih"]).chunk(3, -1)
    h_r, h_z, h_n = (h @ p["weight_hh"] + p["bias_hh"]).chunk(3, -1)
    z = torch.sigmoid(x_z + h_z)
    return ((1 - z) * torch.tanh(x_n + torch.sigmoid(x_r + h_r) * h_n) + z * h,)


def _cell(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    o, i, f, g = gates.chunk(4, -1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def _lstm(p: Params, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    h, c = state
    return _cell(x @ p["weight_ih"] + h @ p["weight_hh"] + p["bias_ih"] + p["bias_hh"], c)


def _warp(p: Params, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    h, a, c = state
    gates = torch.cat((x, h), -1) @ p["warp_lstm_ih"] + a @ p["warp_lstm_hh"]
    a, c = _cell(gates + p["warp_lstm_bias_ih"] + p["warp_lstm_bias_hh"], c)
    split = torch.tanh(a @ p["warp_project"]).split([x.shape[-1], H, H, H, H], -1)
    p1, p2, p3, p4, p5 = split
    u, v = (x * p1) @ p["weight_ih"], (h * p2) @ p["weight_hh"]
    return torch.tanh(u * p3 + v * p4 + p["bias"] * p5), a, c


CELLS = {"rnn": (_rnn, 1), "gru": (_gru, 1), "lstm": (_lstm, 2), "warp": (_warp, 3)}


def one_task(name: str, params: Params, observations: Tensor) -> tuple[Tensor, Tensor | None]:
    """Means ``[T, B, A]`` and values ``[T, B]`` of one task's observations ``[T, B, I]``."""
    cell, num_states = CELLS[name]
    core = scope(params, "core")
    state = (observations.new_zeros(observations.shape[1], H),) * num_states
    hidden = []
    for x in observations:
        state = cell(core, x, state)
        hidden.append(state[0])
    h = torch.stack(hidden)
    means = h @ params["actor.layers.0.weight"] + params["actor.layers.0.bias"]
    if "critic.layers.0.weight" not in params:
        return means, None
    return means, (h @ params["critic.layers.0.weight"] + params["critic.layers.0.bias"])[..., 0]


@dataclass(frozen=True)
class HistoryTasks:
    """The loss is minus the expected return, by dynamic programming over histories of states."""

    mdp: TinyMDP
    name: str

    @property
    def num_tasks(self) -> int:
        return self.mdp.num_tasks

    def select(self, tasks: slice) -> HistoryTasks:
        return HistoryTasks(self.mdp.select(tasks), self.name)

    def sample(self, fast: Params, slow: Params, split: Split) -> None:
        return None

    def loss(self, fast: Params, slow: Params, batch: None) -> Tensor:
        params = {**fast, **slow}
        each = [self.expected_return(i, unstack(params, i)) for i in range(self.num_tasks)]
        return -torch.stack(each)

    def expected_return(self, i: int, params: Params) -> Tensor:
        """``V(s_0..s_t) = sum_a pi(a|s_0..s_t) (r(s_t, a) + sum_s P(s|s_t, a) V(s_0..s_t, s))``."""
        transitions, rewards, num_steps = (
            self.mdp.transitions[i],
            self.mdp.rewards[i],
            self.mdp.num_steps,
        )
        num_states = len(rewards)
        later = torch.cartesian_prod(*[torch.arange(num_states)] * (num_steps - 1))
        paths = torch.cat((torch.zeros(1, len(later)), later.view(len(later), -1).T)).long()
        seen = torch.nn.functional.one_hot(paths, num_states).double()  # [T, S^(T-1), S]
        pi = one_task(self.name, params, seen)[0].softmax(-1)
        value = torch.zeros(num_states**num_steps, dtype=torch.float64)
        for t in reversed(range(num_steps)):
            stride = num_states ** (num_steps - 1 - t)
            last, chosen = paths[t, ::stride], pi[t, ::stride]  # of the S^t histories
            following = value.view(len(last), 1, num_states)
            gain = rewards[last] + (transitions[last] * following).sum(-1)
            value = (chosen * gain).sum(-1)
        return value[0]


def task_by_task(name: str, params: Params, observations: Tensor) -> Tensor:
    """Means of every task on its own, ``[N, T, B, A]``."""
    return torch.stack(
        [one_task(name, unstack(params, i), x)[0] for i, x in enumerate(observations)]
    )
