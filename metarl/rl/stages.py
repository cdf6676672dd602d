"""Problems that change while they are learned: small mazes before large ones, a bonus that fades.

A problem with `stages` is a sequence of problems, each learned for a share of the training; what is
seen and what can be done is the same in all of them, and so are the random streams that go on. A
problem with `ease` changes its environments a little from iteration to iteration. Both depend on
nothing but the share of the iterations that is over, so that a run resumes where it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from metarl.errors import UserError
from metarl.rl.problem import Problem


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
        """Whether they do."""

    def ease(self, env: Any, done: float) -> None:
        """Set what changes.

        Args:
            env: Environments that `Problem.make_env` made.
            done: Share of the training's iterations that is over, in [0, 1).
        """


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
