"""The processes that work on the same meta-batch: one, unless a job of several says otherwise.

Every process draws the same tasks and the same random numbers, works on its share of them, and
takes the same steps as all others. What is a sum or a decision over the *whole* meta-batch goes
through the processes of now (`current`): gradients in the trainer, and the few numbers that a
learner decides by. One process alone gets back what it gave, to the bit.

`metarl.train.distributed` has the job of several.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from torch import Tensor

from metarl.errors import UserError

ResultT = TypeVar("ResultT")


class Processes:
    """One process alone.

    Attributes:
        rank: Number of this process, 0 to ``count - 1``; the first one owns the files.
        count: Number of processes, P.
    """

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that owns the files, and that says what all have to say."""
        return self.rank == 0

    def share(self, size: int, what: str) -> slice:
        """This process's share of ``size`` things: a P-th of them, one more or less.

        Args:
            size: Number of things.
            what: Name of the things, in an error.

        Raises:
            UserError: There is not one for each process.
        """
        if size < self.count:
            raise UserError(
                f"{size} {what} cannot be shared by {self.count} processes: take {size} processes "
                f"at most, or more {what}"
            )
        return slice(*(size * r // self.count for r in (self.rank, self.rank + 1)))

    def total(self, values: Sequence[Tensor]) -> list[Tensor]:
        """Sums over the processes, in the order of their numbers: everywhere the same bits.

        Args:
            values: Tensors of the same shapes in all processes.
        """
        return list(values)

    def joined(self, values: Sequence[Tensor], dim: int = 0) -> list[Tensor]:
        """Tensors of all processes one behind the other, in the order of their numbers.

        Args:
            values: Tensors whose shapes differ between processes in their size along ``dim`` alone.
            dim: The axis along which they are joined, at least 0.
        """
        return list(values)

    def first(self, work: Callable[[], ResultT]) -> ResultT:
        """Result of the first process's work, or the error that it raises: everywhere the same.

        Args:
            work: Done by the first process alone.
        """
        return work()

    def any(self, flag: bool) -> bool:
        """Whether a flag is set in some process."""
        return flag


ALONE = Processes()
_now: ContextVar[Processes] = ContextVar("processes", default=ALONE)


def current() -> Processes:
    """Return the processes that work on the meta-batches of here and now."""
    return _now.get()


@contextmanager
def shared_by(processes: Processes) -> Iterator[Processes]:
    """Within it, meta-batches are shared by these processes."""
    token = _now.set(processes)
    try:
        yield processes
    finally:
        _now.reset(token)
