"""Batches of trials as tasks: rolled out with an agent's weights, scored by its loss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from metarl.core import Params, Split, scope
from metarl.rl.losses import (
    clipped_surrogate,
    log_probabilities,
    policy_gradient,
    shannon_entropy,
    simpson_index,
    squared_error,
)
from metarl.rl.returns import delayed_returns, generalised_advantages
from metarl.rl.rollout import Collector, Rollout


@dataclass(frozen=True)
class ActorCriticSettings:
    """The loss of a batch of trials.

    Attributes:
        algorithm: a2c, or ppo with its clipped ratio.
        gamma: Discount.
        gae_lambda: Weight of longer returns in the advantage; 1 uses whole returns.
        value_coef: Weight of the critic's squared error.
        entropy: simpson adds the Simpson index of the policy (the maze papers' term), shannon
            subtracts its entropy.
        entropy_coef: Weight of that term.
        normalise_advantages: Scale each agent's advantages to mean 0 and deviation 1.
        ppo_clip: Largest change of a probability ratio that is rewarded.
        published_returns: Credit action t with the reward before it, as the published code did.
        published_baseline: Use the value of maze 0 for every maze, as the published code did.
    """

    algorithm: Literal["a2c", "ppo"] = "a2c"
    gamma: float = 0.9
    gae_lambda: float = 1.0
    value_coef: float = 0.1
    entropy: Literal["simpson", "shannon"] = "simpson"
    entropy_coef: float = 0.03
    normalise_advantages: bool = False
    ppo_clip: float = 0.2
    published_returns: bool = False
    published_baseline: bool = False

    def __post_init__(self) -> None:
        """Refuse discounts outside [0, 1], and weights that turn their term around."""
        for name in ("gamma", "gae_lambda"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must lie in [0, 1], got {getattr(self, name)}")
        for name in ("value_coef", "entropy_coef"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ValueError(f"{name} must be finite and at least 0, got {getattr(self, name)}")
        if not self.ppo_clip > 0:
            raise ValueError(f"ppo_clip must be positive, got {self.ppo_clip}")


@dataclass
class ScoredTrials:
    """Trials with the constants of their loss, all ``[N, T, B]``.

    Attributes:
        rollout: The trials.
        advantages: Estimates at the time of playing.
        returns: The critic's targets.
        log_p: Log-probability of each action when it was taken.
        metrics: ``return`` (mean over mazes), ``entropy`` (nats) and ``value_error`` (root mean
            square), each ``[N]``.
        played_with: Identifies the weights that played: while they stand, the recorded
            activations are those of the loss.
    """

    rollout: Rollout
    advantages: Tensor
    returns: Tensor
    log_p: Tensor
    metrics: dict[str, Tensor]
    played_with: tuple[tuple[int, int], ...]


class Trials:
    """A `TaskBatch` whose experience is one trial a maze."""

    def __init__(self, collector: Collector, settings: ActorCriticSettings) -> None:
        """Roll out with ``collector``, score with ``settings``."""
        self.collector, self.settings = collector, settings

    @property
    def num_tasks(self) -> int:
        """N: agents, each with its own batch of mazes."""
        return self.collector.shape[0]

    def sample(self, fast: Params, slow: Params, split: Split = "support") -> ScoredTrials:
        """Play a trial in every maze; support and query trials are alike."""
        params = {**fast, **slow}
        rollout = self.collector.collect(params)
        with torch.no_grad():
            logits, values = self.collector.policy.outputs(
                params, rollout.observations, rollout.trace
            )
            log_p_all, log_p = log_probabilities(logits, rollout.actions)
            advantages, returns = self.score(rollout.rewards, values)
            metrics = {
                "return": rollout.rewards.sum(1).mean(1),
                "entropy": shannon_entropy(log_p_all),
                "value_error": squared_error(values, returns).sqrt(),
            }
        return ScoredTrials(rollout, advantages, returns, log_p, metrics, _identity(params))

    def score(self, rewards: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Advantages and returns ``[N, T, B]`` of rewards and value estimates."""
        s = self.settings
        if s.published_baseline:
            values = values[..., :1].expand_as(values)
        if s.published_returns:
            returns = delayed_returns(rewards, s.gamma)
            advantages = returns - values
        else:
            advantages = generalised_advantages(rewards, values, s.gamma, s.gae_lambda)
            returns = advantages + values
        if s.normalise_advantages:
            deviation, mean = torch.std_mean(advantages, (1, 2), keepdim=True)
            advantages = (advantages - mean) / (deviation + 1e-8)
        return advantages, returns

    def loss(self, fast: Params, slow: Params, batch: ScoredTrials) -> Tensor:
        """Policy loss + value_coef * critic's error + entropy_coef * entropy term, ``[N]``."""
        s, params = self.settings, {**fast, **slow}
        rollout = batch.rollout
        if _identity(params) != batch.played_with:
            self._record_again(params, rollout)
        logits, values = self.collector.policy.outputs(params, rollout.observations, rollout.trace)
        log_p_all, log_p = log_probabilities(logits, rollout.actions)
        if s.published_baseline:
            values = values[..., :1].expand_as(values)
        if s.algorithm == "ppo":
            policy_loss = clipped_surrogate(log_p, batch.log_p, batch.advantages, s.ppo_clip)
        else:
            policy_loss = policy_gradient(log_p, batch.advantages)
        if s.entropy == "simpson":
            entropy_loss = simpson_index(log_p_all)
        else:
            entropy_loss = -shannon_entropy(log_p_all)
        critic_loss = squared_error(values, batch.returns)
        return policy_loss + s.value_coef * critic_loss + s.entropy_coef * entropy_loss

    def _record_again(self, params: Params, rollout: Rollout) -> None:
        """The weights have moved since the trials were played: their activations too."""
        core = self.collector.policy.core
        with torch.no_grad():
            weights = core.fuse(scope(params, "core"))
            core.record(weights, rollout.observations, trace=rollout.trace)


def _identity(params: Params) -> tuple[tuple[int, int], ...]:
    """Changes when a tensor is replaced or written to."""
    return tuple((id(p), p._version) for p in params.values())
