"""Domain randomisation: fresh levels, whatever the agent knows. What a curriculum has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from .sampler import LevelSource, TaskSampler
from .settings import Curriculum


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
