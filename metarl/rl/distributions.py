"""Action distributions as pure functions of the policy's outputs: categorical and Gaussian.

The outputs are one tensor ``[..., D]``: the logits, or the means followed by the logarithms of the
deviations. Both distributions are sampled by adding noise to what the network says, so that a
rollout adds and chooses, step by step, and leaves the probabilities for one pass at its end. A
log-probability is that of the whole action: a sum over the action's dimensions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from metarl.core import Params


class Distribution(Protocol):
    """A family of distributions over actions."""

    @property
    def num_means(self) -> int:
        """A: numbers that the network gives for each observation."""

    def init(self) -> dict[str, Tensor]:
        """Parameters of the distribution itself, beside the network's, unstacked."""

    def outputs(self, params: Params, means: Tensor) -> Tensor:
        """All that describes the distribution, ``[N, M, D]``, of the network's ``[N, M, A]``."""

    def noise(self, size: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Standard noise of shape ``(*size, A)``, float32, on the generator's device."""

    def perturbation(self, params: Params, noise: Tensor) -> Tensor:
        """What is added to the network's means: noise ``[N, ..., A]`` on the right scale."""

    def choose(self, means: Tensor) -> Tensor:
        """Actions ``[...]`` or ``[..., A]`` of perturbed means; of bare ones, greedy ones."""

    def log_prob(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """Log-probability (or density) of whole actions, ``[...]``, of outputs ``[..., D]``."""

    def entropy(self, outputs: Tensor) -> Tensor:
        """In nats, ``[...]``."""

    def kl(self, old: Tensor, new: Tensor) -> Tensor:
        """``KL(old || new)`` in nats, ``[...]``, of outputs ``[..., D]``."""

    def fisher(self, outputs: Tensor, tangent: Tensor) -> Tensor:
        """The Fisher information of the outputs times ``tangent``, ``[..., D]``.

        It is the Hessian of `kl` with respect to ``new`` where both arguments are ``outputs``.
        """


@dataclass(frozen=True)
class Categorical:
    """One of A actions, int64 ``[...]``; the outputs are logits.

    Attributes:
        num_actions: A.
    """

    num_actions: int

    @property
    def num_means(self) -> int:
        """A logit for each action."""
        return self.num_actions

    def init(self) -> dict[str, Tensor]:
        """Nothing."""
        return {}

    def outputs(self, params: Params, means: Tensor) -> Tensor:
        """The logits as they are."""
        return means

    def noise(self, size: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Standard Gumbel noise: the largest logit plus noise is a sample of the softmax."""
        shape = (*size, self.num_actions)
        uniform = torch.rand(shape, generator=generator, device=generator.device)
        return uniform.clamp_(min=1e-20).log_().neg_().log_().neg_()

    def perturbation(self, params: Params, noise: Tensor) -> Tensor:
        """The noise as it is."""
        return noise

    def choose(self, means: Tensor) -> Tensor:
        """The largest."""
        return means.argmax(-1)

    def log_prob(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """``log softmax(z)_a``."""
        return outputs.log_softmax(-1).gather(-1, actions.unsqueeze(-1)).squeeze(-1)

    def entropy(self, outputs: Tensor) -> Tensor:
        """``-sum_a p log p``."""
        log_p = outputs.log_softmax(-1)
        return -(log_p.exp() * log_p).sum(-1)

    def kl(self, old: Tensor, new: Tensor) -> Tensor:
        """``sum_a p (log p - log q)``."""
        log_p, log_q = old.log_softmax(-1), new.log_softmax(-1)
        return (log_p.exp() * (log_p - log_q)).sum(-1)

    def fisher(self, outputs: Tensor, tangent: Tensor) -> Tensor:
        """``(diag(p) - p p^T) v``."""
        p = outputs.softmax(-1)
        return p * (tangent - (p * tangent).sum(-1, keepdim=True))


@dataclass(frozen=True)
class Gaussian:
    """A independent normal variables, float ``[..., A]``; deviations do not depend on the state.

    Its parameter ``log_std`` ``[A]`` is fast like the network's: tasks may narrow it in adaptation.

    Attributes:
        num_actions: A, the dimensions of an action.
        initial_std: The deviation to begin with.
        min_std: The deviation is never smaller; below it ``log_std`` gets no gradient.
    """

    num_actions: int
    initial_std: float = 1.0
    min_std: float = 1e-3

    def __post_init__(self) -> None:
        """Refuse deviations without a logarithm."""
        if not 0 < self.min_std <= self.initial_std < math.inf:
            raise ValueError(
                "deviations must satisfy 0 < min_std <= initial_std, got "
                f"{self.min_std} and {self.initial_std}"
            )

    @property
    def num_means(self) -> int:
        """A mean for each dimension."""
        return self.num_actions

    def init(self) -> dict[str, Tensor]:
        """``log_std`` ``[A]``."""
        return {"log_std": torch.full((self.num_actions,), math.log(self.initial_std))}

    def log_std(self, params: Params) -> Tensor:
        """The logarithms in use, ``[N, A]``."""
        return params["log_std"].clamp(min=math.log(self.min_std))

    def outputs(self, params: Params, means: Tensor) -> Tensor:
        """Means, then log deviations: ``[N, M, 2 A]``."""
        return torch.cat((means, self.log_std(params).unsqueeze(1).expand_as(means)), -1)

    def noise(self, size: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Standard normal noise."""
        shape = (*size, self.num_actions)
        return torch.randn(shape, generator=generator, device=generator.device)

    def perturbation(self, params: Params, noise: Tensor) -> Tensor:
        """``sigma * noise``."""
        std = self.log_std(params).exp()
        return noise * std.view(len(std), *(1,) * (noise.dim() - 2), -1)

    def choose(self, means: Tensor) -> Tensor:
        """The perturbed mean is the action."""
        return means

    def log_prob(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """``sum_a -((a - mu) / sigma)^2 / 2 - log sigma - log(2 pi) / 2``."""
        mean, log_std = outputs.chunk(2, -1)
        z = (actions - mean) * (-log_std).exp()
        return -(0.5 * z.square() + log_std + 0.5 * math.log(2 * math.pi)).sum(-1)

    def entropy(self, outputs: Tensor) -> Tensor:
        """``sum_a log sigma + log(2 pi e) / 2``."""
        _, log_std = outputs.chunk(2, -1)
        return (log_std + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)

    def kl(self, old: Tensor, new: Tensor) -> Tensor:
        """``sum_a log(s_q / s_p) + (s_p^2 + (mu_p - mu_q)^2) / (2 s_q^2) - 1/2``."""
        mean_p, log_p = old.chunk(2, -1)
        mean_q, log_q = new.chunk(2, -1)
        ratio = (2 * (log_p - log_q)).exp()
        distance = ((mean_p - mean_q) * (-log_q).exp()).square()
        return (log_q - log_p + 0.5 * (ratio + distance - 1)).sum(-1)

    def fisher(self, outputs: Tensor, tangent: Tensor) -> Tensor:
        """``v / sigma^2`` for the means, ``2 v`` for the log deviations."""
        _, log_std = outputs.chunk(2, -1)
        of_mean, of_log_std = tangent.chunk(2, -1)
        return torch.cat((of_mean * (-2 * log_std).exp(), 2 * of_log_std), -1)
