"""An environment made once is played on ever new tasks by ever new generators."""

from typing import Any

import numpy as np
import pytest
import torch

from envs import (
    BanditTask,
    BanditVectorEnv,
    GridMazeVectorEnv,
    GridNaviVectorEnv,
    MazeFamily,
    MazeTask,
    PointNavigationVectorEnv,
    TabularMDPVectorEnv,
    TaskSet,
    VectorMetaObservation,
    VectorTrial,
    maze_tasks,
    pillar_maze,
)
from tests.envs.families import FAMILIES

N, B, HORIZON = 3, 4, 6
GOALS = maze_tasks(pillar_maze(7))
MAZES: list[dict[str, Any]] = [
    {"start": start, "respawn": respawn, "position": position}
    for start in ("centre", "random")
    for respawn in ("random", "end")
    for position in (False, True)
]
MANY: list[Any] = [MazeFamily("dfs", (7, 9)), GOALS]
MANY[1] = TaskSet((*MANY[0].sample(6, np.random.default_rng(0)), *GOALS))
CASES = [
    (family.vector, family.source, {"tasks": family.source})
    for family in FAMILIES
    if family.name != "maze"
]
CASES += [(GridMazeVectorEnv, GOALS, {"tasks": GOALS, **options}) for options in MAZES]
CASES += [
    (GridMazeVectorEnv, source, {"tasks": source, "respawn": respawn, "view": view})
    for source in MANY
    for respawn in ("random", "start", "end")
    for view in ("3x3", "egocentric-5")
]
every_case = pytest.mark.parametrize(("kind", "source", "arguments"), CASES)


def generators(seed: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed + n) for n in range(N)]


def numbers(env: Any, actions: torch.Tensor, options: dict[str, Any] | None) -> torch.Tensor:
    """Everything that two episodes show, [..., N * B]."""
    seen = []
    for again in (options, None):
        observation, info = env.reset(options=again)
        seen += [p.reshape(len(p), -1).T.double() for p in info["task_parameters"]]
        seen.append(observation.flatten(1).T.double())
        for action in actions:
            observation, *results, _ = env.step(action)
            seen.append(observation.flatten(1).T.double())
            seen += [result[None].double() for result in results]
    return torch.cat(seen)


@every_case
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_reused_environment_gives_the_numbers_of_a_new_one(
    kind: Any, source: Any, arguments: dict[str, Any], wrapped: bool
) -> None:
    def make(**own: Any) -> Any:
        env = kind(N * B, horizon=HORIZON, **arguments, **own)
        if wrapped:
            env = VectorMetaObservation(VectorTrial(env, 2, wait=True))
        return env

    kept = make()
    for seed in range(3):
        rng = np.random.default_rng(seed)
        tasks = source.sample(N, rng)
        many = [task for task in tasks for _ in range(B)]
        space = kept.single_action_space
        space.seed(seed)
        steps = HORIZON * (2 if wrapped else 1)
        actions = torch.tensor(
            np.stack([[space.sample() for _ in range(N * B)] for _ in range(steps)])
        )
        new = make(generator=generators(seed))
        wanted = numbers(new, actions, {"tasks": many})
        kept.use_generators(generators(seed))
        rows = kept.task_tensor(tasks).repeat_interleave(B, 0)  # [N * B, D]
        assert torch.equal(numbers(kept, actions, {"tasks": rows}), wanted)
        rows.zero_()  # the environment keeps its own
        kept.reset()
        assert kept.unwrapped.tasks == tuple(many)
        # Other generators, as many or fewer, draw other numbers.
        kept.use_generators(torch.Generator().manual_seed(99))
        kept.reset(options={"tasks": None})


@every_case
def test_tasks_are_the_same_said_as_numbers(
    kind: Any, source: Any, arguments: dict[str, Any]
) -> None:
    env = kind(5, **arguments)
    tasks = source.sample(5, np.random.default_rng(0))
    rows = env.task_tensor(tasks)
    assert rows.shape == (5, sum(np.prod(s, dtype=int) for s in env.parameter_shapes.values()))
    assert rows.dtype == env.parameter_dtype
    env.reset(options={"tasks": rows})
    assert env.tasks == tasks
    env.reset()
    assert env.tasks == tasks
    assert env.task_tensor(()).shape == (0, rows.shape[1])
    env.reset(options={"tasks": rows.numpy()})
    assert env.tasks == tasks
    with pytest.raises(ValueError, match=rf"of shape \(num_envs, D\) = \(5, {rows.shape[1]}\)"):
        env.reset(options={"tasks": rows[:4]})
    with pytest.raises(ValueError, match="make them with task_tensor"):
        env.reset(options={"tasks": rows.to(torch.float16)})


@pytest.mark.parametrize(
    ("env", "row", "message"),
    [
        (GridMazeVectorEnv(1, size=5), [9, 4], r"goal 9 is no cell number in \[0, 9\)"),
        (GridMazeVectorEnv(1, size=5), [-1, 4], "goal -1"),
        (GridMazeVectorEnv(1, size=5), [3, 3], "goal 3 .* other than the start's, 3"),
        (GridMazeVectorEnv(1, size=5), [3, 9], "start 9 is no cell number"),
        (PointNavigationVectorEnv(1), [np.nan, 0.0], "finite goals"),
        (BanditVectorEnv(1, num_arms=2), [0.5, 1.5], r"probabilities in \[0, 1\]"),
        (BanditVectorEnv(1, num_arms=2), [0.5, np.nan], r"probabilities in \[0, 1\]"),
        (GridNaviVectorEnv(1), [1, 5], "goal cell 1 of a grid of size 5"),
        (GridNaviVectorEnv(1), [25, 5], "goal cell 25"),
        (GridNaviVectorEnv(1), [20, 7], "of a grid of size 7"),
        (TabularMDPVectorEnv(1, num_states=1, num_actions=1), [0.5, 0.0], "sum to 1"),
        (TabularMDPVectorEnv(1, num_states=1, num_actions=1), [1.0, np.inf], "finite"),
    ],
)
def test_numbers_that_say_no_task_are_refused(env: Any, row: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        env.reset(options={"tasks": torch.tensor([row], dtype=env.parameter_dtype)})


def test_tasks_of_another_kind_have_no_numbers_here() -> None:
    with pytest.raises(TypeError, match="must be a MazeTask"):
        GridMazeVectorEnv(1, size=5).task_tensor([BanditTask((0.5,))])
    published = GridMazeVectorEnv(1, size=5, teleport="interior")
    with pytest.raises(ValueError, match="another layout"):
        published.task_tensor([MazeTask(pillar_maze(7), (1, 1))])


def test_generators_that_do_not_fit_are_refused_and_change_nothing() -> None:
    env = GridMazeVectorEnv(4, size=5, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match="shared equally by 3 generators"):
        env.use_generators(generators(0))
    twin = GridMazeVectorEnv(4, size=5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(env.reset()[1]["goals"], twin.reset()[1]["goals"])
