"""The replay buffer gives back exactly what it was given, and only that."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from metarl.core import InnerStep, ReplayBuffer

Make = Callable[..., ReplayBuffer]


@pytest.fixture(params=["memory", "disk"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    folder = tmp_path / "runs" if request.param == "disk" else None
    return lambda **options: ReplayBuffer(folder=folder, **options)


def path(
    num_steps: int = 12, num_tasks: int = 3, seed: int = 0, graph: bool = False
) -> Iterator[InnerStep[None]]:
    """Steps of made-up numbers."""
    generator = torch.Generator().manual_seed(seed)

    def draw() -> dict[str, Tensor]:
        p = torch.randn(num_tasks, 2, 3, generator=generator, requires_grad=graph)
        return {"a.weight": p * 1.0, "b": p[:, 0, 0].double() / 3}

    fast, state = draw(), {"0.m": torch.randn(num_tasks, 2, generator=generator)}
    for k in range(num_steps):
        end, after = draw(), {"0.m": torch.randn(num_tasks, 2, generator=generator)}
        yield InnerStep(k, fast, state, None, torch.zeros(num_tasks), {}, end, after)
        fast, state = end, after


def test_the_round_trip_is_exact_and_numerically_ordered(make: Make) -> None:
    buffer = make(include_final=True)
    steps = list(buffer.record(path(), first_task=9))  # tasks 9 to 11: 9 comes before 10
    assert buffer.keys() == [(task, k) for task in (9, 10, 11) for k in range(13)]
    assert len(buffer) == 39
    for task, k in buffer:
        visit = buffer[task, k]
        last = k == 12
        fast = steps[-1].next_fast if last else steps[k].fast
        state = steps[-1].next_state if last else steps[k].state
        assert (visit.task, visit.step) == (task, k)
        for found, given in ((visit.fast, fast), (visit.state, state)):
            assert found.keys() == given.keys()
            for name, p in found.items():
                assert p.dtype == given[name].dtype
                assert torch.equal(p, given[name][task - 9])


def test_stride_and_final_point(make: Make) -> None:
    buffer = make(stride=5)
    list(buffer.record(path(num_tasks=1)))
    assert buffer.keys() == [(0, 0), (0, 5), (0, 10)]
    buffer = make(stride=5, include_final=True)
    list(buffer.record(path(num_tasks=1)))
    assert buffer.keys() == [(0, 0), (0, 5), (0, 10), (0, 12)]


def test_nothing_is_recorded_that_was_not_asked_for(make: Make) -> None:
    buffer = make()
    steps = buffer.record(path(num_tasks=1))
    next(steps)
    next(steps)
    assert buffer.keys() == [(0, 0), (0, 1)]


def test_copies_have_no_graph_and_no_memory_in_common_with_what_was_given() -> None:
    buffer = ReplayBuffer()
    step = next(path(num_tasks=50, graph=True))
    pointers = {p.untyped_storage().data_ptr() for p in step.fast.values()}
    fast, state = {n: p[0] for n, p in step.fast.items()}, {n: p[0] for n, p in step.state.items()}
    buffer.add(0, 0, fast, state)
    visit = buffer[0, 0]
    for name, p in [*visit.fast.items(), *visit.state.items()]:
        assert p.grad_fn is None
        assert not p.requires_grad
        assert p.device.type == "cpu"
        assert p.untyped_storage().nbytes() == p.numel() * p.element_size(), name
        assert p.untyped_storage().data_ptr() not in pointers


def graphs_alive() -> int:
    gc.collect()
    return sum(issubclass(type(o), Tensor) and o.grad_fn is not None for o in gc.get_objects())


def test_the_graph_that_led_to_a_visit_is_freed() -> None:
    buffer, before = ReplayBuffer(), graphs_alive()
    for _ in buffer.record(path(graph=True)):
        pass
    del _
    assert len(buffer) == 36
    assert graphs_alive() == before


def test_recording_does_not_change_when_the_source_is_written_to(make: Make) -> None:
    buffer, p = make(), torch.ones(2)
    buffer.add(0, 0, {"a": p}, {})
    p.zero_()
    assert torch.equal(buffer[0, 0].fast["a"], torch.ones(2))


def test_a_full_buffer_keeps_a_sample_that_does_not_depend_on_the_order(make: Make) -> None:
    order = [(task, k) for task in range(4) for k in range(10)]
    kept = []
    for visits in (order, order[::-1], sorted(order, key=lambda v: v[1])):
        buffer = make(capacity=7, seed=3)
        for task, k in visits:
            buffer.add(task, k, {"a": torch.tensor([task, k])}, {})
            assert len(buffer) <= 7
        assert all(buffer[key].fast["a"].tolist() == list(key) for key in buffer)
        kept.append(buffer.keys())
    assert kept[0] == kept[1] == kept[2]
    assert len(kept[0]) == 7


def test_the_sample_is_uniform_and_anew_after_clear() -> None:
    buffer = ReplayBuffer(capacity=3)
    counts = torch.zeros(12)
    for _ in range(2000):
        for k in range(12):
            buffer.add(0, k, {"a": torch.zeros(())}, {})
        counts[[k for _, k in buffer]] += 1
        buffer.clear()
    # 500 expected each, standard deviation sqrt(2000 * 1/4 * 3/4) = 19.4
    assert (counts - 500).abs().max() < 80


def test_a_visit_is_recorded_once(make: Make) -> None:
    buffer = make()
    buffer.add(0, 0, {"a": torch.zeros(1)}, {})
    with pytest.raises(ValueError, match="step 0 of task 0"):
        buffer.add(0, 0, {"a": torch.ones(1)}, {})
    buffer.clear()
    assert len(buffer) == 0
    buffer.add(0, 0, {"a": torch.ones(1)}, {})
    assert buffer[0, 0].fast["a"].item() == 1


def test_clear_deletes_only_what_the_buffer_wrote(tmp_path: Path) -> None:
    stranger = tmp_path / "task-000000-step-000000.pt"
    stranger.write_text("mine")
    first, second = ReplayBuffer(folder=tmp_path), ReplayBuffer(folder=tmp_path)
    for buffer in (first, second):
        list(buffer.record(path(num_steps=2, num_tasks=1)))
    assert first.folder is not None
    assert second.folder is not None
    guest = first.folder / "notes.txt"
    guest.write_text("also mine")
    first.close()
    assert sorted(first.folder.iterdir()) == [guest]
    assert stranger.read_text() == "mine"
    assert len(list(second.folder.glob("*.pt"))) == 2
    second.close()
    assert not second.folder.exists()


def test_eviction_deletes_the_file_and_nothing_half_written_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = ReplayBuffer(folder=tmp_path, capacity=2)
    list(buffer.record(path(num_steps=9, num_tasks=1)))
    assert buffer.folder is not None
    assert len(list(buffer.folder.iterdir())) == 2

    def fail(*_: object) -> None:
        raise OSError("disk full")

    fresh = ReplayBuffer(folder=tmp_path)
    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        fresh.add(0, 0, {"a": torch.zeros(1)}, {})
    assert fresh.folder is not None
    assert list(fresh.folder.iterdir()) == []
    assert len(fresh) == 0


def test_impossible_sizes_are_refused() -> None:
    for options in ({"stride": 0}, {"capacity": 0}, {"capacity": 2.5}, {"stride": 1.0}):
        with pytest.raises(ValueError, match="at least 1"):
            ReplayBuffer(**options)  # type: ignore[arg-type]


def test_a_folder_may_be_a_string_and_an_empty_buffer_counts(tmp_path: Path) -> None:
    buffer = ReplayBuffer(folder=str(tmp_path / "new"))
    assert (buffer or None) is buffer
    buffer.add(0, 0, {"a": torch.ones(1)}, {})
    assert len(list((tmp_path / "new").glob("replay-*/*.pt"))) == 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_no_device_memory_is_held() -> None:
    before = torch.cuda.memory_allocated()
    buffer = ReplayBuffer()
    for k in range(10):
        p = torch.randn(1000, device="cuda", requires_grad=True) * 2
        buffer.add(0, k, {"a": p}, {"m": p})
    del p
    gc.collect()
    assert torch.cuda.memory_allocated() == before
    assert buffer[0, 3].fast["a"].device.type == "cpu"
