"""Pictures of a maze: walls, floor, goal, the agent with its fading trail, and a caption.

Everything is drawn `SUPERSAMPLING` times too large and averaged down, so that round things have
smooth edges. The empty maze is drawn once and kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ..base.pictures import PICTURE_WIDTH, Colour, Frame, Scene, panel
from .layout import Cell, Layout

__all__ = ["MazePictures", "draw", "maze_caption"]

SUPERSAMPLING = 3
TRAIL_LENGTH = 60
"""Steps after which the trail has faded to its faintest."""

FLOOR: Colour = (247, 244, 238)
GRID: Colour = (236, 231, 222)
WALL: Colour = (62, 74, 97)
WALL_EDGE: Colour = (48, 58, 78)
AGENT: Colour = (44, 123, 182)
AGENT_EDGE: Colour = (255, 255, 255)
GOAL: Colour = (244, 178, 62)
GOAL_TILE: Colour = (253, 234, 196)

ARROWS = "↑↓←→"
"""Actions in words."""

TURN_NAMES = ("turn left", "turn right", "ahead")
"""Those of an agent that turns."""


def draw(
    layout: Layout,
    agent: Cell,
    goal: Cell | None = None,
    trail: Sequence[Cell] = (),
    caption: str = "",
    cell_size: int | None = None,
    facing: int | None = None,
) -> Frame:
    """Draws a maze.

    Args:
        layout: The walls.
        agent: (row, column) of the agent.
        goal: (row, column) of the goal, if it is to be shown.
        trail: The cells the agent came through, oldest first; neighbours are joined, a jump (a
            teleport) is not.
        caption: Text below the maze; the first line is its title. The panel's height depends on
            the number of lines only, so that frames of a film fit.
        cell_size: Side of a cell in pixels, at least 4; by default 32, or more in a small maze.
        facing: The way an agent that turns looks: 0 right, 1 down, 2 left, 3 up. It is drawn as
            a triangle then.

    Returns:
        uint8 [height, width, 3]; width is ``layout.width * cell_size``.

    Raises:
        ValueError: If `cell_size` is below 4.
    """
    if cell_size is None:
        cell_size = max(32, PICTURE_WIDTH // layout.width // 2 * 2)
    if cell_size < 4:
        raise ValueError(f"cell_size must be at least 4 pixels, got {cell_size}")
    image = _empty_maze(layout, cell_size).copy()
    pen = ImageDraw.Draw(image)
    unit = cell_size * SUPERSAMPLING
    if goal is not None:
        _draw_goal(pen, goal, unit)
    _draw_trail(pen, trail, unit)
    if goal is not None:
        _draw_star(pen, goal, unit)
    if facing is None:
        _draw_agent(pen, agent, unit)
    else:
        _draw_turning_agent(pen, agent, facing, unit)
    picture = np.asarray(image.reduce(SUPERSAMPLING))
    if caption:
        picture = np.concatenate((picture, panel(caption, picture.shape[1], cell_size)))
    return np.ascontiguousarray(picture)


def maze_caption(title: str, step: int, horizon: int, action: str, total_reward: float) -> str:
    """The two lines the environments put below their pictures."""
    return f"{title}\nstep {step}/{horizon}   action {action}   reward {total_reward:g}"


@lru_cache(maxsize=16)
def _empty_maze(layout: Layout, cell_size: int) -> Image.Image:
    """Floor, walls and the faint grid between floor cells, at the large scale."""
    unit = cell_size * SUPERSAMPLING
    image = Image.new("RGB", (layout.width * unit, layout.height * unit), FLOOR)
    pen = ImageDraw.Draw(image)
    line = max(1, SUPERSAMPLING * cell_size // 32)
    for row, column in layout.free_cells:
        left, top = column * unit, row * unit
        pen.rectangle((left, top, left + unit - 1, top + unit - 1), outline=GRID, width=line)
    for row, column in np.argwhere(layout.walls).tolist():
        left, top = column * unit, row * unit
        pen.rectangle((left, top, left + unit - 1, top + unit - 1), fill=WALL)
        below_is_floor = row + 1 < layout.height and not layout.walls[row + 1, column]
        if below_is_floor:  # a darker foot gives the walls some height
            pen.rectangle((left, top + 0.86 * unit, left + unit - 1, top + unit - 1), WALL_EDGE)
    return image


def _draw_goal(pen: ImageDraw.ImageDraw, goal: Cell, unit: int) -> None:
    """The tile below the trail."""
    left, top, inset = goal[1] * unit, goal[0] * unit, 0.06 * unit
    box = (left + inset, top + inset, left + unit - inset, top + unit - inset)
    pen.rounded_rectangle(box, radius=0.22 * unit, fill=GOAL_TILE)


def _draw_star(pen: ImageDraw.ImageDraw, goal: Cell, unit: int) -> None:
    """The star above the trail."""
    x, y = _middle(goal, unit)
    radii = (0.36 * unit, 0.16 * unit)
    points = [
        (
            x + radii[k % 2] * math.sin(k * math.pi / 5),
            y - radii[k % 2] * math.cos(k * math.pi / 5),
        )
        for k in range(10)
    ]
    pen.polygon(points, fill=GOAL)


def _draw_trail(pen: ImageDraw.ImageDraw, trail: Sequence[Cell], unit: int) -> None:
    """A band from cell to cell, fainter the older; newer parts lie on top."""
    half = 0.11 * unit
    for age, (before, after) in zip(range(len(trail) - 1, 0, -1), pairwise(trail), strict=True):
        if abs(before[0] - after[0]) + abs(before[1] - after[1]) > 1:
            continue
        strength = 0.15 + 0.6 * max(0.0, 1 - age / TRAIL_LENGTH)
        colour = _blend(FLOOR, AGENT, strength)
        (x0, y0), (x1, y1) = _middle(before, unit), _middle(after, unit)
        box = (min(x0, x1) - half, min(y0, y1) - half, max(x0, x1) + half, max(y0, y1) + half)
        pen.rounded_rectangle(box, radius=half, fill=colour)


def _draw_agent(pen: ImageDraw.ImageDraw, agent: Cell, unit: int) -> None:
    x, y = _middle(agent, unit)
    for radius, colour in ((0.36 * unit, AGENT_EDGE), (0.3 * unit, AGENT)):
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    radius, x, y = 0.09 * unit, x - 0.1 * unit, y - 0.1 * unit
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_blend(AGENT, FLOOR, 0.55))


def _draw_turning_agent(pen: ImageDraw.ImageDraw, agent: Cell, facing: int, unit: int) -> None:
    """A triangle whose tip is ahead."""
    x, y = _middle(agent, unit)
    for size, colour in ((0.46 * unit, AGENT_EDGE), (0.37 * unit, AGENT)):
        corners = [math.pi / 2 * facing + turn for turn in (0.0, 0.75 * math.pi, 1.25 * math.pi)]
        pen.polygon([(x + size * math.cos(a), y + size * math.sin(a)) for a in corners], colour)


def _middle(cell: Cell, unit: int) -> tuple[float, float]:
    """(x, y) of a cell's middle."""
    return (cell[1] + 0.5) * unit, (cell[0] + 0.5) * unit


def _blend(below: Colour, above: Colour, strength: float) -> Colour:
    red, green, blue = (round(b + strength * (a - b)) for b, a in zip(below, above, strict=True))
    return red, green, blue


class MazePictures:
    """Pictures that films ask of a problem of mazes (`metarl.evaluate.film.Filmed`)."""

    def watch(self, env: Any) -> Tensor:
        """Row and column of every agent, ``[B, 2]``; and where those look that turn, ``[B, 3]``."""
        mazes = env.unwrapped
        positions: Tensor = mazes.agent_positions
        if not mazes.settings.sight.turning:
            return positions
        return torch.cat((positions, mazes.agent_directions.unsqueeze(1)), 1)

    def pictures(self, scene: Scene, t: int, cell_size: int | None) -> tuple[Frame, ...]:
        """The maze after t steps; a find is shown on the goal first, then where it led to."""
        after = _picture(scene, t, cell_size)
        return (_picture(scene, t, cell_size, arriving=True), after) if scene.found(t) else (after,)

    def whole(self, scene: Scene, t: int, cell_size: int | None) -> Frame:
        """The maze with the way of t steps."""
        return _picture(scene, t, cell_size, whole_trail=True)


def _picture(
    scene: Scene,
    t: int,
    cell_size: int | None,
    *,
    arriving: bool = False,
    whole_trail: bool = False,
) -> Frame:
    """A maze after t steps, uint8 ``[height, width, 3]``.

    Args:
        scene: What was played; cells were noted, and where an agent looked that turns.
        t: Steps taken.
        cell_size: Pixels of a cell; None chooses by the maze.
        arriving: Step t found the goal: show the agent on it, before the teleport.
        whole_trail: Show the way since the start, not since the last teleport.
    """
    cells = [(int(row), int(column)) for row, column in scene.seen[: t + 1, :2]]
    turning = scene.seen.shape[1] > 2
    looks = scene.seen[t - arriving]  # who arrives has gone ahead
    goal = scene.task.goal
    finds = [k for k in range(1, t + (not arriving)) if scene.found(k)]
    start = 0 if whole_trail or not finds else finds[-1]
    trail = cells[start:]
    names = TURN_NAMES if turning else ARROWS
    action = names[int(scene.actions[t - 1])] if t else "–"
    return draw(
        scene.task.layout,
        agent=goal if arriving else cells[t],
        goal=goal,
        trail=(*trail[:-1], goal) if arriving else trail,
        caption=f"{scene.title}\nstep {t}  action {action}  reward {scene.earned(t):g}",
        cell_size=cell_size,
        facing=int(looks[2]) if turning else None,
    )
