"""Action distributions as pure functions of the policy's outputs, one for each kind of actions.

    Categorical       one of A actions                          Discrete(A)
    MultiCategorical  one of A_d actions in each dimension d    MultiDiscrete((A_1, A_2, ...))
    Bernoulli         A bits                                    MultiBinary(A)
    Gaussian          A real numbers                            Box with one axis

What describes a distribution is one tensor ``[..., D]``, its outputs: log-probabilities, logits of
bits, or means and behind them the logarithms of deviations. All are sampled by adding noise to what
the network says, so that a rollout adds and chooses, step by step, and leaves the probabilities for
one pass at its end. A log-probability is that of the whole action: a sum over the action's
dimensions. Outputs in half precision are calculated with in single precision, which the results
then have.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete, Space
from torch import Tensor
from torch.nn.functional import logsigmoid, pad, softplus

from metarl.core import Params


class Distribution(Protocol):
    """A family of distributions over actions."""

    @property
    def num_means(self) -> int:
        """A: numbers that the network gives for each observation."""

    def draws(self, space: Space[Any]) -> bool:
        """Whether its samples are the actions of a space that counts from 0."""

    def init(self) -> dict[str, Tensor]:
        """Parameters of the distribution itself, beside the network's, unstacked."""

    def outputs(self, params: Params, means: Tensor) -> Tensor:
        """All that describes the distribution, ``[N, M, D]``, of the network's ``[N, M, A]``."""

    def noise(self, size: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Standard noise of shape ``(*size, A)``, float32, on the generator's device."""

    def perturbation(self, params: Params, noise: Tensor) -> Tensor:
        """Scale noise ``[N, ..., A]``: the result is added to the network's means."""

    def choose(self, means: Tensor) -> Tensor:
        """Actions ``[...]`` or ``[..., A]`` of perturbed means; of bare ones, greedy ones."""

    def log_prob(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """Log-probability (or density) of whole actions, ``[...]``, of outputs ``[..., D]``."""

    def entropy(self, outputs: Tensor) -> Tensor:
        """Entropy in nats, ``[...]``."""

    def simpson(self, outputs: Tensor) -> Tensor:
        """``E_a p(a)``, ``[...]``: the chance that two samples agree (Simpson 1949)."""

    def kl(self, old: Tensor, new: Tensor) -> Tensor:
        """``KL(old || new)`` in nats, ``[...]``, of outputs ``[..., D]``."""

    def fisher(self, outputs: Tensor, tangent: Tensor) -> Tensor:
        """The Fisher information of the outputs times ``tangent``, ``[..., D]``.

        It is the Hessian of `kl` by ``new``, as far as the network moves it, at ``outputs`` twice.
        """


def wide(dtype: torch.dtype) -> torch.dtype:
    """The precision in which probabilities of outputs of this one are calculated."""
    return torch.promote_types(dtype, torch.float32)


def gumbel(size: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Standard Gumbel noise: the largest logit plus noise is a sample of the softmax."""
    uniform = torch.rand(size, generator=generator, device=generator.device)
    return uniform.clamp_(min=1e-20).log_().neg_().log_().neg_()


def log_softmax(logits: Tensor) -> Tensor:
    """Log-probabilities ``[N, M, A]``, a view of ``[N, A, M]``; each row's whatever the others.

    A softmax over a short innermost axis is slow. One over another axis rounds what is left behind
    the last whole vector differently, so that vectors are filled: those of any processor divide 64.
    """
    count = logits.shape[1]
    filled = pad(logits.transpose(1, 2), (0, -count % 64))  # [N, A, M and some]
    return filled.log_softmax(1, wide(logits.dtype))[..., :count].transpose(1, 2)


class Standard:
    """Distributions whose noise is of one size and that have no parameters."""

    def init(self) -> dict[str, Tensor]:
        """Return no parameters: the distribution has none."""
        return {}

    def perturbation(self, params: Params, noise: Tensor) -> Tensor:
        """Return the noise as it is."""
        return noise


@dataclass(frozen=True)
class Categorical(Standard):
    """Choice of one of A actions, int64 ``[...]``; the outputs are log-probabilities.

    Attributes:
        num_actions: A.
    """

    num_actions: int

    @property
    def num_means(self) -> int:
        """Number of logits, A."""
        return self.num_actions

    def draws(self, space: Space[Any]) -> bool:
        """Whether the space is ``Discrete(A)``."""
        return isinstance(space, Discrete) and (space.n, space.start) == (self.num_actions, 0)

    def outputs(self, params: Params, means: Tensor) -> Tensor:
        """``log softmax(z)``."""
        return log_softmax(means)

    def noise(self, size: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Standard Gumbel noise."""
        return gumbel((*size, self.num_actions), generator)

    def choose(self, means: Tensor) -> Tensor:
        """The action of the largest perturbed logit."""
        return means.argmax(-1)

    def log_prob(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """``log p_a``."""
        return outputs.gather(-1, actions.unsqueeze(-1)).squeeze(-1)  # [..., 1] to [...]

    def entropy(self, outputs: Tensor) -> Tensor:
        """``-sum_a p log p``."""
        return -(outputs.exp() * outputs).sum(-1)

    def simpson(self, outputs: Tensor) -> Tensor:
        """``sum_a p^2``, 1 / A to 1."""
        return (2 * outputs).exp().sum(-1)

    def kl(self, old: Tensor, new: Tensor) -> Tensor:
        """``sum_a p (log p - log q)``."""
        return (old.exp() * (old - new)).sum(-1)

    def fisher(self, outputs: Tensor, tangent: Tensor) -> Tensor:
        """``(diag(p) - p p^T) v``, of logits as of log-probabilities."""
        p = outputs.exp()
        return p * (tangent - (p * tangent).sum(-1, keepdim=True))


@dataclass(frozen=True)
class MultiCategorical(Standard):
    """Choice of one of A_d actions in each of D dimensions, int64 ``[..., D]``, independently.

    The outputs are the log-probabilities of the first dimension, then of the second, and so on.

    Attributes:
        num_choices: ``(A_1, ..., A_D)``.
    """

    num_choices: tuple[int, ...]

    def __init__(self, num_choices: Sequence[int]) -> None:
        """Take the counts of any sequence.

        Raises:
            ValueError: There is no dimension, or one without a choice.
        """
        object.__setattr__(self, "num_choices", tuple(int(n) for n in num_choices))
        if not self.num_choices or min(self.num_choices) < 1:
            raise ValueError(
                f"every dimension must have at least 1 choice, got {self.num_choices}: give as "
                "many counts as an action has dimensions, each positive"
            )

    @property
    def num_means(self) -> int:
        """A logit for each choice."""
        return sum(self.num_choices)

    def draws(self, space: Space[Any]) -> bool:
        """Whether the space is ``MultiDiscrete((A_1, ..., A_D))``."""
        return (
            isinstance(space, MultiDiscrete)
            and space.nvec.shape == (len(self.num_choices),)
            and tuple(space.nvec) == self.num_choices
            and not space.start.any()
        )

    def outputs(self, params: Params, means: Tensor) -> Tensor:
        """``log softmax(z_d)`` of each dimension."""
        return torch.cat([log_softmax(part) for _, part in self._dimensions(means)], -1)

    def noise(self, size: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Standard Gumbel noise."""
        return gumbel((*size, self.num_means), generator)

    def choose(self, means: Tensor) -> Tensor:
        """The largest of each dimension."""
        return torch.stack([part.argmax(-1) for _, part in self._dimensions(means)], -1)

    def log_prob(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """``sum_d log p_{d, a_d}``."""
        parts = zip(self._dimensions(outputs), actions.unbind(-1), strict=True)
        return torch.stack([one.log_prob(z, a) for (one, z), a in parts]).sum(0)

    def entropy(self, outputs: Tensor) -> Tensor:
        """The sum over dimensions."""
        return torch.stack([one.entropy(z) for one, z in self._dimensions(outputs)]).sum(0)

    def simpson(self, outputs: Tensor) -> Tensor:
        """The product over dimensions."""
        return torch.stack([one.simpson(z) for one, z in self._dimensions(outputs)]).prod(0)

    def kl(self, old: Tensor, new: Tensor) -> Tensor:
        """The sum over dimensions."""
        parts = zip(self._dimensions(old), self._dimensions(new), strict=True)
        return torch.stack([one.kl(p, q) for (one, p), (_, q) in parts]).sum(0)

    def fisher(self, outputs: Tensor, tangent: Tensor) -> Tensor:
        """``(diag(p_d) - p_d p_d^T) v_d`` of each dimension."""
        parts = zip(self._dimensions(outputs), self._dimensions(tangent), strict=True)
        return torch.cat([one.fisher(z, v) for (one, z), (_, v) in parts], -1)

    def _dimensions(self, tensor: Tensor) -> Iterator[tuple[Categorical, Tensor]]:
        """Each dimension's own distribution, and its part ``[..., A_d]``."""
        parts = torch.split(tensor, list(self.num_choices), -1)
        return ((Categorical(part.shape[-1]), part) for part in parts)


@dataclass(frozen=True)
class Bernoulli(Standard):
    """A independent bits, int64 ``[..., A]``; the outputs are the logits of the ones.

    Attributes:
        num_actions: A, the bits of an action.
    """

    num_actions: int

    @property
    def num_means(self) -> int:
        """A logit for each bit."""
        return self.num_actions

    def draws(self, space: Space[Any]) -> bool:
        """Whether the space is ``MultiBinary(A)``."""
        return isinstance(space, MultiBinary) and space.shape == (self.num_actions,)

    def outputs(self, params: Params, means: Tensor) -> Tensor:
        """Return the logits as they are."""
        return means

    def noise(self, size: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Standard logistic noise: a bit is 1 where its logit plus noise is above 0."""
        shape = (*size, self.num_actions)
        return gumbel(shape, generator) - gumbel(shape, generator)

    def choose(self, means: Tensor) -> Tensor:
        """1 where a perturbed logit is above 0."""
        return (means > 0).to(torch.int64)

    def log_prob(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """``sum_a log sigmoid((2 a - 1) z)``."""
        z = outputs.to(wide(outputs.dtype))
        return logsigmoid((2 * actions - 1) * z).sum(-1)

    def entropy(self, outputs: Tensor) -> Tensor:
        """``sum_a log(1 + e^z) - z sigmoid(z)``, in a form that is exact for large ``|z|``."""
        z = outputs.to(wide(outputs.dtype)).abs()  # even in z
        return (softplus(-z) + z * (-z).sigmoid()).sum(-1)

    def simpson(self, outputs: Tensor) -> Tensor:
        """``prod_a p^2 + (1 - p)^2``."""
        p = outputs.to(wide(outputs.dtype)).sigmoid()
        return (p.square() + (1 - p).square()).prod(-1)

    def kl(self, old: Tensor, new: Tensor) -> Tensor:
        """``sum_a p (log p - log q) + (1 - p) (log(1 - p) - log(1 - q))``."""
        z, y = (logits.to(wide(logits.dtype)) for logits in (old, new))
        ones = z.sigmoid() * (logsigmoid(z) - logsigmoid(y))
        return (ones + (-z).sigmoid() * (logsigmoid(-z) - logsigmoid(-y))).sum(-1)

    def fisher(self, outputs: Tensor, tangent: Tensor) -> Tensor:
        """``p (1 - p) v``."""
        z = outputs.to(wide(outputs.dtype))
        return z.sigmoid() * (-z).sigmoid() * tangent


@dataclass(frozen=True)
class Gaussian:
    """A independent normal variables, float ``[..., A]``, whose deviations are parameters.

    ``log_std`` ``[A]`` is fast like the network's: tasks may narrow it in adaptation.

    Attributes:
        num_actions: A, the dimensions of an action.
        initial_std: The deviation to begin with.
        min_std: The deviation is never smaller; below it ``log_std`` gets no gradient.

    Raises:
        ValueError: A deviation has no logarithm.
    """

    num_actions: int
    initial_std: float = 1.0
    min_std: float = 1e-3

    def __post_init__(self) -> None:
        if not 0 < self.min_std <= self.initial_std < math.inf:
            raise ValueError(
                "deviations must satisfy 0 < min_std <= initial_std, got "
                f"{self.min_std} and {self.initial_std}"
            )

    @property
    def num_means(self) -> int:
        """A mean for each dimension."""
        return self.num_actions

    def draws(self, space: Space[Any]) -> bool:
        """A ``Box`` of real numbers with one axis of A; its bounds are for the environment."""
        return (
            isinstance(space, Box)
            and np.issubdtype(space.dtype, np.floating)
            and space.shape == (self.num_actions,)
        )

    def init(self) -> dict[str, Tensor]:
        """Initial ``log_std`` ``[A]``."""
        return {"log_std": torch.full((self.num_actions,), math.log(self.initial_std))}

    def log_std(self, params: Params) -> Tensor:
        """The logarithms in use, ``[N, A]``."""
        return params["log_std"].clamp(min=math.log(self.min_std))

    def outputs(self, params: Params, means: Tensor) -> Tensor:
        """Means, then log deviations: ``[N, M, 2 A]``."""
        spread = self.log_std(params).unsqueeze(1).expand_as(means)
        # Laid out as [2 A, N, M]: an innermost axis of a few numbers is slow.
        return torch.cat((means.movedim(-1, 0), spread.movedim(-1, 0))).movedim(0, -1)

    def noise(self, size: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Standard normal noise."""
        return torch.randn(*size, self.num_actions, generator=generator, device=generator.device)

    def perturbation(self, params: Params, noise: Tensor) -> Tensor:
        """``sigma * noise``."""
        log_std = self.log_std(params)
        std = log_std.to(wide(log_std.dtype)).exp()
        return noise * std.view(len(std), *(1,) * (noise.dim() - 2), -1)  # [N, 1, ..., A]

    def choose(self, means: Tensor) -> Tensor:
        """The perturbed mean is the action."""
        return means

    def log_prob(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """``sum_a -((a - mu) / sigma)^2 / 2 - log sigma - log(2 pi) / 2``."""
        mean, log_std = self._described(outputs)
        z = (mean - actions) * (-log_std).exp()  # in the layout of the means
        return -(0.5 * z.square() + log_std + 0.5 * math.log(2 * math.pi)).sum(-1)

    def entropy(self, outputs: Tensor) -> Tensor:
        """``sum_a log sigma + log(2 pi e) / 2``."""
        return (self._described(outputs)[1] + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)

    def simpson(self, outputs: Tensor) -> Tensor:
        """``prod_a 1 / (2 sigma sqrt(pi))``, the integral of the squared density."""
        return (-(self._described(outputs)[1] + 0.5 * math.log(4 * math.pi)).sum(-1)).exp()

    def kl(self, old: Tensor, new: Tensor) -> Tensor:
        """``sum_a log(s_q / s_p) + (s_p^2 + (mu_p - mu_q)^2) / (2 s_q^2) - 1/2``."""
        mean_p, log_p = self._described(old)
        mean_q, log_q = self._described(new)
        ratio = (2 * (log_p - log_q)).exp()
        distance = ((mean_p - mean_q) * (-log_q).exp()).square()
        return (log_q - log_p + 0.5 * (ratio + distance - 1)).sum(-1)

    def fisher(self, outputs: Tensor, tangent: Tensor) -> Tensor:
        """``v / sigma^2`` for the means, ``2 v`` for the log deviations."""
        _, log_std = self._described(outputs)
        of_mean, of_log_std = tangent.chunk(2, -1)
        return torch.cat((of_mean * (-2 * log_std).exp(), 2 * of_log_std), -1)

    def _described(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log deviations, each ``[..., A]``."""
        mean, log_std = outputs.to(wide(outputs.dtype)).chunk(2, -1)
        return mean, log_std
