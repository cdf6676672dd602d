"""Episodes that an SB3 policy plays, and PPO's rollout buffer of exactly these (SB3 2.9).

SB3 itself collects a number of steps and cuts the last episodes off. To learn from E whole episodes
and no step more, one is played in each of E environments and what follows an end is left out; the
buffer holds the episodes one after the other, as if a single environment had played them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecEnv

Arrays = NDArray[Any]

BUFFERED = ("observations", "actions", "rewards", "values", "log_probs", "advantages", "returns")


@dataclass(frozen=True, eq=False)
class PlayedEpisodes:
    """One episode in each of E environments, T steps the longest. What lies behind an end is void.

    Attributes:
        observations: Before each action, ``[T, E, ...]``.
        actions: As the policy drew them, before any clipping, ``[T, E]`` or ``[T, E, A]``.
        rewards: ``rewards[t]`` is the consequence of ``actions[t]``, ``[T, E]``; 0 after the end.
        values: The critic's, ``[T, E]``.
        log_p: Log-probability of each action, ``[T, E]``.
        num_steps: Of each episode, ``[E]``.
        terminated: Whether it reached a true end, ``[E]``; if not, it was truncated.
        last_observations: What its last step led to, ``[E, ...]``.
    """

    observations: Arrays
    actions: Arrays
    rewards: Arrays
    values: Arrays
    log_p: Arrays
    num_steps: Arrays
    terminated: Arrays
    last_observations: Arrays

    @property
    def returns(self) -> Arrays:
        """Undiscounted, ``[E]``, float64."""
        total: Arrays = self.rewards.astype(np.float64).sum(0)
        return total

    @property
    def successes(self) -> Arrays:
        """1 where a step paid something positive, or the end was a true one, ``[E]``."""
        return ((self.rewards > 0).any(0) | self.terminated).astype(np.float64)

    @property
    def lengths(self) -> Arrays:
        """Steps until the episode succeeded, or ended, ``[E]``, float64."""
        paid = self.rewards > 0
        steps = np.where(paid.any(0), paid.argmax(0) + 1, self.num_steps)
        return steps.astype(np.float64)


def play_episodes(policy: ActorCriticPolicy, env: VecEnv) -> PlayedEpisodes:
    """Play one episode in every environment; draws from torch's global generator.

    Args:
        policy: Of SB3's PPO or A2C.
        env: E environments, whose episodes all end some time.
    """
    policy.set_training_mode(False)
    num_envs = env.num_envs
    observation = _array(env.reset())
    num_steps = np.zeros(num_envs, dtype=np.int64)  # 0 while the episode goes on
    terminated = np.zeros(num_envs, dtype=np.bool_)
    last = np.zeros_like(observation)
    steps: list[tuple[Arrays, ...]] = []
    while not num_steps.all():
        x, _ = policy.obs_to_tensor(observation)
        with torch.no_grad():
            drawn = policy(x)
        action, value, log_p = (tensor.cpu().numpy() for tensor in drawn)
        before = observation
        after, reward, dones, infos = env.step(to_env(policy, action))
        observation = _array(after)
        going = num_steps == 0
        steps.append((before, action, np.where(going, reward, 0), value.reshape(-1), log_p))
        for n in np.flatnonzero(going & dones):
            num_steps[n] = len(steps)
            terminated[n] = not infos[n].get("TimeLimit.truncated", False)
            last[n] = infos[n]["terminal_observation"]
    seen, actions, rewards, values, log_p = (np.stack(part) for part in zip(*steps, strict=True))
    return PlayedEpisodes(seen, actions, rewards, values, log_p, num_steps, terminated, last)


def to_env(policy: ActorCriticPolicy, actions: Arrays) -> Arrays:
    """Actions as the environment takes them: clipped, or scaled if they are squashed."""
    if not isinstance(policy.action_space, Box):
        return actions
    if policy.squash_output:
        return np.asarray(policy.unscale_action(actions))
    return np.clip(actions, policy.action_space.low, policy.action_space.high)


def rollout_buffer(model: PPO, played: PlayedEpisodes) -> RolloutBuffer:
    """The episodes for ``model.train()``, with advantages; see the module.

    An episode that was truncated is not over: the value of what its last step led to is added to
    its last reward, as SB3 does.
    """
    longest, num_envs = played.rewards.shape
    void = np.arange(longest)[:, None] >= played.num_steps  # [T, E]
    with torch.no_grad():
        x, _ = model.policy.obs_to_tensor(played.last_observations)
        beyond = model.policy.predict_values(x).cpu().numpy().reshape(-1)
    rewards = played.rewards.astype(np.float32)
    cut = np.flatnonzero(~played.terminated)
    rewards[played.num_steps[cut] - 1, cut] += model.gamma * beyond[cut]
    padded = _buffer(model, longest, num_envs)
    padded.observations[:] = played.observations.reshape(padded.observations.shape)
    padded.actions[:] = played.actions.reshape(padded.actions.shape)
    padded.rewards[:], padded.values[:], padded.log_probs[:] = rewards, played.values, played.log_p
    padded.episode_starts[:] = void  # nothing flows back from behind an end
    padded.compute_returns_and_advantage(torch.zeros(num_envs), np.ones(num_envs))
    whole = _buffer(model, int(played.num_steps.sum()), 1)
    for name in BUFFERED:
        values = getattr(padded, name).swapaxes(0, 1)  # [E, T, ...]
        getattr(whole, name)[:, 0] = values[~void.T]
    whole.pos, whole.full = whole.buffer_size, True
    return whole


def _buffer(model: PPO, num_steps: int, num_envs: int) -> RolloutBuffer:
    return RolloutBuffer(
        num_steps,
        model.observation_space,
        model.action_space,
        device=model.device,
        gae_lambda=model.gae_lambda,
        gamma=model.gamma,
        n_envs=num_envs,
    )


def _array(observation: Any) -> Arrays:
    if not isinstance(observation, np.ndarray):
        raise ValueError(
            f"observations must be one array, got a {type(observation).__name__}: flatten them"
        )
    return observation
