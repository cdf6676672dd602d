"""Meta-batches without a finite gradient: counted, said, and too many in a row end the training."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from metarl.meta import NonFiniteLossError

logger = logging.getLogger(__name__)

MAX_SKIPPED = 10
"""Meta-batches in a row without a finite gradient that are taken for bad luck."""


class Skips:
    """Meta-batches without a finite gradient, agent by agent.

    Attributes:
        most: So many in a row end the training.
        in_a_row: Number that each agent has skipped since its last good one.
    """

    def __init__(self, num_agents: int = 1, most: int = MAX_SKIPPED) -> None:
        self.most = most
        self.in_a_row = [0] * num_agents

    def note(self, agents: Sequence[int], what: str) -> None:
        """Warn of what is not finite.

        Args:
            agents: Agents whose meta-batch is skipped; none: nothing is said.
            what: The event, in words.

        Raises:
            NonFiniteLossError: For some agent it is one too many.
        """
        too_many = [n for n in agents if self.in_a_row[n] + 1 >= self.most]
        if too_many:
            again = f", {self.most} meta-batches in a row" if self.most > 1 else ""
            raise NonFiniteLossError(what + again, too_many)
        if agents:
            logger.warning("a meta-batch was skipped: %s", what)

    def end(self, skipped: Sequence[float]) -> None:
        """Count a meta-batch, of which some agents were skipped."""
        self.in_a_row = [n + 1 if s else 0 for n, s in zip(self.in_a_row, skipped, strict=True)]
