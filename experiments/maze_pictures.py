"""Pictures of episodes in mazes, for films: the agent, its trail, the hidden goal."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from envs.maze.drawing import draw
from metarl.evaluate.film import Frame, Scene

ARROWS = "↑↓←→"


class MazePictures:
    """Pictures that films ask of a problem of mazes (`metarl.evaluate.film.Filmed`)."""

    def watch(self, env: Any) -> Tensor:
        """Row and column of every agent, ``[B, 2]``."""
        positions: Tensor = env.unwrapped.agent_positions
        return positions

    def pictures(self, scene: Scene, t: int, cell_size: int | None) -> tuple[Frame, ...]:
        """The maze after t steps; a find is shown on the goal first, then where it led to."""
        after = picture(scene, t, cell_size)
        return (picture(scene, t, cell_size, arriving=True), after) if scene.found(t) else (after,)

    def whole(self, scene: Scene, t: int, cell_size: int | None) -> Frame:
        """The maze with the way of t steps."""
        return picture(scene, t, cell_size, whole_trail=True)


def picture(
    scene: Scene,
    t: int,
    cell_size: int | None,
    *,
    arriving: bool = False,
    whole_trail: bool = False,
) -> Frame:
    """A maze after t steps, uint8 ``[height, width, 3]``.

    Args:
        scene: What was played; cells were noted.
        t: Steps taken.
        cell_size: Pixels of a cell; None chooses by the maze.
        arriving: Step t found the goal: show the agent on it, before the teleport.
        whole_trail: Show the way since the start, not since the last teleport.
    """
    cells = [(int(row), int(column)) for row, column in scene.seen[: t + 1]]
    goal = scene.task.goal
    finds = [k for k in range(1, t + (not arriving)) if scene.found(k)]
    start = 0 if whole_trail or not finds else finds[-1]
    trail = cells[start:]
    action = ARROWS[int(scene.actions[t - 1])] if t else "–"
    return draw(
        scene.task.layout,
        agent=goal if arriving else cells[t],
        goal=goal,
        trail=(*trail[:-1], goal) if arriving else trail,
        caption=f"{scene.title}\nstep {t}  action {action}  reward {scene.earned(t):g}",
        cell_size=cell_size,
    )
