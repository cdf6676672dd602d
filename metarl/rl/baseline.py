"""The linear feature baseline (Duan et al. 2016): returns regressed on observation and time.

Features of the observation o before step t of an episode: ``[o, o^2, t/100, (t/100)^2, (t/100)^3,
1]``, o clipped to +-10. Weights of every task solve the ridge regression

    (X^T X + reg I) w = X^T R,

all tasks at once, in float64. It is fitted on the very episodes it is a baseline for, as is usual:
a small bias for a large part of the variance. Each batch of episodes, of each inner step and before
and after adaptation, has a fit of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from metarl.native.baseline import linear_baseline
from metarl.rl.trajectory import Trajectory

NUM_ATTEMPTS = 6


@dataclass(frozen=True)
class LinearBaseline:
    """Ridge regression of returns, per task.

    Attributes:
        reg: The ridge; where the normal equations are not positive definite in float64 it is
            multiplied by 10, up to five times.
        clip: Observations are clipped to +-clip.

    Raises:
        ValueError: There is no ridge (observations may be collinear: one-hot ones are), or no clip.
    """

    reg: float = 1e-5
    clip: float = 10.0

    def __post_init__(self) -> None:
        if not (self.reg > 0 and self.clip > 0):
            raise ValueError(f"reg and clip must be above 0, got {self.reg} and {self.clip}")

    def features(self, observations: Tensor) -> Tensor:
        """``[N, T, B, 2 I + 4]`` float64 of observations ``[N, T, B, I]`` at times 0 to T - 1."""
        o = observations.double().clamp(-self.clip, self.clip)
        time = torch.arange(o.shape[1], dtype=o.dtype, device=o.device) / 100
        powers = torch.stack((time, time.square(), time.pow(3), torch.ones_like(time)), -1)
        powers = powers[None, :, None].expand(*o.shape[:3], -1)  # [N, T, B, 4]
        return torch.cat((o, o.square(), powers), -1)

    @torch.no_grad()
    def values(self, trajectory: Trajectory, returns: Tensor) -> Tensor:
        """Fit, then predict.

        Args:
            trajectory: Trajectory of N tasks.
            returns: Returns to go ``[N, T, B]``, times 0 to T - 1.

        Returns:
            Expected returns to go ``[N, T, B]``, times 0 to T - 1, in the returns' dtype; 0 after
            an episode's end.
        """
        found = linear_baseline(
            trajectory.observations,
            trajectory.mask,
            returns,
            ridge=self.reg,
            clip=self.clip,
            num_attempts=NUM_ATTEMPTS,
        )
        if found is not None:
            return found
        mask = trajectory.mask.double().unsqueeze(-1)  # [N, T, B, 1]
        x = (self.features(trajectory.observations) * mask).flatten(1, 2)  # [N, T * B, F]
        y = (returns.double().unsqueeze(-1) * mask).flatten(1, 2)  # [N, T * B, 1]
        weights = self._solve(x.mT @ x, x.mT @ y)
        return (x @ weights).view(returns.shape).to(returns.dtype)  # [N, T * B, 1] to [N, T, B]

    def _solve(self, gram: Tensor, target: Tensor) -> Tensor:
        """Weights ``[N, F, 1]`` with the smallest ridge that serves, without asking the device."""
        identity = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
        solved = torch.zeros(len(gram), 1, 1, dtype=torch.bool, device=gram.device)
        weights = torch.zeros_like(target)
        for attempt in range(NUM_ATTEMPTS):
            ridge = self.reg * 10.0**attempt
            factor, failed = torch.linalg.cholesky_ex(gram + ridge * identity)
            found = torch.cholesky_solve(target, factor)
            # [N, 1, 1] each
            serves = (failed == 0).view(-1, 1, 1) & found.isfinite().all(1, keepdim=True)
            weights = torch.where(serves & ~solved, found, weights)
            solved = solved | serves
        # Not a number in, not a number out: an unsolved task must not pass for one without returns.
        return torch.where(solved, weights, torch.nan)
