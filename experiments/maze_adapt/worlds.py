"""The task distributions to adapt to, in one form: tasks to train and to test on, environments.

Test tasks are never trained on: where tasks can be told apart they are split by their hash (mazes,
GridNavi, and the plane of the point, cell by cell); bandits and decision processes are drawn from a
continuum, and the test tasks by a generator of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, Protocol, cast

import torch

from envs import (
    BanditTasks,
    BanditVectorEnv,
    GridMazeVectorEnv,
    GridNaviVectorEnv,
    MDPTasks,
    PointNavigationVectorEnv,
    PointTasks,
    TabularMDPVectorEnv,
    TaskDistribution,
    TaskSet,
    bandit_reference_returns,
    grid_navi_reference_returns,
    grid_navi_tasks,
    mdp_reference_returns,
    pillar_maze,
    point_reference_returns,
)
from experiments.maze_adapt.interfaces import LocatedMazes, ScaledActions, TensorEnv
from experiments.maze_adapt.maze_anchors import Goal, Start, maze_returns
from experiments.maze_adapt.maze_variants import EndsAtGoal, RandomStarts
from metarl.errors import UserError
from metarl.rl import Categorical, Distribution, Gaussian

EnvName = Literal["maze", "point", "gridnavi", "bandit", "mdp"]
Tasks = Sequence[Any]
MakeEnv = Callable[..., TensorEnv]
"""Called with ``(num_envs, generator=..., device=...)``."""

NUM_MOVES = 4
"""Of a maze."""


class Source(Protocol):
    """Where tasks come from."""

    def sample(self, n: int, rng: torch.Generator) -> tuple[Any, ...]:
        """Draw n tasks."""


class Anchors(NamedTuple):
    """Expected returns of an episode: of who does not look, and of who knows the task."""

    floor: float
    oracle: float


@dataclass(frozen=True)
class World:
    """A distribution of tasks.

    Attributes:
        num_inputs: Numbers in an observation.
        distribution: Over actions.
        horizon: Steps of an episode.
        train: Tasks to train on.
        test: Others, to test on.
        make_env: Environments whose tasks can be set by the reset option ``tasks``.
        anchors: Of given tasks.
        floor: What ``anchors(...).floor`` is the return of.
        has_goal: Whether success is something that happens at a step.

    Raises:
        UserError: A task to test on is one to train on, where there are finitely many.
    """

    num_inputs: int
    distribution: Distribution
    horizon: int
    train: Source
    test: Source
    make_env: MakeEnv
    anchors: Callable[[Tasks], Anchors]
    floor: str = "random actions"
    has_goal: bool = True

    def __post_init__(self) -> None:
        """Refuse test tasks that are trained on."""
        sides = self.train, self.test
        if not all(isinstance(side, TaskDistribution | TaskSet) for side in sides):
            return
        train, test = ({task.task_id for task in cast(Iterable[Any], side)} for side in sides)
        if train & test:
            raise UserError(
                f"{len(train & test)} of {len(test)} test tasks are trained on, such as "
                f"{min(train & test)}: split the tasks anew"
            )

    def test_tasks(self, num_tasks: int, generator: torch.Generator) -> Tasks:
        """Tasks to test on: each once where there are finitely many, at most ``num_tasks``.

        Args:
            num_tasks: How many.
            generator: Draws them, or the order of the finitely many.
        """
        if not isinstance(self.test, TaskDistribution | TaskSet):
            return self.test.sample(num_tasks, generator)
        tasks: Tasks = self.test.tasks
        order = torch.randperm(len(tasks), generator=generator, device=generator.device)
        return tuple(tasks[i] for i in order[:num_tasks].tolist())


def make_world(
    name: EnvName,
    *,
    horizon: int,
    size: int,
    num_arms: int,
    std: float,
    start: Start = "centre",
    goal: Goal = "teleports",
) -> World:
    """The distribution of tasks of a name.

    Args:
        name: Which.
        horizon: Steps of an episode.
        size: Of a maze.
        num_arms: Of a bandit.
        std: Initial deviation of a Gaussian policy, in units of the longest step.
        start: Of the episodes of a maze.
        goal: What it does to an agent in a maze.

    Raises:
        UserError: No goal of a maze of this size falls to the test side.
    """
    match name:
        case "maze":
            return maze(size, horizon, start, goal)
        case "point":
            return point(horizon, std)
        case "gridnavi":
            return gridnavi(horizon)
        case "bandit":
            return bandit(horizon, num_arms)
        case "mdp":
            return mdp(horizon)


def maze(size: int, horizon: int, start: Start = "centre", goal: Goal = "teleports") -> World:
    """A hidden goal in the pillar maze that pays 1 and teleports, or ends the episode.

    The agent sees the walls around it and its place: without memory it could not tell one place
    from another. Four fifths of the goals are for training.
    """
    layout = pillar_maze(size)
    splits = TaskDistribution(layout).split(train=0.8, validation=0.0, test=0.2)
    if not (len(splits.train) and len(splits.test)):
        raise UserError(f"--size {size} has no goals to test on beside those to train on")

    def make_env(num_envs: int, **place: Any) -> TensorEnv:
        env = GridMazeVectorEnv(
            num_envs, layout=layout, horizon=horizon, reward=1.0, validate_actions=False, **place
        )
        mazes: TensorEnv = LocatedMazes(env)
        if start == "random":
            mazes = RandomStarts(mazes, place.get("generator"))
        return EndsAtGoal(mazes) if goal == "ends" else mazes

    def anchors(tasks: Tasks) -> Anchors:
        return Anchors(*maze_returns(tasks, horizon, start, goal))

    actions = Categorical(NUM_MOVES)
    inputs = LocatedMazes.num_inputs
    return World(inputs, actions, horizon, splits.train, splits.test, make_env, anchors)


def point(horizon: int, std: float) -> World:
    """MAML's point in the plane; an action of 1 is the longest step."""
    splits = PointTasks().split(train=0.8, validation=0.0, test=0.2)

    def make_env(num_envs: int, **place: Any) -> TensorEnv:
        env = PointNavigationVectorEnv(num_envs, horizon=horizon, validate_actions=False, **place)
        return ScaledActions(env, env.max_step)

    def anchors(tasks: Tasks) -> Anchors:
        return Anchors(*point_reference_returns(tasks, horizon=horizon))

    sides = splits.train, splits.test
    actions = Gaussian(2, initial_std=std)
    return World(2, actions, horizon, *sides, make_env, anchors, floor="standing still")


def gridnavi(horizon: int) -> World:
    """VariBAD's grid of 5 x 5 cells, a goal on one of 21; the cell is seen as a one-hot vector."""
    splits = grid_navi_tasks().split(train=0.8, validation=0.0, test=0.2)
    make_env = partial(GridNaviVectorEnv, horizon=horizon, one_hot=True, validate_actions=False)

    def anchors(tasks: Tasks) -> Anchors:
        returns = grid_navi_reference_returns(tasks, horizon=horizon)
        return Anchors(returns.random, returns.oracle)

    return World(25, Categorical(5), horizon, splits.train, splits.test, make_env, anchors)


def bandit(horizon: int, num_arms: int) -> World:
    """RL^2's Bernoulli bandits; an episode is ``horizon`` pulls."""
    family = BanditTasks(num_arms)
    make_env = partial(BanditVectorEnv, num_arms=num_arms, horizon=horizon, validate_actions=False)

    def anchors(tasks: Tasks) -> Anchors:
        return Anchors(*bandit_reference_returns(tasks, horizon=horizon))

    actions = Categorical(num_arms)
    return World(1, actions, horizon, family, family, make_env, anchors, has_goal=False)


def mdp(horizon: int) -> World:
    """RL^2's random decision processes with 10 states and 5 actions."""
    family = MDPTasks()
    make_env = partial(TabularMDPVectorEnv, horizon=horizon, validate_actions=False)

    def anchors(tasks: Tasks) -> Anchors:
        return Anchors(*mdp_reference_returns(tasks, horizon=horizon))

    inputs, actions = family.num_states, Categorical(family.num_actions)
    return World(inputs, actions, horizon, family, family, make_env, anchors, has_goal=False)
