"""Experience of N tasks as one typed tuple: trials, episodes, and what can be read from them.

One stretch of experience in each of B environments per task, from a reset to its first end, which
may come before T: what lies behind it is padding, which the mask tells apart and which pays
nothing. A trial of several episodes is one stretch as well (`envs.VectorTrial`): its memory goes
on, and nothing but its own end ends it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from metarl.core import Params
from metarl.native import native_mode
from metarl.native.call import watched
from metarl.nn import Trace
from metarl.nn.recurrent import State

TIMED = (
    *("observations", "actions", "rewards", "outputs", "log_p"),
    *("terminated", "truncated", "mask", "values", "starts"),
)
"""Parts of a trajectory that have an axis of steps."""


class Experience(NamedTuple):
    """Observations, actions, rewards and ends as played, ``[N, T, B, ...]``; nothing is cut."""

    observations: Tensor
    actions: Tensor
    rewards: Tensor
    terminated: Tensor
    truncated: Tensor
    after: Tensor
    bonus: Tensor | None
    means: Tensor | None = None  # of the actor, if it would say them again to the last bit


class Trajectory(NamedTuple):
    """Experience of N tasks (or agents). ``rewards[t]`` is the consequence of ``actions[t]``."""

    observations: Tensor  # [N, T, B, I], times 0 to T - 1, before each action
    actions: Tensor  # [N, T, B] int64, or [N, T, B, A]
    rewards: Tensor  # [N, T, B]; 0 after the end
    outputs: Tensor  # [N, T, B, D], the action distributions at the time of playing
    log_p: Tensor  # [N, T, B], log-probability of each action at the time of playing
    terminated: Tensor  # [N, T, B] bool: this step reached a true end; False after it
    truncated: Tensor  # [N, T, B] bool: this step was cut off, and reached no true end
    mask: Tensor  # [N, T, B], 1 until the end, that step included, and 0 after it
    last_observations: Tensor  # [N, B, I], after the last step of each stretch
    values: Tensor | None = None  # [N, T, B], the critic's, where it looked while recording
    starts: Tensor | None = None  # [N, T, B] bool: memory is empty before it; None: at step 0 alone
    state: State | None = None  # of the core before step 0, each [N, B, ...]; None: empty
    trace: Trace | None = None  # the core's activations, if recorded; the next rollout's too
    bonus: Tensor | None = None  # [N, T, B], paid beside these rewards, for learning alone
    means: Tensor | None = None  # [N, T, B, A], the actor's, if it would say them again to the bit

    @property
    def num_tasks(self) -> int:
        """Number of tasks, N."""
        return len(self.rewards)

    @property
    def with_bonus(self) -> Trajectory:
        """Experience as what is learned from: its rewards have the bonus in them."""
        if self.bonus is None:
            return self
        return self._replace(rewards=self.rewards + self.bonus, bonus=None)

    @property
    def returns(self) -> Tensor:
        """Undiscounted return of every stretch, ``[N, B]``."""
        return self.rewards.sum(1)

    @property
    def lengths(self) -> Tensor:
        """Steps of every stretch, ``[N, B]``, float."""
        return self.mask.sum(1)

    @property
    def goes_on(self) -> Tensor:
        """1 where the next step belongs to the same stretch and memory, ``[N, T, B]``."""
        following = torch.zeros_like(self.mask)
        following[:, :-1] = self.mask[:, 1:]
        if self.starts is not None:
            following[:, :-1] *= ~self.starts[:, 1:]
        return following

    @property
    def is_last(self) -> Tensor:
        """1 at the last step of every stretch, ``[N, T, B]``."""
        last = self.mask.clone()
        last[:, :-1] -= self.mask[:, 1:]
        return last

    @property
    def all_observations(self) -> Tensor:
        """The observations before each action, followed by the last one: ``[N, T + 1, B, I]``."""
        padded = torch.cat((self.observations, self.observations[:, -1:]), 1)
        last = self.last_observations.unsqueeze(1)  # [N, 1, B, I]
        return padded.scatter(1, self._end(last), last)

    def at_end(self, values: Tensor) -> Tensor:
        """Values ``[N, B, ...]`` of the last observations, out of ``[N, T + 1, B, ...]``."""
        return values.gather(1, self._end(values[:, :1])).squeeze(1)  # [N, B, ...]

    def _end(self, like: Tensor) -> Tensor:
        """Steps of every stretch, as an index in the shape of ``like`` ``[N, 1, B, ...]``."""
        steps = self.lengths.to(torch.int64)  # [N, B]
        # [N, B] to [N, 1, B, 1, ...]
        return steps.view(len(steps), 1, -1, *(1,) * (like.dim() - 3)).expand_as(like)

    @property
    def unrewarded(self) -> Tensor:
        """Whether no step of a stretch paid anything, ``[N, B]``, bool."""
        return (self.rewards == 0).all(1)  # [N, T, B] to [N, B]


def sum_over_time(values: Tensor, mask: Tensor) -> Tensor:
    """Sum within every stretch, mean over them: ``[N, T, B]`` to ``[N]``.

    A mean over time inside an episode would weigh the steps of short episodes more; where reaching
    a goal ends an episode, that is not the gradient of the return.
    """
    return (values * mask).sum(1).mean(1)


def mean_over_time(values: Tensor, mask: Tensor) -> Tensor:
    """`sum_over_time` divided by T, whatever the lengths: ``[N, T, B]`` to ``[N]``."""
    return (values * mask).mean((1, 2))


def mean_over_steps(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over all steps of a task, whichever episode they are in: ``[N, T, B]`` to ``[N]``."""
    return (values * mask).sum((1, 2)) / mask.sum((1, 2))


class Played:
    """The weights that played a trajectory, as long as nothing has been learned from it.

    Behind its first loss an optimiser may have moved them in place, which not all of them tell
    (torch's fused ones do not).
    """

    def __init__(self, params: Params, trajectory: Trajectory) -> None:
        """Keep the parameters that played, what they saw and how they were rounded."""
        weights = (p.detach() for p in params.values())
        self._weights = [(p, p._version) for p in weights]
        self._seen = trajectory.observations, trajectory.observations._version
        self._rounding = rounding(trajectory.log_p)

    def are(self, params: Params) -> bool:
        """Whether these are the tensors that played, or views of them, unchanged since."""
        return len(params) == len(self._weights) and all(
            p.data_ptr() == before.data_ptr() and p._version == version
            for p, (before, version) in zip(params.values(), self._weights, strict=True)
        )

    def saw(self, observations: Tensor) -> bool:
        """Whether this is the tensor of what they saw, unchanged since."""
        return observations is self._seen[0] and observations._version == self._seen[1]

    def round_like(self, log_p: Tensor) -> bool:
        """Whether log-probabilities are taken in the modes that they were played in."""
        return self._rounding == rounding(log_p)

    def let_go(self) -> None:
        """A loss has been taken: what comes now may have moved."""
        self._weights = []


class ScoredTrajectory(NamedTuple):
    """Experience with the constants of its loss, ``[N, T, B]`` at times 0 to T - 1."""

    trajectory: Trajectory
    advantages: Tensor
    targets: Tensor | None  # of the critic, if its error is part of the loss
    metrics: dict[str, Tensor]  # [N]: return, length, unrewarded, entropy, with a critic its error
    played: Played
    memory: Trace | None = None  # for the core's activations under any weights: differentiated once
    reward_scale: float | Tensor = 1.0  # factor of rewards in values and targets: one, or [N]
    everywhere: ScoredTrajectory | None = None  # of all processes; None: this one plays alone

    @property
    def whole(self) -> ScoredTrajectory:
        """Experience of all processes."""
        return self if self.everywhere is None else self.everywhere


def rounding(like: Tensor) -> tuple[bool, bool, torch.dtype]:
    """Return how numbers are rounded where a tensor lives.

    Returns:
        Whether kernels may run, whether autocast is on, and to which type it rounds.
    """
    natively, kind = native_mode() != "off" and not watched(), like.device.type
    if not torch.amp.is_autocast_available(kind):
        return natively, False, like.dtype
    return natively, torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)
