"""A meta-learned network in one line: `metarl.load(name)`, then `adapt` to examples, then call it.

network = metarl.load("sine-maml")
fitted = network.adapt(x, y)        # a few points of a new function
fitted(others)                      # its values elsewhere
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarl.core import share
from metarl.core.settings import Method
from metarl.errors import RunDirectoryError
from metarl.meta import MetaLearner
from metarl.meta.method import GradientMethod
from metarl.methods import GRADIENT
from metarl.methods.supervised import SupervisedLearning
from metarl.nn import Network
from metarl.runs.config import recipe_of, restored, upgraded
from metarl.runs.directory import RunDirectory
from metarl.supervised.curves import Curves
from metarl.supervised.examples import Examples, FewShotBatch
from metarl.supervised.omniglot.few_shot import FewShotOmniglot
from metarl.supervised.problem import SupervisedProblem
from metarl.supervised.tasks import Criterion, ShowingTasks, cross_entropy
from metarl.train.selection import learned_state

PROBLEMS: dict[str, type[SupervisedProblem]] = {
    "experiments.regression": Curves,
    "experiments.omniglot": FewShotOmniglot,
    **{problem.name: problem for problem in (Curves, FewShotOmniglot)},
}
"""Problems of runs that learn from examples, by the script or the name that `config.json` says."""


@dataclass(frozen=True)
class Stored:
    """Method and problem as a run says them."""

    method: str
    learner: Method
    problem: SupervisedProblem


class LoadedNetwork:
    """A meta-learned network; `adapt` gives one that has seen a task's examples.

    Attributes:
        learner: The initialisation and the update rule.
        network: The architecture.
        usual_steps: Gradient steps of `adapt`, where it is not told otherwise.
    """

    def __init__(
        self,
        learner: MetaLearner,
        network: Network,
        criterion: Criterion,
        usual_steps: int,
        device: torch.device,
        adapted: tuple[dict[str, Tensor], Tensor] | None = None,
    ) -> None:
        self.learner, self.network, self.usual_steps = learner, network, usual_steps
        self._criterion, self._device = criterion, device
        self._adapted = adapted

    def adapt(
        self, inputs: NDArray[Any] | Tensor, targets: NDArray[Any] | Tensor, num_steps: int = -1
    ) -> LoadedNetwork:
        """Adapt to the examples of one task; this network stays as it is.

        Args:
            inputs: ``[B, ...]``: of functions of a line ``[B, 1]``, of images ``[B, 1, 28, 28]``,
                1 where there is ink.
            targets: ``[B, 1]``, or the numbers of classes ``[B]``.
            num_steps: Gradient steps; -1: `usual_steps`.
        """
        x = self._tensor(inputs).unsqueeze(0)
        y = torch.as_tensor(targets, device=self._device)
        y = (y if self._criterion is cross_entropy else y.to(torch.float32)).unsqueeze(0)
        examples = Examples(x, y)
        tasks = ShowingTasks(self.network, FewShotBatch(examples, examples), self._criterion)
        steps = self.usual_steps if num_steps < 0 else num_steps
        fast = self.learner.adapt(tasks, steps)
        return LoadedNetwork(
            self.learner,
            self.network,
            self._criterion,
            self.usual_steps,
            self._device,
            (fast, x),
        )

    @torch.no_grad()
    def __call__(self, inputs: NDArray[Any] | Tensor) -> Any:
        """Values ``[B, 1]``, or logits of the classes ``[B, ways]``; arrays give arrays.

        Batch norm takes the statistics of the examples that were adapted to, so that an input alone
        has the same answer as among others; before adaptation, those of these inputs.
        """
        x = self._tensor(inputs).unsqueeze(0)
        if self._adapted is None:
            params, known = share(self.learner.fast, 1), x[:, :0]
        else:
            params, known = self._adapted
        params = {**share(self.learner.slow, 1), **params}
        outputs = self.network(params, torch.cat([known, x], 1), known.shape[1])
        found = outputs[0, known.shape[1] :]
        return found if isinstance(inputs, Tensor) else np.asarray(found.cpu())

    def _tensor(self, inputs: NDArray[Any] | Tensor) -> Tensor:
        return torch.as_tensor(inputs, device=self._device).to(torch.float32)


def load_network(run: RunDirectory, device: torch.device) -> LoadedNetwork:
    """Load what a run has learned from examples: the best in validation, where there was one.

    Raises:
        UserError: The run is of something else, or damaged.
    """
    learning = stored(run.config)
    learner = learning.learner(torch.Generator(), device, 1, run.seed)
    learned_state(run, learner)
    problem, steps = learning.problem, learning.method.inner_steps
    usual = problem.usual_steps(steps)
    return LoadedNetwork(learner, learning.network, problem.criterion, usual, device)


def problem_of(config: Mapping[str, Any]) -> type[SupervisedProblem] | None:
    """Return the kind of problem that a run has learned from examples; None: something else."""
    return PROBLEMS.get(str(config["env"] if "problem" in config else recipe_of(config)))


def stored(config: Mapping[str, Any]) -> SupervisedLearning:
    """Entries of a run's `config.json` on method and problem.

    Raises:
        RunDirectoryError: It is of another method, or damaged.
    """
    values = config if "recipe" in config else upgraded(config)
    kind, problem = GRADIENT.get(str(values.get("method"))), problem_of(config)
    if kind is None or problem is None:
        raise RunDirectoryError(
            f"config.json: --method {values.get('method')!r} is not one of {', '.join(GRADIENT)}"
        )
    usual = Stored(kind.name, kind(), problem.usual(warped=kind.warped))
    settings = values.get("problem", values)
    own = {f.name for f in fields(cast(Any, problem))} & settings.keys()
    known = {
        "recipe": recipe_of(config),
        **{name: values[name] for name in ("method", "learner") if name in values},
        "problem": {name: settings[name] for name in own},
    }
    found = restored(lambda method: usual, known, str(known["recipe"]), ("method",))
    assert isinstance(found.learner, GradientMethod)
    return SupervisedLearning(found.problem, found.learner.having(chunk_size=None))
