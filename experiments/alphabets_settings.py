"""Settings of alphabets, and the presets of every method.

The preset `reference` has the choices of
the published code (Flennerhag et al. 2020) where this package has a setting for them: two-coloured
images, black where an image was moved away, distorted held-out images, a random head for every task
(leap, reptile, fomaml, none), the first-order objective of the warp layers, K - 1 segments of
Leap's path (leap, warp-leap), and for warp-leap Leap's simplified form. What it does not have:

- held-out accuracy with running statistics: here those of training images of the alphabet;
- reptile and fomaml that end a step early: here phi_K, after the last step, is what counts;
- one optimiser for initialisation and warp layers: here each side has one of its own (the same
  for plain gradient descent, which the preset takes; not with momentum or Adam);
- one module under the name of fifty heads (ft): here every alphabet has a head of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, ClassVar, Literal, get_args

import torch
import tyro

from metarl.core import Execution
from metarl.errors import UserError
from metarl.meta.maml import SecondOrder
from metarl.meta.method import GradientMethod
from metarl.meta.warpgrad.method import WarpLeapSettings
from metarl.methods import gradient_methods_for, method_named
from metarl.nn.conv_settings import ConvNetSettings, WarpLayers, stacked
from metarl.run import (
    RunSettings,
    at_least,
    check_option,
    one_of,
)
from metarl.run.counts import Held
from metarl.supervised import (
    AlphabetSettings,
    Distortion,
)
from metarl.supervised.omniglot.cache import Resize

METHODS = gradient_methods_for("data", "recurring")

MAY_RESET_HEAD = ("leap", "reptile", "fomaml", "none")
"""Methods whose tasks may begin with a random head; the others learn theirs."""

JUDGED_AHEAD = ("fomaml", "imaml")
"""Methods that are judged on images that were not adapted to, beside those of second order."""


Preset = Literal["fast", "default", "reference"]


@dataclass(frozen=True)
class TrainSettings(RunSettings):
    """Meta-train a network that learns the 20 characters of an alphabet in 100 steps."""

    method: Annotated[str, one_of(METHODS)] = "warp-leap"
    """The learner; ft: fine-tune a body trained with a head per alphabet; none: no
    meta-training."""
    learner: Annotated[GradientMethod, tyro.conf.arg(name="")] = field(
        default_factory=WarpLeapSettings
    )
    preset: Preset = "default"
    """fast: for one CPU core; default: the published sizes; reference: published faults too."""
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
    log_every: int = 1
    checkpoint_every: int = 20
    meta_batch: int = 20
    """Alphabets per iteration; they come again where there are fewer."""
    test_steps: int = 100
    """Inner steps in validation and evaluation, the same for every learner."""
    network: Annotated[ConvNetSettings, tyro.conf.arg(name="")] = field(default_factory=WarpLayers)
    images: Annotated[AlphabetSettings, tyro.conf.AvoidSubcommands] = field(
        default_factory=AlphabetSettings
    )
    """How images are drawn and distorted."""
    resize: Resize = "lanczos"
    """lanczos: grey images; nearest: two colours, as the published code has them."""
    query: Literal["train", "held-out"] = "train"
    """Images of the meta-loss: another minibatch, or (by default where a learner is judged on
    images that it did not adapt to, as maml) what is held out."""
    head_reset: bool = False
    """Every task begins with a head of its own that is drawn at random."""
    validate_every: int = 20
    """Iterations between validations; the learner that does best is kept."""
    validation_alphabets: int = 5
    """Alphabets of a validation, neither trained nor tested on; the same every time."""
    data: Path | None = None
    """Folder with the images. Default: $METARL_DATA/omniglot, else data/omniglot."""
    complete: bool = True
    """Refuse data of fewer or more characters than their authors publish."""

    HELD: ClassVar[Held] = (
        (784, "meta_batch", "images.batch_size"),  # a byte for every pixel of an image
    )

    def __post_init__(self) -> None:
        """Check, before any work starts, what can be trained."""
        super().__post_init__()
        alphabets = ("pretrain", "test_alphabets", "classes", "held_out", "validation_alphabets")
        at_least(1, self, *alphabets, "meta_batch", "test_steps", "validate_every")
        at_least(0, self, "split_seed")
        method_named(self.method, METHODS)
        if self.head_reset and self.method not in MAY_RESET_HEAD:
            raise UserError(
                f"--head-reset is for {', '.join(MAY_RESET_HEAD)}; {self.method} learns its head"
            )
        if isinstance(self.network, WarpLayers) != self.learner.warped:
            raise UserError(f"--method {self.method} has another network: see `defaults`")

    def execution(self, device: torch.device) -> Execution:
        """Return how many alphabets are worked on at a time."""
        images = self.images.batch_size
        return stacked(self.learner.execution, device, images, self.network)


def defaults(preset: Preset = "default", method: str = "warp-leap") -> TrainSettings:
    """Return the settings of a preset, with what the method needs otherwise."""
    check_option("--preset", preset, get_args(Preset))
    settings = published(method)
    match preset:
        case "fast":
            settings = fast(settings)
        case "reference":
            settings = reference(settings)
    return replace(settings, preset=preset)


def published(method: str) -> TrainSettings:
    """Return the published sizes and learning rates, with none of the faults."""
    learner = method_named(method, METHODS)()
    whole_graph, ahead = isinstance(learner, SecondOrder), method in JUDGED_AHEAD
    learner = learner.having(
        inner_lr=0.1,
        inner_steps=5 if whole_graph else 100,
        optimiser="sgd",
        lr=0.5 if whole_graph or ahead else 0.1,
        beta1=0.0,
        decay="constant",
        chunk_size="auto",
        warp_algorithm="offline",
    )
    return TrainSettings(
        method=method,
        learner=learner,
        network=WarpLayers() if learner.warped else ConvNetSettings(),
        images=AlphabetSettings(batch_size=128, distort_held_out=False, ink=1),
        query="held-out" if whole_graph or ahead else "train",
        iterations=1 if method == "none" else 1000,
    )


def reference(settings: TrainSettings) -> TrainSettings:
    """Return the published code's choices."""
    learner = settings.learner.having(warp_objective="first_order", leap_final=False)
    if settings.method == "warp-leap":
        learner = learner.having(leap_loss=False)
    network = settings.network
    if isinstance(network, WarpLayers):
        network = replace(network, warp_start="random")
    return replace(
        settings,
        learner=learner,
        network=network,
        images=AlphabetSettings(128, Distortion(fill="black"), distort_held_out=True, ink=0),
        resize="nearest",
        head_reset=settings.method in MAY_RESET_HEAD,
    )


def fast(settings: TrainSettings) -> TrainSettings:
    """Return what a quarter of an hour of one CPU core suffices for; a fifth is replayed."""
    return replace(
        settings,
        learner=settings.learner.having(warp_stride=5),
        meta_batch=5,
        network=replace(settings.network, filters=16),
        iterations=1 if settings.method == "none" else 150,
        images=replace(settings.images, batch_size=20),
        validate_every=25,
        checkpoint_every=5,
    )
