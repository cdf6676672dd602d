"""Tasks that policies play: rolled out with the weights at hand, scored by a loss.

This is a `TaskBatch`, so that the learners of `metarl.meta` work on it as they are: those that
adapt by policy gradient to episodes (`PolicyGradientSettings`), and those that step on whole trials
of agents that remember (`ActorCriticSettings`; a task is then an agent with its B trials).
Experience is drawn without a graph; the loss takes its log-probabilities again from the stored
observations and actions, so that at the parameters that played, the ratio of new to stored
probabilities is 1. The loss sees to it.

One loss serves adaptation and the meta-objective: E over trajectories of the *adapted* policy
(formulation I of Rothfuss et al. 2019). The credit of the trajectories before adaptation for what
comes after it, formulation II, is `metarl.meta.EMAML`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor

from metarl.core import Params, Split, share
from metarl.core.tasks import check_ratios
from metarl.rl.advantages import (
    LinearBaseline,
    ReturnScales,
    delayed_returns,
    generalised_advantages,
    normalised,
    returns_to_go,
    standardised,
)
from metarl.rl.collector import Collector
from metarl.rl.losses import ActorCriticSettings, PolicyGradientSettings, clipped, native_loss
from metarl.rl.policies import Policy
from metarl.rl.trajectory import Played, ScoredTrajectory, Trajectory, mean_over_steps
from metarl.rl.windows import Windows

Drawn: TypeAlias = tuple[Split, Mapping[str, Tensor]]
"""A draw for one split: the metrics ``[N]`` of its tasks."""


@dataclass(frozen=True)
class PolicyGradientTasks:
    """N tasks of policies, learned from the trajectories of a collector.

    Attributes:
        collector: Plays.
        settings: The loss.
        scales: Running sizes of the returns, for a loss that divides by them.
        windows: Cuts trials into what a gradient goes back through; None: it goes through all.

    Raises:
        ValueError: The loss has a critic's error, but the policy no critic; or it divides by the
            sizes of returns, and there are none; or it is no mean over steps, and there are
            windows.
    """

    collector: Collector
    settings: PolicyGradientSettings | ActorCriticSettings
    scales: ReturnScales | None = None
    windows: Windows | None = None

    def __post_init__(self) -> None:
        if self.settings.has_critic and self.policy.critic is None:
            raise ValueError("the loss has a critic's error, but the policy no critic: give it one")
        running = getattr(self.settings, "return_scaling", "fixed") == "running"
        if running != (self.scales is not None):
            raise ValueError("ReturnScales go with return_scaling='running', and with it alone")
        if self.windows is not None and not isinstance(self.settings, ActorCriticSettings):
            raise ValueError("windows are of whole trials, whose loss is ActorCriticSettings")

    @property
    def policy(self) -> Policy:
        """The policy whose parameters are fast and slow."""
        return self.collector.policy

    @property
    def num_tasks(self) -> int:
        """Number of tasks, N."""
        return self.collector.num_tasks

    @torch.no_grad()
    def sample(self, fast: Params, slow: Params, split: Split = "support") -> ScoredTrajectory:
        """Play a stretch in every environment; those of support and query are alike."""
        params = {**fast, **slow}
        return self.score(params, self.collector.collect(params), split)

    @torch.no_grad()
    def score(
        self, params: Params, trajectory: Trajectory, split: Split = "support"
    ) -> ScoredTrajectory:
        """Advantages, the critic's targets and metrics of what these parameters have played."""
        s, judged = self.settings, trajectory.with_bonus
        targets: Tensor | None
        if isinstance(s, ActorCriticSettings):
            scale = self._reward_scale(s, judged)
            advantages, targets = self._judged_trials(s, params, judged, scale)
        else:
            scale = 1.0
            advantages, targets = self._judged_episodes(s, params, judged, split)
        entropy = self.policy.distribution.entropy(trajectory.outputs)
        metrics = {
            "return": trajectory.returns.mean(1),
            "length": trajectory.lengths.mean(1),
            "unrewarded": self._unrewarded(trajectory),
            "entropy": mean_over_steps(entropy, trajectory.mask),
        }
        if targets is not None and trajectory.values is not None:
            error = mean_over_steps((targets - trajectory.values).square(), trajectory.mask)
            metrics["value_error"] = error.sqrt() / scale  # in the units of the rewards
        played = Played(params, trajectory)
        return ScoredTrajectory(
            trajectory, advantages, targets, metrics, played, reward_scale=scale
        )

    def loss(self, fast: Params, slow: Params, batch: ScoredTrajectory) -> Tensor:
        """Minus the gain, plus the critic's error and the entropy term, ``[N]``.

        Raises:
            StaleBatchError: The first loss of a batch, at the weights that played it, has a ratio
                that is not 1.
        """
        trajectory, params = batch.trajectory, {**fast, **slow}
        # Recorded activations are those that played by construction; kernels round otherwise.
        natively = getattr(self.collector, "plays_natively", False)  # any other plays eagerly
        again = trajectory.trace is None and not natively and batch.played.are(params)
        if not again and isinstance(self.settings, ActorCriticSettings):
            said = not self._record_again(params, batch)
            found = native_loss(self.policy, self.settings, params, batch, said=said)
            if found is not None:
                batch.played.let_go()
                return found
        outputs, values = self._now(fast, slow, batch)
        log_p = self._log_p(outputs, batch)
        if again and batch.played.round_like(log_p):
            check_ratios(((log_p.detach() - trajectory.log_p) * trajectory.mask).abs())
        batch.played.let_go()
        gain = self.settings.gain(log_p, trajectory.log_p, batch.advantages, trajectory.mask)
        return self._with_extras(outputs, values, batch, gain)

    def losses(self, fast: Params, slow: Params, batch: ScoredTrajectory) -> Iterator[Tensor]:
        """The loss in parts, ``[N]`` each, see `core.tasks.PartedTaskBatch`: one per window."""
        if self.windows is None:
            yield self.loss(fast, slow, batch)
            return
        for portion, part in self.windows.of({**fast, **slow}, batch):
            yield portion * self.loss(fast, slow, part)

    def select(self, tasks: slice) -> PolicyGradientTasks:
        """Return a batch of these tasks alone; the collector must be divisible."""
        return PolicyGradientTasks(self.collector.select(tasks), self.settings)

    def at(self, done: float) -> PolicyGradientTasks:
        """Return the tasks with the loss of this time of a training; these, where it stays.

        Args:
            done: Share of the training that is over, in [0, 1].
        """
        if not isinstance(self.settings, ActorCriticSettings):
            return self
        settings = self.settings.at(done)
        return self if settings is self.settings else replace(self, settings=settings)

    # What PPO, TRPO and exploration ask beyond a `TaskBatch` ---------------------------------

    def clipped_loss(
        self, fast: Params, slow: Params, batch: ScoredTrajectory, clip: float
    ) -> Tensor:
        """`loss` with PPO's clipped surrogate, ``[N]``."""
        outputs, values = self._now(fast, slow, batch)
        log_p, trajectory = self._log_p(outputs, batch), batch.trajectory
        batch.played.let_go()
        gain = clipped(
            log_p,
            trajectory.log_p,
            batch.advantages,
            trajectory.mask,
            clip,
            self.settings.reduce,
        )
        return self._with_extras(outputs, values, batch, gain)

    def predictions(self, fast: Params, slow: Params, batch: ScoredTrajectory) -> Tensor:
        """Parameters of the distributions over actions now, ``[N, T, B, D]``."""
        return self._now(fast, slow, batch, critic=False)[0]

    def divergence(self, fast: Params, slow: Params, batch: ScoredTrajectory) -> Tensor:
        """``KL(when played || now)``, nats per step, mean over a task's steps: ``[N]``."""
        now, then = self.predictions(fast, slow, batch), batch.trajectory.outputs
        return mean_over_steps(self.policy.distribution.kl(then, now), batch.trajectory.mask)

    def fisher(self, batch: ScoredTrajectory, tangent: Tensor) -> Tensor:
        """The Hessian of the summed `divergence` by the `predictions`, where it is 0, times v."""
        mask = batch.trajectory.mask
        product = self.policy.distribution.fisher(batch.trajectory.outputs, tangent)
        weight = mask / mask.sum((1, 2), keepdim=True)
        return product * weight.unsqueeze(-1)  # [N, T, B, 1]

    def log_likelihood(self, fast: Params, slow: Params, batch: ScoredTrajectory) -> Tensor:
        """Log-probability of all actions of a task's experience together, ``[N]``."""
        log_p = self._log_p(self.predictions(fast, slow, batch), batch)
        return (log_p * batch.trajectory.mask).sum((1, 2))

    def largest_log_ratio(self, fast: Params, slow: Params, batch: ScoredTrajectory) -> Tensor:
        """Largest ``|log pi_now - log pi_played|`` of a task's steps, ``[N]``."""
        log_p = self._log_p(self.predictions(fast, slow, batch), batch)
        change = (log_p - batch.trajectory.log_p) * batch.trajectory.mask
        return change.abs().amax((1, 2))

    def performance(self, batch: ScoredTrajectory) -> Tensor:
        """Mean undiscounted return, ``[N]``."""
        return batch.trajectory.returns.mean(1)

    def measured(self, drawn: Sequence[Drawn]) -> dict[str, Tensor]:
        """Return the metrics of all that a learner drew, as each task's own, ``[N]`` each.

        The losses of normalised advantages are near 0 whatever is earned: this says what is earned.

        Args:
            drawn: Every split that was drawn of these tasks, in order.

        Returns:
            ``return_before``: of the first experience, before any inner step; ``return``: of that
            after adaptation, or of all where a learner draws none; ``unrewarded``: the
            fraction of the experience to adapt by that paid nothing; ``length`` and ``entropy`` of
            all. None where nothing was drawn.
        """
        support, query = ([m for s, m in drawn if s == side] for side in ("support", "query"))
        sides = {"return": query or support, "length": [*support, *query]}
        sides |= {"entropy": sides["length"], "unrewarded": support}
        found = {name: _mean(name, side) for name, side in sides.items() if side}
        return found | ({"return_before": support[0]["return"]} if support else {})

    # How it is made --------------------------------------------------------------------------

    def _unrewarded(self, trajectory: Trajectory) -> Tensor:
        """The fraction of what one adapts by at a time that paid nothing, ``[N]``.

        That is a trial for an agent that adapts within it, and all episodes of a task for one that
        adapts by their gradient: where every reward is 0 so is the gradient, and it stands still.
        """
        each = trajectory.unrewarded  # [N, B]
        trials = isinstance(self.settings, ActorCriticSettings)
        each = each if trials else each.all(1, keepdim=True)  # [N, 1]
        return each.to(trajectory.rewards.dtype).mean(1)

    def _reward_scale(self, s: ActorCriticSettings, trajectory: Trajectory) -> float | Tensor:
        """The factor of rewards inside the loss: one, or ``[N]``."""
        if self.scales is None:
            return s.reward_scale
        return self.scales.after(trajectory) * s.reward_scale

    def _judged_trials(
        self,
        s: ActorCriticSettings,
        params: Params,
        trajectory: Trajectory,
        scale: float | Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Advantages and returns ``[N, T, B]``, scaled; nothing follows a trial."""
        if isinstance(scale, Tensor):
            # [N, T, B] by [N, 1, 1]
            trajectory = trajectory._replace(rewards=trajectory.rewards * scale.view(-1, 1, 1))
        elif scale != 1.0:
            trajectory = trajectory._replace(rewards=trajectory.rewards * scale)
        values = trajectory.values
        if values is None:
            values = self.policy.values(params, trajectory.observations)
        values = self._baseline(values)
        if s.published_returns:
            returns = delayed_returns(trajectory.rewards, s.gamma)
            advantages = returns - values
        else:
            advantages = generalised_advantages(trajectory, values, None, s.gamma, s.gae_lambda)
            returns = advantages + values
        if s.normalise_advantages:
            advantages = standardised(advantages, trajectory.mask)
        return advantages, returns

    def _judged_episodes(
        self, s: PolicyGradientSettings, params: Params, trajectory: Trajectory, split: Split
    ) -> tuple[Tensor, Tensor | None]:
        """Advantages, and the critic's targets where its error is part of the loss."""
        values, last_values, targets = torch.zeros_like(trajectory.rewards), None, None
        if s.baseline == "linear":
            values = LinearBaseline().values(trajectory, returns_to_go(trajectory, s.gamma))
        elif s.baseline == "critic":
            after = self.policy.values(params, trajectory.all_observations)  # [N, T + 1, B]
            values, last_values = after[:, :-1], trajectory.at_end(after)
        advantages = generalised_advantages(trajectory, values, last_values, s.gamma, s.gae_lambda)
        if s.baseline == "critic":
            targets = advantages + values
        elif s.auxiliary_critic and split == "support":
            targets = (1 - s.gamma) * returns_to_go(trajectory, s.gamma)
        if s.normalise_advantages:
            advantages = normalised(advantages, trajectory)
        return advantages, targets

    def _now(
        self, fast: Params, slow: Params, batch: ScoredTrajectory, *, critic: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """Outputs and values under other weights; values where the loss has their error."""
        params, seen = {**fast, **slow}, batch.trajectory
        self._record_again(params, batch)
        again = seen.means is not None and batch.played.are(params)
        said = seen.means if again and batch.played.saw(seen.observations) else None
        return self.policy.outputs_and_values(
            params,
            seen.observations,
            seen.state,
            seen.starts,
            seen.trace,
            critic=critic and batch.targets is not None,
            memory=batch.memory,
            said=said,
        )

    def _record_again(self, params: Params, batch: ScoredTrajectory) -> bool:
        """Record activations again where the weights have moved since the trials were played.

        Returns:
            Whether it was done, or will be in memory: the policy may say something else now.
        """
        seen = batch.trajectory
        if batch.memory is not None or seen.trace is None:
            return True
        if batch.played.are(params):
            return False
        self.policy.record_again(params, seen.observations, seen.state, seen.starts, seen.trace)
        return True

    def _log_p(self, outputs: Tensor, batch: ScoredTrajectory) -> Tensor:
        return self.policy.distribution.log_prob(outputs, batch.trajectory.actions)

    def _baseline(self, values: Tensor) -> Tensor:
        """Values ``[N, T, B]`` as they enter the loss: the published code's are those of maze 0."""
        if isinstance(self.settings, ActorCriticSettings) and self.settings.published_baseline:
            return values[..., :1].expand_as(values)
        return values

    def _with_extras(
        self, outputs: Tensor, values: Tensor | None, batch: ScoredTrajectory, gain: Tensor
    ) -> Tensor:
        """The loss of a gain: the critic's error and the entropy term added, the scale chosen."""
        s, mask = self.settings, batch.trajectory.mask
        loss = -gain
        if batch.targets is not None and values is not None:
            error = s.reduce((batch.targets - self._baseline(values)).square(), mask)
            loss = loss + s.value_coef * error
        if s.entropy_coef:
            settling = s.settling(self.policy.distribution, outputs)
            loss = loss + s.entropy_coef * s.reduce(settling, mask)
        return loss / mask.shape[1] if s.divide_by_horizon else loss


def _mean(name: str, drawn: Sequence[Mapping[str, Tensor]]) -> Tensor:
    """Mean ``[N]`` of a metric over all that was drawn."""
    return torch.stack([metrics[name] for metrics in drawn]).mean(0)


def start_entropy(
    policy: Policy, batches: Sequence[ScoredTrajectory], fast: Params, slow: Params
) -> Tensor:
    """Mean entropy of a policy on the first experience that was drawn to adapt by.

    Where rewards are rare, a task whose goal is not found before adaptation has no policy gradient,
    and stays where it is. Meta-training makes that worse: it learns not to look where no goal of
    the training tasks is. The entropy of all policies would help, but the adapted ones pay for it.
    So the meta-objective gains the entropy of the first policy alone, on the states it visits:

        (1/N) sum_i  l_query(phi_K^i)  -  c (1/N) sum_i  mean_{s in D_0^i} H(pi_theta(. | s))

    which is the first half of the task-agnostic objective of Jamal & Qi (2019, entropy before
    adaptation up, after it down), for policies. The states are taken as they were drawn.

    Args:
        policy: The architecture.
        batches: First experience to adapt by, of all parts of the tasks.
        fast: The parameters of the policy that adapt, unstacked.
        slow: The others, unstacked.

    Returns:
        Nats per step, a scalar: a mean over the tasks of the mean over their steps.
    """
    entropies = []
    for batch in batches:
        seen = batch.trajectory
        stacked = share({**fast, **slow}, seen.num_tasks)
        outputs = policy.outputs(stacked, seen.observations)
        entropies.append(mean_over_steps(policy.distribution.entropy(outputs), seen.mask))
    return torch.cat(entropies).mean()
