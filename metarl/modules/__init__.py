"""Meta-learners for people who write their own loop: any module, any loss."""

from metarl.modules.clone import Clone
from metarl.modules.dual_updater import DualUpdater
from metarl.modules.maml import ANIL, MAML, MetaSGD
from metarl.modules.torch_rules import OptimizerParameters
from metarl.modules.warp import Warp

__all__ = ["ANIL", "MAML", "Clone", "DualUpdater", "MetaSGD", "OptimizerParameters", "Warp"]
