"""Sets of Minigrid tasks: counts known exactly, splits, files, refusals."""

import warnings
from pathlib import Path
from typing import Any

import pytest

from envs import MinigridTask, MinigridTasks, TaskSet, minigrid_tasks
from envs.minigrid import task_set
from tests.envs.minigrid.ids import WFC

SMALL = [
    ("LavaGapS5", 3),
    ("LavaGapS6", 8),
    ("LavaGapS7", 15),
    ("SimpleCrossingS9N1", 42),
    ("SimpleCrossingS9N2", 456),
    ("SimpleCrossingS9N3", 1_576),
    ("LavaCrossingS9N1", 42),
    ("LavaCrossingS9N2", 456),
    ("LavaCrossingS9N3", 1_576),
    ("DoorKey-5x5", 48),
    ("DoorKey-6x6", 816),
    ("Empty-5x5", 1),
    ("Empty-16x16", 1),
    ("Empty-Random-5x5", 32),
    ("Empty-Random-6x6", 60),
    ("MemoryS7", 16),
    ("MemoryS9", 24),
    ("MemoryS11", 32),
    ("MemoryS13", 40),
    ("MemoryS13Random", 196),
    ("MemoryS17Random", 396),
]


@pytest.mark.parametrize(("name", "count"), SMALL)
def test_every_task_of_a_small_family(name: str, count: int) -> None:
    """As many as counted by hand; and what seeds give is among them."""
    every = minigrid_tasks(f"MiniGrid-{name}-v0", seeds=None)
    read = minigrid_tasks(f"MiniGrid-{name}-v0", seeds=range(150))
    assert len(every) == len({task.task_id for task in every}) == count
    assert set(read.tasks) <= set(every.tasks)
    assert (every.num_seeds, read.num_seeds) == (None, 150)
    if count < 50:
        assert len(read) > 0.9 * count


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "count"), [("SimpleCrossingS11N5", 37_128), ("DoorKey-8x8", 20_400)]
)
def test_every_task_of_a_large_family(name: str, count: int) -> None:
    every = minigrid_tasks(f"MiniGrid-{name}-v0", seeds=None)
    read = minigrid_tasks(f"MiniGrid-{name}-v0", seeds=range(500))
    assert len(every) == count
    assert set(read.tasks) <= set(every.tasks)


@pytest.mark.slow
def test_counts_of_two_thousand_seeds() -> None:
    rooms = minigrid_tasks("MiniGrid-FourRooms-v0", seeds=range(2_000))
    assert (len(rooms), rooms.num_walls) == (2_000, 1_585)
    assert minigrid_tasks("MiniGrid-MultiRoom-N2-S4-v0", seeds=range(2_000)).num_walls == 1_439
    doors = minigrid_tasks("MiniGrid-DoorKey-8x8-v0", seeds=range(2_000))
    assert (len(doors), doors.num_walls) == (1_780, 20)


def test_seeds_are_counted_and_patience_ends_them() -> None:
    tasks = minigrid_tasks("MiniGrid-LavaGapS5-v0", seeds=range(10_000), patience=50)
    assert len(tasks) == 3
    assert tasks.num_seeds is not None
    assert 50 < tasks.num_seeds < 100
    assert tasks.summary() == (
        f"MiniGrid-LavaGapS5-v0: {tasks.num_seeds} seeds gave 3 tasks with 1 layouts of walls"
    )
    every = minigrid_tasks("MiniGrid-LavaGapS6-v0", seeds=None)
    assert every.summary() == "MiniGrid-LavaGapS6-v0: 8 tasks with 1 layouts of walls"


def test_any_seeds_in_any_order() -> None:
    forward = minigrid_tasks("MiniGrid-FourRooms-v0", seeds=[3, 1, 3, 2])
    assert [task.seed for task in forward] == [3, 1, 2]
    assert set(minigrid_tasks("MiniGrid-FourRooms-v0", seeds=range(3, 0, -1))) == set(forward)


def test_splits_by_task_and_by_walls() -> None:
    tasks = minigrid_tasks("MiniGrid-DoorKey-6x6-v0", seeds=None)
    parts = tasks.split(train=0.6, validation=0.2, test=0.2)
    assert set().union(*map(set, parts)) == set(tasks)
    assert sum(map(len, parts)) == len(tasks)
    assert all(isinstance(part, MinigridTasks) for part in parts)
    rooms = minigrid_tasks("MiniGrid-FourRooms-v0", seeds=range(60))
    train, _, test = rooms.split(by="walls", train=0.5, test=0.5)
    walls = [{task.walls_id() for task in part} for part in (train, test)]
    assert walls[0]
    assert walls[1]
    assert not walls[0] & walls[1]
    some = rooms.filter(lambda task: task.agent[0] > 9)
    inside = lambda part: {t for t in part if t.agent[0] > 9}  # noqa: E731
    assert set(some.split(by="walls", train=0.5, test=0.5).test) == inside(test)


def test_tiny_parts_are_warned_of() -> None:
    tasks = minigrid_tasks("MiniGrid-LavaGapS5-v0", seeds=None)
    with pytest.warns(UserWarning, match=r"the test part has \d tasks of 3: too few"):
        tasks.split(train=0.0, test=1.0)
    many = minigrid_tasks("MiniGrid-DoorKey-6x6-v0", seeds=None)
    with pytest.warns(UserWarning, match=r"the .* part has \d layouts of 6: too few"):
        many.split(by="walls")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        many.split()


def test_files_keep_what_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments: dict[str, Any] = {"seeds": range(30), "cache": tmp_path / "tasks"}
    tasks = minigrid_tasks("MiniGrid-DoorKey-5x5-v0", **arguments)
    (path,) = (tmp_path / "tasks").iterdir()
    monkeypatch.setattr(task_set, "_read", None)
    again = minigrid_tasks("MiniGrid-DoorKey-5x5-v0", **arguments)
    assert again == tasks
    assert [t.seed for t in again] == [t.seed for t in tasks]
    assert again.num_seeds == 30
    path.write_text("{}")
    with pytest.raises(ValueError, match=r"is no file of Minigrid tasks .*: remove it"):
        minigrid_tasks("MiniGrid-DoorKey-5x5-v0", **arguments)


def test_a_set_is_a_task_set() -> None:
    tasks = minigrid_tasks("MiniGrid-LavaGapS7-v0", seeds=None)
    assert isinstance(tasks, TaskSet)
    again = TaskSet.from_json(tasks.to_json(), MinigridTask)
    assert again.tasks == tasks.tasks


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"env_id": "MiniGrid-FourRoms-v0"}, ValueError, "did you mean .*MiniGrid-FourRooms-v0"),
        ({"env_id": "FourRooms"}, ValueError, "did you mean .*MiniGrid-FourRooms-v0"),
        ({"env_id": "MiniGrid-FourRooms"}, ValueError, "did you mean .*MiniGrid-FourRooms-v0"),
        ({"env_id": "zzz"}, ValueError, "no Minigrid environment 'zzz': they are such as MiniG"),
        ({"env_id": "CartPole-v1"}, ValueError, "is a CartPoleEnv, no Minigrid environment"),
        ({"env_id": "metarl/GridMaze-v0"}, ValueError, "is a GridMazeEnv, no Minigrid env"),
        ({"seeds": []}, ValueError, "there are no seeds to read"),
        ({"seeds": range(0)}, ValueError, "there are no seeds to read"),
        ({"seeds": [-1]}, ValueError, "a seed must be at least 0, got -1"),
        ({"seeds": range(3, -3, -1)}, ValueError, "a seed must be at least 0, got -2"),
        ({"seeds": ["a"]}, TypeError, "a seed must be a whole number"),
        ({"seeds": 10}, TypeError, "such as range"),
        ({"patience": 0}, ValueError, "patience must be at least 1, got 0"),
        ({"seeds": None}, ValueError, "MiniGrid-FourRooms-v0 are not known one by one"),
        ({"env_id": "MiniGrid-DoorKey-16x16-v0", "seeds": None}, ValueError, "6,568,016 tasks"),
    ],
)
def test_refusals(arguments: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        minigrid_tasks(**({"env_id": "MiniGrid-FourRooms-v0"} | arguments))


@pytest.mark.parametrize("env_id", WFC)
def test_what_the_wheel_lacks_is_said(env_id: str) -> None:
    from minigrid.envs.wfc.config import PATTERN_PATH

    if Path(PATTERN_PATH).exists():
        pytest.skip("this Minigrid has the patterns")
    with pytest.raises(
        ValueError, match=f"{env_id} cannot make a grid, .* not in Minigrid's wheel"
    ):
        minigrid_tasks(env_id, seeds=range(2))


def test_splits_of_unknown_kinds_are_refused() -> None:
    tasks = minigrid_tasks("MiniGrid-LavaGapS7-v0", seeds=None)
    with pytest.raises(ValueError, match="by must be 'task' or 'walls', got 'seed'"):
        tasks.split(by="seed")  # type: ignore[arg-type]
