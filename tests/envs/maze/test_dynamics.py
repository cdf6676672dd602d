import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from envs import Layout, pillar_maze
from envs.maze.dynamics import compile_layout, step_many, step_one, teleport_target
from envs.maze.layout import MOVES
from tests.envs.maze.strategies import layouts


@given(layouts())
def test_tables_agree_with_the_walls(layout: Layout) -> None:
    tables = compile_layout(layout)
    for number, (row, column) in enumerate(layout.free_cells):
        for action, (down, right) in enumerate(MOVES):
            blocked = bool(layout.walls[row + down, column + right])
            assert tables.bumped[number, action] == blocked
            expected = (row, column) if blocked else (row + down, column + right)
            assert layout.free_cells[tables.next_cell[number, action]] == expected
        patch = [float(layout.walls[row + i, column + j]) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        assert tables.patch[number].tolist() == patch


def test_actions_are_up_down_left_right() -> None:
    layout = pillar_maze(5)
    tables, middle = compile_layout(layout), layout.cell_number((2, 2))
    reached = [layout.free_cells[tables.next_cell[middle, action]] for action in range(4)]
    assert reached == [(1, 2), (3, 2), (2, 1), (2, 3)]


def test_interior_tables_add_the_pillars_and_lead_out_of_them() -> None:
    layout = pillar_maze(13)
    free, interior = compile_layout(layout), compile_layout(layout, "interior")
    assert interior.places[:97] == free.places == layout.free_cells
    assert len(interior.places) == 121
    assert np.array_equal(interior.next_cell[:97], free.next_cell)
    assert (interior.next_cell[97:] < 97).all()
    assert (interior.patch[97:, 4] == 1).all()
    assert (free.patch[:, 4] == 0).all()


def test_a_teleport_that_could_wall_the_agent_in_is_refused() -> None:
    thick = Layout.from_ascii("#######\n#..####\n#######\n#######\n#######")
    with pytest.raises(ValueError, match=r"\(1, 4\) has no free neighbour"):
        compile_layout(thick, "interior")


def test_teleport_targets_are_all_places_but_the_goal() -> None:
    for goal in range(5):
        assert {teleport_target(draw, goal) for draw in range(4)} == set(range(5)) - {goal}


@given(layouts(), st.data())
@pytest.mark.parametrize("turning", [False, True])
def test_step_many_says_what_step_one_says(
    turning: bool, layout: Layout, data: st.DataObject
) -> None:
    tables = compile_layout(layout, turning=turning)
    place = st.integers(0, layout.num_free - 1)
    turns = st.integers(0, tables.next_cell.shape[1] - 1)
    pose = st.integers(0, tables.poses - 1)
    rows = data.draw(st.lists(st.tuples(place, pose, turns, place), min_size=1, max_size=8))
    cells, poses, actions, goals = torch.tensor(rows).unbind(1)
    next_place = torch.tensor(tables.next_cell.reshape(-1))
    places = cells * tables.poses + poses
    _, after, hits = step_many(next_place, places, actions, goals, turning)
    for b, (action, goal) in enumerate(zip(actions.tolist(), goals.tolist(), strict=True)):
        reached, hit, bumped = step_one(tables, int(places[b]), action, goal)
        assert (int(after[b]), bool(hits[b])) == (reached, hit)
        assert (reached == int(places[b])) == bumped, "only a wall holds an agent"


def test_unknown_teleport_rule_is_refused() -> None:
    with pytest.raises(ValueError, match=r"one of \('free', 'interior'\), got 'pillar'"):
        compile_layout(pillar_maze(5), "pillar")  # type: ignore[arg-type]


def test_tables_are_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        compile_layout(pillar_maze(5)).next_cell[0, 0] = 1
