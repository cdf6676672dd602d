"""Meta-learners for people who write their own loop: any module, any loss."""

from metarl.modules.anil import ANIL
from metarl.modules.clone import Clone
from metarl.modules.maml import MAML
from metarl.modules.meta_sgd import MetaSGD

__all__ = ["ANIL", "MAML", "Clone", "MetaSGD"]
