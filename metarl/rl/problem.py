"""Problems: a distribution of tasks, the environments that play them, and what is earned at best.

A *problem* is all that a method has to know of what it learns. Whatever has the attributes of
`Problem` is one; nothing has to be inherited. `metarl.rl.GymnasiumProblem` makes one of any
Gymnasium environments.

A problem may change while it is learned: small mazes before large ones, a bonus that fades. One
with `stages` is a sequence of problems, each learned for a share of the training; what is seen and
what can be done is the same in all of them, and so are the random streams that go on. One with
`ease` changes its environments a little from iteration to iteration. Both depend on nothing but the
share of the iterations that is over, so that a run resumes where it was. Returns are measured, and
films made, in environments as they are when all of the training is over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, TypeVar, runtime_checkable

import torch
from gymnasium.spaces import Space

from metarl.errors import UserError
from metarl.rl.collector import TensorVectorEnv

Goal: TypeAlias = bool | Literal["pays", "ends"]
"""When an episode succeeds: True, when a step pays or the episode ends early; ``"pays"``, when a
step pays, where an end may be a failure (lava); ``"ends"``, when the episode ends early, where what
pays before may be a part of the way (a key); False: there is no success."""

Split = Literal["validation", "test"]
"""Tasks that are not trained on: those to choose settings by, and those to report on."""


class TaskSource(Protocol):
    """A source of tasks; one that has a length is finite, and is iterated over."""

    def sample(self, n: int, generator: torch.Generator, /) -> Sequence[Any]:
        """Draw n tasks independently, with replacement where they are finitely many."""


class KnownReturns(Protocol):
    """Expected returns of an episode, as a problem says them; `Anchors`, or a value like it."""

    @property
    def floor(self) -> float:
        """Return of an agent that does not observe."""

    @property
    def oracle(self) -> float:
        """Return of an agent that knows the task."""

    @property
    def floor_name(self) -> str:
        """Name of the floor's agent."""


class Anchors(NamedTuple):
    """Expected returns of an episode, means over some tasks.

    Attributes:
        floor: Return of an agent that does not observe.
        oracle: Return of an agent that knows the task.
        floor_name: Name of the floor's agent.
    """

    floor: float
    oracle: float
    floor_name: str = "random actions"


class TensorEnv(TensorVectorEnv, Protocol):
    """Environments of a problem, side by side as one tensor program.

    ``reset`` understands the options ``tasks`` (one for each environment, kept for later resets;
    None: they are drawn from the problem's training tasks) and ``same_task`` (another episode on
    the tasks at hand).
    """

    @property
    def single_observation_space(self) -> Space[Any]:
        """Observations of one environment."""

    @property
    def single_action_space(self) -> Space[Any]:
        """Actions of one environment."""


class Problem(Protocol):
    """A distribution of tasks, as methods see it."""

    @property
    def name(self) -> str:
        """Name of the problem."""

    @property
    def observation(self) -> Space[Any]:
        """Observations of one environment: a ``Box``."""

    @property
    def actions(self) -> Space[Any]:
        """Actions of one environment, as policies draw them (`metarl.rl.distribution_for`)."""

    @property
    def horizon(self) -> int:
        """Steps of an episode, at most."""

    @property
    def has_goal(self) -> Goal:
        """Condition under which an episode succeeds."""

    @property
    def train(self) -> TaskSource:
        """Tasks to train on."""

    @property
    def validation(self) -> TaskSource:
        """Other tasks, to choose settings by."""

    @property
    def test(self) -> TaskSource:
        """Third tasks, to report on."""

    def make_env(
        self, num_envs: int, generators: Sequence[torch.Generator], device: torch.device
    ) -> TensorEnv:
        """Make environments.

        Args:
            num_envs: B.
            generators: G generators on ``device`` for all that the environments draw; each serves
                B / G of them in a row, which do not depend on the others.
            device: Device of the tensors.
        """

    def anchors(self, tasks: Sequence[Any]) -> KnownReturns | None:
        """Returns on some tasks at worst and at best; None where they are not known."""


NEEDED = (
    *("name", "observation", "actions", "horizon", "has_goal"),
    *("train", "validation", "test", "make_env", "anchors"),
)
"""Attributes of a problem."""


def is_finite(source: TaskSource) -> bool:
    """Whether a source of tasks has finitely many, which can be counted and gone through."""
    return hasattr(source, "__len__")


def source_of(problem: Problem, split: Split) -> TaskSource:
    """The source of tasks that are not trained on."""
    return problem.test if split == "test" else problem.validation


def unseen_tasks(
    problem: Problem, split: Split, num_tasks: int, generator: torch.Generator
) -> tuple[Any, ...]:
    """Tasks of one side: each once where there are finitely many, at most ``num_tasks``.

    Args:
        problem: Whose tasks.
        split: ``validation`` or ``test``.
        num_tasks: Number of tasks.
        generator: Draws them, or the order of the finitely many.
    """
    source: Any = source_of(problem, split)
    if not is_finite(source):
        return tuple(source.sample(num_tasks, generator))
    tasks = tuple(source)
    order = torch.randperm(len(tasks), generator=generator, device=generator.device)
    return tuple(tasks[i] for i in order[:num_tasks].tolist())


def check_problem(problem: Any) -> Problem:
    """Check that something is a problem, and that its sides are apart.

    Raises:
        UserError: An attribute is missing, a finite side is empty, or a task is on two sides.
    """
    missing = [name for name in NEEDED if not hasattr(problem, name)]
    if missing:
        raise UserError(
            f"{type(problem).__name__} is no problem, it has no {', '.join(missing)}: see "
            "metarl.rl.Problem, or make a metarl.rl.GymnasiumProblem of environments"
        )
    found: Problem = problem
    sources: dict[str, Any] = {
        "train": found.train,
        "validation": found.validation,
        "test": found.test,
    }
    ids = {n: {task_name(t) for t in s} for n, s in sources.items() if is_finite(s)}
    for name, tasks in ids.items():
        if not tasks:
            raise UserError(
                f"{found.name} has no tasks for {name}: split them otherwise (a built-in one: "
                "name another --salt)"
            )
    for one, other in combinations(ids, 2):
        shared = ids[one] & ids[other]
        if shared:
            raise UserError(
                f"{len(shared)} of {len(ids[other])} {other} tasks are {one} tasks too, such as "
                f"{min(shared)}: split the tasks again"
            )
    return found


def task_name(task: Any) -> str:
    """Name of a task: its ``task_id``, or how it is written."""
    return str(getattr(task, "task_id", None) or repr(task))


def task_json(task: Any) -> Any:
    """JSON value of a task: what its ``to_json`` writes, itself, or how it is written."""
    if hasattr(task, "to_json"):
        return json.loads(task.to_json())
    if isinstance(task, str | int | float | bool | Mapping | list | tuple):
        return task
    return repr(task)


# Problems that change while they are learned ------------------------------------------------------


class Stage(NamedTuple):
    """A part of a training.

    Attributes:
        begins: Share of the iterations that is over when it begins, in [0, 1).
        problem: Problem that is learned in it.
    """

    begins: float
    problem: Problem


@runtime_checkable
class Staged(Protocol):
    """A problem that is learned in stages."""

    @property
    def stages(self) -> Sequence[Stage]:
        """The stages in their order; the first begins at 0."""


@runtime_checkable
class Eased(Protocol):
    """A problem whose environments change from iteration to iteration."""

    @property
    def eases(self) -> bool:
        """Whether the environments change in training."""

    def ease(self, env: Any, done: float) -> None:
        """Set what changes.

        Args:
            env: Environments that `Problem.make_env` made.
            done: Share of the training's iterations that is over, in [0, 1]; 1 where returns are
                measured.
        """


TensorEnvT = TypeVar("TensorEnvT", bound=TensorVectorEnv)


def eased(problem: Problem, env: TensorEnvT, done: float = 1.0) -> TensorEnvT:
    """Set what changes of a problem's environments while it is learned, if anything does.

    Args:
        problem: Whose environments.
        env: Environments that its `Problem.make_env` made.
        done: Share of the training's iterations that is over, in [0, 1]; 1 where returns are
            measured.

    Returns:
        The environments.
    """
    if isinstance(problem, Eased):
        problem.ease(env, done)
    return env


def stages_of(problem: Problem) -> tuple[Stage, ...]:
    """Stages of a problem: itself, where it has none.

    Raises:
        UserError: They do not begin at 0 or do not rise, or differ in what is seen or done.
    """
    if not isinstance(problem, Staged):
        return (Stage(0.0, problem),)
    stages = tuple(problem.stages)
    begins = [stage.begins for stage in stages]
    if not stages or begins[0] != 0 or begins != sorted(set(begins)) or begins[-1] >= 1:
        raise UserError(
            f"{problem.name}: stages begin at shares that rise from 0 and stay below 1, got "
            f"{', '.join(map(str, begins)) or 'none'}"
        )
    for stage in stages:
        if (stage.problem.observation, stage.problem.actions) != (
            problem.observation,
            problem.actions,
        ):
            raise UserError(f"{problem.name}: all stages must have its observations and actions")
    return stages
