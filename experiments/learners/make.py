"""From a method's name and its settings to the learner."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from experiments.learners.settings import WARP_METHODS, LearnerSettings, Method, check_applies
from metarl.core import MetaCurvature, Params, ReplayBuffer, chain
from metarl.errors import UserError
from metarl.meta import (
    ANIL,
    DAML,
    MAML,
    FineTuning,
    ImplicitMAML,
    Leap,
    LeapObjective,
    MAMLObjective,
    MetaLearner,
    NoMetaTraining,
    OfflineWarpGrad,
    OnlineWarpGrad,
    Reptile,
    ReptileObjective,
    TrajectoryObjective,
)
from metarl.meta.linear_solvers import ConjugateGradient, NeumannSeries
from metarl.nn import Network


class Architecture(Protocol):
    """What the parameters of a model are, by name patterns: a network, or a policy."""

    @property
    def slow(self) -> tuple[str, ...]:
        """Those that stand still while a task is adapted to."""

    @property
    def head(self) -> tuple[str, ...]:
        """Those of the last layer."""


class LearnedLoss(NamedTuple):
    """The network of a learned loss (daml), and its initial parameters."""

    network: Network
    params: Params


def make_learner(
    method: Method,
    network: Architecture,
    params: Params,
    settings: LearnerSettings,
    *,
    num_tasks: int | None = None,
    learned_loss: LearnedLoss | None = None,
    seed: int = 0,
) -> MetaLearner:
    """Make the learner.

    Args:
        method: Which.
        network: Says which of its parameters stand still while a task is adapted to, and which
            are its head.
        params: The network's initial parameters, unstacked, on their device.
        settings: Its settings.
        num_tasks: Training tasks, where they are met again: ft has a head for each.
        learned_loss: What daml adapts with.
        seed: Of the draws of offline WarpGrad.

    Raises:
        UserError: A setting is not the method's, or network or tasks do not suit it.
    """
    check_applies(method, settings)
    if method in WARP_METHODS:
        return _warp_grad(method, network, params, settings, seed)
    inner = settings.inner
    common: dict[str, Any] = {"num_steps": inner.num_steps, "execution": settings.execution}
    second_order = {**common, "checkpoint": settings.checkpoint}
    truncated = {**second_order, "truncate": settings.truncate}
    rule = inner.build()
    match method:
        case "fomaml":
            return MAML(params, rule=rule, first_order=True, **common)
        case "anil":
            return ANIL(params, head=network.head, rule=rule, **truncated)
        case "metasgd":
            return MAML(params, rule=rule, **truncated)  # element by element: see the checks
        case "meta-curvature":
            return MAML(params, rule=chain(MetaCurvature(), rule), **truncated)
        case "reptile":
            return Reptile(params, rule=rule, schedule=settings.order, **common)
        case "leap":
            common |= {"metric": settings.leap, "include_final": settings.leap_final}
            return Leap(params, rule=rule, **common)
        case "imaml":
            return _implicit(params, settings)
        case "daml":
            if learned_loss is None:
                raise UserError("daml needs tasks whose inputs alone show what to adapt to")
            loss, initial = learned_loss
            return DAML(params, objective=loss, objective_params=initial, rule=rule, **second_order)
        case "ft":
            if num_tasks is None:
                raise UserError("ft has a head for each training task: these never come again")
            return FineTuning(params, head=network.head, num_heads=num_tasks, rule=rule, **common)
        case "none":
            return NoMetaTraining(params, rule=rule, **common)
        case _:
            return MAML(params, rule=rule, **truncated)


def _implicit(params: Params, settings: LearnerSettings) -> MetaLearner:
    """Implicit MAML with its solver."""
    implicit, inner = settings.implicit, settings.inner
    kind = ConjugateGradient if implicit.solver == "cg" else NeumannSeries
    return ImplicitMAML(
        params,
        rule=inner.build(),
        num_steps=inner.num_steps,
        execution=settings.execution,
        strength=implicit.strength,
        solver=kind(implicit.num_iterations),
    )


def _warp_grad(
    method: Method, network: Architecture, params: Params, settings: LearnerSettings, seed: int
) -> MetaLearner:
    """Warp layers, with or without a learned initialisation."""
    if not network.slow:
        raise UserError(f"{method} needs a network with warp layers")
    initialisations: dict[str, TrajectoryObjective] = {
        "warp-leap": LeapObjective(settings.leap, settings.leap_final),
        "warp-reptile": ReptileObjective(),
        "warp-maml": MAMLObjective(),
    }
    common: dict[str, Any] = {
        "rule": settings.inner.build(),
        "num_steps": settings.inner.num_steps,
        "slow": network.slow,
        "execution": settings.execution,
        "objective": settings.warp.objective,
        "initialisation": initialisations.get(method),
    }
    if settings.warp.algorithm == "online":
        return OnlineWarpGrad(params, **common)
    return OfflineWarpGrad(
        params,
        iterates_per_step=settings.warp.draws,
        num_epochs=settings.warp.epochs,
        buffer=ReplayBuffer(stride=settings.warp.stride, seed=seed),
        seed=seed,
        **common,
    )
