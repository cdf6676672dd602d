"""Minigrid tasks as values: text, hashes, refusals."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from envs import MinigridTask
from envs.minigrid.codes import (
    CODES,
    COLOURS,
    KINDS,
    LIGHT,
    SHOWN,
    TEXTS,
    TRIPLES,
    code_of,
    is_kind,
)
from envs.minigrid.reading import make_minigrid, read_task, reset_minigrid, set_task
from tests.envs.minigrid.ids import IDS, some

ROOM = "##########\n##>>..Ky##\n##..DbEr##\n##########"
TEXT = f'mission: "fetch it"\nmax_steps: 9\n{ROOM}'


def make(**fields: Any) -> MinigridTask:
    return replace(MinigridTask.from_ascii(TEXT), **fields)


# Codes ----------------------------------------------------------------------------------------


def test_codes_say_what_minigrid_says() -> None:
    """Kind, colour and state, whether light passes, and whether one can walk there."""
    from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX

    from envs.minigrid.reading import new_object
    from envs.minigrid.tasks import WALKABLE

    assert {name: number for number, name in enumerate(KINDS)} == OBJECT_TO_IDX
    assert {name: number for number, name in enumerate(COLOURS)} == COLOR_TO_IDX
    assert len(set(TEXTS.values())) == len(TEXTS) == 1 + 10 * 6 + 36
    for code in TEXTS:
        thing = new_object(code)
        if thing is None:
            assert TRIPLES[code].tolist() == [1, 0, 0]
            continue
        assert tuple(TRIPLES[code].tolist()) == thing.encode()
        assert (code >= LIGHT) == thing.see_behind()
        assert WALKABLE[code] == thing.can_overlap()
        assert is_kind("key", "ball", "box")[code] == thing.can_pickup()
        assert TRIPLES[SHOWN[code]].tolist() == TRIPLES[code].tolist()
        assert thing.contains is None or SHOWN[code] == CODES["box", 0] + TRIPLES[code, 1]


# Text and hashes ------------------------------------------------------------------------------


@pytest.mark.parametrize("env_id", [*IDS, "BabyAI-KeyInBox-v0", "BabyAI-GoToRedBall-v0"])
def test_round_trips(env_id: str) -> None:
    env = make_minigrid(env_id)
    for seed in range(3):
        reset_minigrid(env, env_id, seed)
        task = read_task(env, env_id, seed)
        for again in (
            MinigridTask.from_json(json.dumps(json.loads(task.to_json()))),
            MinigridTask.from_ascii(task.to_ascii()),
        ):
            assert (again, again.task_id, again.seed) == (task, task.task_id, seed)
            assert again.env_id == env_id
        env.reset(seed=99)
        set_task(env, task)
        assert read_task(env, env_id, seed) == task


def test_a_picture_says_a_task() -> None:
    task = MinigridTask.from_ascii(TEXT)
    assert (task.agent, task.direction, task.max_steps, task.rule) == ((1, 1), 0, 9, "goal")
    wall = code_of("wall", "grey")
    assert task.codes[1].tolist() == [wall, LIGHT, LIGHT, code_of("key", "yellow"), wall]
    assert task.codes[2, 3] == code_of("box", "grey", key="red")
    assert task.to_ascii().endswith(ROOM)
    moved = task.to_ascii((2, 1), 1)
    assert "##..vvKy##" in moved
    assert MinigridTask.from_ascii(moved) == replace(task, agent=(2, 1), direction=1)


def test_all_that_an_agent_could_notice_is_in_the_hash() -> None:
    task = make()
    others = [
        make(grid=task.grid.replace("Ky", "Kb")),
        make(grid=task.grid.replace("Er", "Eb")),  # what the box holds
        make(agent=(2, 1)),
        make(direction=1),
        make(mission="fetch"),
        make(max_steps=10),
        make(rule="open", targets=((2, 2),)),
        make(see_through=True),
        make(view_size=5),
    ]
    assert len({one.task_id for one in (task, *others)}) == len({task, *others}) == 10
    assert len({one.key for one in (task, *others)}) == 10
    same = make(env_id="MiniGrid-Empty-8x8-v0", seed=3)
    assert (same, same.task_id, hash(same)) == (task, task.task_id, hash(task))


def test_walls_are_hashed_alone() -> None:
    task = make()
    assert make(agent=(2, 1), grid=task.grid.replace("Ky", "..")).walls_id() == task.walls_id()
    assert make(grid=task.grid.replace("Ky", "##")).walls_id() != task.walls_id()


def test_hashes_are_the_same_on_every_machine() -> None:
    assert make().task_id == "9b2fa7d10af3f983"
    assert make().walls_id() == "29cf24891814f93f"


# Refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"grid": "####\n####"}, "3 to 1024 rows"),
        ({"grid": "######\n##..##\n####"}, r"equally long, got \[4, 6\]"),
        ({"grid": "######\n##!!##\n######"}, r"unknown cells \['!!'\]"),
        ({"grid": 7}, "must be text"),
        ({"agent": (0, 0)}, r"agent at \(x, y\) = \(0, 0\) stands in '##'"),
        ({"agent": (2, 2)}, "stands in 'Db'"),
        ({"agent": (5, 1)}, "outside the grid of 5 columns and 4 rows"),
        ({"agent": (1,)}, "is no cell"),
        ({"agent": (1.5, 1)}, "is no cell"),
        ({"direction": 4}, "direction must be at most 3, got 4"),
        ({"direction": True}, "direction must be a whole number"),
        ({"max_steps": 0}, "max_steps must be at least 1, got 0"),
        ({"view_size": 4}, "view_size must be odd, got 4"),
        ({"mission": 3}, "mission must be a str, got 3"),
        ({"see_through": 1}, "see_through must be a bool, got 1"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"rule": "win"}, r"rule must be one of \['goal', .* got 'win'"),
        ({"rule": "BabyAI-Key-v0", "env_id": "BabyAI-Key-v0"}, "give seed"),
        ({"rule": "open"}, "about 1 targets, got 0"),
        ({"targets": ((1, 1),)}, "about 0 targets, got 1"),
        ({"rule": "open", "targets": ((9, 1),)}, "target .* outside the grid"),
        (
            {"rule": "open", "targets": ((2, 1),)},
            r"a door, but the target .* \(2, 1\) holds '\.\.'",
        ),
        ({"rule": "pick up", "targets": ((2, 2),)}, "a key or ball or box, but .* holds 'Db'"),
        ({"grid": "##########\n##....Ky..\n##..DbEr##\n##########"}, "rim of the grid: shut it in"),
        ({"grid": "##########\n##....Ky##\n##..DbEr##\n####Db####"}, "rim of the grid: shut it in"),
    ],
)
def test_what_is_no_task(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**fields)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ROOM, "missing .* 'mission' and 'max_steps'"),
        (TEXT.replace("9", "nine"), "says no field"),
        (TEXT.replace(">>", ".."), "missing .* 'agent' and 'direction'"),
        (TEXT.replace("max_steps", "colour"), "unexpected keyword argument 'colour'"),
        ("", "missing"),
    ],
)
def test_what_is_no_picture(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MinigridTask.from_ascii(text)


def test_what_the_twin_cannot_play_says_who_can() -> None:
    babyai = some("BabyAI-GoToRedBall-v0", 1)[0]
    obstacles = some("MiniGrid-Dynamic-Obstacles-5x5-v0", 1)[0]
    wide = "\n".join(["##" * 26, *["##" + ".." * 24 + "##"] * 24, "##" * 26])
    balls = "########\n##..Ag##\n##Ag..##\n########"
    for task, message in (
        (babyai, "does not play BabyAI-GoToRedBall-v0, which has the rule .* of its own"),
        (obstacles, "does not play MiniGrid-Dynamic-Obstacles-5x5-v0"),
        (make(grid=wide, agent=(1, 1)), "up to 25 rows and columns, got one of 26 x 26"),
        (
            make(grid=balls, agent=(1, 1), rule="pick up", targets=((2, 1),)),
            "2 objects are like the one to pick up, 'Ag'",
        ),
    ):
        for refused in (task.check_twin, task.arrays):
            with pytest.raises(ValueError, match=message) as caught:
                refused()
            assert 'gymnasium.make("metarl/Minigrid-v0"' in str(caught.value)


def test_arrays_hold_the_canvas() -> None:
    task = make()
    grid, facts = task.arrays()
    assert (grid.dtype, facts.dtype) == (np.int64, np.int64)
    canvas = grid.view(np.uint8)[:625].reshape(25, 25)
    np.testing.assert_array_equal(canvas[:4, :5], task.codes)
    assert (canvas[4:] == code_of("wall", "grey")).all()
    assert facts.tolist()[:4] == [26, 0, 9, 0]
