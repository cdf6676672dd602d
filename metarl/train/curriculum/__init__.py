"""Curricula: which tasks to train on. One file each, on one contract (`sampler.TaskSampler`)."""

from __future__ import annotations

from .accel import ACCEL
from .buffer import LevelBuffer, Priorities
from .plr import PLR, RobustPLR
from .sampler import Curriculum, DomainRandomisation, LevelSource, Offer, Outcome, TaskSampler
from .scores import SCORES, ScoreName, learnability, max_mc, positive_value
from .sfl import SFL
from .side_by_side import SideBySide, outcome

CURRICULA: dict[str, type[Curriculum]] = {
    curriculum.name: curriculum for curriculum in (DomainRandomisation, PLR, RobustPLR, ACCEL, SFL)
}
"""Curricula by the names that ``--curriculum`` takes."""

__all__ = [
    "ACCEL",
    "CURRICULA",
    "PLR",
    "SCORES",
    "SFL",
    "Curriculum",
    "DomainRandomisation",
    "LevelBuffer",
    "LevelSource",
    "Offer",
    "Outcome",
    "Priorities",
    "RobustPLR",
    "ScoreName",
    "SideBySide",
    "TaskSampler",
    "learnability",
    "max_mc",
    "outcome",
    "positive_value",
]
