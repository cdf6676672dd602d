"""What kernels read by its address is what they take it for, whoever had it in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from metarl.native import kernels, using
from metarl.native.recurrent import Run, SequenceShape
from metarl.native.recurrent_cell import cell
from metarl.native.world import Stretch
from metarl.nn import CORES, MLP, ConvNet
from metarl.nn.native_core import NativeCore, NativeTrace
from tests.metarl.nn.gradients import random_inputs, stacked_params

pytestmark = pytest.mark.skipif(
    None in map(kernels, ("mlp", "conv", "lstm")), reason="no native kernels here"
)

NETS = {
    "perceptron": (MLP((3, 5, 4), "tanh"), (2, 6, 3)),
    "convolutions": (ConvNet(3, filters=4, num_blocks=2, image_size=8), (2, 5, 1, 8, 8)),
}
NATIVE = [name for name, core in CORES.items() if vars(core).get("native")]
SHAPE = (2, 7, 4)


def laid_otherwise(t: Tensor) -> Tensor:
    """The same numbers, columns first."""
    return t.detach().mT.contiguous().mT if t.dim() > 1 else t


def without_memory(t: Tensor) -> Tensor:
    return torch._efficientzerotensor(t.shape, dtype=t.dtype)


def gradients(name: str, unpack: Callable[[Tensor], Tensor], *, second: bool) -> list[Tensor]:
    """Gradients of a network whose saved tensors come back changed."""
    net, shape = NETS[name]
    params = stacked_params(net, 2)  # type: ignore[arg-type]
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(3), dtype=torch.double)
    leaves = [*params.values(), inputs.requires_grad_()]
    with saved_tensors_hooks(lambda t: t, unpack):
        found = torch.autograd.grad(net(params, inputs).pow(2).sum(), leaves, create_graph=second)
        if second:
            value = torch.stack([g.pow(2).sum() for g in found]).sum()
            found = torch.autograd.grad(value, leaves)
    return list(found)


@pytest.mark.parametrize("second", [False, True], ids=["gradient", "second"])
@pytest.mark.parametrize("name", NETS)
def test_saved_tensors_may_come_back_laid_otherwise(name: str, second: bool) -> None:
    found = gradients(name, laid_otherwise, second=second)
    for one, other in zip(found, gradients(name, lambda t: t, second=second), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("name", NETS)
def test_saved_tensors_that_come_back_as_zeros_without_memory_are_zeros(name: str) -> None:
    found = gradients(name, without_memory, second=False)
    zeros = gradients(name, torch.zeros_like, second=False)
    for one, other in zip(found, zeros, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    "unpack",
    [lambda t: t.to("meta"), lambda t: t.flatten()[:1]],
    ids=["another device", "another size"],
)
@pytest.mark.parametrize("name", NETS)
def test_saved_tensors_that_come_back_as_others_are_not_read(
    name: str, unpack: Callable[[Tensor], Tensor]
) -> None:
    with pytest.raises((RuntimeError, IndexError)):
        gradients(name, unpack, second=False)


def recorded(core: NativeCore, **past: Any) -> tuple[Tensor, list[Tensor]]:
    """Outputs that a kernel has recorded, and the leaves that they depend on."""
    params, inputs = stacked_params(core, SHAPE[0]), random_inputs(core, SHAPE)
    memory = core.new_trace(SHAPE, inputs)
    assert isinstance(memory, NativeTrace)
    outputs = core.once(params, inputs, past.get("state"), past.get("starts"), memory)
    return outputs, [*params.values(), inputs]


@pytest.fixture(params=NATIVE)
def core(request: pytest.FixtureRequest) -> NativeCore:
    found = CORES[request.param](3, 5)
    assert isinstance(found, NativeCore)
    return found


@pytest.mark.parametrize("change", [without_memory, lambda t: t.to("meta")], ids=["zeros", "meta"])
def test_states_and_saved_weights_without_memory_are_refused(
    core: NativeCore, change: Callable[[Tensor], Tensor]
) -> None:
    empty = core.initial_state(core.fuse(stacked_params(core, SHAPE[0])), SHAPE[2])
    with pytest.raises(TypeError, match="cannot take"):
        recorded(core, state=tuple(change(s.detach()) for s in empty))
    with saved_tensors_hooks(lambda t: t, lambda t: change(t.detach())):
        outputs, leaves = recorded(core)
        with pytest.raises((TypeError, RuntimeError)):
            torch.autograd.grad(outputs.sum(), leaves)


def test_starts_are_checked_on_both_ways(core: NativeCore) -> None:
    fewer = torch.zeros(2, 7, 1, dtype=torch.bool)
    with pytest.raises(ValueError, match="expected the shape"):
        recorded(core, starts=fewer)
    with pytest.raises(TypeError, match="cannot take"):
        recorded(core, starts=torch.zeros(SHAPE, dtype=torch.uint8))
    params, inputs = stacked_params(core, SHAPE[0]), random_inputs(core, SHAPE)
    with torch.no_grad():
        trace = core.new_trace(SHAPE, inputs)
        core.record(core.fuse(params), inputs, trace=trace)
    outputs = core.sequence(params, inputs, None, fewer, trace)
    with pytest.raises(ValueError, match="expected the shape"):
        outputs.sum().backward()


def test_a_gradient_of_zeros_without_memory_is_zero(core: NativeCore) -> None:
    outputs, leaves = recorded(core)
    grads = torch.autograd.grad(outputs, leaves, without_memory(outputs))
    assert not any(grad.any() for grad in grads)


@pytest.mark.parametrize("mode", ["auto", "off"])
def test_outputs_that_were_written_to_are_not_gone_back_through(
    core: NativeCore, mode: Any
) -> None:
    with using(mode):
        params, inputs = stacked_params(core, SHAPE[0]), random_inputs(core, SHAPE)
        memory = core.new_trace(SHAPE, inputs)
        if "h" not in memory:
            pytest.skip("its outputs are not those of a trace")
        outputs = core.once(params, inputs, None, None, memory)
        outputs.mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            outputs.sum().backward()


def test_a_choice_is_among_what_is_read() -> None:
    functions = cell("rnn", torch.float32)
    assert functions is not None
    run = Run(functions, SequenceShape(2, 7, 4, 3, 5, num_outputs=3))
    assert run.choice(torch.zeros(2, 7, 4, 2)).actions.shape == (7, 2, 4)
    with pytest.raises(ValueError, match="3 readouts are none for 4 actions"):
        run.choice(torch.zeros(2, 7, 4, 4))
    with pytest.raises(ValueError, match="expected the shape"):
        run.choice(torch.zeros(2, 7, 1, 2))
    with pytest.raises(TypeError, match="cannot take"):
        run.choice(torch.zeros(2, 7, 4, 2, dtype=torch.double))


def test_rewards_are_of_single_precision_whatever_the_default() -> None:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        stretch = Stretch((2, 3, 4, 5), torch.float64)
    finally:
        torch.set_default_dtype(before)
    assert stretch.rewards.dtype is stretch.bonuses.dtype is torch.float32
