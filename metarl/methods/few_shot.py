"""A meta-learned network in one line: `metarl.load(name)`, then `adapt` to examples, then call it.

network = metarl.load("sine-maml")
fitted = network.adapt(x, y)        # a few points of a new function
fitted(others)                      # its values elsewhere
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from torch import Tensor

from metarl.core import share
from metarl.core.settings import Method
from metarl.errors import RunDirectoryError
from metarl.meta import MetaLearner
from metarl.meta.method import GradientMethod, LearnedLoss, Untrained
from metarl.methods import GRADIENT
from metarl.nn import MLP, Network, WarpMLP
from metarl.nn.conv_settings import ReducedConvNetSettings, WarpReducedSettings
from metarl.runs.config import recipe_of, restored, upgraded
from metarl.runs.directory import RunDirectory
from metarl.supervised import REGRESSION_FAMILIES
from metarl.supervised.examples import Examples, FewShotBatch
from metarl.supervised.tasks import Criterion, ShowingTasks, cross_entropy
from metarl.train.selection import learned_state

RECIPES = ("experiments.regression", "experiments.omniglot")
"""What `config.json` says of runs that learn from examples."""


@dataclass(frozen=True)
class Curves:
    """A learner of functions of a line, as a run says it."""

    method: str
    learner: Annotated[Method, tyro.conf.arg(name="")]
    family: str = "sine"
    hidden: tuple[int, ...] = (40, 40)
    activation: Literal["relu", "tanh"] = "relu"

    @property
    def criterion(self) -> Criterion:
        """The loss that is adapted by."""
        return type(REGRESSION_FAMILIES[self.family]).criterion

    @property
    def usual_steps(self) -> int:
        """Steps of adaptation, usually: as in training."""
        assert isinstance(self.learner, GradientMethod)
        return self.learner.inner_steps

    def build(self) -> Network:
        """Make a perceptron, with warp layers where the method learns them."""
        plain = MLP((1, *self.hidden, 1), self.activation)
        return WarpMLP(plain, start="identity") if self.learner.warped else plain


@dataclass(frozen=True)
class Images:
    """A learner that tells a few characters apart, as a run says it."""

    method: str
    learner: Annotated[Method, tyro.conf.arg(name="")]
    network: Annotated[ReducedConvNetSettings, tyro.conf.arg(name="")] = field(
        default_factory=ReducedConvNetSettings
    )
    ways: int = 5
    test_steps: int = 3

    criterion = staticmethod(cross_entropy)

    @property
    def usual_steps(self) -> int:
        """Steps of adaptation, usually: as in validation."""
        return self.test_steps

    def build(self) -> Network:
        """Make the convolution net."""
        return self.network.build(self.ways)


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
    said = stored(run.config)
    network = said.build()
    generator = torch.Generator()
    initial = {name: p.to(device) for name, p in network.init(generator).items()}
    loss = MLP((2, 40, 40, 1), "tanh")
    of_loss = {name: p.to(device) for name, p in loss.init(generator).items()}
    method = said.learner
    assert isinstance(method, GradientMethod)
    model = Untrained(initial, network, LearnedLoss(loss, of_loss), seed=run.seed)
    learner = method.having(chunk_size=None).build(model)
    learned_state(run, learner)
    return LoadedNetwork(learner, network, said.criterion, said.usual_steps, device)


def stored(config: Mapping[str, Any]) -> Curves | Images:
    """What a run's `config.json` says of method and network.

    Raises:
        RunDirectoryError: It is of another method, or damaged.
    """
    recipe = recipe_of(config)
    values = config if "recipe" in config else upgraded(config)
    kind = GRADIENT.get(str(values.get("method")))
    if kind is None:
        raise RunDirectoryError(
            f"config.json: --method {values.get('method')!r} is not one of {', '.join(GRADIENT)}"
        )
    method = kind()
    usual: Curves | Images
    if recipe == "experiments.regression":
        usual = Curves(kind.name, method)
        own: tuple[str, ...] = ("method", "learner", "family", "hidden", "activation")
    else:
        layers = WarpReducedSettings() if method.warped else ReducedConvNetSettings()
        usual = Images(kind.name, method, layers)
        own = ("method", "learner", "network", "ways", "test_steps")
    known = {"recipe": recipe, **{name: values[name] for name in own if name in values}}
    found: Curves | Images = restored(lambda method: usual, known, str(recipe), ("method",))
    return found
