"""Meta-learners for people who write their own loop: any module, any loss."""

from metarl.modules.anil import ANIL
from metarl.modules.clone import Clone
from metarl.modules.dual_updater import DualUpdater
from metarl.modules.inner_optimisers import OptimizerParameters
from metarl.modules.maml import MAML
from metarl.modules.meta_sgd import MetaSGD
from metarl.modules.warp import Warp

__all__ = ["ANIL", "MAML", "Clone", "DualUpdater", "MetaSGD", "OptimizerParameters", "Warp"]
