"""Watches of optimisers come and go at any time, in the middle of a step too."""

import gc
import threading
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import SGD, Optimizer
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from metarl.modules.step_watch import StepWatch, num_watches


class Told:
    def __init__(self) -> None:
        self.steps: list[str] = []

    def before(self, optimiser: Optimizer, *, has_closure: bool) -> None:
        self.steps.append("before")

    def after(self, optimiser: Optimizer) -> None:
        self.steps.append("after")


def parameter() -> Tensor:
    p = torch.ones(2, requires_grad=True)
    p.grad = torch.ones(2)
    return p


@pytest.mark.parametrize(
    "register", [register_optimizer_step_pre_hook, register_optimizer_step_post_hook]
)
def test_a_watch_may_be_collected_while_an_optimiser_steps(register: Any) -> None:
    gc.collect()
    before = num_watches()
    handle = register(lambda *_: gc.collect() and None)
    gc.disable()
    try:
        told = Told()
        watch: Any = StepWatch(told, {"p": parameter()})
        watch.itself = watch
        del watch
        assert num_watches() == before + 1
        SGD([parameter()], 0.1).step()
    finally:
        gc.enable()
        handle.remove()
    assert num_watches() == before


def test_watches_may_open_and_close_in_hooks_and_in_other_threads() -> None:
    p, told = parameter(), Told()
    watch = StepWatch(told, {"p": p})
    optimiser = SGD([p], 0.1)
    going = threading.Event()

    def open_and_close() -> None:
        while not going.is_set():
            StepWatch(told, {"q": parameter()}).close()

    thread = threading.Thread(target=open_and_close)
    thread.start()
    try:
        for _ in range(100):
            optimiser.step()
    finally:
        going.set()
        thread.join()
    assert told.steps == ["before", "after"] * 100
    watch.close()
    optimiser.step()
    assert len(told.steps) == 200
