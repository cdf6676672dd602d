"""The samplers of agents that learn side by side as one program, and what they are told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from metarl.rl.trajectory import ScoredTrajectory, Trajectory

from .sampler import Kind, Offer, Outcome, TaskSampler


class SideBySide:
    """N samplers, one per agent, each as it would be alone.

    Attributes:
        samplers: One per agent.
        flag: Number of the input that is 1 where an episode has just begun; None: there is none,
            and a trial is one episode.
    """

    def __init__(self, samplers: Sequence[TaskSampler], flag: int | None) -> None:
        """Take one sampler per agent, all of one kind and rhythm, and tell episodes by a flag."""
        self.samplers, self.flag = tuple(samplers), flag
        self._offers: list[Offer] = []

    def sample(self, n: int) -> tuple[Tensor, bool]:
        """Levels for every agent, and whether to learn from them.

        Args:
            n: Levels per agent.

        Returns:
            int64 ``[N * n, D]``, one agent's after the other's; the rhythm is the same for all.
        """
        self._offers = [sampler.sample(n) for sampler in self.samplers]
        learn = {offer.learn for offer in self._offers}
        assert len(learn) == 1, "samplers of one training learn in the same iterations"
        return torch.cat([offer.levels for offer in self._offers]), learn.pop()

    @property
    def kind(self) -> Kind:
        """Kind of the levels at hand."""
        return self._offers[0].kind

    def update(self, played: ScoredTrajectory) -> dict[str, Tensor]:
        """Tell all samplers what came of their levels.

        Args:
            played: One trial on each level.

        Returns:
            Metrics ``[N]``: those of the samplers, and the return on levels of this kind, such as
            ``return_fresh``.
        """
        whole = outcome(played, episodes_begun(played.trajectory, self.flag))
        for n, (sampler, offer) in enumerate(zip(self.samplers, self._offers, strict=True)):
            sampler.update(offer, Outcome(*(column[n] for column in whole)))
        measured = [sampler.measured() for sampler in self.samplers]
        like = whole.returns.new_tensor
        found = {name: like([of_one[name] for of_one in measured]) for name in measured[0]}
        return {**found, f"return_{self.kind}": played.trajectory.returns.mean(1)}

    def agent_state(self, index: int) -> dict[str, Any]:
        """Everything the sampler of agent ``index`` needs to go on."""
        return self.samplers[index].state_dict()

    def load_agent_states(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Take up where `agent_state` of all agents left off."""
        for sampler, state in zip(self.samplers, states, strict=True):
            sampler.load_state_dict(state)


def episodes_begun(played: Trajectory, flag: int | None) -> Tensor:
    """Episodes that were begun in each trial, ``[N, B]``, float.

    Args:
        played: The trials.
        flag: Number of the input that is 1 where an episode has just begun; None: there is none,
            and a trial is one episode.
    """
    if flag is None:
        return played.rewards.new_ones(played.returns.shape)
    return (played.observations[..., flag] * played.mask).sum(1)


def outcome(played: ScoredTrajectory, num_episodes: Tensor) -> Outcome:
    """Outcome of trials, ``[N, B]`` each, per episode and in the units of the rewards.

    A trial of a fixed number of steps holds many episodes where the goal is near, and few where it
    is far: its return, its values and its advantages grow with their number. Published scores are
    those of single episodes; not divided, they would keep the levels that are solved most often.

    Args:
        played: The trials.
        num_episodes: Episodes that were begun in each, at least 1, ``[N, B]``.

    Raises:
        ValueError: Nothing was recorded of the critic.
    """
    trajectory, mask = played.trajectory, played.trajectory.mask
    if trajectory.values is None or played.targets is None:
        raise ValueError("levels are scored by what a critic expects: record its values")
    scale = played.reward_scale
    factor = scale.view(-1, 1) if isinstance(scale, Tensor) else scale  # [N, 1]
    per_episode = 1 / (factor * num_episodes)  # [N, B]
    lengths = mask.sum(1)  # [N, B]
    values = (trajectory.values * mask).sum(1) / lengths
    # The targets are the advantages before their normalisation, added to the values.
    advantages = (played.targets - trajectory.values) * mask
    surprise = advantages.clamp(min=0).sum(1) / lengths
    returns = trajectory.returns / num_episodes
    solved = (trajectory.rewards > 0).any(1).to(returns.dtype)
    return Outcome(returns, solved, values * per_episode, surprise * per_episode)
