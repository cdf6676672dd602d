"""What every public constructor refuses, with the value and what is wanted in the message."""

from typing import Any

import pytest
import torch

from envs import (
    BanditTask,
    BanditTasks,
    GridNaviTask,
    MazeFamily,
    MazeTask,
    MDPTask,
    MDPTasks,
    PointTask,
    PointTasks,
    maze_tasks,
    minigrid_tasks,
    pillar_maze,
)
from envs.point.tasks import CELLS
from tests.envs.families import BANDIT, FAMILIES, GRID_NAVI, MAZE, MDP, POINT, Family

NAN = float("nan")
HALF = ((0.5, 0.5),)
TWO_STATES = MDPTask(((*HALF,), (*HALF,)), ((0.0,), (0.0,)))

BOTH: list[tuple[Family, dict[str, Any], str]] = [
    *((f, {"horizon": h}, f"horizon must be .* got {h}") for f in FAMILIES for h in (0, -1, 2.5)),
    (MAZE, {"size": 4}, "at least 5"),
    (MAZE, {"size": 8}, "odd"),
    (MAZE, {"maze": "spiral"}, r"maze must be one of \['pillars', .*\], got 'spiral'"),
    (MAZE, {"wall_penalty": -1.0}, "wall_penalty .* got -1"),
    (MAZE, {"reward": NAN}, "reward must be finite"),
    (MAZE, {"teleport": "wall"}, "teleport must be one of"),
    (MAZE, {"start": "corner"}, "start must be one of .* got 'corner'"),
    (MAZE, {"goal": "stays"}, "goal must be one of .* got 'stays'"),
    (MAZE, {"observe": "all"}, "observe must be one of .* got 'all'"),
    (MAZE, {"layout": pillar_maze(5), "tasks": maze_tasks(pillar_maze(7))}, "for another layout"),
    (
        MAZE,
        {
            "tasks": [MazeTask(pillar_maze(5), (1, 1)), MazeTask(pillar_maze(7), (1, 1))],
            "teleport": "interior",
        },
        "the tasks have several layouts",
    ),
    (MAZE, {"respawn": "nowhere"}, "respawn must be one of .* got 'nowhere'"),
    (MAZE, {"respawn": "start", "goal": "ends"}, "former name of respawn='end'"),
    (MAZE, {"view": "7x7"}, "view must be one of .* got '7x7'"),
    (MAZE, {"view": "5x5", "observe": "walls"}, "former name of view='3x3'"),
    (MAZE, {"see_through": True}, "see_through=True is for the egocentric views"),
    (MAZE, {"facing": "north"}, "facing must be one of .* got 'north'"),
    (MAZE, {"exploration_bonus": -0.1}, "exploration_bonus must be .* got -0.1"),
    (MAZE, {"view": "egocentric-5", "teleport": "interior"}, "whose agent does not turn"),
    (POINT, {"max_step": 0.0}, r"max_step must be .* got 0"),
    (POINT, {"goal_radius": -1.0}, r"goal_radius must be .* got -1"),
    (POINT, {"action_scale": 0.0}, r"action_scale must be .* got 0"),
    (POINT, {"action_scale": NAN}, r"action_scale must be .* got nan"),
    (GRID_NAVI, {"size": 2}, "size must be at least 3, got 2"),
    (GRID_NAVI, {"tasks": [GridNaviTask((2, 2), 3), GridNaviTask((2, 2))]}, r"sizes \[3, 5\]"),
    (BANDIT, {"num_arms": 0}, "num_arms must be at least 1, got 0"),
    (BANDIT, {"tasks": [BanditTask((0.1, 0.2)), BanditTask((0.1,))]}, "in their number of arms"),
    (MDP, {"num_states": 0}, "num_states must be at least 1, got 0"),
    (MDP, {"num_actions": 0}, "num_actions must be at least 1, got 0"),
    (MDP, {"tasks": [TWO_STATES, MDPTask(((((1.0,),)),), ((0.0,),))]}, "differ in size"),
]

TENSORS: list[tuple[dict[str, Any], str]] = [
    ({"num_envs": 0}, "num_envs must be at least 1, got 0"),
    ({"num_envs": -2}, "got -2"),
    ({"num_envs": 3, "generator": [torch.Generator()] * 2}, "multiple of their number"),
    ({"generator": []}, "multiple"),
    ({"autoreset_mode": "Sometimes"}, "Sometimes"),
]

TASKS: list[tuple[Any, tuple[Any, ...], str]] = [
    (PointTask, ((0.1,),), "two finite numbers"),
    (PointTask, ((0.1, NAN),), "two finite numbers"),
    (PointTask, ((1.0, 2.0, 3.0),), "two finite numbers"),
    (PointTasks, (-1.0,), "half_width must be above 0, got -1"),
    (PointTasks, (0.5, (0, 0)), r"different numbers in \[0, 1024\)"),
    (PointTasks, (0.5, (-1,)), r"different numbers in \[0, 1024\)"),
    (PointTasks, (0.5, (CELLS**2,)), r"different numbers in \[0, 1024\)"),
    (GridNaviTask, ((1, 1),), "must lie in the 5 x 5 grid, at least 2 cells"),
    (GridNaviTask, ((0, 0),), "must lie in the 5 x 5 grid"),
    (GridNaviTask, ((5, 0),), "must lie in the 5 x 5 grid"),
    (GridNaviTask, ((-1, 2),), "must lie in the 5 x 5 grid"),
    (GridNaviTask, ((1, 1), 2), "size must be at least 3, got 2"),
    (BanditTask, ((),), "at least one arm and probabilities"),
    (BanditTask, ((0.5, 1.5),), "at least one arm and probabilities"),
    (BanditTask, ((-0.1,),), "at least one arm and probabilities"),
    (BanditTask, ((NAN,),), "at least one arm and probabilities"),
    (BanditTasks, (0,), "num_arms must be at least 1, got 0"),
    (MDPTask, ((((0.5, 0.6),), HALF), ((0.0,), (0.0,))), "must be probabilities that sum to 1"),
    (MDPTask, ((((1.5, -0.5),), HALF), ((0.0,), (0.0,))), "must be probabilities"),
    (MDPTask, ((HALF,), ((0.0,),)), r"shape \(S, A, S\) .* got \(1, 1, 2\) and \(1, 1\)"),
    (MDPTask, ((HALF, HALF), ((0.0,), (0.0, 1.0))), "reward_means must be a full array"),
    (MDPTask, ((HALF, HALF), ((0.0,), (float("inf"),))), "finite"),
    (MDPTasks, (0,), "num_states must be at least 1, got 0"),
]

OTHERS = [
    (
        MAZE,
        {"size": 13, "teleport": "interior"},
        MazeTask(pillar_maze(5), (1, 1)),
        "another layout",
    ),
    (GRID_NAVI, {}, GridNaviTask((2, 2), 3), "make one with size=3"),
    (BANDIT, {}, BanditTask((0.1, 0.2)), r"has 2 arms, this environment 5: .* num_arms=2"),
    (MDP, {}, TWO_STATES, "2 states and 1 actions, this environment 10 and 5"),
]
"""A task that an environment of other settings cannot play."""


@pytest.mark.parametrize(("family", "arguments", "message"), BOTH)
def test_settings_of_both_twins(family: Family, arguments: dict[str, Any], message: str) -> None:
    for kind in (family.single, family.vector):
        with pytest.raises(ValueError, match=message):
            kind(**arguments)


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_settings_of_either_twin(family: Family) -> None:
    with pytest.raises(ValueError, match=r"render_mode must be .* got 'video'"):
        family.single(render_mode="video")
    for arguments, message in TENSORS:
        with pytest.raises(ValueError, match=message):
            family.vector(**arguments)


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_sources_of_tasks(family: Family) -> None:
    for kind in (family.single, family.vector):
        with pytest.raises(ValueError, match="at least one"):
            kind(tasks=[])
        with pytest.raises(TypeError, match=r"a task must be a .*Task, got"):
            kind(tasks=[family.bad_task])
        other = BANDIT if family is not BANDIT else POINT
        with pytest.raises(TypeError, match=r"must be"):
            kind(tasks=other.source)


@pytest.mark.parametrize(("kind", "arguments", "message"), TASKS)
def test_tasks_and_families(kind: Any, arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(*arguments)


@pytest.mark.parametrize(("family", "arguments", "task", "message"), OTHERS)
def test_tasks_of_other_settings(
    family: Family, arguments: dict[str, Any], task: Any, message: str
) -> None:
    single, vector = family.single(**arguments), family.vector(1, **arguments)
    for refuse in (
        lambda: single.reset(options={"task": task}),
        lambda: setattr(single, "task", task),
        lambda: vector.reset(options={"tasks": [task]}),
        lambda: vector.task_tensor([task]),
    ):
        with pytest.raises(ValueError, match=message):
            refuse()


@pytest.mark.parametrize("family", FAMILIES, ids=str)
@pytest.mark.parametrize("actions", ["x", None, [None, None], {}, [[1], [1, 2]]], ids=repr)
def test_actions_that_are_no_numbers(family: Family, actions: Any) -> None:
    env = family.vector(2, tasks=family.source)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="actions must be an array or a tensor of numbers, got"):
        env.step(actions)


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_one_task_where_several_are_asked_for(family: Family) -> None:
    (task,) = family.source.sample(1, torch.Generator().manual_seed(0))
    env = family.vector(2, tasks=family.source)
    for tasks in (task, 3, iter([task, task]), {1: task, 2: task}):
        with pytest.raises(TypeError, match=r"tasks must be a sequence of 2 tasks, .* got"):
            env.reset(options={"tasks": tasks})
    env.reset(options={"tasks": (task, task)})
    for make in (lambda: family.single(tasks=task), lambda: family.vector(2, tasks=task)):
        with pytest.raises(TypeError, match="is one task: give a sequence of tasks"):
            make()


def test_ids_and_counts_of_another_kind() -> None:
    for env_id in (3, None, ["MiniGrid-Empty-5x5-v0"]):
        with pytest.raises(TypeError, match=r"env_id must be the name of an environment, .* got"):
            minigrid_tasks(env_id)  # type: ignore[arg-type]
    family = MazeFamily("dfs", 9)
    for count in (1.5, "2", None, True):
        with pytest.raises(ValueError, match="n must be a whole number"):
            family.sample(count, torch.Generator())  # type: ignore[arg-type]
    for loops in (None, "0.5", [0.5], NAN):
        with pytest.raises(ValueError, match=r"loops is a probability, in \[0, 1\], got"):
            MazeFamily("dfs", 9, loops=loops)  # type: ignore[arg-type]
    for options in (3, "density", [1]):
        with pytest.raises(ValueError, match="options must be those of the generator, by name"):
            MazeFamily("dfs", 9, options=options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="fractions of at least 0 that sum to 1"):
        family.split(train="most", test=0.2)  # type: ignore[arg-type]
