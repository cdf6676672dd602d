"""Sums, joins and decisions over the processes of a job, by `torch.distributed`.

Sums are added up in the order of the processes' numbers, whatever the backend would do: the same
number of processes gives the same bits, on one machine or on several. Small tensors are given to
everybody, who adds them up; of large ones everybody adds up a part and hands it round, so that no
process sends more than twice what it has.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from metarl.core.processes import Processes
from metarl.errors import ProcessLostError

ResultT = TypeVar("ResultT")

SMALL = 2**22
"""Bytes that a process may receive at once in place of a second round."""


class Job(Processes):
    """The processes of the default group of `torch.distributed`, which has been joined.

    Tensors are exchanged where they are; what is not of the computation, on the CPU.
    """

    def __init__(self) -> None:
        self.rank, self.count = dist.get_rank(), dist.get_world_size()

    def total(self, values: Sequence[Tensor]) -> list[Tensor]:
        """See `Processes.total`; tensors of one dtype go together."""
        found: list[Tensor] = list(values)
        for dtype in dict.fromkeys(v.dtype for v in values):
            places = [i for i, v in enumerate(values) if v.dtype == dtype]
            parts = [values[i].detach() for i in places]
            flat = self._sum(torch.cat([part.reshape(-1) for part in parts]))
            split = torch.split(flat, [part.numel() for part in parts])
            for i, part, whole in zip(places, parts, split, strict=True):
                found[i] = whole.view(part.shape)
        return found

    def joined(self, values: Sequence[Tensor], dim: int = 0) -> list[Tensor]:
        """See `Processes.joined`; all tensors go together, as bytes."""
        if not values:
            return []
        sizes = self._counts(values[0].shape[dim])
        parts = [value.detach().movedim(dim, 0).contiguous() for value in values]
        rows = [math.prod(part.shape[1:]) * part.element_size() for part in parts]
        most = sum(row * max(sizes) for row in rows)
        mine = torch.zeros(most, dtype=torch.uint8, device=parts[0].device)
        here = torch.cat([part.view(-1).view(torch.uint8) for part in parts])
        mine[: len(here)] = here
        everybody = zip(self._all(mine), sizes, strict=True)
        taken = [self._taken(one, size, rows) for one, size in everybody]
        found = []
        for part, of_all in zip(parts, zip(*taken, strict=True), strict=True):
            one = torch.cat([o.clone().view(part.dtype) for o in of_all])
            # [P n, ...] with its axis back in place
            found.append(one.view(-1, *part.shape[1:]).movedim(0, dim))
        return found

    def first(self, work: Callable[[], ResultT]) -> ResultT:
        """See `Processes.first`."""
        found: list[Any] = [None, None]
        if self.is_first:
            try:
                found[0] = work()
            except (Exception, KeyboardInterrupt) as error:
                found[1] = _sendable(error)
                self._broadcast(found)
                raise
        self._broadcast(found)
        if found[1] is not None:
            found[1].said_by_first = True
            raise found[1]
        result: ResultT = found[0]
        return result

    def any(self, flag: bool) -> bool:
        """See `Processes.any`."""
        return any(self._counts(int(flag)))

    def _sum(self, flat: Tensor) -> Tensor:
        """The sum ``[D]`` over the processes."""
        size = len(flat)
        if self.count * size * flat.element_size() <= SMALL:
            return _added(self._all(flat))
        width = -(-size // self.count)
        mine = torch.zeros(self.count * width, dtype=flat.dtype, device=flat.device)
        mine[:size] = flat
        parts = torch.empty_like(mine)
        with told():
            dist.all_to_all_single(parts, mine)  # row r: what process r has of my part
        return torch.cat(self._all(_added(parts.view(self.count, width).unbind())))[:size]

    def _all(self, mine: Tensor) -> list[Tensor]:
        """The tensors of all processes, which have one shape."""
        everybody = [torch.empty_like(mine) for _ in range(self.count)]
        with told():
            dist.all_gather(everybody, mine)
        return everybody

    def _counts(self, mine: int) -> list[int]:
        """A number of every process."""
        number = torch.tensor([mine], dtype=torch.int64)
        return [int(one) for one in torch.cat(self._all(number)).tolist()]

    def _broadcast(self, found: list[Any]) -> None:
        """Make what the first process found everybody's; the list is written to."""
        with told():
            dist.broadcast_object_list(found, src=0, device=torch.device("cpu"))

    @staticmethod
    def _taken(buffer: Tensor, size: int, rows: Sequence[int]) -> Sequence[Tensor]:
        """The bytes of every tensor of a process."""
        lengths = [row * size for row in rows]
        return torch.split(buffer[: sum(lengths)], lengths)


def _added(parts: Sequence[Tensor]) -> Tensor:
    """The sum of tensors, one after the other."""
    total = parts[0].clone()
    for part in parts[1:]:
        total += part
    return total


def _sendable(error: BaseException) -> BaseException:
    """The error as another process can read it."""
    try:
        pickle.loads(pickle.dumps(error))
    except (TypeError, AttributeError, pickle.PicklingError):
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


@contextmanager
def told() -> Iterator[None]:
    """Say in words that another process has gone.

    Raises:
        ProcessLostError: It has.
    """
    try:
        yield
    except RuntimeError as error:  # all that backends raise is one
        raise ProcessLostError(
            "another process of this job has ended, or cannot be reached "
            f"({str(error).strip().splitlines()[0][:160]})"
        ) from error
