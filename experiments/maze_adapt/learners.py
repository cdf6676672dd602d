"""From a method's name and settings to the learner of a policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, cast

import tyro

from experiments import learners as shared
from experiments.learners import LearnerSettings, check_applies
from experiments.maze_adapt.cores import CoreName
from experiments.maze_adapt.methods import Method
from metarl.core import Execution, OptimiserSettings, OuterSettings, Params, Schedule
from metarl.errors import UserError
from metarl.meta import EMAML, KL_LIMIT, TRPO, LeapMetric, MetaLearner, ProMP
from metarl.meta.linear_solvers import ConjugateGradient
from metarl.nn import CORES, MLP, WarpMLP
from metarl.rl import (
    Distribution,
    Policy,
    mlp_policy,
    recurrent_policy,
)

OF_POLICIES = ("emaml", "promp", "trpo-maml")
"""Learners that need probabilities, not a loss alone."""

STEPS_ITSELF = OuterSettings(OptimiserSettings("sgd", lr=1.0, beta1=0.0))
"""What takes the step that a trust region has found."""


@dataclass(frozen=True)
class InnerAndOuter(LearnerSettings):
    """What every learner has, and what some have."""

    # No learner here has these two.
    leap: tyro.conf.Suppress[LeapMetric] = field(default_factory=LeapMetric)
    leap_final: tyro.conf.Suppress[bool] = True


@dataclass(frozen=True)
class ProMPSettings:
    """Several steps on each meta-batch.

    Attributes:
        num_epochs: Steps a meta-batch.
        clip: Largest change of a probability ratio that is rewarded.
        inner_kl_coef: Weight of the divergence before adaptation, per nat a step.
        max_divergence: A step that moves the adapted policies further than this, in nats a step, is
            taken back and ends the epochs (`kl_stops` counts them). The usual one is for blow-ups;
            a large number is no bound.
    """

    num_epochs: int = 5
    clip: float = 0.3
    inner_kl_coef: float = 5e-4
    max_divergence: float = KL_LIMIT


@dataclass(frozen=True)
class TrustRegionSettings:
    """A step within a trust region.

    Attributes:
        max_divergence: Its radius, nats a step.
        damping: Added to the diagonal of the Fisher matrix.
        num_iterations: Of conjugate gradient.
        num_backtracks: Candidates of the line search.
        backtrack: Each is this much of the one before.
    """

    max_divergence: float = 0.01
    damping: float = 1e-5
    num_iterations: int = 10
    num_backtracks: int = 15
    backtrack: float = 0.8


@dataclass(frozen=True)
class PolicyLearnerSettings:
    """What learners of policies have beside the settings of every learner.

    Attributes:
        promp: Of promp.
        trust_region: Of trpo-maml.
        exploration_coef: Of emaml: weight of the credit for the episodes to adapt by. Without bias
            it is 1/T where the loss is divided by the horizon; the credit's variance grows with the
            number of actions, of which a step has a thousand.
    """

    promp: ProMPSettings = ProMPSettings()
    trust_region: TrustRegionSettings = TrustRegionSettings()
    exploration_coef: float = 1e-3


ONLY_FOR = {"promp": "promp", "trust_region": "trpo-maml", "exploration_coef": "emaml"}


def own_settings(method: Method, of_policies: Mapping[str, Any]) -> dict[str, Any]:
    """Of the stored settings of learners of policies, by name, those that this one reads.

    Runs of promp that had no bound are read as with the usual one, which nothing but a blow-up
    reaches.
    """
    own = {name: value for name, value in of_policies.items() if ONLY_FOR.get(name) == method}
    if "promp" in own:
        given = {name: value for name, value in own["promp"].items() if value is not None}
        own["promp"] = given
    return own


def check(method: Method, settings: LearnerSettings, of_policies: PolicyLearnerSettings) -> None:
    """Refuse settings that the learner would not read.

    Raises:
        UserError: A setting was changed that is not the method's.
    """
    usual = PolicyLearnerSettings()
    for one in fields(of_policies):
        owner = ONLY_FOR[one.name]
        if method != owner and getattr(of_policies, one.name) != getattr(usual, one.name):
            option = one.name.replace("_", "-")
            raise UserError(f"--of-policies.{option} is for {owner}; {method} has none")
    common = settings
    if method in OF_POLICIES:  # step sizes are learned with the rest
        common = replace(settings, inner=replace(settings.inner, learned="no"))
    check_applies(cast(shared.Method, method), common)
    if settings.execution.compile:
        raise UserError("mazes cannot be compiled: leave out --learner.execution.compile")
    if method != "trpo-maml":
        return
    if settings.execution != Execution():
        raise UserError("trpo-maml takes all tasks at once: leave out --learner.execution")
    if settings.outer != STEPS_ITSELF or settings.schedule != Schedule():
        raise UserError(
            "trpo-maml finds its own step: leave out --learner.outer and --learner.schedule, and "
            "choose --of-policies.trust-region.max-divergence"
        )


def make_policy(
    method: Method,
    num_inputs: int,
    distribution: Distribution,
    *,
    core: CoreName,
    core_size: int,
    hidden: tuple[int, ...],
    activation: Literal["relu", "tanh"],
    critic: bool,
    shared_trunk: bool,
) -> Policy:
    """A perceptron, with warp layers in the actor where the learner learns them; or a core.

    Actor and critic always share a core; the hidden layers of a perceptron where `shared_trunk`.
    """
    if core != "none":
        return recurrent_policy(CORES[core](num_inputs, core_size), distribution, critic=critic)
    plain = mlp_policy(
        num_inputs,
        distribution,
        hidden=hidden,
        activation=activation,
        critic=critic,
        shared_trunk=shared_trunk,
    )
    if method != "warp":
        return plain
    assert isinstance(plain.actor, MLP)
    actor = WarpMLP(plain.actor, kind="tanh", start="identity")
    return Policy(actor, distribution, plain.critic)


def make_learner(
    method: Method,
    policy: Policy,
    params: Params,
    settings: LearnerSettings,
    of_policies: PolicyLearnerSettings,
) -> MetaLearner:
    """Make the learner.

    Args:
        method: Which.
        policy: Says which parameters stand still in adaptation, and which are the head.
        params: Its initial parameters, unstacked, on their device.
        settings: Of every learner.
        of_policies: Of learners of policies.

    Raises:
        UserError: A setting is not the method's.
    """
    check(method, settings, of_policies)
    if method not in OF_POLICIES:
        return shared.make_learner(cast(shared.Method, method), policy, params, settings)
    inner = settings.inner
    common: dict[str, Any] = {"rule": inner.build(), "num_steps": inner.num_steps}
    try:
        if method == "trpo-maml":
            return _trpo(params, of_policies.trust_region, common)
        common["execution"] = settings.execution
        if method == "promp":
            promp = {f.name: getattr(of_policies.promp, f.name) for f in fields(ProMPSettings)}
            return ProMP(params, **promp, **common)
        return EMAML(params, exploration_coef=of_policies.exploration_coef, **common)
    except ValueError as error:
        raise UserError(f"--of-policies: {error}") from error


def _trpo(params: Params, region: TrustRegionSettings, common: dict[str, Any]) -> MetaLearner:
    return TRPO(
        params,
        max_divergence=region.max_divergence,
        damping=region.damping,
        solver=ConjugateGradient(region.num_iterations),
        num_backtracks=region.num_backtracks,
        backtrack=region.backtrack,
        **common,
    )
