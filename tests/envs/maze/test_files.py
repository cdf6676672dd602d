"""Mazes read from pictures, and what is said of pictures that are none."""

from pathlib import Path

import pytest
from hypothesis import given, settings

from envs import Layout, MazeTask, maze_tasks
from envs.maze.files import read_pictures, tasks_from_file
from tests.envs.maze.strategies import tasks

TWO = """

  #####
  #S.G#
  #####

#######
#..G..#
#.#^#.#
#G    #
#######
"""


def written(path: Path, text: str) -> Path:
    (path / "mazes.txt").write_text(text, encoding="utf-8")
    return path / "mazes.txt"


def test_several_mazes_and_several_goals(tmp_path: Path) -> None:
    read = tasks_from_file(written(tmp_path, TWO))
    second = Layout(("#######", "#.....#", "#.#.#.#", "#.....#", "#######"))
    assert list(read) == [
        MazeTask(Layout(("#####", "#...#", "#####")), goal=(1, 3), start=(1, 1)),
        MazeTask(second, goal=(1, 3), start=(2, 3), direction=3),
        MazeTask(second, goal=(3, 1), start=(2, 3), direction=3),
    ]


@pytest.mark.parametrize(("mark", "direction"), [(">", 0), ("v", 1), ("<", 2), ("^", 3)])
def test_directions(mark: str, direction: int) -> None:
    (picture,) = read_pictures(f"#####\n#.{mark}G#\n#####")
    assert (picture.start, picture.direction) == ((1, 2), direction)
    assert picture.tasks()[0].direction == direction


def test_every_goal_where_there_is_none(tmp_path: Path) -> None:
    layout = Layout(("#####", "#...#", "#...#", "#...#", "#####"))
    read = tasks_from_file(written(tmp_path, layout.to_ascii()))
    assert read == maze_tasks(layout)
    started = layout.to_ascii().replace("#...", "#S..", 1)
    assert set(tasks_from_file(written(tmp_path, started))) == set(maze_tasks(layout, (1, 1)))


def test_line_ends_and_marks_of_other_systems(tmp_path: Path) -> None:
    path = tmp_path / "mazes.txt"
    path.write_bytes(b"\xef\xbb\xbf#####\r\n#S.G#\r\n#####\r\n \r\n")
    assert len(tasks_from_file(path)) == 1


@settings(max_examples=30)
@given(tasks())
def test_what_a_task_writes_is_read(task: MazeTask) -> None:
    (picture,) = read_pictures(task.to_ascii())
    assert picture.tasks() == (task,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n#####\n#S.G#\n##x##", r"line 4, column 3: unknown character 'x': allowed are # \(wall"),
        ("  #####\n  #S.g#\n  #####", r"line 2, column 6: unknown character 'g'"),
        ("#####\n#S.G#\n######", r"line 3, column 1: the row has 6 cells .* first has 5"),
        ("#####\n#S.G.\n#####", r"line 2, column 5: the border is open"),
        ("#####\n#S.S#\n#####", r"line 2, column 4: a second start"),
        ("#####\n#S<G#\n#####", r"line 2, column 3: a second start"),
        ("#####\n#S#G#\n#####", r"line 1: free cell \(1, 3\) cannot be reached"),
        ("#####\n#G###\n#####", r"line 1: a layout needs at least 2 free cells"),
        ("\n \n", "has no maze in it"),
    ],
)
def test_bad_pictures_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ValueError, match=rf"mazes\.txt,? {message}"):
        tasks_from_file(path)


def test_a_task_drawn_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"mazes.txt: picture 2 shows a task that an earlier one"):
        tasks_from_file(written(tmp_path, "#####\n#S.G#\n#####\n\n#####\n#S.G#\n#####"))


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mazes.txt"
    path.write_bytes(b"\xff\xfe#")
    with pytest.raises(ValueError, match=r"mazes\.txt is no text file in UTF-8"):
        tasks_from_file(path)
    with pytest.raises(FileNotFoundError):
        tasks_from_file(tmp_path / "absent.txt")
