"""Tasks to adapt to by policy gradient: rolled out with the adapted weights, scored by a surrogate.

This is a `TaskBatch`, so that the learners of `metarl.meta` work on it as they are. Episodes are
drawn without a graph; the loss takes their log-probabilities anew from the stored observations and
actions, so that at the parameters that played, the ratio of new to stored probabilities is 1. The
first loss of a batch sees to it.

One loss serves adaptation and the meta-objective: E over trajectories of the *adapted* policy
(formulation I of Rothfuss et al. 2019). The credit of the trajectories before adaptation for what
comes after it, formulation II, is `metarl.meta.EMAML`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from metarl.core import Params, Split
from metarl.core.ratios import check_ratios
from metarl.rl.adaptable_policy import AdaptablePolicy
from metarl.rl.advantages import episode_advantages, normalised, returns_to_go
from metarl.rl.episode_rollout import EpisodeCollector
from metarl.rl.episodes import Episodes, mean_over_steps, sum_over_time
from metarl.rl.linear_baseline import LinearBaseline
from metarl.rl.policy_gradient_settings import PolicyGradientSettings
from metarl.rl.surrogates import clipped, surrogate


class ScoredEpisodes(NamedTuple):
    """Episodes with the constants of their loss, ``[N, T, B]`` at times 0 to T - 1."""

    episodes: Episodes
    advantages: Tensor
    targets: Tensor | None  # of the critic, if its error is part of the loss


class Played(NamedTuple):
    """A batch that no loss has been taken of yet, by its probabilities, and the weights."""

    log_p: Tensor
    weights: tuple[Tensor, ...]
    versions: tuple[int, ...]  # an optimiser steps in place
    rounding: tuple[bool, torch.dtype]  # autocast's, which the probabilities were taken under


class Drawn(NamedTuple):
    """What was drawn for one split: metrics of the tasks ``[N]``, still on the device."""

    split: Split
    metrics: dict[str, Tensor]


@dataclass(frozen=True)
class PolicyGradientTasks:
    """N tasks.

    Attributes:
        collector: Plays.
        settings: The loss.
        log: Notes what each `sample` drew: ``return``, ``length``, ``unrewarded`` (1 for a task
            without any reward: its policy gradient is zero) and ``entropy``. Shared with parts.
        starts: The first episodes to adapt by, of every part, where the settings want the entropy
            of the policy that played them (`start_entropy`). Shared with parts.
    """

    collector: EpisodeCollector
    settings: PolicyGradientSettings
    log: list[Drawn] = field(default_factory=list)
    starts: list[Episodes] = field(default_factory=list, repr=False, compare=False)
    _played: list[Played] = field(default_factory=list, repr=False, compare=False)
    _begun: list[bool] = field(default_factory=list, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse a critic that is not there."""
        if self.settings.has_critic and self.policy.critic is None:
            raise ValueError("the loss has a critic's error, but the policy no critic: give it one")

    @property
    def policy(self) -> AdaptablePolicy:
        """Whose parameters are fast and slow."""
        return self.collector.policy

    @property
    def num_tasks(self) -> int:
        """N."""
        return self.collector.num_tasks

    @torch.no_grad()
    def sample(self, fast: Params, slow: Params, split: Split) -> ScoredEpisodes:
        """Play an episode in every environment; support and query episodes are alike."""
        params = {**fast, **slow}
        episodes = self.collector.collect(params)
        self.log.append(Drawn(split, self._metrics(episodes)))
        weights = tuple(p.detach() for p in params.values())
        versions = tuple(p._version for p in weights)
        played = Played(episodes.log_p, weights, versions, rounding(episodes.log_p))
        self._played[:] = [*self._played[-1:], played]  # a learner may draw two, then judge both
        if split == "support" and self.settings.start_entropy_coef and not self._begun:
            self._begun.append(True)
            self.starts.append(episodes)
        return self.score(params, episodes, split)

    @torch.no_grad()
    def score(self, params: Params, episodes: Episodes, split: Split = "support") -> ScoredEpisodes:
        """Advantages and the critic's targets."""
        s = self.settings
        values, last_values, targets = torch.zeros_like(episodes.rewards), None, None
        if s.baseline == "linear":
            values = LinearBaseline().values(episodes, returns_to_go(episodes, s.gamma))
        elif s.baseline == "critic":
            after = self.policy.values(params, episodes.all_observations)  # [N, T + 1, B]
            values, last_values = after[:, :-1], episodes.at_end(after)
        advantages = episode_advantages(episodes, values, last_values, s.gamma, s.gae_lambda)
        if s.baseline == "critic":
            targets = advantages + values
        elif s.auxiliary_critic and split == "support":
            targets = (1 - s.gamma) * returns_to_go(episodes, s.gamma)
        if s.normalise_advantages:
            advantages = normalised(advantages, episodes)
        return ScoredEpisodes(episodes, advantages, targets)

    def loss(self, fast: Params, slow: Params, batch: ScoredEpisodes) -> Tensor:
        """Minus the surrogate, plus the critic's error, minus the entropy, ``[N]``.

        Raises:
            StaleBatchError: At the weights that played the batch, the ratio is not 1.
        """
        s, episodes = self.settings, batch.episodes
        outputs = self.predictions(fast, slow, batch)
        log_p = self._log_p(outputs, episodes)
        self._check_first({**fast, **slow}, episodes, log_p)
        gain = surrogate(
            s.estimator,
            log_p,
            episodes.log_p,
            batch.advantages,
            episodes.mask,
            s.loaded_lambda,
        )
        return self._with_extras({**fast, **slow}, outputs, batch, gain)

    def select(self, tasks: slice) -> PolicyGradientTasks:
        """These tasks alone; the collector must be divisible."""
        return PolicyGradientTasks(
            self.collector.select(tasks), self.settings, self.log, self.starts
        )

    # What PPO, TRPO and exploration ask beyond a `TaskBatch` ---------------------------------

    def clipped_loss(
        self, fast: Params, slow: Params, batch: ScoredEpisodes, clip: float
    ) -> Tensor:
        """`loss` with PPO's clipped surrogate, ``[N]``."""
        outputs, episodes = self.predictions(fast, slow, batch), batch.episodes
        log_p = self._log_p(outputs, episodes)
        gain = clipped(log_p, episodes.log_p, batch.advantages, episodes.mask, clip)
        return self._with_extras({**fast, **slow}, outputs, batch, gain)

    def predictions(self, fast: Params, slow: Params, batch: ScoredEpisodes) -> Tensor:
        """What describes the distributions over actions now, ``[N, T, B, D]``."""
        return self.policy.outputs({**fast, **slow}, batch.episodes.observations)

    def divergence(self, fast: Params, slow: Params, batch: ScoredEpisodes) -> Tensor:
        """``KL(at the time of playing || now)``, nats a step, mean over a task's steps: ``[N]``."""
        now = self.predictions(fast, slow, batch)
        kl = self.policy.distribution.kl(batch.episodes.outputs, now)
        return mean_over_steps(kl, batch.episodes.mask)

    def fisher(self, batch: ScoredEpisodes, tangent: Tensor) -> Tensor:
        """The Hessian of the summed `divergence` by the `predictions`, where it is 0, times v."""
        episodes = batch.episodes
        product = self.policy.distribution.fisher(episodes.outputs, tangent)
        weight = episodes.mask / episodes.mask.sum((1, 2), keepdim=True)
        return product * weight.unsqueeze(-1)

    def log_likelihood(self, fast: Params, slow: Params, batch: ScoredEpisodes) -> Tensor:
        """Log-probability of all actions of a task's episodes together, ``[N]``."""
        log_p = self._log_p(self.predictions(fast, slow, batch), batch.episodes)
        return (log_p * batch.episodes.mask).sum((1, 2))

    def largest_log_ratio(self, fast: Params, slow: Params, batch: ScoredEpisodes) -> Tensor:
        """Largest ``|log pi_now - log pi_played|`` of a task's steps, ``[N]``."""
        log_p = self._log_p(self.predictions(fast, slow, batch), batch.episodes)
        change = (log_p - batch.episodes.log_p) * batch.episodes.mask
        return change.abs().amax((1, 2))

    def performance(self, batch: ScoredEpisodes) -> Tensor:
        """Mean undiscounted return, ``[N]``."""
        return batch.episodes.returns.mean(1)

    def _log_p(self, outputs: Tensor, episodes: Episodes) -> Tensor:
        return self.policy.distribution.log_prob(outputs, episodes.actions)

    def _check_first(self, params: Params, episodes: Episodes, log_p: Tensor) -> None:
        """Where this is the first loss of a batch, and at the weights that played it."""
        for i, played in enumerate(self._played):
            if played.log_p is episodes.log_p:
                del self._played[i]
                if same_weights(played, params) and played.rounding == rounding(log_p):
                    change = (log_p.detach() - episodes.log_p) * episodes.mask
                    check_ratios(change.abs())
                return

    def _with_extras(
        self, params: Params, outputs: Tensor, batch: ScoredEpisodes, gain: Tensor
    ) -> Tensor:
        """The loss of a gain: entropy and the critic's error added, and the scale chosen."""
        s, mask = self.settings, batch.episodes.mask
        loss = -gain
        if s.entropy_coef:
            entropy = self.policy.distribution.entropy(outputs)
            loss = loss - s.entropy_coef * sum_over_time(entropy, mask)
        if batch.targets is not None:
            values = self.policy.values(params, batch.episodes.observations)
            error = sum_over_time((batch.targets - values).square(), mask)
            loss = loss + s.value_coef * error
        return loss / mask.shape[1] if s.divide_by_horizon else loss

    def _metrics(self, episodes: Episodes) -> dict[str, Tensor]:
        entropy = self.policy.distribution.entropy(episodes.outputs)
        return {
            "return": episodes.returns.mean(1),
            "length": episodes.lengths.mean(1),
            "unrewarded": episodes.unrewarded,
            "entropy": mean_over_steps(entropy, episodes.mask),
        }


def rounding(like: Tensor) -> tuple[bool, torch.dtype]:
    """Whether autocast is on where a tensor lives, and to what: another rounds otherwise."""
    kind = like.device.type
    return torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)


def same_weights(played: Played, params: Params) -> bool:
    """Whether these are the tensors that played, or views of them, unchanged since."""
    return len(params) == len(played.weights) and all(
        p.data_ptr() == before.data_ptr() and p._version == version
        for p, before, version in zip(params.values(), played.weights, played.versions, strict=True)
    )


def fraction_unrewarded(log: Sequence[Drawn], split: Split) -> Tensor:
    """Of all tasks drawn for a split, the fraction that saw no reward, a scalar."""
    return torch.cat([d.metrics["unrewarded"] for d in log if d.split == split]).mean()


def rollout_metrics(log: Sequence[Drawn]) -> dict[str, Tensor]:
    """What a meta-batch drew, means over tasks and draws.

    The losses of normalised advantages are near 0 whatever is earned: this says what is earned.

    Args:
        log: `PolicyGradientTasks.log`, after a learner has worked on the tasks.

    Returns:
        ``[1]`` each; none where nothing was drawn.

        ``return_before``: of the episodes to adapt by (of all inner steps); ``return``: of those
        after adaptation, or of all where a learner draws none; ``unrewarded``: the fraction of
        tasks in which the episodes to adapt by paid nothing; ``length`` and ``entropy`` of all.
    """
    if not log:
        return {}
    before, after = (
        [d.metrics["return"] for d in log if d.split == split] for split in ("support", "query")
    )
    metrics = {"return": torch.cat(after or before)}
    if before:
        metrics["return_before"] = torch.cat(before)
        metrics["unrewarded"] = fraction_unrewarded(log, "support")
    for name in ("length", "entropy"):
        metrics[name] = torch.cat([d.metrics[name] for d in log])
    return {name: values.mean().view(1) for name, values in metrics.items()}
