"""What a curriculum is: settings of a sampler, and the sampler that they make; and none.

Domain randomisation, fresh levels whatever the agent knows, is what a curriculum has to beat.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch

from .sampler import LevelSource, TaskSampler


@dataclass(frozen=True)
class Curriculum(ABC):
    """A choice of the tasks to train on.

    Attributes:
        name: What ``--curriculum`` calls it.
        samples: Whether it has a sampler; if not, tasks are drawn by the environments themselves.
    """

    name: ClassVar[str]
    samples: ClassVar[bool] = True

    @abstractmethod
    def sampler(self, source: LevelSource, generator: torch.Generator) -> TaskSampler:
        """Make the sampler of one agent.

        Args:
            source: Makes levels, and tells them apart.
            generator: Draws levels and choices.
        """


@dataclass(frozen=True)
class DomainRandomisation(Curriculum):
    """Fresh levels in every trial."""

    name: ClassVar[str] = "dr"
    samples: ClassVar[bool] = False

    def sampler(self, source: LevelSource, generator: torch.Generator) -> TaskSampler:
        """There is none: the environments draw their tasks themselves.

        Raises:
            TypeError: Always.
        """
        raise TypeError("domain randomisation has no sampler: let the environments draw the tasks")
