"""Pictures of mazes for the documentation: generators, views, named mazes, and the anchors."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, get_args

import gymnasium
import numpy as np
import torch

import envs
from docs.tiles import Frame, tiled
from envs.maze.batch import compile_mazes, pair_distances
from envs.maze.explorers import tours
from envs.maze.generators import GENERATORS
from envs.maze.policies import planned
from envs.maze.views import View

SIDE = 13
HORIZON = 100
LIGHT = np.array([255, 214, 92], dtype=np.float64)
"""Colour of the cells that an agent sees."""


def maze() -> Frame:
    """An episode in a maze: the way to the first find."""
    env = gymnasium.make(
        "metarl/GridMaze-v0", maze="mst", size=SIDE, respawn="start", render_mode="rgb_array"
    )
    env.reset(seed=4)
    task = env.unwrapped.task  # type: ignore[attr-defined]
    for before, after in list(pairwise(task.layout.shortest_path(task.start, task.goal)))[:-1]:
        env.step(_action(before, after))
    frame: Frame = env.render()  # type: ignore[assignment]
    return frame


def generators() -> Frame:
    """A maze of every generator, and one whose dead ends are opened."""
    families = {name: envs.MazeFamily(name, SIDE) for name in GENERATORS}
    families["dfs, loops=1"] = envs.MazeFamily("dfs", SIDE, loops=1.0)
    shown = {}
    for name, family in families.items():
        (task,) = family.sample(1, np.random.default_rng(2))
        shown[name] = envs.draw(task.layout, task.start, task.goal, cell_size=16)
    return tiled(shown, columns=5, width=160)


def named() -> Frame:
    """The named mazes, one goal of each."""
    shown = {}
    for name, tasks in envs.named_mazes().by_maze.items():
        (task, *_) = tasks
        shown[name] = envs.draw(task.layout, task.start, task.goal, cell_size=16)
    return tiled(shown, columns=5, width=160)


def seen() -> Frame:
    """One place in one maze in each view: above the maze, below what the agent is shown."""
    (task,) = envs.MazeFamily("prim", SIDE).sample(1, np.random.default_rng(6))
    shown = {}
    for view in get_args(View):
        env: Any = gymnasium.make("metarl/GridMaze-v0", tasks=(task,), view=view, facing="down")
        observation, _ = env.reset(seed=0)
        cell, way = env.unwrapped.agent_position, env.unwrapped.agent_direction
        side = int(view[-1])
        square = observation[: side * side].reshape(side, side)
        lit = _lit(task, cell, way, square)
        given = np.kron(np.choose(square.astype(int) + 1, [160, 232, 70]), np.ones((16, 16)))
        below = np.full((140, lit.shape[1], 3), 255, dtype=np.uint8)
        left = (below.shape[1] - given.shape[1]) // 2
        below[14 : 14 + len(given), left : left + given.shape[1]] = given[..., None]
        shown[f"{view}\n{square.size} numbers"] = np.concatenate((lit, below))
    return tiled(shown, columns=4, width=230)


def _lit(task: Any, cell: tuple[int, int], way: int | None, square: Any) -> Frame:
    """The maze, with the cells that are seen in another light."""
    size, side = 18, len(square)
    picture = envs.draw(task.layout, cell, None, cell_size=size, facing=way).astype(np.float64)
    for i, j in np.argwhere(square > -1).tolist():
        down, across = i - side // 2, j - side // 2
        if way is not None:  # the agent stands in the middle of the last row, and looks down here
            down, across = side - 1 - i, -(j - side // 2)
        row, column = cell[0] + down, cell[1] + across
        inside = 0 <= row < task.layout.height and 0 <= column < task.layout.width
        if inside and (row, column) != cell:
            part = picture[row * size : (row + 1) * size, column * size : (column + 1) * size]
            part[:] = 0.55 * part + 0.45 * LIGHT
    return picture.astype(np.uint8)


def anchors() -> Frame:
    """Who the anchors are, in one maze: their ways to the first find, and what they earn."""
    task = envs.MazeFamily("mst", 11).sample(60, np.random.default_rng(0))[6]
    trial: Any = {"horizon": HORIZON, "reward": 1.0, "respawn": "start"}
    earned = envs.layout_anchors([task], **trial)
    mazes = compile_mazes([task])
    times = tours(mazes, pair_distances(mazes), 256, 0)
    best = planned(mazes, None, times, "start", HORIZON)
    walks = {
        "random": ("floor", "random actions", _wandered(task)),
        "explorer": ("explorer", "sees walls beside it", _toured(task, times[0])),
        "ceiling": ("ceiling", "knows the walls", _toured(task, best[0])),
        "oracle": (
            "oracle",
            "knows the goal too",
            task.layout.shortest_path(task.start, task.goal),
        ),
    }
    shown = {}
    for rung, (name, known, walk) in walks.items():
        finds = float(getattr(earned, rung)[0])
        caption = f"{name}: {finds:.1f} finds\n{known}; way of {len(walk) - 1} steps"
        shown[caption] = envs.draw(task.layout, task.start, task.goal, walk, cell_size=22)
    return tiled(shown, columns=4, width=242)


def _wandered(task: Any) -> list[tuple[int, int]]:
    """Random actions, up to the first find or the end."""
    rng = np.random.default_rng(1)
    cells = [task.start]
    while cells[-1] != task.goal and len(cells) <= HORIZON:
        row, column = cells[-1]
        ahead = [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
        to = ahead[int(rng.integers(4))]
        cells.append(cells[-1] if task.layout.walls[to] else to)
    return cells


def _toured(task: Any, times: torch.Tensor) -> list[tuple[int, int]]:
    """The way to the goal by the tour that is neither lucky nor unlucky, of some.

    Args:
        task: The maze.
        times: When each tour first enters each cell, int64 [K, P].
    """
    at, layout = times[:, task.goal_number], task.layout
    times = times[int((at == at.median()).nonzero()[0])]
    order = [layout.free_cells[number] for number in times.argsort().tolist()]
    cells = [task.start]
    for cell in order[1 : order.index(task.goal) + 1]:
        cells += layout.shortest_path(cells[-1], cell)[1:]
    return cells


def _action(before: tuple[int, int], after: tuple[int, int]) -> int:
    """The action that leads from a cell to one beside it."""
    steps = [(-1, 0), (1, 0), (0, -1), (0, 1)]
    return steps.index((after[0] - before[0], after[1] - before[1]))
