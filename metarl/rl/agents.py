"""Agents as an evaluator meets them: begin a trial, act, observe.

One protocol serves agents that adapt through their hidden state and agents that adapt by gradient
steps: an evaluator calls `begin`, then `act` and `observe` in turn, and never asks which it is.
"""

from __future__ import annotations

from typing import Literal, Protocol

import torch
from torch import Tensor

from metarl.core import Params, own_precision
from metarl.errors import check_choice
from metarl.nn.recurrent import State
from metarl.rl.distributions import Categorical, wide
from metarl.rl.policies import Policy


class Agent(Protocol):
    """Plays B trials side by side, each on a task of its own."""

    def begin(self, num_trials: int) -> None:
        """Forget the tasks before: B new trials start."""

    def act(self, observations: Tensor) -> Tensor:
        """Choose actions ``[B]`` (int64) for observations ``[B, I]``."""

    def observe(self, rewards: Tensor, terminated: Tensor, truncated: Tensor) -> None:
        """See what the actions led to, each ``[B]``; for agents whose input does not say."""


class PolicyAgent:
    """Plays trials by a policy, with one set of weights per task.

    What it knows of its task is in its memory, which then lasts for the trial (RL^2), or in its
    weights, which have been adapted (``fast = learner.adapt(tasks, num_steps)``, then
    ``{**fast, **slow}``): its memory is then one of an episode.

    ``num_trials`` trials are shared evenly by the N tasks, task-major: the first ones are played
    with the weights of task 0. One set of weights (N = 1) plays any number of trials.
    """

    def __init__(
        self,
        policy: Policy,
        params: Params,
        generator: torch.Generator,
        *,
        greedy: bool = False,
        remembers: Literal["episode", "trial"] = "episode",
    ) -> None:
        """Play with these parameters.

        Args:
            policy: The architecture.
            params: Parameters stacked over tasks ``[N, ...]`` (`core.stack` makes one, N = 1).
            generator: Draws the actions; on the parameters' device.
            greedy: Take the most probable action (the mean) instead of drawing one.
            remembers: For how long.
        """
        check_choice("remembers", remembers, ("episode", "trial"))
        self.policy, self.params = policy, params
        self.generator, self.greedy, self.remembers = generator, greedy, remembers
        self._like = next(iter(params.values()))
        self.num_tasks = len(self._like)
        self.begin(self.num_tasks)

    @torch.no_grad()
    def begin(self, num_trials: int) -> None:
        """Forget the trials before; the number must suit the tasks.

        Raises:
            ValueError: It does not.
        """
        if num_trials % self.num_tasks:
            raise ValueError(
                f"{num_trials} trials cannot be shared evenly by the weights of {self.num_tasks} "
                "tasks"
            )
        self._player = self.policy.begin(self.params, num_trials // self.num_tasks)

    @torch.no_grad()
    def act(self, observations: Tensor) -> Tensor:
        """Actions ``[B]`` or ``[B, A]`` for observations ``[B, I]``, B the trials of all tasks."""
        # [B, I] to [N, B / N, I]
        x = observations.reshape(self.num_tasks, len(observations) // self.num_tasks, -1)
        with own_precision(self._like):
            means = self._player.means(x.to(self._like.dtype))  # [N, B / N, A]
            distribution = self.policy.distribution
            if self.greedy:
                return distribution.choose(means).flatten(0, 1)  # [N, B, ...] to [N B, ...]
            if isinstance(distribution, Categorical):  # one random number per action, not A
                probabilities = means.flatten(0, 1).softmax(-1, wide(means.dtype))  # [B, A]
                return drawn(probabilities, self.generator)
            noise = distribution.noise(tuple(means.shape[:2]), self.generator)
            noise = noise.to(wide(self._like.dtype))
            means = means + distribution.perturbation(self.params, noise)
            return distribution.choose(means).flatten(0, 1)  # [N, B, ...] to [N B, ...]

    def observe(self, rewards: Tensor, terminated: Tensor, truncated: Tensor) -> None:
        """Forget what is over, where memory is that of an episode; there is no more to learn."""
        if self.remembers == "episode":
            self.forget(terminated | truncated)

    def forget(self, over: Tensor) -> None:
        """Empty the memory where an episode is over, bool ``[B]``."""
        self._player.forget(over.view(self.num_tasks, -1))  # [N, B / N]

    @property
    def state(self) -> State:
        """The policy's memory, each tensor ``[N, B / N, ...]``."""
        return self._player.state

    def resume(self, state: State) -> None:
        """Go on from a state, after `begin`."""
        self._player.resume(state)


def drawn(probabilities: Tensor, generator: torch.Generator) -> Tensor:
    """Actions ``[B]`` drawn by their probabilities ``[B, A]``, one random number each.

    `torch.multinomial` looks at what it is given, for which it waits for a GPU: there
    `by_thresholds` draws.
    """
    if probabilities.device.type == "cpu":
        return torch.multinomial(probabilities, 1, generator=generator).squeeze(-1)
    size, device = (len(probabilities), 1), probabilities.device
    return by_thresholds(probabilities, torch.rand(size, generator=generator, device=device))


def by_thresholds(probabilities: Tensor, uniforms: Tensor) -> Tensor:
    """Actions ``[B]``: how many sums of probabilities a number in [0, 1) is beyond.

    Args:
        probabilities: ``[B, A]``.
        uniforms: ``[B, 1]``.
    """
    sums = wide_sums(probabilities)
    beyond = sums <= uniforms.to(sums.dtype) * sums[:, -1:]
    return beyond.sum(-1).clamp(max=probabilities.shape[1] - 1)


def wide_sums(probabilities: Tensor) -> Tensor:
    """Sums of probabilities up to each action, in double precision where there is one."""
    wide_dtype = torch.float32 if probabilities.device.type == "mps" else torch.float64
    return probabilities.to(wide_dtype).cumsum(-1)


class UniformAgent:
    """Every action is as likely as any other: the floor of every comparison."""

    def __init__(self, num_actions: int, generator: torch.Generator) -> None:
        """Draw among ``num_actions`` actions."""
        self.num_actions, self.generator = num_actions, generator

    def begin(self, num_trials: int) -> None:
        """Begin: there is nothing to forget."""

    def act(self, observations: Tensor) -> Tensor:
        """Draw without looking."""
        size = (observations.shape[0],)
        device = self.generator.device
        return torch.randint(self.num_actions, size, generator=self.generator, device=device)

    def observe(self, rewards: Tensor, terminated: Tensor, truncated: Tensor) -> None:
        """Observe: there is nothing to learn."""
