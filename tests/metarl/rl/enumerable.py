"""Decision processes so small that every trajectory can be listed, in float64.

The expected return is known in closed form by dynamic programming, which knows nothing of
trajectories: whatever is made of trajectories is judged by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from metarl.core import Params, Split
from metarl.rl import (
    Categorical,
    Environments,
    Policy,
    PolicyGradientSettings,
    PolicyGradientTasks,
    ScoredTrajectory,
    TensorVectorEnv,
    Trajectory,
    mlp_policy,
)

PLAIN = PolicyGradientSettings(gamma=1.0, baseline="none", normalise_advantages=False)
"""Returns as they are: no baseline, no discount, nothing normalised."""


@dataclass(frozen=True)
class TinyMDP:
    """N processes of S states and A actions that begin in state 0 and last T steps."""

    transitions: Tensor  # [N, S, A, S]
    rewards: Tensor  # [N, S, A]
    num_steps: int = 2

    @property
    def num_tasks(self) -> int:
        return len(self.rewards)

    def select(self, tasks: slice) -> TinyMDP:
        return TinyMDP(self.transitions[tasks], self.rewards[tasks], self.num_steps)

    def expected_return(self, policy: Policy, params: Params) -> Tensor:
        """``[N]``, differentiable: V_t(s) = sum_a pi(a|s) (r(s, a) + sum_s' P(s'|s, a) V(s'))."""
        num_states = self.rewards.shape[1]
        eye = torch.eye(num_states, dtype=torch.float64).expand(self.num_tasks, 1, -1, -1)
        pi = policy.outputs(params, eye)[:, 0].softmax(-1)  # [N, S, A]
        value = torch.zeros_like(self.rewards[:, :, 0])
        for _ in range(self.num_steps):
            value = (
                pi * (self.rewards + (self.transitions @ value[:, None, :, None])[..., 0])
            ).sum(2)
        return value[:, 0]

    def trajectories(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """States and actions ``[T, B]``, rewards ``[N, T, B]``, chances of states ``[N, B]``."""
        _, num_states, num_actions = self.rewards.shape
        moves = list(product(range(num_actions), range(num_states)))
        paths = [
            p
            for p in product(moves, repeat=self.num_steps)
            if p[-1][1] == 0  # where the last action leads does not matter
        ]
        actions = torch.tensor([[a for a, _ in p] for p in paths]).T
        led_to = torch.tensor([[s for _, s in p] for p in paths]).T
        states = torch.cat((torch.zeros_like(led_to[:1]), led_to[:-1]))
        chances = self.transitions[:, states[:-1], actions[:-1], led_to[:-1]].prod(1)
        return states, actions, self.rewards[:, states, actions], chances


def tiny_mdp(num_tasks: int = 3, seed: int = 0, num_steps: int = 2) -> TinyMDP:
    g = torch.Generator().manual_seed(seed)
    transitions = torch.rand(num_tasks, 3, 2, 3, generator=g, dtype=torch.float64)
    rewards = 2 * torch.randn(num_tasks, 3, 2, generator=g, dtype=torch.float64)
    return TinyMDP(transitions / transitions.sum(-1, keepdim=True), rewards, num_steps)


def tiny_policy(**options: object) -> Policy:
    return mlp_policy(3, Categorical(2), hidden=(4,), **options)  # type: ignore[arg-type]


def draw(policy: Policy, seed: int = 0) -> dict[str, Tensor]:
    """Unstacked parameters, float64, away from zeros."""
    g = torch.Generator().manual_seed(seed)
    return {
        n: p.double() + 0.3 * torch.randn(p.shape, generator=g).double()
        for n, p in policy.init(g).items()
    }


@dataclass(frozen=True)
class EveryTrajectory:
    """Stands in for a collector: each trajectory once."""

    mdp: TinyMDP
    policy: Policy
    plays_natively: ClassVar[bool] = False

    @property
    def num_tasks(self) -> int:
        return self.mdp.num_tasks

    def select(self, tasks: slice) -> EveryTrajectory:
        return EveryTrajectory(self.mdp.select(tasks), self.policy)

    def collect(self, params: Params) -> Trajectory:
        states, actions, rewards, _ = self.mdp.trajectories()
        observations = torch.nn.functional.one_hot(states, 3).double()
        observations = observations.expand(self.num_tasks, *observations.shape)
        actions = actions.expand_as(rewards)
        outputs = self.policy.outputs(params, observations)
        no = torch.zeros_like(rewards, dtype=torch.bool)
        last = no.clone()
        last[:, -1] = True
        log_p = self.policy.distribution.log_prob(outputs, actions)
        ones = torch.ones_like(rewards)
        return Trajectory(
            observations, actions, rewards, outputs, log_p, no, last, ones, observations[:, -1]
        )


class EnumeratedTasks(PolicyGradientTasks):
    """Every trajectory counts by its probability under the weights that played."""

    settings: PolicyGradientSettings

    def __init__(self, mdp: TinyMDP, policy: Policy, settings: PolicyGradientSettings):
        super().__init__(EveryTrajectory(mdp, policy), settings)  # type: ignore[arg-type]

    def score(
        self, params: Params, episodes: Trajectory, split: Split = "support"
    ) -> ScoredTrajectory:
        scored = super().score(params, episodes, split)
        chances = self.collector.mdp.trajectories()[-1] * episodes.log_p.sum(1).exp()  # type: ignore[attr-defined]
        # The loss is a mean over episodes.
        weights = chances * chances.shape[1]
        return scored._replace(advantages=scored.advantages * weights.unsqueeze(1))

    def select(self, tasks: slice) -> EnumeratedTasks:
        return EnumeratedTasks(self.collector.mdp.select(tasks), self.policy, self.settings)  # type: ignore[attr-defined]


@dataclass(frozen=True)
class ExactTasks:
    """The loss is minus the expected return, by dynamic programming: nothing is sampled."""

    mdp: TinyMDP
    policy: Policy

    @property
    def num_tasks(self) -> int:
        return self.mdp.num_tasks

    def sample(self, fast: Params, slow: Params, split: Split) -> None:
        return None

    def loss(self, fast: Params, slow: Params, batch: None) -> Tensor:
        return -self.mdp.expected_return(self.policy, {**fast, **slow})

    def select(self, tasks: slice) -> ExactTasks:
        return ExactTasks(self.mdp.select(tasks), self.policy)


class Visits(NamedTuple):
    """What is expected of a policy's trajectories: where they are, what follows."""

    states: Tensor  # [N, T, S], the chance of being there at time t
    to_go: Tensor  # [N, T, S, A], the expected return from time t on
    pi: Tensor  # [N, S, A]


@dataclass(frozen=True)
class SurrogateTasks:
    """The expectation of a surrogate by dynamic programming, with the derivatives it has."""

    mdp: TinyMDP
    policy: Policy
    estimator: Literal["logp", "lvc"]

    @property
    def num_tasks(self) -> int:
        return self.mdp.num_tasks

    def sample(self, fast: Params, slow: Params, split: Split) -> Visits:
        mdp, pi = self.mdp, self.pi({**fast, **slow}).detach()
        value = torch.zeros_like(mdp.rewards[:, :, 0])
        visited = torch.zeros_like(value)
        visited[:, 0] = 1
        states, to_go = [], []
        for _ in range(mdp.num_steps):
            states.append(visited)
            visited = torch.einsum("ns,nsa,nsaz->nz", visited, pi, mdp.transitions)
            to_go.append(mdp.rewards + (mdp.transitions @ value[:, None, :, None])[..., 0])
            value = (pi * to_go[-1]).sum(2)
        return Visits(torch.stack(states, 1), torch.stack(to_go[::-1], 1), pi)

    def loss(self, fast: Params, slow: Params, batch: Visits) -> Tensor:
        pi = self.pi({**fast, **slow})
        chosen = pi if self.estimator == "lvc" else batch.pi * pi.log()
        return -torch.einsum("nts,nsa,ntsa->n", batch.states, chosen, batch.to_go)

    def pi(self, params: Params) -> Tensor:
        """``[N, S, A]``."""
        num_states = self.mdp.rewards.shape[1]
        eye = torch.eye(num_states, dtype=torch.float64).expand(self.num_tasks, 1, -1, -1)
        return self.policy.outputs(params, eye)[:, 0].softmax(-1)

    def select(self, tasks: slice) -> SurrogateTasks:
        return SurrogateTasks(self.mdp.select(tasks), self.policy, self.estimator)


def tiny_environments(mdp: TinyMDP, batch_size: int) -> Environments:
    """Environments whose tasks are numbers of processes."""

    def make(num_envs: int, generators: Sequence[torch.Generator] | None) -> TensorVectorEnv:
        assert generators is not None
        return TinyEnv(
            mdp.select(slice(0, num_envs // batch_size)), batch_size, list(generators), mdp
        )

    return Environments(make)


@dataclass
class TinyEnv:
    """The processes as N * B tensor environments, each of the N its own generator."""

    mdp: TinyMDP
    batch_size: int
    generators: list[torch.Generator]
    every: TinyMDP | None = None  # of which the option "tasks" says the processes
    resets: list[object] = field(default_factory=list)

    @property
    def num_envs(self) -> int:
        return self.mdp.num_tasks * self.batch_size

    def reset(self, *, options: dict[str, Any] | None = None) -> tuple[Tensor, dict[str, Any]]:
        self.resets.append(options)
        if self.every is not None and options is not None:
            chosen = options["tasks"][:: self.batch_size]
            self.mdp = replace(
                self.every,
                transitions=self.every.transitions[chosen],
                rewards=self.every.rewards[chosen],
            )
        self.states = torch.zeros(self.mdp.num_tasks, self.batch_size, dtype=torch.int64)
        self.time = 0
        return self.observe(), {}

    def use_generators(self, generators: Sequence[torch.Generator]) -> None:
        self.generators = list(generators)

    def observe(self) -> Tensor:
        return torch.nn.functional.one_hot(self.states.flatten(), 3).double()

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        actions = actions.view_as(self.states)
        task = torch.arange(self.mdp.num_tasks)[:, None]
        rewards = self.mdp.rewards[task, self.states, actions]
        chances = self.mdp.transitions[task, self.states, actions]  # [N, B, S]
        draws = torch.stack(
            [torch.rand(self.batch_size, generator=g, dtype=torch.float64) for g in self.generators]
        )
        self.states = (chances.cumsum(-1) < draws[..., None]).sum(-1).clamp(max=2)
        self.time += 1
        no = torch.zeros(self.num_envs, dtype=torch.bool)
        last = no | (self.time == self.mdp.num_steps)
        return self.observe(), rewards.flatten(), no, last, {}


def generators(num: int, seed: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(1000 * seed + i) for i in range(num)]
