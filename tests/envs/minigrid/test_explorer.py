"""The explorer of Minigrid: it searches with the agent's view, and remembers."""

from typing import Any

import numpy as np
import pytest

from envs import MinigridTask, minigrid_anchors
from envs.minigrid.explorer import Explorer, explorer_returns, is_explored
from envs.minigrid.returns import oracle_returns
from envs.minigrid.views import codes_of_image
from tests.envs.minigrid.ids import PLAYED, some
from tests.envs.minigrid.test_returns import corridor

FOUND = [
    "MiniGrid-FourRooms-v0",
    "MiniGrid-LavaCrossingS9N2-v0",
    "MiniGrid-MultiRoom-N4-S5-v1",
    "MiniGrid-DoorKey-6x6-v0",
    "MiniGrid-KeyCorridorS3R2-v0",
    "MiniGrid-Unlock-v0",
    "MiniGrid-UnlockPickup-v0",
    "MiniGrid-RedBlueDoors-6x6-v0",
    "MiniGrid-GoToDoor-5x5-v0",
    "MiniGrid-Fetch-5x5-N2-v0",
]


@pytest.mark.parametrize("env_id", FOUND)
def test_it_succeeds_and_then_knows_the_way(env_id: str) -> None:
    tasks = some(env_id, 8)
    first, second = explorer_returns(tasks, num_episodes=2).T
    oracle, _ = oracle_returns(tasks)
    assert (first > 0).all()
    assert (first <= oracle + 1e-6).all()
    assert (second >= first - 1e-6).all()
    assert second.mean() == pytest.approx(oracle.mean(), abs=0.02)
    anchors = minigrid_anchors(tasks, num_episodes=4)
    np.testing.assert_array_equal(anchors.explorer, first)
    assert anchors.random.mean() < first.mean()


def test_what_it_has_not_seen_makes_no_difference() -> None:
    """A goal at either end of a corridor, out of sight: the same search for both.

    It looks right and sees six cells, turns to the nearest that it has not seen, which is behind
    it, and goes left; the wall there comes into view after five steps.
    """
    taken = []
    for row in ("$$" + ".." * 20, ".." * 20 + "$$"):
        wall = "##" * 23
        task = MinigridTask(f"{wall}\n##{row}##\n{wall}", (11, 1), 0, "", 200)
        taken.append(round((1 - float(explorer_returns([task])[0, 0])) / 0.9 * 200))
    assert taken == [2 + 10, 2 + 5 + 2 + 15]


def test_it_reads_the_form_codes_as_minigrid_shows_it() -> None:
    """A view is put on the map where the agent sees it, whatever way it looks."""
    image = np.zeros((7, 7, 3), dtype=np.uint8)
    image[2, 5] = (8, 1, 0)  # a goal, one to the left and one ahead
    view = codes_of_image(image).reshape(-1)
    for direction, (dx, dy) in enumerate(((1, -1), (1, 1), (-1, 1), (-1, -1))):
        explorer = Explorer(corridor("......", direction=direction))
        start = explorer._state.place
        explorer.see(view)
        side = round(len(explorer._map) ** 0.5)
        assert explorer._map[start + dy * side + dx] == view[2 * 7 + 5]


def test_it_gives_up_and_is_cut_off_like_anybody() -> None:
    shut = corridor("......##..$$")
    assert explorer_returns([shut], num_episodes=2).tolist() == [[0.0, 0.0]]
    near = corridor("......$$")
    assert explorer_returns([near], horizon=3)[0, 0] == pytest.approx(1 - 0.9 * 3 / 100)
    assert explorer_returns([near], horizon=2)[0, 0] == 0.0


@pytest.mark.parametrize(
    ("row", "fields"),
    [
        ("......", {"rule": "memory", "targets": ((3, 1), (1, 1))}),
        ("..Ky..Ag", {"rule": "put near", "targets": ((2, 1), (4, 1))}),
        ("..EyLy$$", {}),
        ("..Dr..Db", {"rule": "open", "targets": ((2, 1),)}),
    ],
)
def test_it_does_not_guess(row: str, fields: dict[str, Any]) -> None:
    task = corridor(row, **fields)
    assert not is_explored(task)
    both = explorer_returns([corridor("..$$"), task])[:, 0]
    np.testing.assert_array_equal(np.isnan(both), [False, True])


@pytest.mark.slow
@pytest.mark.parametrize("env_id", PLAYED)
def test_it_finds_what_there_is_in_every_id(env_id: str) -> None:
    tasks = [task for task in some(env_id, 5) if is_explored(task)]
    if tasks and env_id != "MiniGrid-Playground-v0":  # which has no goal
        assert (explorer_returns(tasks) > 0).mean() > 0.7
