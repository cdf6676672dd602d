"""One process alone, and the shares of several."""

import pytest
import torch

from metarl.core.processes import ALONE, Processes, current, shared_by
from metarl.errors import UserError


class One(Processes):
    def __init__(self, rank, count):
        self.rank, self.count = rank, count


def test_one_process_gets_back_what_it_gave():
    values = [torch.arange(3.0), torch.ones(2, 2)]
    assert current() is ALONE
    assert all(a is b for a, b in zip(ALONE.total(values), values, strict=True))
    assert all(a is b for a, b in zip(ALONE.joined(values, 1), values, strict=True))
    assert ALONE.first(lambda: 3) == 3
    assert ALONE.any(True)
    assert not ALONE.any(False)
    assert ALONE.share(7, "things") == slice(0, 7)


@pytest.mark.parametrize("size", range(3, 9))
def test_shares_are_even_and_all_there_is(size):
    shares = [One(rank, 3).share(size, "things") for rank in range(3)]
    numbers = [list(range(size))[share] for share in shares]
    assert [n for part in numbers for n in part] == list(range(size))
    assert max(map(len, numbers)) - min(map(len, numbers)) <= 1


def test_every_process_needs_something():
    with pytest.raises(UserError, match="2 tasks cannot be shared by 3 processes: take 2"):
        One(0, 3).share(2, "tasks")


def test_processes_hold_while_they_are_entered():
    two = One(1, 2)
    with shared_by(two) as now:
        assert now is two
        assert current() is two
        assert not now.is_first
    assert current() is ALONE
