"""What cannot fit the machine is refused in the user's words."""

import pytest

from metarl.errors import UserError
from metarl.run.counts import machine_bytes, require_memory


def test_counts_are_multiplied_and_named(monkeypatch):
    monkeypatch.setattr("metarl.run.counts.machine_bytes", lambda: 2e10)
    counts = (("--tasks", 1000), ("steps of a trial", 5_000_000))
    require_memory(4, counts)
    with pytest.raises(UserError) as refused:
        require_memory(8, counts)
    assert str(refused.value) == (
        "--tasks 1000 x steps of a trial 5000000 takes at least 40 GB of memory, and this machine "
        "has 20 GB: take less"
    )
    with pytest.raises(UserError, match=r"at least 8e\+81 GB"):
        require_memory(8, (("--tasks", 10**90),))


def test_the_memory_of_this_machine_is_more_than_a_process_needs():
    assert machine_bytes() > 2**28
