"""Robust PLR: the weights learn from replayed levels alone; fresh ones are only scored.

Jiang et al. 2021b, "Replay-guided adversarial environment design": what is learned from is then
chosen by its regret, not by chance. It takes as many environment steps and fewer gradient steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .plr import PLR


@dataclass(frozen=True)
class RobustPLR(PLR):
    """Prioritised level replay whose gradients come from replayed levels alone."""

    name: ClassVar[str] = "robust-plr"
    learns_from_fresh: ClassVar[bool] = False
