"""Every supervised learner by name, with its settings: what the scripts share."""

from experiments.learners.execution import resolved
from experiments.learners.make import LearnedLoss, make_learner
from experiments.learners.settings import (
    WARP_METHODS,
    ImplicitSettings,
    InnerSettings,
    LearnerSettings,
    Method,
    WarpSettings,
    adjusted,
    check_applies,
    check_compiler_of,
    own_of_learner,
)

__all__ = [
    "WARP_METHODS",
    "ImplicitSettings",
    "InnerSettings",
    "LearnedLoss",
    "LearnerSettings",
    "Method",
    "WarpSettings",
    "adjusted",
    "check_applies",
    "check_compiler_of",
    "make_learner",
    "own_of_learner",
    "resolved",
]
