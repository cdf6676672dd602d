"""Returns, baselines and advantages of a trajectory, with the times each array covers.

Axes ``[N, T, B]``. ``rewards[t]`` is the consequence of ``actions[t]``, ``values[t]`` the estimate
before it. What follows the last step of a stretch: nothing after a true end; after truncation, what
a critic says of the observation it led to. Nothing follows truncation either where it is part of
the task: for an agent that sees the clock of its trial, and for a baseline that sees the time
(`LinearBaseline`), which estimates what is left of a *finite* horizon.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from metarl.native.policy_gradient import discounted_sums, linear_baseline
from metarl.rl.losses import ActorCriticSettings
from metarl.rl.trajectory import Trajectory, mean_over_steps


def discounted_returns(rewards: Tensor, gamma: float, goes_on: Tensor | None = None) -> Tensor:
    """``R_t = r_t + gamma R_{t+1}``, with nothing after the last step.

    Args:
        rewards: ``[..., T, B]``, times 0 to T - 1; 0 in the padding.
        gamma: Discount in [0, 1].
        goes_on: ``[..., T, B]``, 0 where nothing flows back from the step after; None: nowhere.

    Returns:
        ``[..., T, B]``, times 0 to T - 1; the first is the return of the whole stretch.
    """
    sums = discounted_sums(rewards, gamma, goes_on)
    if sums is not None:
        return sums
    steps = rewards.unbind(-2)
    cuts = [None] * len(steps) if goes_on is None else goes_on.unbind(-2)
    returns = [steps[-1]]
    for reward, cut in zip(reversed(steps[:-1]), reversed(cuts[:-1]), strict=True):
        following = returns[-1] if cut is None else returns[-1] * cut
        returns.append(torch.add(reward, following, alpha=gamma))
    return torch.stack(returns[::-1], -2)


def delayed_returns(rewards: Tensor, gamma: float) -> Tensor:
    """The published maze code's returns: action t is credited with the reward before it.

    ``R_t = r_{t-1} + gamma R_{t+1}`` with ``r_{-1} = 0``; the last reward is lost.

    Args:
        rewards: ``[..., T, B]``, times 0 to T - 1.
        gamma: Discount in [0, 1].

    Returns:
        ``[..., T, B]``, times 0 to T - 1.
    """
    shifted = torch.zeros_like(rewards)
    shifted[..., 1:, :] = rewards[..., :-1, :]
    return discounted_returns(shifted, gamma)


def returns_to_go(trajectory: Trajectory, gamma: float) -> Tensor:
    """``R_t = r_t + gamma R_{t+1}`` within each stretch, nothing after its last step.

    Returns:
        ``[N, T, B]``, times 0 to T - 1; 0 after an end.
    """
    return _within(trajectory, trajectory.rewards, gamma)


def generalised_advantages(
    trajectory: Trajectory,
    values: Tensor,
    last_values: Tensor | None,
    gamma: float,
    lambda_: float,
) -> Tensor:
    """Generalised advantage estimates (Schulman et al. 2016, equation 16).

    ``A_t = delta_t + gamma lambda A_{t+1}``, ``delta_t = r_t + gamma V_{t+1} - V_t``; after the
    last step of a stretch V is 0 if it terminated, else ``last_values``. At ``lambda_ = 1`` they
    are the returns minus the values.

    Args:
        trajectory: Whose rewards and ends.
        values: ``[N, T, B]``, times 0 to T - 1, before each action; anything after the end.
        last_values: ``[N, B]``, of ``trajectory.last_observations``; None: nothing follows. Nothing
            is known of what follows an end behind which the trajectory starts again.
        gamma: Discount in [0, 1].
        lambda_: Weight of longer returns in [0, 1].

    Returns:
        Advantages ``[N, T, B]``, times 0 to T - 1; 0 after an end.
    """
    mask = trajectory.mask
    following = torch.zeros_like(values)
    following[:, :-1] = values[:, 1:]
    following = following * trajectory.goes_on
    if last_values is not None:
        cut = trajectory.is_last * ~trajectory.terminated
        following = following + cut * last_values.unsqueeze(1)  # [N, 1, B]: over steps
    delta = (trajectory.rewards + gamma * following - values) * mask
    return _within(trajectory, delta, gamma * lambda_)


def _within(trajectory: Trajectory, rewards: Tensor, gamma: float) -> Tensor:
    """Discounted returns that stop where a stretch does: padding is 0, so that starts matter."""
    cuts = None if trajectory.starts is None else trajectory.goes_on
    return discounted_returns(rewards, gamma, cuts)


def standardised(advantages: Tensor, mask: Tensor) -> Tensor:
    """Mean 0 and (unbiased) deviation 1 over all steps of each agent.

    One step alone has no deviation, and stays as it is.

    Args:
        advantages: ``[N, T, B]``.
        mask: ``[N, T, B]``, 1 within a stretch.

    Returns:
        ``[N, T, B]``; 0 after an end.
    """
    several, on_cpu = advantages[0].numel() > 1, mask.device.type == "cpu"
    if several and on_cpu and bool(mask.all()):  # elsewhere it would wait for the device
        deviation, mean = torch.std_mean(advantages, (1, 2), keepdim=True)
        return (advantages - mean) / (deviation + 1e-8)
    count = mask.sum((1, 2), keepdim=True)
    mean = (advantages * mask).sum((1, 2), keepdim=True) / count
    centred = (advantages - mean) * mask
    variance = centred.square().sum((1, 2), keepdim=True) / (count - 1).clamp(min=1)
    return torch.where(count > 1, centred / (variance.sqrt() + 1e-8), advantages * mask)


def normalised(advantages: Tensor, trajectory: Trajectory) -> Tensor:
    """Mean 0 and deviation 1 over the steps of each task; exactly 0 where nothing was learned.

    Nothing is learned from a task whose rewards are all equal, in episodes of equal length: what
    its advantages differ by is the error of the baseline, and dividing by its size would make noise
    the equal of other tasks' signal. The same holds for differences of the order of rounding.

    Args:
        advantages: ``[N, T, B]``.
        trajectory: Trajectory of the advantages.

    Returns:
        ``[N, T, B]``; 0 after an end.
    """
    mask = trajectory.mask
    centred = (advantages - mean_over_steps(advantages, mask).view(-1, 1, 1)) * mask
    deviation = mean_over_steps(centred.square(), mask).sqrt()  # [N]
    size = mean_over_steps(advantages.square(), mask).sqrt()
    rounding = 10 * torch.finfo(advantages.dtype).eps * size
    silent = (deviation <= rounding) | _uneventful(trajectory)
    scale = torch.where(silent, 0.0, 1 / (deviation + 1e-8))
    return centred * scale.view(-1, 1, 1)  # [N] as [N, 1, 1]


def _uneventful(trajectory: Trajectory) -> Tensor:
    """Whether all rewards of a task are equal and its episodes equally long, bool ``[N]``."""
    first = trajectory.rewards[:, :1, :1]
    equal = ((trajectory.rewards == first) | (trajectory.mask == 0)).flatten(1).all(1)  # [N]
    lengths = trajectory.lengths
    return equal & (lengths == lengths[:, :1]).all(1)


# The linear baseline ------------------------------------------------------------------------------


NUM_ATTEMPTS = 6


@dataclass(frozen=True)
class LinearBaseline:
    """The linear feature baseline (Duan et al. 2016): returns regressed on observation and time.

    Features of the observation o before step t of an episode: ``[o, o^2, t/100, (t/100)^2,
    (t/100)^3, 1]``, o clipped to +-10. Weights of every task solve the ridge regression

        (X^T X + reg I) w = X^T R,

    all tasks at once, in float64. It is fitted on the very episodes it is a baseline for, as is
    usual: a small bias for a large part of the variance. Each batch of episodes, of each inner step
    and before and after adaptation, has a fit of its own.

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


# The size of returns ------------------------------------------------------------------------------


DECAY = 0.99
"""What is left of a batch's weight in the mean square after another one."""


class ReturnScales:
    """Running sizes of the returns of N agents, each as it would be alone, to divide rewards by.

    A value loss of returns of 5 to 50 has most of a gradient that is clipped, and leaves little of
    it to the policy; targets are better of the order of 1. Where the size of returns is known,
    `ActorCriticSettings.reward_scale` says it; here it is followed, batch by batch::

        m_k = d m_{k-1} + (1 - d) mean(R^2),    size_k = sqrt(m_k / (1 - d^k))

    with the discounted returns R of every step of the k-th batch, and nothing at its end. It is the
    root of the mean square, not the deviation: returns that are all alike are large as well.
    """

    def __init__(self, num_agents: int, gamma: float, device: torch.device) -> None:
        """Begin without a batch.

        Args:
            num_agents: N.
            gamma: Discount of the returns.
            device: Where trajectories are.
        """
        self._gamma = gamma
        precise = torch.float32 if device.type == "mps" else torch.float64
        self._mean_square = torch.zeros(num_agents, dtype=precise, device=device)
        self._num_batches = 0

    @torch.no_grad()
    def after(self, played: Trajectory) -> Tensor:
        """Count a batch, and return the factor of its rewards ``[N]``: 1 / size.

        It is 1 as long as nothing has been paid.
        """
        squares = mean_over_steps(returns_to_go(played, self._gamma).square(), played.mask)
        self._mean_square.lerp_(squares.to(self._mean_square.dtype), 1 - DECAY)
        self._num_batches += 1
        size = (self._mean_square / (1 - DECAY**self._num_batches)).sqrt()
        return torch.where(size > 0, 1 / size, 1.0).to(played.rewards.dtype)

    def agent_state(self, index: int) -> dict[str, Any]:
        """Everything that is known of agent ``index``."""
        return {
            "mean_square": self._mean_square[index].clone(),
            "num_batches": self._num_batches,
        }

    def load_agent_states(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Take up where `agent_state` of every agent left off."""
        self._mean_square.copy_(torch.stack([state["mean_square"] for state in states]))
        self._num_batches = int(states[0]["num_batches"])


def return_scales(
    loss: ActorCriticSettings, num_agents: int, device: torch.device
) -> ReturnScales | None:
    """Sizes of the returns of N agents, where their loss divides by them; otherwise None."""
    running = loss.return_scaling == "running"
    return ReturnScales(num_agents, loss.gamma, device) if running else None
