"""The named mazes: facts that were published or counted, maze by maze."""

import pickle

import pytest

from envs import GridMazeEnv, TaskSet
from envs.maze.named import FAMILIES, NAMED_MAZES, named_mazes

# Free cells, dead ends, independent cycles, moves of the shortest way.
TABLE = {
    "SixteenRooms": (123, 0, 44, 20),
    "SixteenRooms2": (116, 0, 37, 22),
    "Labyrinth": (97, 2, 0, 96),
    "LabyrinthFlipped": (97, 2, 0, 96),
    "Labyrinth2": (97, 2, 0, 96),
    "StandardMaze": (96, 10, 0, 40),
    "StandardMaze2": (97, 8, 1, 56),
    "StandardMaze3": (98, 6, 1, 39),
}


@pytest.mark.parametrize("name", TABLE)
def test_facts(name: str) -> None:
    task = named_mazes()[name]
    layout = task.layout
    assert (layout.height, layout.width) == (15, 15)
    degrees = [len(layout.neighbours(cell)) for cell in layout.free_cells]
    cycles = sum(degrees) // 2 - layout.num_free + 1
    moves = layout.distances_from(task.start)[task.goal_number]
    assert (layout.num_free, degrees.count(1), cycles, moves) == TABLE[name]


def test_labyrinth_flipped_is_labyrinth_mirrored() -> None:
    mazes = named_mazes()
    flipped = [row[::-1].replace(">", "<") for row in str(mazes["Labyrinth"]).splitlines()]
    assert flipped == str(mazes["LabyrinthFlipped"]).splitlines()
    assert mazes["LabyrinthFlipped"].direction == 2
    assert {task.direction for name, task in mazes.items() if name != "LabyrinthFlipped"} == {0}


@pytest.mark.parametrize(("name", "side", "goals"), [("Small", 13, 10), ("Large", 19, 16)])
def test_corridors(name: str, side: int, goals: int) -> None:
    mazes = named_mazes(f"{name}Corridor")
    assert len(mazes) == goals
    assert mazes.names[0] == f"{name}Corridor/1"
    layout, middle = mazes[0].layout, side // 2 + 1
    assert {task.start for task in mazes} == {(middle, 1)}
    places = {(r, c) for r in (middle - 1, middle + 1) for c in range(3, side, 2)}
    assert {task.goal for task in mazes} == places
    for goal in places:
        assert len(layout.neighbours(goal)) == 1, "a dead end"
    assert all(layout.is_free((row, 1)) and layout.is_free((row, side)) for row in range(1, side))


def test_they_are_a_task_set_and_a_dictionary() -> None:
    mazes = named_mazes()
    assert isinstance(mazes, TaskSet)
    assert len(mazes) == 8 + 10 + 16
    by_name = dict(mazes)
    assert list(by_name) == list(mazes.names) == [name for name, _ in mazes.items()]
    assert by_name == mazes.by_name
    assert mazes["StandardMaze2"] == mazes[6] == by_name["StandardMaze2"]
    assert "StandardMaze" in mazes
    assert mazes[0] in mazes
    assert "Maze" not in mazes
    assert tuple(mazes.by_maze) == NAMED_MAZES
    assert sum(len(goals) for goals in mazes.by_maze.values()) == len(mazes)
    assert pickle.loads(pickle.dumps(mazes)) == mazes
    assert named_mazes() is mazes
    parts = mazes.split()
    assert sum(map(len, parts)) == len(mazes)


def test_every_maze_is_of_one_family() -> None:
    assert sorted(name for family in FAMILIES.values() for name in family) == sorted(NAMED_MAZES)
    assert named_mazes().called(named_mazes()["LargeCorridor/3"]) == ("corridors", "LargeCorridor")


def test_they_can_be_played() -> None:
    task = named_mazes()["StandardMaze"]
    env = GridMazeEnv(tasks=[task])
    env.reset(seed=0)
    assert env.agent_position == task.start


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="no maze is called 'Maze3': choose from SixteenRooms,"):
        named_mazes("Labyrinth", "Maze3")
    with pytest.raises(KeyError, match="SmallCorridor has 10 goals"):
        named_mazes()["SmallCorridor"]
    with pytest.raises(KeyError, match="no maze is called 'Maze'"):
        named_mazes()["Maze"]
