"""Losses of policies and critics on whole trajectories, one number per task, and their settings.

Axes ``[N, T, B]``. Advantages, returns and the probabilities at the time of playing are constants.
Every loss is of one task (or agent) alone, ``[N]``, so that N of them trained as one program get
the gradients that each would get alone.

Surrogates have the gradient ``E sum_t grad log pi(a_t|s_t) A_t``. A learner that differentiates
through adaptation needs the *second* derivative too, and there they differ (in brackets the
relative error of the expected Hessian for one process of 3 states and 2 steps and a table of
logits):

    logp         sum_t log pi_t A_t                                              biased (1.65)
    lvc          sum_t pi_t / pi_old,t A_t: Rothfuss et al. 2019                 biased (0.24)
    loaded_dice  sum_t (box(w_t) - box(v_t)) A_t: Farquhar et al. 2019           (1 - lambda) of it
    dice         its case lambda = 1: Foerster et al. 2018                       exact

with ``w_t = lambda w_{t-1} + log pi_t``, ``v_t = w_t - log pi_t`` and ``box(x) = exp(x - x_old)``,
where x_old is made of the log-probabilities at the time of playing: a box is worth 1 there, and
elsewhere it weighs the trajectory by its importance. The less bias, the more variance: LVC is the
usual choice. With ``A_t = R_t`` and no discount, the `dice` sum is ``sum_t box(w_t) r_t`` up to a
constant, by parts.

The factor gamma^t, by which the true gradient of a discounted return weighs later steps less, is
left out, as it is everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from metarl.core import Params
from metarl.errors import check_choices, is_finite_number
from metarl.native.policy_gradient import Constants, actor_critic_loss
from metarl.rl.distributions import Categorical, Distribution
from metarl.rl.policies import Policy
from metarl.rl.trajectory import ScoredTrajectory, mean_over_time, sum_over_time

Estimator = Literal["logp", "lvc", "dice", "loaded_dice"]

Reduction: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""A sum or mean of numbers of steps ``[N, T, B]`` and their mask, per task ``[N]``."""


def surrogate(
    estimator: Estimator,
    log_p: Tensor,
    old_log_p: Tensor,
    advantages: Tensor,
    mask: Tensor,
    lambda_: float = 1.0,
    reduce: Reduction = sum_over_time,
) -> Tensor:
    """The surrogate of every task, to be made larger.

    Args:
        estimator: Name of the estimator; see the module.
        log_p: Log-probabilities of the actions taken ``[N, T, B]``, times 0 to T - 1, with graph.
        old_log_p: The same at the time of playing, constants.
        advantages: ``[N, T, B]``, constants.
        mask: ``[N, T, B]``, 1 within an episode.
        lambda_: Decay of loaded_dice, in [0, 1].
        reduce: Reduction from steps to tasks.

    Returns:
        ``[N]``: by default sums over time, means over episodes.
    """
    if estimator == "logp":
        return reduce(log_p * advantages, mask)
    change = (log_p - old_log_p) * mask  # 0 in the padding, whose exponential might overflow
    if estimator == "lvc":
        return reduce(change.exp() * advantages, mask)
    decay = 1.0 if estimator == "dice" else lambda_
    loaded = accumulated(change, decay)
    return reduce((loaded.exp() - (loaded - change).exp()) * advantages, mask)


def accumulated(change: Tensor, decay: float) -> Tensor:
    """``w_t = decay w_{t-1} + c_t`` along the time axis of ``[N, T, B]``, ``w_{-1} = 0``."""
    if decay == 1.0:
        return change.cumsum(1)
    t = torch.arange(change.shape[1], device=change.device)
    lag = (t[:, None] - t).clamp(min=0)
    weights = torch.full_like(change[0, 0, :1], decay).pow(lag).tril()  # [T, T]
    return weights @ change


def clipped(
    log_p: Tensor,
    old_log_p: Tensor,
    advantages: Tensor,
    mask: Tensor,
    clip: float,
    reduce: Reduction = sum_over_time,
) -> Tensor:
    """``sum_t min(r_t A_t, clip(r_t, 1 - clip, 1 + clip) A_t)`` (Schulman et al. 2017, eq. 7).

    Args and returns as of `surrogate`.
    """
    ratio = ((log_p - old_log_p) * mask).exp()
    bounded = ratio.clamp(1 - clip, 1 + clip)
    return reduce(torch.minimum(ratio * advantages, bounded * advantages), mask)


@dataclass(frozen=True)
class LossSettings:
    """Settings of every loss of a policy.

    Attributes:
        gamma: Discount.
        gae_lambda: Weight of longer returns in the advantage; 1 uses whole returns.
        value_coef: Weight of the critic's squared error.
        entropy_coef: Weight of the entropy term.

    Raises:
        ValueError: A discount is outside [0, 1], or a weight would turn its term around.
    """

    gamma: float = 0.99
    gae_lambda: float = 1.0
    value_coef: float = 0.5
    entropy_coef: float = 0.0

    def __post_init__(self) -> None:
        check_choices(self)
        for name in ("gamma", "gae_lambda", "loaded_lambda"):
            if not 0.0 <= getattr(self, name, 0.0) <= 1.0:
                raise ValueError(f"{name} must lie in [0, 1], got {getattr(self, name)}")
        for name in ("value_coef", "entropy_coef", "start_entropy_coef"):
            value = getattr(self, name, 0.0)
            if not (is_finite_number(value) and value >= 0):
                raise ValueError(f"{name} must be finite and at least 0, got {value}")


@dataclass(frozen=True)
class ActorCriticSettings(LossSettings):
    """The loss of a batch of trials: a mean over their steps.

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
        entropy_decay: constant; linear: the entropy term's coefficient falls in a line to 0 over
            the training.
        reward_scale: Factor of all rewards inside the loss, for returns of the order of 1. Metrics,
            and what agents see of their rewards, stay in the units of the environment.
        return_scaling: fixed: by that factor alone; running: rewards are divided by the size that
            returns have had so far as well (`ReturnScales`).
        published_returns: Credit action t with the reward before it, as the published code did.
        published_baseline: Use the value of maze 0 for every maze, as the published code did.
    """

    algorithm: Literal["a2c", "ppo"] = "a2c"
    gamma: float = 0.9
    value_coef: float = 0.1
    entropy: Literal["simpson", "shannon"] = "simpson"
    entropy_coef: float = 0.03
    normalise_advantages: bool = False
    ppo_clip: float = 0.2
    entropy_decay: Literal["constant", "linear"] = "constant"
    reward_scale: float = 1.0
    return_scaling: Literal["fixed", "running"] = "fixed"
    published_returns: bool = False
    published_baseline: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.ppo_clip > 0:
            raise ValueError(f"ppo_clip must be positive, got {self.ppo_clip}")
        if not (is_finite_number(self.reward_scale) and self.reward_scale > 0):
            raise ValueError(f"reward_scale must be finite and above 0, got {self.reward_scale}")

    def at(self, done: float) -> ActorCriticSettings:
        """The loss at this time of a training; itself, where it stays the same.

        Args:
            done: Share of the training that is over, in [0, 1].
        """
        if self.entropy_decay == "constant":
            return self
        coefficient = self.entropy_coef * (1 - done)
        return replace(self, entropy_coef=coefficient, entropy_decay="constant")

    @property
    def has_critic(self) -> bool:
        """A critic is part of the loss."""
        return True

    @property
    def divide_by_horizon(self) -> bool:
        """Whether to divide by the horizon: no, a mean has been divided."""
        return False

    @property
    def reduce(self) -> Reduction:
        """The reduction from steps to tasks."""
        return mean_over_time

    def gain(self, log_p: Tensor, old_log_p: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
        """The gain that is to be made larger, ``[N]``; arguments as of `surrogate`."""
        if self.algorithm == "ppo":
            return clipped(log_p, old_log_p, advantages, mask, self.ppo_clip, self.reduce)
        return surrogate("logp", log_p, old_log_p, advantages, mask, reduce=self.reduce)

    def settling(self, distribution: Distribution, outputs: Tensor) -> Tensor:
        """The certainty of policies, which is to be made smaller, ``[N, T, B]``."""
        if self.entropy == "simpson":
            return distribution.simpson(outputs)
        return -distribution.entropy(outputs)


@dataclass(frozen=True)
class PolicyGradientSettings(LossSettings):
    """The loss of a batch of episodes to adapt by: sums over time, means over episodes.

    Attributes:
        gamma: Discount.
        gae_lambda: Weight of longer returns in the advantage; 1 uses whole returns.
        baseline: none; linear: `LinearBaseline`, fitted to each batch; critic: the policy's own,
            whose squared error is part of the loss.
        estimator: See `surrogate`.
        loaded_lambda: Decay of the estimator loaded_dice.
        normalise_advantages: To mean 0 and deviation 1 per task and batch. It changes the size of
            every task's inner steps.
        divide_by_horizon: Divide the sums over time by T, a constant, so that step sizes need not
            depend on the horizon.
        entropy_coef: Weight of the policy's entropy (nats per step), which is to be large.
        start_entropy_coef: Weight of the entropy (nats per step) of the policy before adaptation,
            in the meta-objective alone: it keeps looking where no goal of training was, and what
            is not found cannot be adapted to (`start_entropy`).
        value_coef: Weight of the critic's squared error.
        auxiliary_critic: Beside another baseline, a critic of ``(1 - gamma) * return`` whose error
            is in the loss of adaptation alone. It shares the actor's trunk, so that its gradient
            tells the actor what a policy gradient hardly can (how far away a goal is). Nothing
            but the meta-gradient through adaptation trains it.
    """

    baseline: Literal["none", "linear", "critic"] = "linear"
    estimator: Estimator = "lvc"
    loaded_lambda: float = 0.5
    normalise_advantages: bool = True
    divide_by_horizon: bool = False
    start_entropy_coef: float = 0.0
    auxiliary_critic: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.auxiliary_critic and self.baseline == "critic":
            raise ValueError("auxiliary_critic goes with another baseline: linear or none")

    @property
    def has_critic(self) -> bool:
        """Whether a critic is part of the loss."""
        return self.baseline == "critic" or self.auxiliary_critic

    @property
    def reduce(self) -> Reduction:
        """The reduction from steps to tasks."""
        return sum_over_time

    def gain(self, log_p: Tensor, old_log_p: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
        """The gain that is to be made larger, ``[N]``; arguments as of `surrogate`."""
        return surrogate(self.estimator, log_p, old_log_p, advantages, mask, self.loaded_lambda)

    def settling(self, distribution: Distribution, outputs: Tensor) -> Tensor:
        """The certainty of policies, which is to be made smaller, ``[N, T, B]``."""
        return -distribution.entropy(outputs)


# The loss by kernels ------------------------------------------------------------------------------


def native_loss(
    policy: Policy,
    settings: ActorCriticSettings,
    params: Params,
    batch: ScoredTrajectory,
    *,
    said: bool = False,
) -> Tensor | None:
    """The loss of every agent ``[N]``, differentiable once; None: there is no kernel for it.

    From the readouts of both heads to the loss in one call, where kernels read them. It is the same
    function as `PolicyGradientTasks.loss` in torch's operations, up to rounding. Of what was just
    played ratios are exactly 1 here too: log-probabilities are taken as they were in playing.

    Args:
        policy: Whose parameters they are.
        settings: The loss.
        params: Stacked parameters ``[N, ...]``.
        batch: Trials with what their loss needs.
        said: Whether these parameters have played them, so that what the policy says is known.
    """
    seen = batch.trajectory
    plain = type(policy.distribution) is Categorical and type(settings) is ActorCriticSettings
    if not plain or settings.published_baseline or batch.targets is None:
        return None
    read = policy.read(params, seen.observations, seen.state, seen.starts, seen.trace, batch.memory)
    if read is None:
        return None
    with torch.no_grad():  # as it was taken in playing, to the last bit
        outputs = seen.outputs.flatten(1, 2)  # [N, T * B, A]
        if not said:
            logits = read.permute(0, 3, 1, 2).flatten(2)[:, :-1].transpose(1, 2)  # the same
            outputs = policy.distribution.outputs(params, logits)
        log_p = outputs.transpose(1, 2)  # [N, A, T * B]
    constants = Constants(
        seen.actions,
        seen.log_p,
        batch.advantages,
        batch.targets,
        seen.mask,
        settings.ppo_clip if settings.algorithm == "ppo" else None,
        settings.value_coef,
        settings.entropy_coef,
        settings.entropy == "shannon",
    )
    return actor_critic_loss(read, log_p, constants)
