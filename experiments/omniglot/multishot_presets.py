"""The presets of multi-shot Omniglot.

`reference` has the choices of the published code where this package has a setting for them:
two-coloured images, black where an image was moved away, distorted held-out images, a random head
for every task (leap, reptile, fomaml, none), the first-order objective of the warp layers, K - 1
segments of Leap's path (leap, warp-leap), and for warp-leap Leap's simplified form.

What it does not have:

- held-out accuracy with running statistics: here those of training images of the alphabet;
- reptile and fomaml that end a step early: here phi_K, after the last step, is what counts;
- one optimiser for initialisation and warp layers: here each side has one of its own (the same
  for plain gradient descent, which the preset takes; not with momentum or Adam);
- one module under the name of fifty heads (ft): here every alphabet has a head of its own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from experiments.learners import InnerSettings, LearnerSettings, WarpSettings
from experiments.omniglot.multishot_settings import (
    MAY_RESET_HEAD,
    MultiShotMethod,
    MultiShotSettings,
    Preset,
)
from experiments.omniglot.warp_layers import WarpLayers
from metarl.core import Execution, OptimiserSettings, OuterSettings
from metarl.meta import SIMPLIFIED
from metarl.supervised import AlphabetSettings, Distortion


def defaults(
    preset: Preset = "default", method: MultiShotMethod = "warp-leap"
) -> MultiShotSettings:
    """The settings of a preset, with what the method needs otherwise."""
    match preset:
        case "fast":
            settings = _fast(method)
        case "default":
            settings = _default(method)
        case "reference":
            settings = _reference(method)
    return replace(settings, preset=preset)


def _default(method: MultiShotMethod) -> MultiShotSettings:
    """The published sizes and learning rates, with none of the faults."""
    second_order = method in ("maml", "fomaml")
    return MultiShotSettings(
        method=method,
        images=AlphabetSettings(batch_size=128, distort_held_out=False, ink=1),
        query="held-out" if second_order else "train",
        iterations=1 if method == "none" else 1000,
        learner=LearnerSettings(
            inner=InnerSettings(lr=0.1, num_steps=5 if method == "maml" else 100),
            outer=OuterSettings(_sgd(0.5 if second_order else 0.1)),
            execution=Execution("auto"),
            **_offline(method, "exact"),
        ),
    )


def _reference(method: MultiShotMethod) -> MultiShotSettings:
    """The published code's choices."""
    settings = _default(method)
    distortion = Distortion(fill="black")
    learner = replace(settings.learner, **_offline(method, "first_order"))
    if method in ("leap", "warp-leap"):
        learner = replace(learner, leap_final=False)
    if method == "warp-leap":
        learner = replace(learner, leap=SIMPLIFIED)
    return replace(
        settings,
        warp=WarpLayers(start="random") if settings.warped else WarpLayers(),
        images=AlphabetSettings(128, distortion, distort_held_out=True, ink=0),
        resize="nearest",
        head_reset=method in MAY_RESET_HEAD,
        learner=learner,
    )


def _fast(method: MultiShotMethod) -> MultiShotSettings:
    """Small enough for a quarter of an hour of one CPU core; every fifth point is replayed."""
    settings = _default(method)
    learner = settings.learner
    if settings.warped:
        learner = replace(learner, warp=replace(learner.warp, stride=5))
    return replace(
        settings,
        meta_batch=5,
        filters=16,
        iterations=1 if method == "none" else 150,
        images=replace(settings.images, batch_size=20),
        validate_every=25,
        checkpoint_every=5,
        learner=learner,
    )


def _offline(method: MultiShotMethod, objective: Any) -> dict[str, Any]:
    """Adapt first, then replay; for the learners of warp layers."""
    if method not in ("warp", "warp-leap"):
        return {}
    return {"warp": WarpSettings("offline", objective)}


def _sgd(lr: float) -> OptimiserSettings:
    return OptimiserSettings("sgd", lr=lr, beta1=0.0)
