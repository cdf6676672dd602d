"""Hypothesis strategies: random mazes and tasks."""

from hypothesis import strategies as st

from envs.maze.layout import MOVES, Layout
from envs.maze.tasks import MazeTask


@st.composite
def layouts(draw: st.DrawFn, max_side: int = 9) -> Layout:
    """Mazes dug by a random walk from the centre: connected, of any shape and side."""
    height, width = draw(st.integers(3, max_side)), draw(st.integers(4, max_side))
    row, column = height // 2, width // 2
    dug = {(row, column), (row, column - 1)}
    for move in draw(st.lists(st.sampled_from(MOVES), max_size=60)):
        down, right = move
        row = min(max(row + down, 1), height - 2)
        column = min(max(column + right, 1), width - 2)
        dug.add((row, column))
    return Layout(
        tuple("".join(".#"[(r, c) not in dug] for c in range(width)) for r in range(height))
    )


@st.composite
def tasks(draw: st.DrawFn, layout: Layout | None = None) -> MazeTask:
    """A task with any goal and any start."""
    layout = draw(layouts()) if layout is None else layout
    start, goal = draw(st.permutations(layout.free_cells))[:2]
    return MazeTask(layout, goal=goal, start=start)
