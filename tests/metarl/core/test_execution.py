"""A meta-batch in chunks and threads: every task once, in order, errors not lost."""

from __future__ import annotations

import threading
from typing import Literal

import pytest
import torch
from torch import Tensor

from metarl.core import Execution, add_to_grads
from metarl.native import native_mode, using
from tests.metarl.core.toy_tasks import ToyTasks, toy


@pytest.mark.parametrize(
    ("chunk_size", "sizes"),
    [(None, [7]), ("auto", [7]), (7, [7]), (20, [7]), (3, [3, 3, 1]), (1, [1] * 7)],
)
@pytest.mark.parametrize("num_threads", [1, 3])
def test_every_task_is_worked_on_once_and_in_order(
    chunk_size: int | Literal["auto"] | None, sizes: list[int], num_threads: int
) -> None:
    tasks, _, _ = toy(7)
    execution = Execution(chunk_size, num_threads)
    results = list(execution.map(lambda part: part.x, tasks))
    assert [len(x) for _, x in results] == sizes
    assert torch.equal(torch.cat([x for _, x in results]), tasks.x)
    for where, x in results:
        assert torch.equal(x, tasks.x[where])
        assert where.stop - where.start == len(x)


def test_threads_work_at_the_same_time_and_one_thread_does_not() -> None:
    """Two chunks that wait for one another: only two threads get past the barrier."""
    tasks, _, _ = toy(2)
    barrier = threading.Barrier(2)

    def meet(part: ToyTasks) -> int:
        return barrier.wait(timeout=10.0)

    meet.thread_safe = True  # type: ignore[attr-defined]
    found = [place for _, place in Execution(1, 2).map(meet, tasks)]
    assert sorted(found) == [0, 1]
    names = [n for _, n in Execution(1, 1).map(lambda _: threading.current_thread().name, tasks)]
    assert names == [threading.current_thread().name] * 2


def test_what_is_not_known_to_be_pure_is_worked_on_in_this_thread_and_that_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tasks, _, _ = toy(4)

    def where(part: ToyTasks) -> str:
        return threading.current_thread().name

    for _ in range(2):
        names = [name for _, name in Execution(2, num_threads=2).map(where, tasks)]
        assert names == [threading.current_thread().name] * 2
    (record,) = caplog.records
    assert "one after the other: `test_what" in record.message
    assert "thread_safe = True" in record.message


def test_after_an_interrupt_no_further_chunk_is_begun() -> None:
    begun: list[int] = []

    def work(part: ToyTasks) -> None:
        begun.append(len(part.x))
        raise KeyboardInterrupt

    work.thread_safe = True  # type: ignore[attr-defined]
    with pytest.raises(KeyboardInterrupt):
        list(Execution(1, num_threads=2).map(work, toy(50)[0]))
    assert len(begun) < 50


@pytest.mark.parametrize("num_threads", [1, 2])
def test_an_error_in_a_chunk_reaches_the_caller(num_threads: int) -> None:
    tasks, _, _ = toy(4)

    def fail(part: ToyTasks) -> None:
        raise ArithmeticError("no number")

    with pytest.raises(ArithmeticError, match="no number"):
        list(Execution(2, num_threads).map(fail, tasks))


@pytest.mark.parametrize(
    ("counts", "name"),
    [((0, 1), "chunk_size"), ((-1, 1), "chunk_size"), ((None, 0), "num_threads")],
)
def test_counts_that_mean_nothing_are_refused(counts: tuple[int | None, int], name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1"):
        Execution(*counts)


def test_gradients_add_up() -> None:
    params = {"a": torch.zeros(2, requires_grad=True), "b": torch.zeros(1, requires_grad=True)}
    found: Tensor = torch.tensor([1.0, 2.0], requires_grad=True) * 2
    add_to_grads(params, {"a": found}, 0.5)
    add_to_grads(params, {"a": found}, 0.25)
    assert params["a"].grad is not None
    assert params["a"].grad.tolist() == [1.5, 3.0]
    assert not params["a"].grad.requires_grad
    assert params["b"].grad is None


def test_the_first_gradient_is_not_shared_with_its_giver() -> None:
    """Else the second sum would be written into what the caller holds."""
    params = {"a": torch.zeros(2, requires_grad=True)}
    found = torch.ones(2)
    add_to_grads(params, {"a": found})
    add_to_grads(params, {"a": found})
    assert found.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("num_threads", [1, 2])
def test_work_is_done_in_the_mode_that_was_asked_for(num_threads: int) -> None:
    def look(part: ToyTasks) -> str:
        return native_mode()

    look.thread_safe = True  # type: ignore[attr-defined]
    tasks, _, _ = toy(4)
    for mode, further_out in (("auto", "off"), ("off", "auto")):
        execution = Execution(2, num_threads, native=mode)  # type: ignore[arg-type]
        with using(further_out):  # type: ignore[arg-type]
            for _, found in execution.map(look, tasks):
                assert found == "off"
                assert native_mode() == further_out  # what others do meanwhile is theirs
