"""Settings of few-shot Omniglot: what `--help` explains, and what `config.json` keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

import torch
import tyro

from experiments import stored_settings
from experiments.learners import (
    WARP_METHODS,
    InnerSettings,
    LearnerSettings,
    Method,
    adjusted,
    check_applies,
    own_of_learner,
    resolved,
)
from experiments.omniglot.warp_layers import WarpLayers
from metarl.core import Execution, OptimiserSettings, OuterSettings, Schedule
from metarl.errors import UserError
from metarl.run.counts import Held


@dataclass(frozen=True)
class FewShotSettings:
    """Meta-train a network that tells characters apart from a few drawings."""

    run_dir: Path | None = None
    """Where the run goes; several seeds get a folder seed-N each. Default: under runs/."""
    protocol: Literal["fewshot"] = "fewshot"
    """fewshot: a task is a few characters of any alphabet; multishot: a task is an alphabet."""
    method: Method = "maml"
    """The learner."""
    ways: int = 5
    """Characters in a task."""
    shots: int = 1
    """Drawings of each to learn from."""
    train_shots: int | None = None
    """The same in meta-training. Default: as many; for reptile 10."""
    query_shots: int | None = None
    """Other drawings of each to be judged by. Default: as many as --shots."""
    inner_batch: int | None = None
    """Drawings an inner step in meta-training; None: all of the task. Default for reptile: 10."""
    iterations: int = 60_000
    """Iterations; in each, the learner adapts to one meta-batch of tasks."""
    meta_batch: int = 32
    """Tasks an iteration."""
    test_steps: int = 3
    """Inner steps in validation, and in evaluation if it is not told otherwise."""
    filters: int = 64
    """Channels of each of the four convolutions."""
    reduction: Literal["stride", "pool"] = "stride"
    """stride: convolutions of stride 2, the mean over places at the end; pool: max-pooling."""
    warp: WarpLayers = field(default_factory=WarpLayers)
    """The warp layers."""
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
    seeds: tuple[int, ...] = (0,)
    """One learner a seed, trained one after the other."""
    data: Path | None = None
    """Folder with the images. Default: $METARL_DATA/omniglot, else data/omniglot."""
    complete: bool = True
    """Refuse data of fewer or more characters than their authors publish."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    log_every: int = 50
    """Iterations a line of metrics; each line is their mean."""
    checkpoint_every: int = 500
    """Iterations between checkpoints."""
    learner: LearnerSettings = field(default_factory=LearnerSettings)
    """Inner and outer loop; the defaults are the method's own."""
    resume: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None
    """Continue this run; its settings come from its config.json.
    --iterations M: to M in all; a learning rate that changes does so as in a run of M."""

    HELD: ClassVar[Held] = (
        (784, "meta_batch", "ways", "shots"),  # a byte for every pixel of an image
        (784, "meta_batch", "ways", "train_shots"),
        (784, "meta_batch", "ways", "query_shots"),
        (784, "validation_tasks", "ways", "shots"),
        (144, "filters", "filters"),  # weights, gradients, moments of 3 x 3 places
        (144, "warp.filters"),
        (128, "warp.num_layers"),
    )

    def __post_init__(self) -> None:
        """Refuse, before any work starts, what cannot be trained."""
        for name in COUNTS:
            value = getattr(self, name)
            if value is not None and value < 1:
                option = name.replace("_", "-")
                raise UserError(f"--{option} must be at least 1, got {value}")
        if self.ways < 2:
            raise UserError(f"--ways must be at least 2, got {self.ways}")
        support = self.ways * (self.train_shots or self.shots)
        if self.inner_batch is not None and self.inner_batch > support:
            raise UserError(
                f"--inner-batch {self.inner_batch} exceeds the {support} drawings of a task"
            )
        if not self.seeds or min(self.seeds) < 0 or len(set(self.seeds)) < len(self.seeds):
            raise UserError(f"--seeds must be different and not negative, got {self.seeds}")
        if self.method in WHY_NOT:
            raise UserError(WHY_NOT[self.method])
        if not self.warped:
            self.warp.check_unused(self.method, WARP_METHODS)
        check_applies(self.method, self.learner)

    def execution(self, device: torch.device, *, training: bool) -> Execution:
        """How many tasks are worked on at a time, in meta-training or when they are judged."""
        ways, shots, _ = self.train_counts if training else self.test_counts
        batch = self.inner_batch if training else None
        found = resolved(
            self.learner.execution,
            device,
            batch or ways * shots,
            self.filters,
            shared=self.method == "anil",
        )
        if not training and self.learner.execution.chunk_size == "auto" and found.stacked is None:
            # There are many more of them than in meta-training, whose memory is known to suffice.
            return replace(found, chunk_size=self.meta_batch)
        return found

    @property
    def warped(self) -> bool:
        """Whether the network has warp layers."""
        return self.method in WARP_METHODS

    @property
    def train_counts(self) -> tuple[int, int, int]:
        """Ways, shots and query shots in meta-training."""
        return self.ways, self.train_shots or self.shots, self.query_shots or self.shots

    @property
    def test_counts(self) -> tuple[int, int, int]:
        """Ways, shots and query shots in validation."""
        return self.ways, self.shots, self.query_shots or self.shots


COUNTS = (
    *("ways", "shots", "train_shots", "query_shots", "inner_batch", "iterations", "meta_batch"),
    *("test_steps", "filters", "train_characters", "validation_characters", "validate_every"),
    *("validation_tasks", "log_every", "checkpoint_every"),
)
WHY_NOT: dict[str, str] = {
    "daml": "daml adapts without labels: characters are told apart by theirs; "
    "`python -m experiments.regression train --family sine-domain` has tasks for it",
    "ft": "ft has a head for each training task, and few-shot tasks never come again: "
    "--protocol multishot has it",
}
"""The learners that few-shot tasks do not suit."""

METHODS: tuple[Method, ...] = tuple(m for m in get_args(Method) if m not in WHY_NOT)
"""The learners of this protocol."""


def defaults(method: Method = "maml", ways: int = 5) -> FewShotSettings:
    """The published settings of a learner, for so many characters in a task."""
    many = ways >= 20
    inner = InnerSettings(lr=0.1, num_steps=5) if many else InnerSettings(lr=0.4)
    base = LearnerSettings(inner=inner, execution=Execution("auto"))
    settings = FewShotSettings(ways=ways, meta_batch=16 if many else 32)
    settings = replace(settings, test_steps=5 if many else 3)
    if method in ("reptile", "leap"):
        return replace(settings, method=method, **_reptile(method, base, many))
    learner = adjusted(method, base)
    if method == "imaml":
        # Rajeswaran et al. 2019: so many steps; lambda 2 and 5 iterations are the usual ones.
        inner = replace(inner, lr=0.1, num_steps=25 if many else 16)
        learner = replace(base, inner=inner)
        settings = replace(settings, test_steps=inner.num_steps)
    if method in WARP_METHODS:
        # Five steps are of the size that MAML takes where it takes five.
        inner = replace(learner.inner, lr=0.1)
        learner = replace(learner, inner=inner)
        settings = replace(settings, test_steps=inner.num_steps)
    return replace(settings, method=method, learner=learner)


def _reptile(method: Method, base: LearnerSettings, many: bool) -> dict[str, Any]:
    """Nichol et al. 2018, appendix A."""
    lr, steps, batch = (5e-4, 10, 20) if many else (1e-3, 5, 10)
    inner = InnerSettings("adam", lr=lr, num_steps=steps, beta1=0.0)
    whole = OuterSettings(OptimiserSettings("sgd", lr=1.0, beta1=0.0))
    if method == "leap":
        whole = OuterSettings()
    learner = replace(base, inner=inner, outer=whole, schedule=Schedule("linear"))
    return {
        "learner": learner,
        "meta_batch": 5,
        "train_shots": 10,
        "inner_batch": batch,
        "test_steps": 50,
        "iterations": 200_000 if many else 100_000,
    }


def from_config(config: Mapping[str, Any]) -> FewShotSettings:
    """The settings that a run's `config.json` keeps.

    Raises:
        RunDirectoryError: It is another script's run, or another version's.
    """
    required = ("protocol", "method", "ways", "shots", "learner")
    return stored_settings.from_config(
        FewShotSettings, own_of_learner(config), required=required, what="a few-shot Omniglot run"
    )
