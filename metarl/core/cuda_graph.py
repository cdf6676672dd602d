"""A function as one CUDA graph: recorded at its first call, replayed at every call.

An iteration of a small recurrent network is thousands of kernels of a few microseconds each, and
to launch them one by one takes longer than to run them; a graph launches them all at once. It
repeats kernels on their memory, not the Python around them. So the function must

- read tensors that stay where they are: parameters that are updated in place, buffers;
- return whatever it makes, and change nothing else that the next call depends on;
- neither wait for the device nor bring data from the host;
- decide nothing by a value on the device, nor by a counter that moves between calls;
- draw random numbers from the given generators alone.

Left out: optimisers. They step outside the graph, where the learning rate is a number.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from types import MethodType
from typing import Generic, ParamSpec, TypeVar
from weakref import WeakMethod

import torch

from metarl.errors import DeviceError

P = ParamSpec("P")
R = TypeVar("R")

NUM_WARM_UPS = 2
"""Calls before the recording, in which libraries set themselves up and tables are copied."""


class Captured(Generic[P, R]):
    """A function that runs as a graph.

    The recording draws no random numbers that count: the generators are where they were, and the
    calls draw what the function itself would have drawn.
    """

    def __init__(self, function: Callable[P, R], generators: Sequence[torch.Generator]) -> None:
        """Record at the first call.

        Args:
            function: See the module.
            generators: All that it draws from, on one CUDA device.

        Raises:
            DeviceError: They are not on a CUDA device.
        """
        require_cuda(generators[0].device)
        # Who is recorded may hold this: held strongly in turn, neither would go, nor the memory of
        # the graph, before the garbage collector comes by.
        bound = isinstance(function, MethodType)
        self._function: Callable[[], Callable[P, R] | None]
        self._function = WeakMethod(function) if bound else lambda: function
        self._generators = generators
        self._arguments: tuple[object, ...] = ()
        self._recorded: tuple[R, Callable[[], None]] | None = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the graph.

        Args:
            *args: The same objects at every call.
            **kwargs: Likewise.

        Returns:
            What the function returned when it was recorded; its tensors stay where they are, and
            the next call writes over them.

        Raises:
            ValueError: Other arguments than those of the recording.
        """
        arguments = (*args, *kwargs.values())
        if self._recorded is None:
            self._arguments = arguments
            states = [g.get_state() for g in self._generators]
            function = self._function()
            assert function is not None, "who is recorded holds this"
            self._recorded = record(lambda: function(*args, **kwargs), self._generators)
            for generator, state in zip(self._generators, states, strict=True):
                generator.set_state(state)
        if [id(a) for a in arguments] != [id(a) for a in self._arguments]:
            raise ValueError("a captured function was called with other objects than at first")
        result, replay = self._recorded
        replay()
        return result


def record(
    function: Callable[[], R], generators: Sequence[torch.Generator]
) -> tuple[R, Callable[[], None]]:
    """Record a function on a CUDA device.

    Args:
        function: See the module. It is called `NUM_WARM_UPS` times and once more.
        generators: All that it draws from; they move.

    Returns:
        What the function returned, filled by every replay; and what replays it.
    """
    # Collected before: amid a recording, what is freed of an earlier graph would spoil it.
    gc.collect()
    device = generators[0].device
    graph = torch.cuda.CUDAGraph()
    for generator in generators:
        graph.register_generator_state(generator)
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        for _ in range(NUM_WARM_UPS):
            function()
    torch.cuda.current_stream(device).wait_stream(stream)
    with torch.cuda.graph(graph, stream=stream):
        result = function()
    return result, graph.replay


def require_cuda(device: torch.device) -> None:
    """Check that the device is a CUDA device.

    Raises:
        DeviceError: It is another one.
    """
    if device.type != "cuda":
        raise DeviceError(
            f"a CUDA graph needs a CUDA device, and the device is {str(device)!r}; "
            "drop --cuda-graph, or choose --device cuda"
        )
