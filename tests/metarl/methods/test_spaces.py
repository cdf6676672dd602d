"""Views as problems and their observations say them."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

from envs.maze.views import view_space
from metarl.methods.spaces import describe_spaces, space_of, view_layout
from metarl.nn import ViewLayout


def seen(space, **said):
    return SimpleNamespace(name="a problem", observation=space, **said)


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        (view_space("3x3"), ViewLayout(3, 3, 1, (2,))),
        (view_space("5x5"), ViewLayout(5, 5, 1, (2,))),
        (view_space("egocentric-7"), ViewLayout(7, 7, 1, (3,), -1)),
        (view_space("egocentric-5", see_through=True), ViewLayout(5, 5, 1, (2,))),
        (Box(0, 10, (7, 7, 3), np.uint8), ViewLayout(7, 7, 3, (11, 11, 11))),
        (Box(0, 255, (7, 7, 3), np.uint8), ViewLayout(7, 7, 3)),
        (Box(0, 1, (7, 7, 20), np.float32), ViewLayout(7, 7, 20, (2,) * 20)),
        (Box(-np.inf, np.inf, (4, 6), np.float32), ViewLayout(4, 6)),
    ],
)
def test_a_view_is_read_off_the_observations(space, expected):
    assert view_layout(seen(space)) == expected


def test_a_problem_says_its_view_itself():
    said = ViewLayout(7, 7, 3, (11, 6, 3))
    space = Box(0, 255, (7, 7, 3), np.uint8)
    assert view_layout(seen(space, view_layout=said)) == said


@pytest.mark.parametrize(
    "space", [view_space("3x3", position=True), Box(-1, 1, (2,)), Discrete(5), Box(0, 1, (16,))]
)
def test_observations_that_do_not_tell_are_refused(space):
    with pytest.raises(ValueError, match="do not say which of their numbers are a view"):
        view_layout(seen(space))


@pytest.mark.parametrize(
    "actions",
    [Discrete(3), MultiDiscrete([2, 3]), MultiBinary(2), Box(-np.inf, np.inf, (2,), np.float32)],
)
def test_actions_are_read_as_they_were_written(actions):
    described = describe_spaces(seen(Box(-1, 1, (2,)), actions=actions))
    assert space_of(json.loads(json.dumps(described))["actions"]) == actions
