"""A maze as the page draws it, and its code in a link."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from metarl.errors import UserError
from metarl.explore.board import MOST_SIDE, Board

ROWS = ("#####", "#..##", "#.#.#", "#...#", "#####")
BOARD = Board(ROWS, (1, 1), (3, 3))


@st.composite
def boards(draw):
    height, width = (draw(st.integers(4, MOST_SIDE)) for _ in range(2))
    cells = [(r, c) for r in range(1, height - 1) for c in range(1, width - 1)]
    free = set(draw(st.lists(st.sampled_from(cells), min_size=2, unique=True)))
    start, goal = draw(st.permutations(sorted(free)))[:2]
    rows = tuple(
        "".join("." if (r, c) in free else "#" for c in range(width)) for r in range(height)
    )
    return Board(rows, start, goal, draw(st.sampled_from((None, 0, 1, 2, 3))))


@given(boards())
def test_a_maze_comes_back_from_its_code_and_from_json(board):
    assert Board.of_code(board.code) == board
    assert Board.of_json(board.code) == board
    fields = {**board.to_json(), "rows": list(board.rows)}
    assert fields.pop("code") == board.code
    assert Board.of_json(fields) == board


def test_a_code_is_what_it_was():
    """Links that were shared go on to work."""
    assert BOARD.code == "5x5.KAA.6.18"
    assert Board(ROWS, (1, 1), (3, 3), 2).code == "5x5.KAA.6.18.2"


@given(st.text(st.characters(max_codepoint=400), max_size=60))
@example("5x5.KAA.6.18.9")
@example("5x5.KAA.6.999")
@example("5x5.KAA.0.18")
@example("5x5.KAAA.6.18")
@example("5x5.M.6.18")
@example("99x99.KAA.6.18")
@example("2x5.KAA.6.18")
@example("5x5.KAA.6.6")
@example("\u0665x\u0665.KAA.6.18")
@example("5x5.KAA.6.18\n")
@example("a" * 10_000)
def test_a_damaged_code_is_refused_with_a_remedy(code):
    with pytest.raises(UserError):
        Board.of_code(code)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "a maze is an object"),
        (7, "a maze is an object"),
        ([], "a maze is an object"),
        ({}, "rows of a maze are a list"),
        ({"rows": "#####"}, "rows of a maze are a list"),
        ({"rows": [1, 2]}, "rows of a maze are a list"),
        ({"rows": []}, "start of a maze is"),
        ({"rows": [], "start": [1, 1], "goal": [3, 3]}, "3 to 41 rows and columns"),
        ({"rows": ["#" * 99] * 99, "start": [1, 1], "goal": [3, 3]}, "got 99 x 99"),
        ({"rows": [*ROWS[:4], "####"], "start": [1, 1], "goal": [3, 3]}, "row 4 of the maze has 4"),
        ({"rows": [*ROWS[:4], "##é##"], "start": [1, 1], "goal": [3, 3]}, "'é' in row 4"),
        ({"rows": [*ROWS[:4], "##.##"], "start": [1, 1], "goal": [3, 3]}, "border is open in row"),
        ({"rows": list(ROWS), "start": [1, 3], "goal": [3, 3]}, "start in row 1, column 3 is in a"),
        ({"rows": list(ROWS), "start": [-1, 1], "goal": [3, 3]}, "is outside the maze"),
        ({"rows": list(ROWS), "start": [1, 1], "goal": [1, 1]}, "start and goal are both"),
        ({"rows": list(ROWS), "start": [1, True], "goal": [3, 3]}, "two whole numbers"),
        ({"rows": list(ROWS), "start": [1, 1.0], "goal": [3, 3]}, "two whole numbers"),
        ({"rows": list(ROWS), "start": [10**30, 1], "goal": [3, 3]}, "outside the maze"),
        ({"rows": list(ROWS), "start": [1, 1], "goal": [3, 3], "direction": 4}, "direction"),
        ({"rows": list(ROWS), "start": [1, 1], "goal": [3, 3], "direction": True}, "direction"),
        ({"rows": list(ROWS), "start": [1, 1], "goal": [3, 3], "walls": 1}, "but no 'walls'"),
    ],
)
def test_what_is_no_maze_is_refused(value, told):
    with pytest.raises(UserError, match=told):
        Board.of_json(value)


def test_cells_that_nobody_reaches_are_walled_up():
    apart = Board(("#######", "#..#..#", "#######"), (1, 1), (1, 2))
    assert apart.playable() == Board(("#######", "#..####", "#######"), (1, 1), (1, 2))
    assert BOARD.playable() == BOARD
    with pytest.raises(UserError, match=r"goal in row 1, column 5 cannot be reached.*open a wall"):
        Board(apart.rows, (1, 1), (1, 5)).playable()
