"""Meta-learners, one meta-gradient a file."""

from metarl.meta.anil import ANIL
from metarl.meta.leap import SIMPLIFIED, EndPoint, Leap, LeapMetric, leap_gradient, segment_gradient
from metarl.meta.learner import MetaLearner, Metrics, TaskwiseLearner
from metarl.meta.maml import MAML
from metarl.meta.meta_sgd import MetaSGD
from metarl.meta.reptile import Reptile
from metarl.meta.two_timescale import NonFiniteLossError, TwoTimescale, TwoTimescaleSettings

__all__ = [
    "ANIL",
    "MAML",
    "SIMPLIFIED",
    "EndPoint",
    "Leap",
    "LeapMetric",
    "MetaLearner",
    "MetaSGD",
    "Metrics",
    "NonFiniteLossError",
    "Reptile",
    "TaskwiseLearner",
    "TwoTimescale",
    "TwoTimescaleSettings",
    "leap_gradient",
    "segment_gradient",
]
