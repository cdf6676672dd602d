"""Families of mazes: what is drawn, and that parts never share a layout."""

import json
import pickle
import warnings
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from envs import Layout, MazeFamily, MazeTask, layout_hash, pillar_maze
from envs.maze.bits import free_rows, unpack_rows
from envs.maze.generators import GENERATORS
from envs.maze.parts import holds
from envs.maze.search import cell_masks, distances, reachable

CPU = torch.device("cpu")
RANDOM = [name for name in GENERATORS if name not in ("pillars", "empty")]
every_generator = pytest.mark.parametrize("name", RANDOM)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def positions(cells: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """(row, column) of cell numbers, int64 [n, 2], counted one by one."""
    walls = unpack_rows(rows, rows.shape[1])
    free = [torch.argwhere(~grid) for grid in walls]
    return torch.stack([cells_of[number] for cells_of, number in zip(free, cells, strict=True)])


def moves_apart(goal: torch.Tensor, start: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    n, side = rows.shape
    far = distances(rows, cell_masks(positions(start, rows), side), side)
    row, column = positions(goal, rows).unbind(1)
    return far[torch.arange(n), row, column]


# What is drawn ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", GENERATORS)
def test_draws(name: str) -> None:
    family = MazeFamily(name, 11)
    goal, start, rows = family.draw(40, seeded(), CPU)
    assert (goal.dtype, start.dtype, rows.dtype) == (torch.int64,) * 3
    assert (goal.shape, start.shape, rows.shape) == ((40,), (40,), (40, 11))
    assert (moves_apart(goal, start, rows) >= 1).all()
    first = cell_masks(positions(start, rows), 11)
    assert torch.equal(reachable(rows, first), free_rows(rows))
    again = family.draw(40, seeded(), CPU)
    assert all(map(torch.equal, again, (goal, start, rows)))
    assert not torch.equal(family.draw(40, seeded(1), CPU)[0], goal)
    assert [len(column) for column in family.draw(0, seeded(), CPU)] == [0, 0, 0]


@every_generator
def test_samples_are_tasks(name: str) -> None:
    family = MazeFamily(name, (13, 15), loops=0.5)
    for rng in (seeded(), np.random.default_rng(0)):
        tasks = family.sample(12, rng)
        assert all(isinstance(task, MazeTask) for task in tasks)
        assert {task.layout.height for task in tasks} == {13, 15}
        assert len({task.layout for task in tasks}) > 10
    drawn = family.draw(12, seeded(), CPU)
    again = family.sample(12, seeded())
    columns = MazeTask.stack([task.arrays() for task in again])
    for column, stacked in zip(drawn, columns, strict=True):
        np.testing.assert_array_equal(column, stacked)


def test_start_is_the_room_nearest_to_the_centre() -> None:
    for size, room in ((9, (3, 3)), (11, (5, 5)), (13, (5, 5))):
        assert {task.start for task in MazeFamily("dfs", size).sample(20, seeded())} == {room}


def test_goals_are_uniform_over_the_other_cells() -> None:
    """A maze of one layout: 20 other cells, 4,000 draws."""
    goal, start, _ = MazeFamily("pillars", 7).draw(4000, seeded(), CPU)
    counts = torch.bincount(goal, minlength=21)
    assert start.unique().tolist() == [pillar_maze(7).cell_number((3, 3))]
    assert counts[start[0]] == 0
    chi = ((counts - 200.0) ** 2 / 200).sum() - 200
    assert chi < 19 + 5 * (2 * 19) ** 0.5


def test_starts_are_uniform_over_the_free_cells() -> None:
    goal, start, _ = MazeFamily("pillars", 7, start="uniform").draw(4200, seeded(), CPU)
    pairs = torch.bincount(start * 21 + goal, minlength=441).view(21, 21).double()
    assert (pairs.diagonal() == 0).all()
    others = pairs[~torch.eye(21, dtype=torch.bool)]
    assert ((others - 10) ** 2 / 10).sum() < 419 + 5 * (2 * 419) ** 0.5


def test_corners() -> None:
    family = MazeFamily("mst", 9, start="corner", goal="corner")
    tasks = family.sample(400, seeded())
    corners = {(1, 1), (1, 7), (7, 1), (7, 7)}
    assert len({(task.start, task.goal) for task in tasks}) == 12
    assert {task.start for task in tasks} == {task.goal for task in tasks} == corners


def test_far_goals_are_the_farthest() -> None:
    for task in MazeFamily("dfs", 9, goal="far").sample(30, seeded()):
        far = task.layout.distances_from(task.start)
        assert far[task.goal_number] == far.max()


def test_least_distance() -> None:
    for goal in ("uniform", "far", "corner"):
        family = MazeFamily("dfs", 9, min_distance=11, goal=goal)  # type: ignore[arg-type]
        drawn = family.draw(100, seeded(), CPU)
        assert (moves_apart(*drawn) >= 11).all()
    loose = MazeFamily("dfs", 9).draw(400, seeded(), CPU)
    assert (moves_apart(*loose) < 11).any()


def test_sides_are_equally_likely() -> None:
    _, _, rows = MazeFamily("dfs", (5, 11), min_distance=4).draw(2000, seeded(), CPU)
    heights = (rows != 0).sum(1)
    counts = [int((heights == side).sum()) for side in (5, 7, 9, 11)]
    assert sum(counts) == 2000
    assert max(abs(count - 500) for count in counts) < 5 * 500**0.5


def test_loops_open_dead_ends() -> None:
    plain, braided = MazeFamily("dfs", 9), MazeFamily("dfs", 9, loops=1.0)
    assert all(task.layout.num_free == 31 for task in plain.sample(9, seeded()))
    for task in braided.sample(9, seeded()):
        assert min(len(task.layout.neighbours(cell)) for cell in task.layout.free_cells) == 2


def test_any_function_is_a_generator() -> None:
    def ring(n: int, side: int, generator: torch.Generator, device: torch.device) -> torch.Tensor:
        walls = torch.ones((n, side, side), dtype=torch.bool, device=device)
        walls[:, 1:-1, 1:-1] = False
        draws = torch.rand((n, side - 4, side - 4), generator=generator, device=device)
        walls[:, 2:-2, 2:-2] = draws < 0.5
        return walls

    family = MazeFamily(ring, 10, start="uniform")
    train, _, test = family.split()
    hashes = [set(layout_hash(part.draw(300, seeded(), CPU)[2]).tolist()) for part in (train, test)]
    assert not hashes[0] & hashes[1]
    with pytest.raises(ValueError, match="has no stored form"):
        family.to_json()


def pocket(n: int, side: int, generator: torch.Generator, device: torch.device) -> torch.Tensor:
    """Two corridors of 3 cells with no way between them."""
    walls = torch.ones((n, 5, 5), dtype=torch.bool, device=device)
    walls[:, 1, 1:4] = walls[:, 3, 1:4] = False
    return walls


def test_what_cannot_be_reached_is_drawn_again_and_walled_up() -> None:
    family = MazeFamily(pocket, 5, start="uniform")
    goal, start, rows = family.draw(300, seeded(), CPU)
    assert {tuple(one) for one in unpack_rows(rows).sum((1, 2)).view(-1, 1).tolist()} == {(22,)}
    assert sorted({*goal.tolist(), *start.tolist()}) == [0, 1, 2]
    assert (moves_apart(goal, start, rows) > 0).all()
    wild = MazeFamily(pocket, 5, start="uniform", solvable=False)
    goal, start, rows = wild.draw(300, seeded(), CPU)
    assert (unpack_rows(rows).sum((1, 2)) == 19).all()
    assert bool((moves_apart(goal, start, rows) == -1).any())


# Parts -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "size", "up_to_symmetry"),
    [(name, 13, False) for name in RANDOM]
    + [("dfs", (13, 17), True), ("walls", (13, 17), False), ("caves", 13, True)],
)
def test_parts_never_share_a_layout(name: str, size: Any, up_to_symmetry: bool) -> None:
    family = MazeFamily(name, size, loops=0.2)
    parts = family.split(train=0.5, validation=0.2, test=0.3, up_to_symmetry=up_to_symmetry)
    whole = family.draw(600, seeded(9), CPU)[2]
    seen: list[set[int]] = []
    for seed, part in enumerate(parts):
        rows = part.draw(600, seeded(seed), CPU)[2]
        seen.append(set(layout_hash(rows, up_to_symmetry=up_to_symmetry).tolist()))
    assert not seen[0] & seen[1] | seen[0] & seen[2] | seen[1] & seen[2]
    belongs = [holds(part.parts, whole) for part in parts]
    assert (torch.stack(belongs).sum(0) == 1).all()
    for found, fraction in zip(belongs, (0.5, 0.2, 0.3), strict=True):
        assert abs(float(found.double().mean()) - fraction) < 5 * (0.25 / 600) ** 0.5


def test_all_of_a_small_family_falls_into_one_part_or_another() -> None:
    """The 192 perfect mazes of 3 x 3 rooms: each is drawn in its part, and nowhere else."""
    family = MazeFamily("mst", 7)
    every = set(layout_hash(family.draw(6_000, seeded(), CPU)[2]).tolist())
    assert len(every) == 192
    with pytest.warns(UserWarning, match="only .* different layouts"):
        parts = family.split(train=0.7, validation=0.1, test=0.2)
    seen = [set(layout_hash(part.draw(6_000, seeded(), CPU)[2]).tolist()) for part in parts]
    assert seen[0] | seen[1] | seen[2] == every
    assert sum(map(len, seen)) == 192


@settings(max_examples=10, deadline=None)
@given(st.floats(0.1, 0.8), st.text(max_size=3), st.text(max_size=3))
def test_parts_of_parts(train: float, salt: str, other: str) -> None:
    family = MazeFamily("dfs", 9)
    outer = family.split(train=train, test=1 - train, salt=salt)
    inner = outer.train.split(train=0.5, test=0.5, salt=other)
    rows = outer.train.draw(200, seeded(), CPU)[2]
    first, second = holds(inner.train.parts, rows), holds(inner.test.parts, rows)
    assert (first ^ second).all()
    assert 40 < int(first.sum()) < 160
    drawn = inner.test.draw(200, seeded(1), CPU)[2]
    assert holds(outer.train.parts, drawn).all()
    assert not (holds(outer.test.parts, drawn) | holds(inner.train.parts, drawn)).any()


def test_salt_gives_another_split() -> None:
    family = MazeFamily("dfs", 9)
    rows = family.draw(300, seeded(), CPU)[2]
    tests = [holds(family.split(salt=salt).test.parts, rows) for salt in ("", "a")]
    assert 0 < int((tests[0] & tests[1]).sum()) < int(tests[0].sum())


def test_contains() -> None:
    family = MazeFamily("dfs", 9)
    train, _, test = family.split()
    task = test.sample(1, seeded())[0]
    rows = family.draw(40, seeded(1), CPU)[2]
    one_by_one = [test.contains(Layout.from_packed(row)) for row in rows.numpy()]
    assert one_by_one == holds(test.parts, rows).tolist()
    assert test.contains(task)
    assert test.contains(task.layout)
    assert family.contains(task)
    assert not train.contains(task)
    assert not family.contains(pillar_maze(13))  # too large
    assert not MazeFamily("dfs", 13).contains(pillar_maze(101))


def test_an_empty_part_cannot_be_drawn_from() -> None:
    validation = MazeFamily("dfs", 9).split().validation
    with pytest.raises(ValueError, match="empty part"):
        validation.draw(1, seeded(), CPU)
    with pytest.raises(ValueError, match="empty part"):
        validation.sample(1, seeded())


@pytest.mark.parametrize(
    ("family", "found"),
    [(MazeFamily("pillars", 13), "1 different"), (MazeFamily("mst", 5), "4 different")],
)
def test_too_small_to_split(family: MazeFamily, found: str) -> None:
    with pytest.raises(ValueError, match=f"{found} layouts, too few to part"):
        family.split()


def test_small_families_are_warned_of() -> None:
    for family, most in ((MazeFamily("dfs", 7), 88), (MazeFamily("mst", 7), 192)):
        with pytest.warns(UserWarning, match="only .* different layouts") as caught:
            family.split()
        assert int(str(caught[0].message).split("only ")[1].split()[0]) <= most
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MazeFamily("dfs", 9).split()
        MazeFamily("dfs", 9).split(up_to_symmetry=True)


def test_environments_play_a_part_and_nothing_else() -> None:
    """Through Gymnasium, single and vector, over episodes that end at different times."""
    train, _, test = MazeFamily("mst", 9).split()
    many = gymnasium.make_vec(
        "metarl/GridMaze-v0", num_envs=64, tasks=train, respawn="end", horizon=30
    )
    one = gymnasium.make("metarl/GridMaze-v0", tasks=train, respawn="start")
    seen: set[MazeTask] = set()
    many.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(100):
        many.step(rng.integers(4, size=64))
        seen |= set(many.unwrapped.tasks)  # type: ignore[attr-defined]
    for seed in range(10):
        one.reset(seed=seed)
        seen.add(one.unwrapped.task)  # type: ignore[attr-defined]
    assert len(seen) > 200
    assert all(train.contains(task) and not test.contains(task) for task in seen)
    some = test.sample(64, rng)
    many.reset(options={"tasks": list(some)})
    assert many.unwrapped.tasks == some  # type: ignore[attr-defined]


def test_options_of_the_generator() -> None:
    bare, full = (MazeFamily("rooms", 15, options={"doors": doors}) for doors in (0.0, 1.0))
    free = [
        {task.layout.num_free for task in family.sample(10, seeded())} for family in (bare, full)
    ]
    assert free == [{115}, {124}]  # 100 cells of 16 rooms, and 15 or 24 doors
    assert MazeFamily.from_json(full.to_json()) == full
    assert MazeFamily("rooms", 15, options=full.options) == full
    with pytest.raises(ValueError, match="doors is a probability"):
        MazeFamily("rooms", 15, options={"doors": 2})


# Values ----------------------------------------------------------------------------------


def test_families_are_values() -> None:
    family = MazeFamily("mst", (9, 13), loops=0.25, goal="far", min_distance=3)
    with warnings.catch_warnings():
        part = family.split(salt="s", up_to_symmetry=True).train.split().test
    for one in (family, part, MazeFamily()):
        again = MazeFamily.from_json(json.dumps(json.loads(one.to_json())))
        assert again == one
        assert hash(again) == hash(one)
        assert pickle.loads(pickle.dumps(one)) == one
        assert again.sample(3, seeded()) == one.sample(3, seeded())
    assert replace(family, loops=0.5) != family


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{}",
        '{"kind": "TaskSet", "size": 9}',
        '{"kind": "MazeFamily", "colour": 1}',
        '{"kind": "MazeFamily", "parts": [{"colour": 1}]}',
        '{"kind": "MazeFamily", "parts": [{"low": -1}]}',
        '{"kind": "MazeFamily", "parts": [{"salt": 3}]}',
        '{"kind": "MazeFamily", "options": [1]}',
    ],
)
def test_foreign_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a (family|part)|low must be|salt of a part"):
        MazeFamily.from_json(text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"generator": "spirals"}, r"generator must be one of \['pillars', 'dfs'.*'spirals'"),
        ({"size": 12}, "size must be odd.*got 12: use 11 or 13"),
        ({"size": 62}, "size must be odd.*got 62: use 61$"),
        ({"size": (8, 12)}, "size must be odd.*got 8"),
        ({"size": 63}, "size must be at most 62, got 63"),
        ({"size": 3}, "size must be at least 5, got 3"),
        ({"size": -1}, "size must be at least 3, got -1"),
        ({"size": 9.5}, "size must be a whole number"),
        ({"size": "9"}, "size must be a whole number"),
        ({"size": (13, 9)}, r"low must be at most high.*\(13, 9\)"),
        ({"size": (9, 12)}, r"both odd or both even.*\(9, 12\)"),
        ({"size": (9, 11, 13)}, r"a side or \(low, high\)"),
        ({"size": (9, 71)}, "size must be at most 62, got 71"),
        ({"loops": 1.5}, r"in \[0, 1\], got 1.5"),
        ({"loops": -0.1}, r"in \[0, 1\], got -0.1"),
        ({"loops": float("nan")}, r"in \[0, 1\], got nan"),
        ({"generator": "walls", "size": 12, "loops": 0.5}, "size must be odd, got 12"),
        ({"goal": "near"}, "goal must be one of"),
        ({"start": "centre"}, "start must be one of"),
        ({"solvable": 1}, "solvable must be True or False, got 1"),
        ({"min_distance": 0}, "min_distance must be at least 1, got 0"),
        ({"min_distance": 10_000}, "min_distance must be at most 120, got 10000"),
        ({"size": 7, "min_distance": 20}, "none of .* draws of dfs mazes of side 7 can be used"),
        ({"generator": "pillars", "goal": "far", "min_distance": 20}, "none of .* draws"),
    ],
)
def test_bad_families_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MazeFamily(**arguments)


def test_bad_generators_are_refused() -> None:
    def floats(n: int, side: int, generator: Any, device: Any) -> torch.Tensor:
        return torch.zeros(n, side, side)

    def open_border(n: int, side: int, generator: Any, device: Any) -> torch.Tensor:
        return torch.zeros(n, side, side, dtype=torch.bool)

    for generator, message in ((floats, r"torch.float32 \(2, 9, 9\)"), (open_border, "the border")):
        with pytest.raises(ValueError, match=message):
            MazeFamily(generator, 9)
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        MazeFamily("dfs", 9, options={"colour": 1})


def test_bad_splits_and_counts_are_refused() -> None:
    family = MazeFamily("dfs", 9)
    with pytest.raises(ValueError, match=r"sum to 1\.2"):
        family.split(train=1.0, test=0.2)
    with pytest.raises(ValueError, match="at least 0"):
        family.split(train=1.2, test=-0.2)
    with pytest.raises(ValueError, match="cannot draw -1"):
        family.draw(-1, seeded(), CPU)


def test_a_part_with_no_layout_says_so() -> None:
    """A few layouts may leave a part empty: the search for one ends."""
    with pytest.warns(UserWarning, match="only"):
        tiny = MazeFamily("dfs", 7).split(train=0.99, test=0.01, salt="b").test
    with pytest.raises(ValueError, match=r"none of .* draws of a part of dfs mazes of side 7"):
        tiny.draw(1, seeded(), CPU)
