"""Meta-learners, one meta-gradient a file."""

from metarl.meta.learner import MetaLearner, Metrics, TaskwiseLearner
from metarl.meta.maml import MAML
from metarl.meta.two_timescale import NonFiniteLossError, TwoTimescale, TwoTimescaleSettings

__all__ = [
    "MAML",
    "MetaLearner",
    "Metrics",
    "NonFiniteLossError",
    "TaskwiseLearner",
    "TwoTimescale",
    "TwoTimescaleSettings",
]
