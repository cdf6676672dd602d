"""Episodes that an SB3 policy plays, and PPO's rollout buffer of exactly these (SB3 2.9).

SB3 itself collects a number of steps and cuts the last episodes off. To learn from E whole episodes
and no step more, one is played in each of E environments and what follows an end is left out; the
buffer holds the episodes one after the other, as if a single environment had played them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecEnv

from metarl.rl.trajectory import Trajectory
from metarl.sb3.task_vec_env import BONUS

Arrays = NDArray[Any]

BUFFERED = ("observations", "actions", "rewards", "values", "log_probs", "advantages", "returns")


def play_episodes(policy: ActorCriticPolicy, env: VecEnv) -> Trajectory:
    """Play one episode in every environment; draws from torch's global generator.

    Args:
        policy: Policy of SB3's PPO or A2C.
        env: E environments, whose episodes all end some time.

    Returns:
        One task (N = 1) with E episodes, on the CPU: observations as the policy sees them, actions
        as it drew them, before any clipping; rewards, and what of them is a bonus for learning
        alone, in float64; nothing of its distributions but the log-probabilities.
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
        bonus = bonus_of(infos)
        paid = [np.where(going, part, 0.0) for part in (reward.astype(np.float64) - bonus, bonus)]
        steps.append((before, action, *paid, value.reshape(-1), log_p))
        for n in np.flatnonzero(going & dones):
            num_steps[n] = len(steps)
            terminated[n] = not infos[n].get("TimeLimit.truncated", False)
            last[n] = infos[n]["terminal_observation"]
    seen, actions, rewards, bonuses, values, log_p = (
        torch.as_tensor(np.stack(part))[None] for part in zip(*steps, strict=True)
    )  # [1, T, E, ...]
    time = torch.arange(len(steps))[:, None]  # [T, 1]
    is_last = (time == torch.as_tensor(num_steps) - 1)[None]
    true_end = torch.as_tensor(terminated)
    return Trajectory(
        observations=seen,
        actions=actions,
        rewards=rewards,
        outputs=log_p.new_empty(*log_p.shape, 0),
        log_p=log_p,
        terminated=is_last & true_end,
        truncated=is_last & ~true_end,
        mask=(time < torch.as_tensor(num_steps))[None].double(),
        last_observations=torch.as_tensor(last)[None],
        values=values,
        bonus=bonuses,
    )


def bonus_of(infos: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
    """What of the rewards of a step is paid for learning alone, by environment."""
    return np.array([info.get(BONUS, 0.0) for info in infos])


def to_env(policy: ActorCriticPolicy, actions: Arrays) -> Arrays:
    """Actions as the environment takes them: clipped, or scaled if they are squashed."""
    if not isinstance(policy.action_space, Box):
        return actions
    if policy.squash_output:
        return np.asarray(policy.unscale_action(actions))
    return np.clip(actions, policy.action_space.low, policy.action_space.high)


def rollout_buffer(model: PPO, played: Trajectory) -> RolloutBuffer:
    """The episodes of one task for ``model.train()``, with advantages; see the module.

    An episode that was truncated is not over: the value of what its last step led to is added to
    its last reward, as SB3 does.
    """
    void = ~played.mask[0].bool().numpy()  # [T, E]
    longest, num_envs = void.shape
    with torch.no_grad():
        x, _ = model.policy.obs_to_tensor(played.last_observations[0].numpy())
        beyond = model.policy.predict_values(x).cpu().numpy().reshape(-1)
    rewards = played.with_bonus.rewards[0].float().numpy()
    num_steps = played.lengths[0].long().numpy()
    cut = np.flatnonzero(~played.terminated[0].any(0).numpy())
    rewards[num_steps[cut] - 1, cut] += model.gamma * beyond[cut]
    padded = _buffer(model, longest, num_envs)
    padded.observations[:] = played.observations[0].reshape(padded.observations.shape)
    padded.actions[:] = played.actions[0].reshape(padded.actions.shape)
    assert played.values is not None
    padded.rewards[:], padded.values[:] = rewards, played.values[0]
    padded.log_probs[:] = played.log_p[0]
    padded.episode_starts[:] = void  # nothing flows back from behind an end
    padded.compute_returns_and_advantage(torch.zeros(num_envs), np.ones(num_envs))
    whole = _buffer(model, int(num_steps.sum()), 1)
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
