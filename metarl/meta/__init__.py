"""Meta-learners, one meta-gradient a file."""

from metarl.core import IdentifiedTaskBatch, PolicyTaskBatch, ShowingTaskBatch
from metarl.core.tasks import StaleBatchError
from metarl.errors import NonFiniteLossError
from metarl.meta.anil import ANIL
from metarl.meta.daml import DAML, LearnedLossTasks
from metarl.meta.fine_tuning import FineTuning, NoMetaTraining
from metarl.meta.implicit_maml import ImplicitMAML, Proximal
from metarl.meta.leap import SIMPLIFIED, EndPoint, Leap, LeapMetric, leap_gradient, segment_gradient
from metarl.meta.learner import MetaLearner, Metrics, Penalty, SideStep, regularised_gradients
from metarl.meta.linear_solvers import ConjugateGradient, NeumannSeries, Solver
from metarl.meta.maml import MAML
from metarl.meta.meta_sgd import MetaSGD
from metarl.meta.policy.emaml import EMAML
from metarl.meta.policy.promp import KL_LIMIT, ProMP
from metarl.meta.policy.trajectory_objectives import (
    LeapObjective,
    MAMLObjective,
    ReptileObjective,
    TrajectoryObjective,
)
from metarl.meta.policy.trpo import TRPO
from metarl.meta.reptile import Reptile
from metarl.meta.task_views import Noted, Recorded
from metarl.meta.taskwise import TaskwiseLearner
from metarl.meta.two_timescale import TwoTimescale, TwoTimescaleSettings
from metarl.meta.warpgrad.continual import ContinualWarpGrad
from metarl.meta.warpgrad.offline import OfflineWarpGrad
from metarl.meta.warpgrad.online import OnlineWarpGrad

__all__ = [
    "ANIL",
    "DAML",
    "EMAML",
    "KL_LIMIT",
    "MAML",
    "SIMPLIFIED",
    "TRPO",
    "ConjugateGradient",
    "ContinualWarpGrad",
    "EndPoint",
    "FineTuning",
    "IdentifiedTaskBatch",
    "ImplicitMAML",
    "Leap",
    "LeapMetric",
    "LeapObjective",
    "LearnedLossTasks",
    "MAMLObjective",
    "MetaLearner",
    "MetaSGD",
    "Metrics",
    "NeumannSeries",
    "NoMetaTraining",
    "NonFiniteLossError",
    "Noted",
    "OfflineWarpGrad",
    "OnlineWarpGrad",
    "Penalty",
    "PolicyTaskBatch",
    "ProMP",
    "Proximal",
    "Recorded",
    "Reptile",
    "ReptileObjective",
    "ShowingTaskBatch",
    "SideStep",
    "Solver",
    "StaleBatchError",
    "TaskwiseLearner",
    "TrajectoryObjective",
    "TwoTimescale",
    "TwoTimescaleSettings",
    "leap_gradient",
    "regularised_gradients",
    "segment_gradient",
]
