"""A task batch that remembers what was drawn, so that adaptation can be taken anew from elsewhere.

Updates that move the initialisation several times on the same experience (PPO's epochs, TRPO's line
search) adapt from each candidate by the batches that were drawn at first.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from torch import Tensor

from metarl.core import Params, Split, TaskBatch

BatchT = TypeVar("BatchT")


class Recorded(Generic[BatchT]):
    """Draws and notes; from the first `replay` on it hands out what was noted, in order.

    Attributes:
        tasks: Where batches come from.
        batches: What was drawn, in order, each with its split.
    """

    def __init__(self, tasks: TaskBatch[BatchT]) -> None:
        """Nothing has been drawn."""
        self.tasks = tasks
        self.batches: list[tuple[Split, BatchT]] = []
        self._next: int | None = None

    @property
    def num_tasks(self) -> int:
        """N."""
        return self.tasks.num_tasks

    def replay(self) -> None:
        """Go back to the first batch."""
        self._next = 0

    def sample(self, fast: Params, slow: Params, split: Split) -> BatchT:
        """Draw, or hand out the next batch.

        Raises:
            ValueError: There is no next batch, or it is of the other split.
        """
        if self._next is None:
            batch = self.tasks.sample(fast, slow, split)
            self.batches.append((split, batch))
            return batch
        if self._next == len(self.batches) or self.batches[self._next][0] != split:
            splits = ", ".join(s for s, _ in self.batches)
            raise ValueError(
                f"batch {self._next} is asked for as {split}, but what was recorded is: {splits}"
            )
        self._next += 1
        return self.batches[self._next - 1][1]

    def loss(self, fast: Params, slow: Params, batch: BatchT) -> Tensor:
        """That of the tasks ``[N]``."""
        return self.tasks.loss(fast, slow, batch)
