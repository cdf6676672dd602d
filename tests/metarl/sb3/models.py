"""Mazes and a small PPO on them."""

import torch
from stable_baselines3 import PPO

from envs import GridMazeVectorEnv, maze_tasks, pillar_maze
from metarl.sb3 import TaskVecEnv, seeded

LAYOUT = pillar_maze(5)
GOALS = maze_tasks(LAYOUT)


def mazes(num_envs=4, seed=0, horizon=6, **arguments):
    env = GridMazeVectorEnv(
        num_envs,
        layout=LAYOUT,
        horizon=horizon,
        reward=1.0,
        generator=torch.Generator().manual_seed(seed),
    )
    return TaskVecEnv(env, **arguments)


def small_ppo(env, **settings):
    usual = {"n_steps": 6, "batch_size": 8, "n_epochs": 2, "gae_lambda": 0.9, "device": "cpu"}
    with seeded(0):
        return PPO("MlpPolicy", env, policy_kwargs={"net_arch": [8]}, **(usual | settings))


def params_of(model):
    return {name: p.detach().clone() for name, p in model.policy.state_dict().items()}


def same(one, other):
    return all(torch.equal(p, other[name]) for name, p in one.items())
