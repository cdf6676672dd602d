"""From settings to the pieces of the experiment: mazes, environment, policy."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from envs import (
    GridMazeVectorEnv,
    MazeTask,
    TaskSet,
    VectorMetaObservation,
    maze_tasks,
    pillar_maze,
)
from experiments.maze.settings import TrainSettings
from metarl.nn import CORES, RecurrentCore, WarpRNN
from metarl.rl import Categorical, Policy, actor_critic

NUM_INPUTS = 17
NUM_ACTIONS = 4


def make_policy(settings: TrainSettings) -> Policy:
    """The agent's architecture."""
    size = NUM_INPUTS, settings.hidden_size
    if settings.method == "warp":
        core: RecurrentCore = WarpRNN(*size, published_split=settings.published_faults)
    else:
        core = CORES[settings.method](*size)
    return actor_critic(core, Categorical(NUM_ACTIONS))


def make_tasks(settings: TrainSettings) -> tuple[TaskSet[MazeTask], TaskSet[MazeTask]]:
    """The goals to train on and the goals to test on; the same ones under ``--goals all``."""
    every = maze_tasks(pillar_maze(settings.size))
    if settings.goals == "all":
        return every, every
    splits = every.split(train=0.8, validation=0.0, test=0.2)
    return splits.train, splits.test


def make_env(
    settings: TrainSettings,
    tasks: TaskSet[MazeTask],
    num_envs: int,
    generator: torch.Generator | Sequence[torch.Generator],
    device: torch.device,
    *,
    training: bool = False,
) -> VectorMetaObservation:
    """Mazes as one tensor program, with the paper's 17 inputs.

    The published fault of the maze, teleports into pillars, is for training alone: every agent is
    measured in the same maze.
    """
    env = GridMazeVectorEnv(
        num_envs,
        horizon=settings.horizon,
        reward=settings.reward,
        wall_penalty=settings.wall_penalty,
        tasks=tasks,
        teleport="interior" if training and settings.published_faults else "free",
        device=device,
        generator=generator,
        validate_actions=False,
    )
    return VectorMetaObservation(env, first_action_zero_is_set=settings.published_faults)
