"""Settings of multi-shot Omniglot: what `--help` explains, and what `config.json` keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
import tyro

from experiments import stored_settings
from experiments.learners import LearnerSettings, Method, check_applies, resolved
from experiments.omniglot.warp_layers import WarpLayers
from metarl.core import Execution
from metarl.errors import UserError
from metarl.run.counts import Held
from metarl.supervised import AlphabetSettings
from metarl.supervised.omniglot.cache import Resize

Preset = Literal["fast", "default", "reference"]
MultiShotMethod = Literal["warp", "warp-leap", "leap", "reptile", "fomaml", "maml", "ft", "none"]


@dataclass(frozen=True)
class MultiShotSettings:
    """Meta-train a network that learns the 20 characters of an alphabet in 100 steps."""

    run_dir: Path | None = None
    """Where the run goes; several seeds get a folder seed-N each. Default: under runs/."""
    protocol: Literal["multishot"] = "multishot"
    """multishot: a task is an alphabet; fewshot: a task is a few characters of any alphabet."""
    preset: Preset = "default"
    """fast: for one CPU core; default: the published sizes; reference: published faults too."""
    method: MultiShotMethod = "warp-leap"
    """The learner; ft: fine-tune a body trained with a head an alphabet; none: no meta-training."""
    pretrain: int = 30
    """Alphabets to meta-train on."""
    test_alphabets: int = 10
    """Alphabets to be judged by; they do not depend on --pretrain."""
    split_seed: int | None = None
    """Which alphabets are which. Default: the seed of the run."""
    classes: int = 20
    """Characters of an alphabet; alphabets of fewer are left out."""
    held_out: int = 5
    """Drawings of a character to be judged by; the others are learned from."""
    iterations: int = 1000
    """Iterations; in each, the learner adapts to one meta-batch of alphabets."""
    meta_batch: int = 20
    """Alphabets an iteration; they come again where there are fewer."""
    test_steps: int = 100
    """Inner steps in validation and evaluation, the same for every learner."""
    filters: int = 64
    """Channels of each of the four convolutions."""
    warp: WarpLayers = field(default_factory=WarpLayers)
    """The warp layers."""
    images: Annotated[AlphabetSettings, tyro.conf.AvoidSubcommands] = field(
        default_factory=AlphabetSettings
    )
    """How images are drawn and distorted."""
    resize: Resize = "lanczos"
    """lanczos: grey images; nearest: two colours, as the published code has them."""
    query: Literal["train", "held-out"] = "train"
    """Images of the meta-loss: another minibatch, or (maml, fomaml by default) what is held out."""
    head_reset: bool = False
    """Every task begins with a head of its own that is drawn at random."""
    validate_every: int = 20
    """Iterations between validations; the learner that does best is kept."""
    validation_alphabets: int = 5
    """Alphabets of a validation, neither trained nor tested on; the same every time."""
    seeds: tuple[int, ...] = (0,)
    """One learner a seed, trained one after the other."""
    data: Path | None = None
    """Folder with the images. Default: $METARL_DATA/omniglot, else data/omniglot."""
    complete: bool = True
    """Refuse data of fewer or more characters than their authors publish."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    log_every: int = 1
    """Iterations a line of metrics; each line is their mean."""
    checkpoint_every: int = 20
    """Iterations between checkpoints."""
    learner: LearnerSettings = field(default_factory=LearnerSettings)
    """Inner and outer loop."""
    resume: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None
    """Continue this run; its settings come from its config.json.
    --iterations M: to M in all; a learning rate that changes does so as in a run of M."""

    HELD: ClassVar[Held] = (
        (784, "meta_batch", "images.batch_size"),  # a byte for every pixel of an image
        (144, "filters", "filters"),  # weights, gradients, moments of 3 x 3 places
        (144, "warp.filters"),
        (128, "warp.num_layers"),
    )

    def __post_init__(self) -> None:
        """Refuse, before any work starts, what cannot be trained."""
        for name in COUNTS:
            if getattr(self, name) < 1:
                option = name.replace("_", "-")
                raise UserError(f"--{option} must be at least 1, got {getattr(self, name)}")
        if not self.seeds or min(self.seeds) < 0 or len(set(self.seeds)) < len(self.seeds):
            raise UserError(f"--seeds must be different and not negative, got {self.seeds}")
        if self.split_seed is not None and self.split_seed < 0:
            raise UserError(f"--split-seed must not be negative, got {self.split_seed}")
        if not self.warped:
            self.warp.check_unused(self.method, ("warp", "warp-leap"))
        if self.head_reset and self.method not in MAY_RESET_HEAD:
            raise UserError(
                f"--head-reset is for {', '.join(MAY_RESET_HEAD)}; {self.method} learns its head"
            )
        check_applies(self.learner_method, self.learner)

    def execution(self, device: torch.device) -> Execution:
        """How many alphabets are worked on at a time."""
        return resolved(self.learner.execution, device, self.images.batch_size, self.filters)

    @property
    def warped(self) -> bool:
        """Whether the network has warp layers."""
        return self.method in ("warp", "warp-leap")

    @property
    def learner_method(self) -> Method:
        """The name of the learner for `experiments.learners`."""
        return self.method


COUNTS = (
    *("pretrain", "test_alphabets", "classes", "held_out", "iterations", "meta_batch"),
    *("test_steps", "filters", "validate_every", "validation_alphabets", "log_every"),
    "checkpoint_every",
)
MAY_RESET_HEAD = ("leap", "reptile", "fomaml", "none")


def from_config(config: Mapping[str, Any]) -> MultiShotSettings:
    """The settings that a run's `config.json` keeps.

    Raises:
        RunDirectoryError: It is another script's run, or another version's.
    """
    required = ("protocol", "preset", "pretrain", "images", "learner")
    return stored_settings.from_config(
        MultiShotSettings, config, required=required, what="a multi-shot Omniglot run"
    )
