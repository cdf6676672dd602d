"""All methods by name. A method is a file with its learner and its settings, and a line here.

A method is a frozen dataclass: its settings are fields, what there is to know of it are class
attributes (``name``, ``family``, ``suits``), and `build` makes the learner. Three kinds:

- A method that adapts by gradient steps derives from `metarl.meta.method.GradientMethod`, and
  stands beside its learner in `metarl.meta`.
- One whose memory is a hidden state (rl2, warp-rnn, recurrent-ppo), or that is fine-tuned (ppo),
  derives from `metarl.core.settings.Method`, has the settings that it reads by inheriting mixins of
  `metarl.core.settings` or as fields of its own, names itself and a ``build`` of what its trainer
  needs. Who trains, evaluates or films asks ``isinstance``.

The former are added to `GRADIENT`, the latter to `OTHERS`, and every recipe whose tasks it
``suits`` offers it: ``--method NAME`` picks the dataclass, and ``--help`` shows its fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from metarl.core.settings import TASKS, Method
from metarl.errors import UserError
from metarl.meta.anil import ANILSettings
from metarl.meta.daml import DAMLSettings
from metarl.meta.fine_tuning import FineTuningSettings, NoMetaTrainingSettings
from metarl.meta.implicit_maml import ImplicitMAMLSettings
from metarl.meta.leap import LeapSettings
from metarl.meta.maml import FOMAMLSettings, MAMLSettings, MetaCurvatureSettings
from metarl.meta.meta_sgd import MetaSGDSettings
from metarl.meta.method import GradientMethod
from metarl.meta.policy.emaml import EMAMLSettings
from metarl.meta.policy.promp import ProMPSettings
from metarl.meta.policy.trpo import TRPOSettings
from metarl.meta.reptile import ReptileSettings
from metarl.meta.warpgrad.method import (
    WarpLeapSettings,
    WarpMAMLSettings,
    WarpReptileSettings,
    WarpSettings,
)
from metarl.methods.ppo import PPOSettings, RecurrentPPOSettings
from metarl.methods.rl2 import RL2Settings, WarpRNNSettings

MethodT = TypeVar("MethodT", bound=Method)

GRADIENT: Mapping[str, type[GradientMethod]] = {
    method.name: method
    for method in (
        MAMLSettings,
        FOMAMLSettings,
        ANILSettings,
        MetaSGDSettings,
        MetaCurvatureSettings,
        ReptileSettings,
        LeapSettings,
        ImplicitMAMLSettings,
        EMAMLSettings,
        ProMPSettings,
        TRPOSettings,
        WarpSettings,
        WarpLeapSettings,
        WarpReptileSettings,
        WarpMAMLSettings,
        DAMLSettings,
        FineTuningSettings,
        NoMetaTrainingSettings,
    )
}
"""Methods that adapt by gradient steps."""

OTHERS: Mapping[str, type[Method]] = {
    method.name: method
    for method in (RL2Settings, WarpRNNSettings, PPOSettings, RecurrentPPOSettings)
}
"""Methods whose memory is a hidden state, or that are fine-tuned."""

METHODS: Mapping[str, type[Method]] = {**GRADIENT, **OTHERS}


def methods_for(*kinds: str) -> dict[str, type[Method]]:
    """Return the methods that learn from tasks of these kinds, by name.

    Args:
        kinds: Of `metarl.core.settings.TASKS`; one of them is enough.
    """
    return {n: method for n, method in METHODS.items() if method.suits & set(kinds)}


def gradient_methods_for(*kinds: str) -> dict[str, type[GradientMethod]]:
    """Return those of the methods of `methods_for` that adapt by gradient steps."""
    return {n: method for n, method in GRADIENT.items() if method.suits & set(kinds)}


def method_named(name: str, among: Mapping[str, type[MethodT]]) -> type[MethodT]:
    """Return the method of a name.

    Args:
        name: What ``--method`` says.
        among: The methods that suit the tasks.

    Raises:
        UserError: There is none of that name, or it does not suit the tasks.
    """
    if name in among:
        return among[name]
    if name in METHODS:
        needs = " or ".join(TASKS[kind] for kind in sorted(METHODS[name].suits))
        raise UserError(
            f"--method {name} is for {needs}; for these tasks there are {', '.join(among)}"
        )
    raise UserError(f"--method {name!r} is not one of {', '.join(among)}")
