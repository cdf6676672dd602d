"""Outer optimisers as settings, and what keeps stacked agents apart: clipping, and their steps.

In `StackedOptimiser` each of N agents steps as it would alone, bit for bit. The optimiser is given
every agent's share of every parameter as a tensor of its own: a view, so that what it writes is
written into the stack. One tensor ``[N, ...]`` would do up to rounding, since Adam and its kin work
entry by entry; but fused kernels round the last few entries of a tensor in another way than the
rest, and which ones those are depends on N. What is kept of an agent can be taken out and put back,
and an agent can stay where it is while the others step.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from metarl.core.params import Params, along, precise
from metarl.errors import check_choices, is_finite_number


@dataclass(frozen=True)
class OptimiserSettings:
    """The choice of an optimiser, and the size of its steps.

    Adam and RMSprop act on each number alone, so that N stacked agents stay N agents.

    Attributes:
        name: Optimiser.
        lr: Learning rate.
        beta1: Decay of the first moment (momentum for SGD).
        beta2: Decay of the second moment.
        eps: Added to the root of the second moment.
        weight_decay: Coupled L2 decay.
    """

    name: Literal["adam", "rmsprop", "sgd"] = "adam"
    lr: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        """Check name and numbers, before any work starts, as torch's optimisers would."""
        check_choices(self)
        for name in ("lr", "eps", "weight_decay"):
            value = getattr(self, name)
            if not (is_finite_number(value) and value >= 0):
                raise ValueError(f"{name} must be finite and at least 0, got {value}")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1), got {getattr(self, name)}")

    def build(self, params: Iterable[Tensor]) -> torch.optim.Optimizer:
        """Make the optimiser for these tensors."""
        params = list(params)
        lr, decay = self.lr, self.weight_decay
        match self.name:
            case "adam":
                betas = (self.beta1, self.beta2)
                return torch.optim.Adam(params, lr, betas, self.eps, decay, fused=True)
            case "rmsprop":
                return torch.optim.RMSprop(params, lr, self.beta2, self.eps, decay, self.beta1)
            case "sgd":
                return torch.optim.SGD(params, lr, self.beta1, weight_decay=decay)


def gradient_norms(gradients: Sequence[Tensor]) -> Tensor:
    """The Euclidean norm of each agent's gradient over all parameters ``[N, ...]``: ``[N]``.

    In at least float32: in float16 a norm above 65504 would be infinite.
    """
    # Agent by agent: how a sum is rounded depends on the shape of the tensor it is taken in.
    parts = [precise(part) for g in gradients for part in g.unbind()]
    norms = torch.stack(torch._foreach_norm(parts)).view(len(gradients), -1)  # [P, N]
    return torch.stack([torch.linalg.vector_norm(own) for own in norms.T.contiguous().unbind()])


def clip_gradients(gradients: Sequence[Tensor], max_norm: float) -> tuple[list[Tensor], Tensor]:
    """Scale each agent's gradient to a norm of at most ``max_norm``.

    The given tensors are left alone: autograd may hand out one tensor as the gradient of two
    parameters (biases that are added), which scaling in place would scale twice.

    Args:
        gradients: Tensors ``[N, ...]``, one a parameter.
        max_norm: The largest norm allowed.

    Returns:
        The clipped gradients, and the norms before clipping, ``[N]``.
    """
    norms = gradient_norms(gradients)
    factors = (max_norm / (norms + 1e-6)).clamp(max=1.0)
    clipped = torch._foreach_mul(list(gradients), [along(factors, g) for g in gradients])
    return [new.to(g.dtype) for new, g in zip(clipped, gradients, strict=True)], norms


OptimiserState: TypeAlias = Mapping[str, Any]
"""State of one agent: parameter → entry → tensor; or what `torch.optim` makes of it."""

STEP_COUNT = "step"
"""The one entry that does not have the parameter's shape."""


class StackedOptimiser:
    """An optimiser of parameters ``[N, ...]``, which it writes in place.

    Args:
        settings: Settings of the optimiser.
        params: Parameters by name.
        stacked: Whether they have an axis of agents; otherwise there is one agent.
    """

    def __init__(self, settings: OptimiserSettings, params: Params, stacked: bool = True) -> None:
        self.settings, self.params, self._stacked = settings, params, stacked
        self._shares = {name: list(self._parts(p.detach())) for name, p in params.items()}
        self._factor = 1.0
        self.forget()

    def forget(self) -> None:
        """Begin again, without moments, at the learning rate of now."""
        self._optimiser = self.settings.build(
            share for shares in self._shares.values() for share in shares
        )
        self.scale(self._factor)

    def scale(self, factor: float) -> None:
        """Make the learning rate so many times the setting's."""
        self._factor = factor
        self._optimiser.param_groups[0]["lr"] = self.settings.lr * factor

    def step(self, gradients: Mapping[str, Tensor | None], skips: Tensor | None = None) -> None:
        """Step on gradients, of the parameters' shapes.

        Args:
            gradients: Gradients by name; parameters without one keep weights and moments.
            skips: bool ``[N]``: agents that keep theirs altogether; None: no agent.
        """
        stay = None if skips is None else skips.tolist()
        for name, shares in self._shares.items():
            gradient = gradients.get(name)
            parts = [None] * len(shares) if gradient is None else self._parts(gradient)
            for n, (share, part) in enumerate(zip(shares, parts, strict=True)):
                share.grad = None if stay is not None and stay[n] else part
        self._optimiser.step()
        # A fused optimiser writes without a word; who kept activations must see that they are old.
        torch.autograd.graph.increment_version(self.params.values())

    def _parts(self, values: Tensor) -> Sequence[Tensor]:
        """The share of every agent."""
        return values.unbind() if self._stacked else (values,)

    def agent_state(self, index: int) -> dict[str, dict[str, Tensor]]:
        """State of one agent, without the leading axis."""
        return {
            name: {
                key: value.clone()
                for key, value in self._optimiser.state[shares[index]].items()
                if value is not None
            }
            for name, shares in self._shares.items()
        }

    def load_agent_states(self, states: Sequence[OptimiserState]) -> None:
        """Take up where `agent_state` of every agent left off.

        Raises:
            ValueError: They are of other parameters.
        """
        fused = bool(self._optimiser.defaults.get("fused"))  # then it counts on the device
        by_name = [_by_name(state, self._shares) for state in states]
        for name, shares in self._shares.items():
            for share, state in zip(shares, by_name, strict=True):
                self._optimiser.state[share] = {
                    key: value.to(
                        "cpu" if key == STEP_COUNT and not fused else share.device, copy=True
                    )
                    for key, value in state.get(name, {}).items()
                }


def _by_name(state: OptimiserState, names: Collection[str]) -> Mapping[str, Mapping[str, Tensor]]:
    """The state by the names of parameters; version 0.1 kept that of `torch.optim`, by number."""
    if "param_groups" not in state:
        return state
    (group,) = state["param_groups"]
    if len(group["params"]) != len(names):
        raise ValueError(
            f"the optimiser's state is of {len(group['params'])} parameters, here are {len(names)}"
        )
    entries = (state["state"].get(number, {}) for number in group["params"])
    return {
        name: {key: value for key, value in entry.items() if value is not None}
        for name, entry in zip(names, entries, strict=True)
    }
