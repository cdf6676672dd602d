"""Training on tasks with data, for the recipes whose problems are those of `metarl.supervised`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, ClassVar, Protocol

import tyro

from metarl.errors import UserError
from metarl.evaluate.evaluation_result import EvaluationResult
from metarl.meta.maml import MAMLSettings
from metarl.meta.method import GradientMethod
from metarl.methods.supervised import SupervisedLearning
from metarl.run.commands import refused
from metarl.run.recipe import Training
from metarl.run.settings import RunSettings, at_least
from metarl.supervised.curves import Curves
from metarl.supervised.omniglot.few_shot import FewShotOmniglot
from metarl.supervised.omniglot.multi_shot import MultiShotOmniglot
from metarl.supervised.problem import SupervisedProblem


class Trained(Protocol):
    """Settings of a run that learned from data, as its evaluation needs them."""

    @property
    def problem(self) -> SupervisedProblem:
        """Problem that was learned."""

    @property
    def learner(self) -> Any:
        """The method: a `GradientMethod`."""

    @property
    def meta_batch(self) -> int:
        """Tasks per iteration."""


@dataclass(frozen=True)
class SupervisedSettings(RunSettings):
    """Settings of a training on tasks with data.

    A recipe's settings derive from these and from its problem, so that they have the fields of
    both: ``class TrainSettings(Curves, SupervisedSettings)``, with ``PROBLEM = Curves``.
    """

    method: str = "maml"
    learner: Annotated[GradientMethod, tyro.conf.arg(name="")] = field(default_factory=MAMLSettings)
    meta_batch: int = 25
    """Tasks per iteration."""

    PROBLEM: ClassVar[type[Any]]

    def __post_init__(self) -> None:
        """Check, before any work starts, what can be trained."""
        super().__post_init__()
        at_least(1, self, "meta_batch")
        try:
            self.learning()
        except ValueError as error:
            raise refused(error, {f.name for f in fields(self.PROBLEM)}) from error

    @property
    def problem(self) -> Any:
        """The problem, of the same fields."""
        kind = self.PROBLEM
        return kind(**{f.name: getattr(self, f.name) for f in fields(kind)})

    def learning(self) -> SupervisedLearning:
        """Return what is learned and how."""
        return SupervisedLearning(self.problem, self.learner)


def evaluation(problem: SupervisedProblem) -> tuple[type[Any], Callable[..., EvaluationResult]]:
    """Return the settings of a problem's evaluation, and what evaluates runs that learned it.

    Raises:
        UserError: There is none.
    """
    # Imported here: training has no need of them.
    from metarl.run import classification, fits

    match problem:
        case Curves():
            return fits.EvaluateSettings, fits.evaluate
        case FewShotOmniglot():
            return classification.CharactersSettings, classification.evaluate_characters
        case MultiShotOmniglot():
            return classification.AlphabetsSettings, classification.evaluate_alphabets
    raise UserError(
        f"{problem.name} has no evaluation: measure its learner by metarl.evaluate.supervised"
    )


def training(settings: SupervisedSettings) -> Training:
    """Return what settings train."""
    return Training(settings.learning(), settings.meta_batch)
