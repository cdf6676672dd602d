"""Reference algorithms for Bernoulli bandits, as pure functions on counts, for B bandits at once.

The companions RL^2 is compared with (Duan et al. 2016, section 3.1):

    thompson    draws each arm's probability from its posterior and pulls the best (Thompson 1933)
    ucb1        pulls the arm with the highest upper confidence bound (Auer et al. 2002)
    greedy      pulls the arm with the highest posterior mean
    gittins     pulls the arm with the highest finite-horizon Gittins index (Gittins 1979; for a
                horizon Kaufmann 2018, section 2), near the best that can be done

All start from a uniform prior: after s successes and f failures, Beta(1 + s, 1 + f). Ties are
broken at random.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

__all__ = ["Algorithm", "gittins", "greedy", "play_bandits", "thompson", "ucb1"]

Algorithm = Callable[[torch.Tensor, torch.Tensor, torch.Generator], torch.Tensor]
"""An algorithm: successes and failures, float [B, K], and a generator to arms, int64 [B]."""


def thompson(
    successes: torch.Tensor, failures: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """Thompson sampling.

    Args:
        successes: float [B, K], how often each arm paid.
        failures: float [B, K], how often it did not.
        generator: Source of the draws.

    Returns:
        int64 [B], the arms to pull.
    """
    paid = torch._standard_gamma(successes + 1.0, generator=generator)
    failed = torch._standard_gamma(failures + 1.0, generator=generator)
    return (paid / (paid + failed)).argmax(dim=1)


def ucb1(
    successes: torch.Tensor,
    failures: torch.Tensor,
    generator: torch.Generator,
    *,
    bonus: float = 2.0,
    prior_pulls: float = 0.0,
) -> torch.Tensor:
    """UCB1: mean + sqrt(bonus log t / pulls) with t pulls in all; untried arms come first.

    Args:
        successes: float [B, K], how often each arm paid.
        failures: float [B, K], how often it did not.
        generator: Breaks ties.
        bonus: 2 in the paper of Auer et al.; less explores less.
        prior_pulls: Imagined pulls of each arm before the first, half of which paid. 0 in the
            paper, which then has to try every arm once; that costs all where pulls are few.

    Returns:
        int64 [B], the arms to pull.
    """
    pulls = successes + failures + prior_pulls
    total = pulls.sum(dim=1, keepdim=True).clamp(min=1.0)
    bound = (successes + prior_pulls / 2) / pulls + torch.sqrt(bonus * total.log() / pulls)
    return _argmax(torch.where(pulls == 0, torch.inf, bound), generator)


def greedy(
    successes: torch.Tensor, failures: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """The arm with the highest posterior mean. Arguments and result as in `thompson`."""
    return _argmax((successes + 1.0) / (successes + failures + 2.0), generator)


def gittins(horizon: int, *, resolution: int = 1000) -> Algorithm:
    """The algorithm that pulls the arm with the highest finite-horizon Gittins index.

    With m pulls left the index of an arm is the payment per pull that makes playing it, with the
    right to stop at any time, just worth while.

    Args:
        horizon: Pulls in all, T.
        resolution: Indices are multiples of 1 / `resolution`.

    Returns:
        An algorithm for trials of exactly this horizon.
    """
    table = gittins_indices(horizon, resolution)  # [T, T, T]

    def pull(
        successes: torch.Tensor, failures: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        won, lost = successes.long(), failures.long()
        left = horizon - (won + lost).sum(dim=1, keepdim=True)  # [B, 1]
        return _argmax(table.to(won.device)[left - 1, won, lost], generator)

    return pull


def gittins_indices(horizon: int, resolution: int = 1000) -> torch.Tensor:
    """Finite-horizon Gittins indices of a Bernoulli arm with a uniform prior.

    With W(s, f, m) the value of playing an arm with posterior mean p for up to m pulls at a price
    of lambda each, W = max(0, p - lambda + p W(s + 1, f, m - 1) + (1 - p) W(s, f + 1, m - 1)), the
    index is the largest lambda at which the first pull is worth its price.

    Args:
        horizon: T.
        resolution: Prices tried are multiples of 1 / `resolution`.

    Returns:
        float32 [T, T, T]: entry [m - 1, s, f] for m pulls left, s successes and f failures, of
        which s + f + m is at most T; 0 elsewhere.
    """
    prices = torch.arange(resolution + 1, dtype=torch.float64) / resolution
    counts = torch.arange(horizon + 1, dtype=torch.float64)
    mean = ((counts[:, None] + 1) / (counts[:, None] + counts + 2))[..., None]  # [T + 1, T + 1, 1]
    indices = torch.zeros(horizon, horizon, horizon)
    value = torch.zeros(horizon + 1, horizon + 1, len(prices), dtype=torch.float64)
    for left in range(1, horizon + 1):
        size = horizon - left + 1  # s and f at most horizon - left
        p = mean[:size, :size]
        after = p * value[1 : size + 1, :size] + (1 - p) * value[:size, 1 : size + 1]
        worth = p - prices + after
        indices[left - 1, :size, :size] = ((worth >= 0).sum(-1) - 1).float() / resolution
        value = worth.clamp(min=0.0)
    return indices


def play_bandits(
    algorithm: Algorithm, probabilities: torch.Tensor, horizon: int, generator: torch.Generator
) -> torch.Tensor:
    """Plays B bandits with an algorithm.

    Args:
        algorithm: One of this module, or another function of counts.
        probabilities: float [B, K], with which each arm pays.
        horizon: Pulls, T.
        generator: Source of everything random, on the device of `probabilities`.

    Returns:
        float32 [B, T], the rewards; entry t is the consequence of pull t.
    """
    successes, failures = torch.zeros_like(probabilities), torch.zeros_like(probabilities)
    rewards = []
    for _ in range(horizon):
        arms = algorithm(successes, failures, generator)[:, None]  # [B, 1]
        chance = probabilities.gather(1, arms)
        uniform = torch.rand(chance.shape, generator=generator, device=chance.device)
        paid = (uniform < chance).to(probabilities)
        successes = successes.scatter_add(1, arms, paid)
        failures = failures.scatter_add(1, arms, 1.0 - paid)
        rewards.append(paid[:, 0])
    return torch.stack(rewards, dim=1).float()


def _argmax(scores: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """int64 [B], a best column of each row, drawn uniformly among the best."""
    best = scores == scores.amax(dim=1, keepdim=True)
    lots = torch.rand(scores.shape, generator=generator, device=scores.device)
    return torch.where(best, lots, -1.0).argmax(dim=1)
