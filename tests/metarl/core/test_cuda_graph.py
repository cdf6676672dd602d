"""A function as a graph: what a replay draws, where its results lie, and what is refused."""

import pytest
import torch

from metarl.core import cuda_graph
from metarl.core.cuda_graph import Captured
from metarl.errors import DeviceError
from tests.metarl.core import tape


@pytest.fixture
def on_tape(monkeypatch):
    """Graphs on the CPU."""
    monkeypatch.setattr(cuda_graph, "require_cuda", lambda device: None)
    monkeypatch.setattr(cuda_graph, "record", tape.record)


def noisy(device):
    """A function of a fixed tensor and a generator, and both."""
    generator = torch.Generator(device).manual_seed(3)
    weight = torch.arange(4.0, device=device)

    def function() -> torch.Tensor:
        return weight * torch.rand(4, generator=generator, device=device)

    return function, weight, generator


def three_calls(function, weight):
    results = []
    for _ in range(3):
        results.append(function().clone())
        weight.add_(1.0)
    return results


def check_replays_equal_calls(device):
    function, weight, _ = noisy(device)
    expected = three_calls(function, weight)
    function, weight, generator = noisy(device)
    results = three_calls(Captured(function, [generator]), weight)
    for result, one in zip(results, expected, strict=True):
        assert torch.equal(result, one)
    assert not torch.equal(results[0], results[1])


def check_a_generator_set_back_draws_the_same_again(device):
    function, _, generator = noisy(device)
    captured = Captured(function, [generator])
    captured()
    state = generator.get_state()
    first = captured().clone()
    assert not torch.equal(captured(), first)
    generator.set_state(state)
    assert torch.equal(captured(), first)


def test_replays_read_what_moved_and_draw_what_calls_would_have_drawn(on_tape):
    check_replays_equal_calls("cpu")


@pytest.mark.gpu
def test_replays_on_cuda_draw_what_calls_would_have_drawn():
    check_replays_equal_calls("cuda")


def test_a_generator_set_back_draws_the_same_again(on_tape):
    check_a_generator_set_back_draws_the_same_again("cpu")


@pytest.mark.gpu
def test_a_generator_on_cuda_set_back_draws_the_same_again():
    check_a_generator_set_back_draws_the_same_again("cuda")


def test_python_runs_at_the_recording_alone_and_the_result_stays_where_it_is(on_tape):
    calls = []
    function, _, generator = noisy("cpu")

    def counted() -> torch.Tensor:
        calls.append(None)
        return function()

    captured = Captured(counted, [generator])
    first = captured()
    recorded = len(calls)
    assert captured() is first
    assert len(calls) == recorded == cuda_graph.NUM_WARM_UPS + 1


def test_other_arguments_than_those_recorded_are_refused(on_tape):
    captured = Captured(lambda x: 2 * x, [torch.Generator()])
    x = torch.ones(2)
    assert torch.equal(captured(x), 2 * x)
    with pytest.raises(ValueError, match="other objects"):
        captured(torch.ones(2))


def test_a_cpu_is_refused():
    with pytest.raises(DeviceError, match="'cpu'; drop --cuda-graph"):
        Captured(lambda: None, [torch.Generator()])
