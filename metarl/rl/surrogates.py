"""Surrogates of the expected return, whose derivatives are those of a policy gradient.

All have the gradient ``E sum_t grad log pi(a_t|s_t) A_t``. A learner that differentiates through
adaptation needs the *second* derivative too, and there they differ (in brackets the relative error
of the expected Hessian for one process of 3 states and 2 steps and a table of logits):

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

from typing import Literal

import torch
from torch import Tensor

from metarl.rl.episodes import sum_over_time

Estimator = Literal["logp", "lvc", "dice", "loaded_dice"]


def surrogate(
    estimator: Estimator,
    log_p: Tensor,
    old_log_p: Tensor,
    advantages: Tensor,
    mask: Tensor,
    lambda_: float = 1.0,
) -> Tensor:
    """The surrogate of every task, to be made larger.

    Args:
        estimator: Which; see the module.
        log_p: Log-probabilities of the actions taken ``[N, T, B]``, times 0 to T - 1, with graph.
        old_log_p: The same at the time of playing, constants.
        advantages: ``[N, T, B]``, constants.
        mask: ``[N, T, B]``, 1 within an episode.
        lambda_: Of loaded_dice, in [0, 1].

    Returns:
        ``[N]``: sums over time, means over episodes.
    """
    if estimator == "logp":
        return sum_over_time(log_p * advantages, mask)
    change = (log_p - old_log_p) * mask  # 0 in the padding, whose exponential might overflow
    if estimator == "lvc":
        return sum_over_time(change.exp() * advantages, mask)
    decay = 1.0 if estimator == "dice" else lambda_
    loaded = accumulated(change, decay)
    return sum_over_time((loaded.exp() - (loaded - change).exp()) * advantages, mask)


def accumulated(change: Tensor, decay: float) -> Tensor:
    """``w_t = decay w_{t-1} + c_t`` along the time axis of ``[N, T, B]``, ``w_{-1} = 0``."""
    if decay == 1.0:
        return change.cumsum(1)
    t = torch.arange(change.shape[1], device=change.device)
    lag = (t[:, None] - t).clamp(min=0)
    weights = torch.full_like(change[0, 0, :1], decay).pow(lag).tril()  # [T, T]
    return weights @ change


def clipped(
    log_p: Tensor, old_log_p: Tensor, advantages: Tensor, mask: Tensor, clip: float
) -> Tensor:
    """``sum_t min(r_t A_t, clip(r_t, 1 - clip, 1 + clip) A_t)`` (Schulman et al. 2017, eq. 7).

    Args and returns as of `surrogate`.
    """
    ratio = ((log_p - old_log_p) * mask).exp()
    bounded = ratio.clamp(1 - clip, 1 + clip)
    return sum_over_time(torch.minimum(ratio * advantages, bounded * advantages), mask)
