"""The modes of a thread: those that are values travel, work within others stays where it is."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import pytest
import torch
from torch.autograd import forward_ad
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from metarl.core import Execution
from metarl.core.execution import ThreadModes, bound_mode
from tests.metarl.core.toy_tasks import toy

Mode = Callable[[], AbstractContextManager[Any]]
VALUES: dict[str, list[Mode]] = {
    "none": [],
    "no_grad": [torch.no_grad],
    "inference": [torch.inference_mode],
    "gradients in inference mode": [torch.inference_mode, torch.enable_grad],
    "no forward gradients": [lambda: forward_ad._set_fwd_grad_enabled(False)],
    "bfloat16": [lambda: torch.autocast("cpu", torch.bfloat16)],
    "float16": [lambda: torch.autocast("cpu", torch.float16)],
    "uncached": [lambda: torch.autocast("cpu", torch.bfloat16, cache_enabled=False)],
    "off": [
        lambda: torch.autocast("cpu", torch.bfloat16),
        lambda: torch.autocast("cpu", enabled=False),
    ],
    "both": [torch.no_grad, lambda: torch.autocast("cpu", torch.bfloat16)],
}


TASKS = toy(4)[0]


class Functions(TorchFunctionMode):
    """Changes nothing."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


class Dispatches(TorchDispatchMode):
    """Changes nothing."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


BOUND: dict[str, tuple[Mode, str]] = {
    "device": (lambda: torch.device("cpu"), "torch function mode"),
    "function mode": (Functions, "torch function mode"),
    "dispatch mode": (Dispatches, "torch dispatch mode"),
    "no functions": (torch._C.DisableTorchFunctionSubclass, "disabled"),
    "hooks": (
        lambda: torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t),
        "hooks on saved",
    ),
    "no hooks": (lambda: torch.autograd.graph.disable_saved_tensors_hooks("no"), "disabled"),
}


def product(_: object) -> tuple[torch.dtype, bool, bool]:
    """The type of a matrix product, and whether it has a graph and is of inference mode."""
    x = torch.ones(2, 2, requires_grad=not torch.is_inference_mode_enabled())
    found = x @ x
    return found.dtype, found.requires_grad, found.is_inference()


def names(execution: Execution) -> list[str]:
    """The threads that work."""

    def where(_: object) -> str:
        return threading.current_thread().name

    where.thread_safe = True  # type: ignore[attr-defined]
    return [name for _, name in execution.map(where, TASKS)]


@pytest.mark.parametrize("modes", VALUES.values(), ids=VALUES)
def test_values_travel(modes: list[Mode]) -> None:
    product.thread_safe = True  # type: ignore[attr-defined]
    with ExitStack() as stack:
        for mode in modes:
            stack.enter_context(mode())
        here, now = product(None), ThreadModes.of_this_thread()
        there = [found for _, found in Execution(2, num_threads=2).map(product, TASKS)]
        assert threading.current_thread().name not in names(Execution(2, num_threads=2))
    assert there == [here, here]
    found: list[ThreadModes] = []

    def enter() -> None:
        before = ThreadModes.of_this_thread()
        with now.entered():
            found.append(ThreadModes.of_this_thread())
        assert ThreadModes.of_this_thread() == before

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [now]


@pytest.mark.parametrize(("mode", "words"), BOUND.values(), ids=BOUND)
def test_work_stays_within_a_mode_that_cannot_travel(mode: Mode, words: str) -> None:
    assert bound_mode() is None
    with mode():
        assert words in str(bound_mode())
        found = names(Execution(2, num_threads=2))
    assert found == [threading.current_thread().name] * 2


def test_work_stays_within_a_transform() -> None:
    found: list[str] = []

    def look(x: torch.Tensor) -> torch.Tensor:
        found.extend(names(Execution(2, num_threads=2)))
        return x

    torch.vmap(look)(torch.ones(2))
    torch.func.grad(look)(torch.ones(()))
    assert found == [threading.current_thread().name] * 4


def test_context_variables_travel() -> None:
    variable = contextvars.ContextVar("variable", default=0)

    def read(_: object) -> int:
        return variable.get()

    read.thread_safe = True  # type: ignore[attr-defined]
    variable.set(3)
    assert [n for _, n in Execution(2, num_threads=2).map(read, TASKS)] == [3, 3]
