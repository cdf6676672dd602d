"""Recurrent actor-critic: a core, a linear policy and a linear value on its output."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from metarl.core import Params, own_precision, scope
from metarl.nn import RecurrentCore, Trace
from metarl.nn.recurrent import uniform


@dataclass(frozen=True)
class ActorCritic:
    """``pi = softmax(W_pi h + b_pi)``, ``v = W_v h + b_v`` on the output h of a recurrent core.

    Attributes:
        core: The memory.
        num_actions: Number of actions A.
    """

    core: RecurrentCore
    num_actions: int

    @property
    def slow(self) -> tuple[str, ...]:
        """Name patterns of the slow parameters: the core's; the heads are fast."""
        return tuple(f"core.{pattern}" for pattern in self.core.slow)

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw the parameters of one agent, float32, on the CPU."""
        num_hidden, bound = self.core.hidden_size, self.core.hidden_size**-0.5
        params = {f"core.{n}": p for n, p in self.core.init(generator).items()}
        for head, size in (("actor", self.num_actions), ("critic", 1)):
            params[f"{head}.weight"] = uniform((num_hidden, size), bound, generator)
            params[f"{head}.bias"] = uniform((size,), bound, generator)
        return params

    def outputs(
        self, params: Params, observations: Tensor, trace: Trace | None = None
    ) -> tuple[Tensor, Tensor]:
        """Logits and values of whole trials, differentiable.

        Args:
            params: Stacked parameters ``[N, ...]``.
            observations: ``[N, T, B, I]``.
            trace: The core's activations on them under these parameters, if recorded.

        Returns:
            Logits ``[N, A, T, B]`` (the softmax over a short last axis is slow) and values
            ``[N, T, B]``.
        """
        core_params = scope(params, "core")
        with own_precision(observations):
            hidden = self.core.sequence(core_params, observations, trace=trace)
        # Both heads in one product: [N, A + 1, H] @ [N, H, T * B]
        weight = torch.cat((params["actor.weight"], params["critic.weight"]), -1)
        bias = torch.cat((params["actor.bias"], params["critic.bias"]), -1).unsqueeze(-1)
        flat = hidden.flatten(1, 2).transpose(1, 2)
        heads = torch.baddbmm(bias, weight.transpose(1, 2).contiguous(), flat)
        heads = heads.view(heads.shape[0], -1, *hidden.shape[1:3])  # [N, A + 1, T, B]
        return heads[:, :-1], heads[:, -1]

    def logits(self, params: Params, hidden: Tensor) -> Tensor:
        """Logits ``[N, M, A]`` of outputs ``[N, M, H]``."""
        return torch.baddbmm(params["actor.bias"].unsqueeze(-2), hidden, params["actor.weight"])
