import numpy as np
import pytest

from envs import GridMazeEnv, GridMazeVectorEnv, Layout, MazeTask, draw, pillar_maze
from envs.maze.drawing import AGENT, FLOOR, GOAL, WALL

LAYOUT = pillar_maze(7)


def colour_at(picture: np.ndarray, row: float, column: float, size: int) -> tuple[int, ...]:  # type: ignore[type-arg]
    return tuple(int(x) for x in picture[int(row * size), int(column * size)])


def test_what_is_where() -> None:
    picture = draw(LAYOUT, agent=(1, 1), goal=(5, 3), cell_size=40)
    assert (picture.shape, picture.dtype) == ((280, 280, 3), np.uint8)
    assert colour_at(picture, 1.5, 1.6, 40) == AGENT
    assert colour_at(picture, 5.5, 3.5, 40) == GOAL
    assert colour_at(picture, 2.4, 2.5, 40) == WALL
    assert colour_at(picture, 3.5, 5.5, 40) == FLOOR


def test_goal_can_be_hidden() -> None:
    assert colour_at(draw(LAYOUT, agent=(1, 1), cell_size=40), 5.5, 3.5, 40) == FLOOR


def test_trail_fades_and_does_not_join_a_teleport() -> None:
    trail = [(1, column) for column in (1, 2, 3, 4, 5)] + [(5, 1), (5, 2), (5, 3)]
    picture = draw(LAYOUT, agent=(5, 3), trail=trail, cell_size=40)
    old = colour_at(picture, 1.5, 2.0, 40)
    new = colour_at(picture, 5.5, 2.0, 40)
    assert old != FLOOR
    assert sum(new) < sum(old), "the newer part is darker"
    assert colour_at(picture, 3.5, 3.5, 40) == FLOOR


def test_edges_are_smooth() -> None:
    picture = draw(LAYOUT, agent=(3, 3), cell_size=40)
    around = picture[120:160, 120:160].reshape(-1, 3)
    assert len(np.unique(around, axis=0)) > 10


def test_caption_adds_a_panel_of_fixed_height() -> None:
    bare = draw(LAYOUT, agent=(1, 1), cell_size=32)
    short = draw(LAYOUT, agent=(1, 1), cell_size=32, caption="trained\nstep 1")
    long = draw(LAYOUT, agent=(1, 1), cell_size=32, caption="trained\nstep 200   " + "x" * 40)
    assert short.shape == long.shape
    assert short.shape[0] > bare.shape[0]
    assert short.shape[1] == bare.shape[1]
    assert np.array_equal(short[: len(bare)], bare)
    assert (long[len(bare) :, -4:] == 255).all(), "letters keep within the picture"
    assert (short[len(bare) :].min(axis=(0, 1)) < 120).all(), "there is text"


@pytest.mark.parametrize("size", [5, 7, 13, 21])
def test_films_have_even_sides(size: int) -> None:
    picture = draw(pillar_maze(size), agent=(1, 1), caption="a\nb")
    assert picture.shape[0] % 2 == picture.shape[1] % 2 == 0


def test_drawing_leaves_the_empty_maze_alone() -> None:
    first = draw(LAYOUT, agent=(1, 1), cell_size=20)
    draw(LAYOUT, agent=(5, 5), goal=(1, 5), trail=[(3, 3), (3, 4)], cell_size=20)
    assert np.array_equal(draw(LAYOUT, agent=(1, 1), cell_size=20), first)


def test_oblong_mazes() -> None:
    corridor = Layout(("#####", "#...#", "#####"))
    assert draw(corridor, agent=(1, 2), cell_size=10).shape == (30, 50, 3)


def test_tiny_cells_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 4 pixels, got 3"):
        draw(LAYOUT, agent=(1, 1), cell_size=3)


def test_an_agent_that_turns_points_where_it_looks() -> None:
    ahead = {0: (0, 1), 1: (1, 0), 2: (0, -1), 3: (-1, 0)}
    for facing, (down, right) in ahead.items():
        picture = draw(LAYOUT, agent=(3, 3), facing=facing, cell_size=40)
        tip = colour_at(picture, 3.5 + 0.3 * down, 3.5 + 0.3 * right, 40)
        behind = colour_at(picture, 3.5 - 0.42 * down, 3.5 - 0.42 * right, 40)
        assert (tip, behind) == (AGENT, FLOOR)


def test_environments_draw_every_layout_and_agents_that_turn() -> None:
    tasks = [MazeTask(pillar_maze(side), (1, 1), direction=3) for side in (5, 7)]
    many = GridMazeVectorEnv(2, tasks=tasks, view="egocentric-5", render_mode="rgb_array")
    many.reset(options={"tasks": tasks})
    frames = many.render()
    assert frames is not None
    for frame, task in zip(frames, tasks, strict=True):
        expected = draw(task.layout, agent=task.start, goal=task.goal, facing=3)
        assert np.array_equal(frame, expected)
    one = GridMazeEnv(tasks=tasks, view="egocentric-5", render_mode="ansi")
    one.reset(options={"task": tasks[0]})
    text = one.render()
    assert text.splitlines()[2] == "#.^.#"
    one.step(1)
    assert one.render().splitlines()[2] == "#.>.#"
    assert one.get_keys_to_action() == {("a",): 0, ("d",): 1, ("w",): 2}
