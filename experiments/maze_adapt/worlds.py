"""The task distributions to adapt to, in one form: tasks of three sides, environments, anchors.

Tasks to choose settings by (validation) and to report on (test) are never trained on: where tasks
can be told apart they are split by their hash (mazes, GridNavi, and the plane of the point, cell by
cell); bandits and decision processes are drawn from a continuum, and those of each side by a
generator of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any, Literal, NamedTuple, Protocol, cast

import torch
from gymnasium.vector import VectorEnv
from torch import Tensor

from envs import (
    BanditTasks,
    BanditVectorEnv,
    GridMazeVectorEnv,
    GridNaviVectorEnv,
    MDPTasks,
    PointNavigationVectorEnv,
    PointTasks,
    TabularMDPVectorEnv,
    TaskSet,
    bandit_reference_returns,
    grid_navi_reference_returns,
    grid_navi_tasks,
    maze_tasks,
    mdp_reference_returns,
    oracle,
    pillar_maze,
    point_reference_returns,
)
from envs.maze.dynamics import PATCH_SIZE
from envs.maze.settings import GoalRule, Start
from envs.maze.views import PLACE_SIZE
from metarl.errors import UserError
from metarl.rl import Categorical, Distribution, Gaussian

EnvName = Literal["maze", "point", "gridnavi", "bandit", "mdp"]
TensorEnv = VectorEnv[Tensor, Tensor, Tensor]
Tasks = Sequence[Any]
MakeEnv = Callable[..., TensorEnv]
"""Called with ``(num_envs, generator=..., device=...)``."""

Split = Literal["validation", "test"]
"""Of the tasks that are not trained on: those to choose settings by, and those to report on."""

FRACTIONS = {"train": 0.7, "validation": 0.1, "test": 0.2}
"""Of the tasks, dealt out by their hash."""

SALT = "2"
"""The usual one. It leaves no side of a maze of 5 to 13 cells empty."""

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
        validation: Others, to choose settings by.
        test: Others again, to report on.
        make_env: Environments whose tasks can be set by the reset option ``tasks``.
        anchors: Of given tasks.
        floor: What ``anchors(...).floor`` is the return of.
        has_goal: Whether success is something that happens at a step.

    Raises:
        UserError: A task is on two sides, where there are finitely many.
    """

    num_inputs: int
    distribution: Distribution
    horizon: int
    train: Source
    validation: Source
    test: Source
    make_env: MakeEnv
    anchors: Callable[[Tasks], Anchors]
    floor: str = "random actions"
    has_goal: bool = True

    def __post_init__(self) -> None:
        """Check that the sides are apart."""
        sides = {"train": self.train, "validation": self.validation, "test": self.test}
        if not all(isinstance(side, TaskSet) for side in sides.values()):
            return
        ids = {n: {t.task_id for t in cast(Iterable[Any], s)} for n, s in sides.items()}
        for one, other in combinations(ids, 2):
            shared = ids[one] & ids[other]
            if shared:
                raise UserError(
                    f"{len(shared)} of {len(ids[other])} {other} tasks are {one} tasks too, such "
                    f"as {min(shared)}: split the tasks again"
                )

    def source(self, split: Split) -> Source:
        """Where the tasks of one side come from."""
        return self.test if split == "test" else self.validation

    def num_unseen(self, split: Split, num_tasks: int) -> int:
        """How many tasks there are of those that were asked for."""
        source = self.source(split)
        if isinstance(source, TaskSet):
            return min(num_tasks, len(source))
        return num_tasks

    def unseen_tasks(self, split: Split, num_tasks: int, generator: torch.Generator) -> Tasks:
        """Tasks of one side: each once where there are finitely many, at most ``num_tasks``.

        Args:
            split: ``validation`` or ``test``.
            num_tasks: How many.
            generator: Draws them, or the order of the finitely many.
        """
        source = self.source(split)
        if not isinstance(source, TaskSet):
            return source.sample(num_tasks, generator)
        tasks: Tasks = source.tasks
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
    goal: GoalRule = "teleports",
    salt: str = SALT,
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
        salt: Another string deals the tasks out to the sides differently.

    Raises:
        UserError: No goal of a maze of this size falls to a side.
    """
    match name:
        case "maze":
            return maze(size, horizon, start, goal, salt)
        case "point":
            return point(horizon, std, salt)
        case "gridnavi":
            return gridnavi(horizon, salt)
        case "bandit":
            return bandit(horizon, num_arms)
        case "mdp":
            return mdp(horizon)


def maze(
    size: int,
    horizon: int,
    start: Start = "centre",
    goal: GoalRule = "teleports",
    salt: str = SALT,
) -> World:
    """A hidden goal in the pillar maze that pays 1 and teleports, or ends the episode.

    The agent sees the walls around it and its place: without memory it could not tell one place
    from another. Some seven tenths of the goals are for training.
    """
    layout = pillar_maze(size)
    splits = maze_tasks(layout).split(**FRACTIONS, salt=salt)
    sides = sides_of(splits, f"--size {size} --salt {salt}")

    make_env = partial(
        GridMazeVectorEnv,
        layout=layout,
        horizon=horizon,
        reward=1.0,
        start=start,
        goal=goal,
        observe="walls_and_place",
        validate_actions=False,
    )

    def anchors(tasks: Tasks) -> Anchors:
        own: Any = {"horizon": horizon, "reward": 1.0, "start": start, "goal": goal}
        return Anchors(oracle.random_return(tasks, **own), oracle.oracle_return(tasks, **own))

    actions = Categorical(NUM_MOVES)
    return World(PATCH_SIZE + PLACE_SIZE, actions, horizon, *sides, make_env, anchors)


def sides_of(splits: Any, options: str) -> tuple[Source, Source, Source]:
    """Goals to train, to choose settings and to report on.

    Args:
        splits: With ``train``, ``validation`` and ``test``, finitely many each.
        options: What the split was asked for by.

    Raises:
        UserError: A side is empty.
    """
    sides = splits.train, splits.validation, splits.test
    for name, side in zip(FRACTIONS, sides, strict=True):
        if not len(side):
            raise UserError(f"{options} leaves no goal for {name}; name another --salt")
    return sides


def point(horizon: int, std: float, salt: str = SALT) -> World:
    """MAML's point in the plane; an action of 1 is the longest step."""
    splits = PointTasks().split(**FRACTIONS, salt=salt)
    longest = 0.1
    make_env = partial(
        PointNavigationVectorEnv,
        horizon=horizon,
        max_step=longest,
        action_scale=longest,
        validate_actions=False,
    )

    def anchors(tasks: Tasks) -> Anchors:
        return Anchors(*point_reference_returns(tasks, horizon=horizon))

    sides = splits.train, splits.validation, splits.test
    actions = Gaussian(2, initial_std=std)
    return World(2, actions, horizon, *sides, make_env, anchors, floor="standing still")


def gridnavi(horizon: int, salt: str = SALT) -> World:
    """VariBAD's grid of 5 x 5 cells, a goal on one of 21; the cell is seen as a one-hot vector."""
    sides = sides_of(grid_navi_tasks().split(**FRACTIONS, salt=salt), f"--salt {salt}")
    make_env = partial(GridNaviVectorEnv, horizon=horizon, one_hot=True, validate_actions=False)

    def anchors(tasks: Tasks) -> Anchors:
        returns = grid_navi_reference_returns(tasks, horizon=horizon)
        return Anchors(returns.random, returns.oracle)

    return World(25, Categorical(5), horizon, *sides, make_env, anchors)


def bandit(horizon: int, num_arms: int) -> World:
    """RL^2's Bernoulli bandits; an episode is ``horizon`` pulls."""
    family = BanditTasks(num_arms)
    make_env = partial(BanditVectorEnv, num_arms=num_arms, horizon=horizon, validate_actions=False)

    def anchors(tasks: Tasks) -> Anchors:
        return Anchors(*bandit_reference_returns(tasks, horizon=horizon))

    actions = Categorical(num_arms)
    sides = family, family, family
    return World(1, actions, horizon, *sides, make_env, anchors, has_goal=False)


def mdp(horizon: int) -> World:
    """RL^2's random decision processes with 10 states and 5 actions."""
    family = MDPTasks()
    make_env = partial(TabularMDPVectorEnv, horizon=horizon, validate_actions=False)

    def anchors(tasks: Tasks) -> Anchors:
        return Anchors(*mdp_reference_returns(tasks, horizon=horizon))

    inputs, actions = family.num_states, Categorical(family.num_actions)
    sides = family, family, family
    return World(inputs, actions, horizon, *sides, make_env, anchors, has_goal=False)
