"""Films of one maze, played once by every stage of adaptation with the same teleports."""

from __future__ import annotations

import torch

from envs import GridMazeVectorEnv, MazeTask
from experiments.maze_adapt.episodes import environments
from experiments.maze_adapt.kinds import Film
from experiments.maze_adapt.worlds import World
from metarl.rl import Agent


def film_stages(world: World, task: MazeTask, agent: Agent, num_stages: int, seed: int) -> Film:
    """An episode of each stage.

    Args:
        world: Of mazes.
        task: The maze.
        agent: Plays K + 1 trials side by side: trial k as it is after k steps.
        num_stages: K + 1.
        seed: Of the maze: all stages meet the same random numbers.
    """
    same = [torch.Generator().manual_seed(seed) for _ in range(num_stages)]
    env, options = environments(world, [task] * num_stages, 1, same, torch.device("cpu"))
    mazes = env.unwrapped
    assert isinstance(mazes, GridMazeVectorEnv)
    agent.begin(num_stages)
    observation, _ = env.reset(options=options)
    cells, steps = [mazes.agent_positions], []
    for _ in range(world.horizon):
        action = agent.act(observation)
        observation, reward, *_ = env.step(action)
        cells.append(mazes.agent_positions)
        steps.append((action, reward))
    sides = (cells, *zip(*steps, strict=True))
    return Film(titles(num_stages), *(torch.stack(tuple(s), 1).numpy() for s in sides))


def titles(num_stages: int) -> tuple[str, ...]:
    """What to call the episodes before adaptation and after each step."""
    names = ("before adaptation", "after 1 step")
    return tuple(names[k] if k < 2 else f"after {k} steps" for k in range(num_stages))
