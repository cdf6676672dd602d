"""Settings of few-shot Omniglot, and the published ones of every method."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import torch
import tyro

from metarl.core import Execution
from metarl.errors import UserError
from metarl.meta.anil import ANILSettings
from metarl.meta.maml import MAMLSettings
from metarl.meta.method import GradientMethod
from metarl.methods import gradient_methods_for, method_named
from metarl.nn.conv_settings import (
    ReducedConvNetSettings,
    WarpLayers,
    WarpReducedSettings,
    stacked,
)
from metarl.run import (
    RunSettings,
    at_least,
    one_of,
)
from metarl.run.counts import Held

METHODS = gradient_methods_for("data")

Side = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class TrainSettings(RunSettings):
    """Meta-train a network that tells characters apart from a few drawings."""

    method: Annotated[str, one_of(METHODS)] = "maml"
    learner: Annotated[GradientMethod, tyro.conf.arg(name="")] = field(default_factory=MAMLSettings)
    ways: int = 5
    """Characters in a task."""
    shots: int = 1
    """Drawings of each to learn from."""
    train_shots: int | None = None
    """The same in meta-training. Default: as many; for reptile 10."""
    query_shots: int | None = None
    """Other drawings of each to be judged by. Default: as many as --shots."""
    inner_batch: int | None = None
    """Drawings per inner step in meta-training. None: all of the task. Default for reptile: 10."""
    iterations: int = 60_000
    log_every: int = 50
    meta_batch: int = 32
    """Tasks per iteration."""
    test_steps: int = 3
    """Inner steps in validation, and in evaluation if it is not told otherwise."""
    network: Annotated[ReducedConvNetSettings, tyro.conf.arg(name="")] = field(
        default_factory=ReducedConvNetSettings
    )
    rotations: bool = True
    """Count a character turned by 90, 180 and 270 degrees as three more."""
    train_characters: int = 1100
    """Characters to meta-train on."""
    validation_characters: int = 100
    """Characters to choose the best checkpoint by; the rest is for the test."""
    validate_every: int = 500
    """Iterations between validations; the learner that does best is kept."""
    validate_by: Literal["transductive", "non-transductive"] = "transductive"
    """The accuracy that validation chooses by: queries normalised together, or as the support set
    is."""
    validation_tasks: int = 200
    """Tasks of a validation, the same every time."""
    data: Path | None = None
    """Folder with the images. Default: $METARL_DATA/omniglot, else data/omniglot."""
    complete: bool = True
    """Refuse data of fewer or more characters than their authors publish."""

    HELD: ClassVar[Held] = (
        (784, "meta_batch", "ways", "shots"),  # a byte for every pixel of an image
        (784, "meta_batch", "ways", "train_shots"),
        (784, "meta_batch", "ways", "query_shots"),
        (784, "validation_tasks", "ways", "shots"),
    )

    def __post_init__(self) -> None:
        """Check, before any work starts, what can be trained."""
        super().__post_init__()
        counts = ("shots", "train_shots", "query_shots", "inner_batch", "meta_batch", "test_steps")
        characters = ("train_characters", "validation_characters", "validate_every")
        at_least(1, self, *counts, *characters, "validation_tasks")
        at_least(2, self, "ways")
        method_named(self.method, METHODS)
        support = self.ways * (self.train_shots or self.shots)
        if self.inner_batch is not None and self.inner_batch > support:
            raise UserError(
                f"--inner-batch {self.inner_batch} exceeds the {support} drawings of a task"
            )
        if isinstance(self.network, WarpLayers) != self.learner.warped:
            raise UserError(f"--method {self.method} has another network: see `defaults`")

    def counts(self, side: Side) -> tuple[int, int, int]:
        """Return ways, shots and query shots of the tasks of a side."""
        shots = (side == "train" and self.train_shots) or self.shots
        return self.ways, shots, self.query_shots or self.shots

    def execution(self, device: torch.device, *, training: bool) -> Execution:
        """Return how many tasks are worked on at a time, in meta-training or when judged."""
        ways, shots, _ = self.counts("train" if training else "test")
        asked, images = self.learner.execution, (training and self.inner_batch) or ways * shots
        shared = isinstance(self.learner, ANILSettings)
        found = stacked(asked, device, images, self.network, shared=shared)
        if not training and asked.chunk_size == "auto" and found.stacked is None:
            # There are many more of them than in meta-training, whose memory is known to suffice.
            return replace(found, chunk_size=self.meta_batch)
        return found


def defaults(method: str = "maml", ways: int = 5) -> TrainSettings:
    """Return the published settings of a method, for so many characters in a task."""
    many, learner = ways >= 20, method_named(method, METHODS)()
    settings = TrainSettings(
        method=method,
        learner=learner.having(chunk_size="auto"),
        network=WarpReducedSettings() if learner.warped else ReducedConvNetSettings(),
        ways=ways,
        meta_batch=16 if many else 32,
        test_steps=5 if many else 3,
    )
    if method in ("reptile", "leap"):
        return far(settings, many=many)
    steps, lr = (5, 0.1) if many else (1, 0.4)
    if method == "imaml":
        # Rajeswaran et al. 2019: so many steps; lambda 2 and 5 iterations are the usual ones.
        steps, lr = 25 if many else 16, 0.1
    elif learner.warped:
        # Five steps are of the size that MAML takes where it takes five.
        steps, lr = 5, 0.1
    if steps > 5 or learner.warped:
        settings = replace(settings, test_steps=steps)
    return replace(settings, learner=settings.learner.having(inner_lr=lr, inner_steps=steps))


def far(settings: TrainSettings, *, many: bool) -> TrainSettings:
    """Return the settings of learners that go far: Nichol et al. 2018, appendix A."""
    lr, steps, batch = (5e-4, 10, 20) if many else (1e-3, 5, 10)
    inner = {"inner_rule": "adam", "inner_lr": lr, "inner_steps": steps, "inner_beta1": 0.0}
    return replace(
        settings,
        learner=settings.learner.having(**inner, decay="linear"),
        meta_batch=5,
        train_shots=10,
        inner_batch=batch,
        test_steps=50,
        iterations=200_000 if many else 100_000,
    )
