"""The same iteration as learn2learn's examples for reinforcement learning go about it.

One task after the other: clone the policy, set the task, play its episodes side by side in a
Gymnasium vector environment with a call of the policy at every step, fit a linear baseline, form
generalised advantages, `adapt`, play again, and add the task's loss to the meta-gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import gymnasium
import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.adaptation_step.iteration import Iteration, Setting
from benchmarks.meta_step.peers import import_learn2learn
from envs import PointNavigationEnv, PointNavigationVectorEnv, PointTask
from envs.point.env import LONGEST_STEP

GAMMA = 0.99


def single_env(horizon: int) -> PointNavigationEnv:
    """A point like those of the problem that ours plays, where an action of 1 is the longest step.

    It is scaled there, once it has been rounded to single precision: scaled before, it would be
    another.
    """
    return PointNavigationEnv(horizon=horizon, max_step=LONGEST_STEP, action_scale=LONGEST_STEP)


class Vector(Protocol):
    """B environments on one task; arrays in and out."""

    def reset(self, task: PointTask) -> Tensor:
        """First observations ``[B, 2]``."""

    def step(self, moves: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Observations, rewards, ends."""


class GymVector:
    """B single environments in a `gymnasium.vector.SyncVectorEnv`."""

    def __init__(self, setting: Setting) -> None:
        make = lambda: single_env(setting.horizon)  # noqa: E731
        self.env = gymnasium.vector.SyncVectorEnv(
            [make] * setting.episodes, autoreset_mode=gymnasium.vector.AutoresetMode.SAME_STEP
        )

    def reset(self, task: PointTask) -> Tensor:
        return torch.from_numpy(self.env.reset(options={"task": task})[0].copy())

    def step(self, moves: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        observation, reward, terminated, truncated, _ = self.env.step(
            moves.numpy().astype(np.float32)
        )
        ended = torch.from_numpy(terminated | truncated)
        return torch.from_numpy(observation.copy()), torch.from_numpy(reward), ended


class TensorVector:
    """Our tensor environment in its place: what is left of the difference is the loop's."""

    def __init__(self, setting: Setting) -> None:
        self.env = PointNavigationVectorEnv(
            setting.episodes,
            horizon=setting.horizon,
            device=setting.device,
            validate_actions=False,
            max_step=LONGEST_STEP,
            action_scale=LONGEST_STEP,
        )

    def reset(self, task: PointTask) -> Tensor:
        return self.env.reset(options={"tasks": [task] * self.env.num_envs})[0]

    def step(self, moves: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        observation, reward, terminated, truncated, _ = self.env.step(moves)
        return observation, reward, terminated | truncated


class OwnVector:
    """learn2learn's own `AsyncVectorEnv`, as in its examples: a process for every episode."""

    def __init__(self, setting: Setting) -> None:
        make = lambda: OldStyle(setting.horizon)  # noqa: E731
        self.env = import_learn2learn().gym.AsyncVectorEnv([make] * setting.episodes)
        self.env.queue.cancel_join_thread()  # it is filled at every reset and never read

    @property
    def pids(self) -> list[int]:
        """Of the processes."""
        return [worker.pid for worker in self.env.workers]

    def reset(self, task: PointTask) -> Tensor:
        self.env.set_task(task)
        return torch.from_numpy(self.env.reset())

    def step(self, moves: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        observation, reward, ended, _ = self.env.step(moves.numpy().astype(np.float32))
        return torch.from_numpy(observation), torch.from_numpy(reward), torch.from_numpy(ended)


class OldStyle:
    """The single environment behind the interface that learn2learn's meta-environments have."""

    def __init__(self, horizon: int) -> None:
        self.env = single_env(horizon)
        self.observation_space, self.action_space = (
            self.env.observation_space,
            self.env.action_space,
        )
        self.unwrapped = self
        self.task = PointTask((0.0, 0.0))

    def set_task(self, task: PointTask) -> None:
        self.task = task

    def reset(self) -> Any:
        return self.env.reset(options={"task": self.task})[0]

    def step(self, action: Any) -> tuple[Any, float, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, float(reward), terminated or truncated, info


class NormalPolicy(nn.Module):
    """Means from a perceptron, deviations of their own."""

    def __init__(self, setting: Setting, dtype: torch.dtype) -> None:
        super().__init__()
        sizes = (2, *setting.hidden, 2)
        layers: list[nn.Module] = []
        for i, o in pairwise(sizes):
            layers += [nn.Linear(i, o), nn.Tanh()]
        self.mean = nn.Sequential(*layers[:-1])
        self.log_std = nn.Parameter(torch.zeros(2))
        self.to(setting.device, dtype)
        values = setting.params(dtype)
        with torch.no_grad():
            for i, layer in enumerate(m for m in self.mean if isinstance(m, nn.Linear)):
                layer.weight.copy_(values[f"actor.layers.{i}.weight"].T)
                layer.bias.copy_(values[f"actor.layers.{i}.bias"])

    def forward(self, observations: Tensor) -> torch.distributions.Normal:
        return torch.distributions.Normal(self.mean(observations), self.log_std.exp())


class Played(NamedTuple):
    """Episodes of one task, ``[T, B, ...]``; the mask is 0 after an episode's end."""

    observations: Tensor
    actions: Tensor
    rewards: Tensor
    mask: Tensor


@torch.no_grad()
def play(policy: nn.Module, env: Vector, task: PointTask, noise: Tensor) -> Played:
    """An episode in every environment; a step at a time."""
    observation = env.reset(task).to(noise.dtype)
    going = torch.ones_like(noise[0, :, 0])
    steps = []
    for t in range(len(noise)):
        density = policy(observation)
        action = density.mean + density.stddev * noise[t]
        following, reward, ended = env.step(action)
        steps.append((observation, action, reward.to(noise.dtype) * going, going))
        going = going * ~ended
        observation = following.to(noise.dtype)
    return Played(*(torch.stack(part) for part in zip(*steps, strict=True)))


def baseline(played: Played, returns: Tensor) -> Tensor:
    """Ridge regression of the returns on position and time, as cherry's `LinearValue`."""
    o, num_steps = played.observations.double(), len(returns)
    t = torch.arange(num_steps, dtype=torch.float64, device=o.device)[:, None, None] / 100
    t = t.expand(*o.shape[:2], 1)
    x = torch.cat((o, o**2, t, t**2, t**3, torch.ones_like(t)), -1) * played.mask[..., None]
    x, y = x.flatten(0, 1), (returns.double() * played.mask).flatten()
    gram = x.T @ x + 1e-5 * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    return (x @ torch.linalg.solve(gram, x.T @ y)).view_as(returns).to(returns.dtype)


def policy_loss(policy: nn.Module, played: Played) -> Tensor:
    """Minus the mean of log-probability times normalised advantage."""
    returns, following = torch.empty_like(played.rewards), torch.zeros_like(played.rewards[0])
    for t in reversed(range(len(returns))):
        following = returns[t] = played.rewards[t] + GAMMA * following
    advantages = (returns - baseline(played, returns)) * played.mask
    total = played.mask.sum()
    centred = (advantages - advantages.sum() / total) * played.mask
    deviation = (centred.square().sum() / total).sqrt()
    log_p = policy(played.observations).log_prob(played.actions).sum(-1)
    return -(log_p * centred / (deviation + 1e-8) * played.mask).mean()


@dataclass(frozen=True)
class Made:
    """An iteration, whose parameters it moves, and in which environments."""

    iterate: Iteration
    policy: NormalPolicy
    env: Vector


def learn2learn(
    setting: Setting,
    make_env: Callable[[Setting], Vector],
    dtype: torch.dtype = torch.float32,
) -> Made:
    """The iteration, on its public `MAML(...).clone()` and `adapt`."""
    library: Any = import_learn2learn()
    policy = NormalPolicy(setting, dtype)
    maml = library.algorithms.MAML(policy, lr=setting.inner_lr, first_order=setting.first_order)
    optimiser = torch.optim.Adam(maml.parameters(), lr=setting.outer_lr)
    env, generator = make_env(setting), setting.generator()

    def iterate() -> None:
        optimiser.zero_grad()
        tasks = setting.tasks(generator)
        # The draws of `episodes_of`, so that both play the same actions.
        size = (2, len(tasks))
        seeds = torch.randint(2**62, size, generator=generator, device=generator.device)[0]
        for task, seed in zip(tasks, seeds.tolist(), strict=True):
            own = torch.Generator(setting.device).manual_seed(seed)
            shape = (setting.horizon, setting.episodes, 2)

            def noise(own: torch.Generator = own, shape: tuple[int, ...] = shape) -> Tensor:
                return torch.randn(shape, generator=own, device=own.device).to(dtype)

            learner = maml.clone()
            for _ in range(setting.num_steps):
                learner.adapt(policy_loss(learner, play(learner, env, task, noise())))
            query = policy_loss(learner, play(learner, env, task, noise()))
            (query / len(tasks)).backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    return Made(iterate, policy, env)
