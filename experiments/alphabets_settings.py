"""Settings of alphabets, and the presets of every method.

The preset `reference` has the choices of the published code (Flennerhag et al. 2020) where this
package has a setting for them: two-coloured images, black where an image was moved away, distorted
held-out images, a random head for every task (leap, reptile, fomaml, none), the first-order
objective of the warp layers, K - 1 segments of Leap's path (leap, warp-leap), and for warp-leap
Leap's simplified form. What it does not have:

- held-out accuracy with running statistics: here those of training images of the alphabet;
- reptile and fomaml that end a step early: here phi_K, after the last step, is what counts;
- one optimiser for initialisation and warp layers: here each side has one of its own (the same
  for plain gradient descent, which the preset takes; not with momentum or Adam);
- one module under the name of fifty heads (ft): here every alphabet has a head of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Literal, get_args

import tyro

from metarl.errors import UserError
from metarl.meta.maml import SecondOrder
from metarl.meta.method import GradientMethod
from metarl.meta.warpgrad.method import WarpLeapSettings
from metarl.methods import gradient_methods_for, method_named
from metarl.nn.conv_settings import ConvNetSettings, WarpLayers
from metarl.run import check_option, one_of
from metarl.run.counts import Held
from metarl.run.supervised import SupervisedSettings
from metarl.supervised import AlphabetSettings, Distortion
from metarl.supervised.omniglot.multi_shot import MultiShotOmniglot

METHODS = gradient_methods_for("data", "recurring")

MAY_RESET_HEAD = ("leap", "reptile", "fomaml", "none")
"""Methods whose tasks may begin with a random head; the others learn theirs."""

JUDGED_AHEAD = ("fomaml", "imaml")
"""Methods that are judged on images that were not adapted to, beside those of second order."""

Preset = Literal["fast", "default", "reference"]


@dataclass(frozen=True)
class TrainSettings(MultiShotOmniglot, SupervisedSettings):
    """Meta-train a network that learns the 20 characters of an alphabet in 100 steps."""

    method: Annotated[str, one_of(METHODS)] = "warp-leap"
    """The learner; ft: fine-tune a body trained with a head per alphabet; none: no
    meta-training."""
    learner: Annotated[GradientMethod, tyro.conf.arg(name="")] = field(
        default_factory=WarpLeapSettings
    )
    preset: Preset = "default"
    """fast: for one CPU core; default: the published sizes; reference: published faults too."""
    log_every: int = 1
    checkpoint_every: int = 20
    meta_batch: int = 20
    """Alphabets per iteration; they come again where there are fewer."""
    network: Annotated[ConvNetSettings, tyro.conf.arg(name="")] = field(default_factory=WarpLayers)
    images: Annotated[AlphabetSettings, tyro.conf.AvoidSubcommands] = field(
        default_factory=AlphabetSettings
    )

    PROBLEM: ClassVar[type[Any]] = MultiShotOmniglot
    HELD: ClassVar[Held] = (
        (784, "meta_batch", "images.batch_size"),  # a byte for every pixel of an image
    )

    def __post_init__(self) -> None:
        """Check, before any work starts, what can be trained."""
        SupervisedSettings.__post_init__(self)
        if self.head_reset and self.method not in MAY_RESET_HEAD:
            raise UserError(
                f"--head-reset is for {', '.join(MAY_RESET_HEAD)}; {self.method} learns its head"
            )


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
        network=MultiShotOmniglot.usual(warped=learner.warped).network,
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
