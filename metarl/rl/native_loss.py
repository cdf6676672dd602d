"""The actor-critic's loss where kernels read both heads: from the readouts to the loss in one call.

The same function as `PolicyGradientTasks.loss` in torch's operations, up to rounding. Of what was
just played ratios are exactly 1 here too: log-probabilities are taken as they were in playing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from metarl.core import Params
from metarl.native.losses import Constants, actor_critic_loss
from metarl.rl.distributions import Categorical
from metarl.rl.losses import ActorCriticSettings
from metarl.rl.policies import Policy

if TYPE_CHECKING:
    from metarl.rl.tasks import ScoredTrajectory


def native_loss(
    policy: Policy,
    settings: ActorCriticSettings,
    params: Params,
    batch: ScoredTrajectory,
) -> Tensor | None:
    """The loss of every agent ``[N]``, differentiable once; None: there is no kernel for it.

    Args:
        policy: Whose parameters they are.
        settings: The loss.
        params: Stacked parameters ``[N, ...]``.
        batch: Trials with what their loss needs.
    """
    seen = batch.trajectory
    plain = type(policy.distribution) is Categorical and type(settings) is ActorCriticSettings
    if not plain or settings.published_baseline or batch.targets is None:
        return None
    read = policy.read(params, seen.observations, seen.state, seen.starts, seen.trace, batch.memory)
    if read is None:
        return None
    with torch.no_grad():  # as it was taken in playing, to the last bit
        logits = read.permute(0, 3, 1, 2).flatten(2)[:, :-1].transpose(1, 2)  # [N, T * B, A]
        log_p = policy.distribution.outputs(params, logits).transpose(1, 2)  # [N, A, T * B]
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
