"""Linear heads: what an actor and a critic read from the outputs of a memory, in one product."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from metarl.core import Params
from metarl.nn import Network
from metarl.nn.recurrent import uniform


@dataclass(frozen=True)
class LinearHead:
    """``W h + b``, with parameters ``weight`` and ``bias``; two of them are one product.

    Attributes:
        num_inputs: I.
        num_outputs: O.
    """

    num_inputs: int
    num_outputs: int

    @property
    def slow(self) -> tuple[str, ...]:
        """All parameters are fast."""
        return ()

    @property
    def head(self) -> tuple[str, ...]:
        """All parameters of the layer."""
        return ("weight", "bias")

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Uniform in +-1/sqrt(I)."""
        bound = self.num_inputs**-0.5
        return {
            "weight": uniform((self.num_inputs, self.num_outputs), bound, generator),
            "bias": uniform((self.num_outputs,), bound, generator),
        }

    def __call__(self, params: Params, inputs: Tensor, num_reference: int = 0) -> Tensor:
        """Outputs ``[N, B, O]`` of inputs ``[N, B, I]``."""
        # [N, 1, O] + [N, B, I] @ [N, I, O]
        return torch.baddbmm(params["bias"].unsqueeze(1), inputs, params["weight"])


def num_joint_outputs(actor: Network, critic: Network | None) -> int:
    """Numbers of both heads, A + 1, where each is linear, and the critic says one; else 0."""
    if type(actor) is not LinearHead or type(critic) is not LinearHead:
        return 0
    return actor.num_outputs + 1 if critic.num_outputs == 1 else 0


def joint_heads(params: Params) -> tuple[Tensor, Tensor]:
    """Weight ``[N, H, A + 1]`` and bias ``[N, A + 1]`` of both heads, actions first."""
    weight = torch.cat((params["actor.weight"], params["critic.weight"]), -1)
    return weight, torch.cat((params["actor.bias"], params["critic.bias"]), -1)
