import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from envs import (
    Layout,
    MazeFamily,
    MazeTask,
    TaskSet,
    maze_tasks,
    pillar_maze,
    split_by_layout,
)
from envs.maze.generators import make_layout
from tests.envs.maze.strategies import layouts, tasks

LAYOUT = pillar_maze(13)
EVERY = maze_tasks(LAYOUT)
RING = Layout.from_ascii("#####\n#...#\n#.#.#\n#...#\n#####")
CORRIDOR = Layout(("#####", "#...#", "#####"))
ROOT = Path(__file__).parents[3]


@given(tasks())
def test_round_trips(task: MazeTask) -> None:
    for again in (MazeTask.from_json(task.to_json()), MazeTask.from_ascii(task.to_ascii())):
        assert again == task
        assert hash(again) == hash(task)
        assert again.task_id == task.task_id


def test_start_is_the_centre_by_default() -> None:
    assert MazeTask(LAYOUT, (1, 1)).start == (6, 6)


def test_start_of_a_layout_with_a_wall_in_its_middle() -> None:
    assert MazeTask(RING, (1, 1)).start == (1, 2)
    assert {task.start for task in maze_tasks(RING)} == {(1, 2)}
    assert len(maze_tasks(RING)) == 7


@given(tasks(), st.none() | st.integers(0, 3))
def test_arrays_say_the_task(task: MazeTask, direction: int | None) -> None:
    task = replace(task, direction=direction)
    goal, start, rows, *rest = task.arrays()
    assert task.layout.free_cells[int(goal)] == task.goal
    assert task.layout.free_cells[int(start)] == task.start
    assert Layout.from_packed(rows) == task.layout
    assert [int(number) for number in rest] == ([] if direction is None else [direction])
    assert MazeTask.from_arrays(*task.arrays()) == task


def test_layouts_of_any_sides_are_drawn_together() -> None:
    mixed = TaskSet((MazeTask(RING, (1, 1)), *EVERY.tasks[:3], MazeTask(CORRIDOR, (1, 1))))
    goals, starts, rows = mixed.draw(50, torch.Generator(), "cpu")
    assert rows.shape == (50, 13)
    drawn = {MazeTask.from_arrays(*row) for row in zip(goals, starts, rows.numpy(), strict=True)}
    assert drawn == set(mixed)


def test_draws_depend_on_the_number_of_tasks_alone() -> None:
    """As they were when a task was a goal and a start."""
    rows = torch.randint(len(EVERY), (9,), generator=torch.Generator().manual_seed(0))
    goals, starts, _ = EVERY.draw(9, torch.Generator().manual_seed(0), "cpu")
    assert goals.tolist() == [EVERY[int(row)].goal_number for row in rows]
    assert set(starts.tolist()) == {48}


def test_a_direction_is_part_of_the_task() -> None:
    plain = MazeTask(RING, (1, 1), (3, 3))
    pictures = set()
    for direction, mark in enumerate(">v<^"):
        task = replace(plain, direction=direction)
        assert mark in task.to_ascii()
        for again in (MazeTask.from_json(task.to_json()), MazeTask.from_ascii(task.to_ascii())):
            assert again == task
        pictures.add(task.task_id)
    assert len(pictures | {plain.task_id}) == 5
    assert "direction" not in plain.to_json()
    directed = TaskSet((task, replace(task, direction=0)))
    assert [column.shape for column in directed.draw(4, torch.Generator(), "cpu")][3] == (4,)


def test_bad_directions_are_refused() -> None:
    for direction, message in ((4, "at most 3, got 4"), (-1, "at least 0"), (0.5, "whole number")):
        with pytest.raises(ValueError, match=f"direction must be .*{message}"):
            MazeTask(RING, (1, 1), direction=direction)  # type: ignore[arg-type]
    some = TaskSet((MazeTask(RING, (1, 1)), MazeTask(RING, (1, 3), direction=1)))
    with pytest.raises(ValueError, match="some tasks say in which direction"):
        some.draw(1, torch.Generator(), "cpu")
    with pytest.raises(ValueError, match="exactly one 'S', found 2"):
        MazeTask.from_ascii("######\n#S>.G#\n######")


def test_ascii_shows_start_and_goal() -> None:
    assert MazeTask(pillar_maze(5), (1, 3)).to_ascii() == "#####\n#..G#\n#.S.#\n#...#\n#####"


def test_task_id_is_the_same_on_every_machine() -> None:
    assert MazeTask(LAYOUT, (1, 1)).task_id == "27ba1637a43139a0"


def test_task_id_and_split_do_not_depend_on_the_process() -> None:
    code = (
        "from envs import MazeTask, maze_tasks, pillar_maze\n"
        "m = pillar_maze(13)\n"
        "print(MazeTask(m, (1, 1)).task_id, *(t.goal for t in maze_tasks(m).split().test))"
    )
    command = [sys.executable, "-c", code]
    environment = {"PYTHONHASHSEED": "123", "PATH": "", "PYTHONPATH": str(ROOT)}
    out = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    goals = " ".join(str(task.goal) for task in EVERY.split().test)
    assert out.stdout.strip() == f"{MazeTask(LAYOUT, (1, 1)).task_id} {goals}"


def test_task_ids_differ_between_tasks() -> None:
    ids = {task.task_id for task in EVERY} | {MazeTask(LAYOUT, (1, 1), start=(1, 2)).task_id}
    assert len(ids) == len(EVERY) + 1


@pytest.mark.parametrize(
    ("goal", "start", "message"),
    [
        ((2, 2), None, "goal \\(2, 2\\) is in a wall"),
        ((13, 1), None, "goal \\(13, 1\\) is outside the 13 x 13"),
        ((-1, 1), None, "goal \\(-1, 1\\) is outside"),
        ((6, 6), None, "goal \\(6, 6\\) is the start"),
        ((1, 1), (0, 0), "start \\(0, 0\\) is in a wall"),
        ((1.5, 1), None, "goal \\(1.5, 1\\) is no cell: give \\(row, column\\)"),
        ((1, 1, 3), None, "goal \\(1, 1, 3\\) is no cell"),
        ((float("inf"), 1), None, "goal \\(inf, 1\\) is no cell"),
        (None, None, "goal None is no cell"),
        ("11", None, "goal '11' is no cell"),
        ((1, 1), (2.9, 1), "start \\(2.9, 1\\) is no cell"),
    ],
)
def test_bad_tasks_are_refused(
    goal: tuple[int, int], start: tuple[int, int] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        MazeTask(LAYOUT, goal, start)  # type: ignore[arg-type]


def test_whole_numbers_of_other_types_are_cells() -> None:
    for goal in (np.array([1, 3]), torch.tensor([1, 3]), (1.0, np.int64(3)), [1, 3]):
        task = MazeTask(LAYOUT, goal)  # type: ignore[arg-type]
        assert task == MazeTask(LAYOUT, (1, 3))
        assert [type(x) for x in task.goal] == [int, int]


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[1]",
        "garbage",
        '{"layout": ["####"], "goal": 3, "start": [1, 1]}',
        '{"layout": ["####", "#..#", "####"], "goal": [1.5, 1], "start": [1, 2]}',
        '{"layout": ["####", "#..#", "####"], "goal": [1, 1], "start": null}',
    ],
)
def test_foreign_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a maze task|border|at least|is no cell"):
        MazeTask.from_json(text)


def test_ascii_without_a_goal_is_refused() -> None:
    with pytest.raises(ValueError, match="exactly one 'G', found 0"):
        MazeTask.from_ascii("####\n#S.#\n####")


def test_json_is_plain() -> None:
    fields = json.loads(MazeTask(pillar_maze(5), (1, 3)).to_json())
    assert fields["goal"] == [1, 3]
    assert fields["layout"][0] == "#####"


# Task sets -------------------------------------------------------------------------------


def test_enumeration_covers_every_free_cell_but_the_start() -> None:
    goals = {task.goal for task in EVERY}
    assert len(EVERY) == len(goals) == 96
    assert goals == set(LAYOUT.free_cells) - {LAYOUT.centre}
    assert EVERY[5] in EVERY
    assert MazeTask(pillar_maze(9), (1, 1)) not in EVERY


def test_goals_of_another_start() -> None:
    elsewhere = maze_tasks(LAYOUT, (1, 1))
    assert {task.goal for task in elsewhere} == set(LAYOUT.free_cells) - {(1, 1)}
    assert {task.start for task in elsewhere} == {(1, 1)}
    with pytest.raises(ValueError, match="is in a wall"):
        maze_tasks(LAYOUT, (2, 2))


@pytest.mark.parametrize(
    "make", [np.random.default_rng, lambda s: torch.Generator().manual_seed(s)]
)
def test_sample_is_uniform_and_repeatable(make) -> None:  # type: ignore[no-untyped-def]
    drawn = EVERY.sample(9600, make(0))
    assert drawn == EVERY.sample(9600, make(0))
    assert drawn != EVERY.sample(9600, make(1))
    counts = np.bincount([task.goal_number for task in drawn], minlength=97)
    assert counts[LAYOUT.cell_number((6, 6))] == 0
    others = np.delete(counts, LAYOUT.cell_number((6, 6)))
    # 95 degrees of freedom: mean 95, standard deviation 13.8.
    assert ((others - 100) ** 2 / 100).sum() < 95 + 5 * 13.8
    assert others.min() > 0


def test_sample_draws_only_from_a_subset() -> None:
    few = EVERY.filter(lambda task: task.goal[0] == 1)
    assert {task.goal[0] for task in few.sample(100, np.random.default_rng(0))} == {1}
    numbers = {task.goal_number for task in few}
    goals, starts, _ = few.draw(500, torch.Generator(), "cpu")
    assert set(goals.tolist()) == numbers
    assert set(starts.tolist()) == {LAYOUT.cell_number((6, 6))}


@given(layouts(), st.floats(0, 1), st.floats(0, 1), st.text(max_size=3))
def test_splits_are_disjoint_and_complete(layout: Layout, a: float, b: float, salt: str) -> None:
    train, test = min(a, b), 1 - max(a, b)
    every = maze_tasks(layout)
    parts = every.split(train=train, validation=1 - train - test, test=test, salt=salt)
    dealt = [task for part in parts for task in part]
    assert len(dealt) == len(set(dealt))
    assert set(dealt) == set(every)


def test_split_sizes_are_about_the_fractions() -> None:
    sizes = [
        len(maze_tasks(pillar_maze(21)).split(train=0.7, validation=0.1, test=0.2, salt=s)[0])
        for s in "abcdefgh"
    ]
    assert abs(np.mean(sizes) / 280 - 0.7) < 0.05
    assert len(set(sizes)) > 1


def test_split_does_not_depend_on_order_or_on_the_other_tasks() -> None:
    backwards = TaskSet(tuple(reversed(EVERY.tasks)))
    assert set(backwards.split().test) == set(EVERY.split().test)
    upper = EVERY.filter(lambda task: task.goal[0] < 6)
    filtered_after = EVERY.split().test.filter(lambda task: task.goal[0] < 6)
    assert upper.split().test == filtered_after


def test_split_stays_as_it_is() -> None:
    assert len(EVERY.split().test) == 25
    assert [task.goal for task in EVERY.split().test][:3] == [(1, 2), (1, 4), (1, 7)]


def test_split_by_layout() -> None:
    """Four goals in each of 60 mazes: a maze is in one part, with all of its goals."""
    mazes = [make_layout("dfs", 9, seed) for seed in range(60)]
    several = TaskSet(tuple(MazeTask(m, goal) for m in mazes for goal in m.free_cells[:4]))
    parts = split_by_layout(several, train=0.5, validation=0.2, test=0.3)
    layouts_of = [{task.layout for task in part} for part in parts]
    assert sum(map(len, layouts_of)) == len(set(mazes)) == 60
    assert [len(part) for part in parts] == [4 * len(each) for each in layouts_of]
    assert all(layouts_of)
    family = MazeFamily("dfs", 9).split(train=0.5, validation=0.2, test=0.3)
    for side, part in zip(parts, family, strict=True):
        assert all(map(part.contains, side))
    apart = [{task.layout for task in part} for part in several.split()]
    assert apart[0] & apart[2]  # by task a maze may be in both


def test_empty_part_is_allowed_but_cannot_be_sampled() -> None:
    validation = EVERY.split().validation
    assert len(validation) == 0
    with pytest.raises(ValueError, match="empty task set"):
        validation.sample(1, np.random.default_rng(0))
    with pytest.raises(ValueError, match="empty task set"):
        validation.draw(1, torch.Generator(), "cpu")


def test_bad_task_sets_are_refused() -> None:
    with pytest.raises(ValueError, match=r"sum to 1\.2"):
        EVERY.split(train=1.0, test=0.2)
    with pytest.raises(ValueError, match="at least 0"):
        EVERY.split(train=1.2, test=-0.2)
    with pytest.raises(ValueError, match="named twice"):
        TaskSet((EVERY[0], EVERY[0]))
    with pytest.raises(TypeError, match="must be a Task"):
        TaskSet(((1, 1),))  # type: ignore[type-var]
    with pytest.raises(ValueError, match="cannot draw -1"):
        EVERY.sample(-1, np.random.default_rng(0))
