"""The functions of a cell (``src/cell.h``), and the structures that they take."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import POINTER, Structure, c_int64, c_void_p
from functools import cache
from typing import Any

import torch
from torch import Tensor

from metarl.native.call import SUFFIXES, function
from metarl.native.mode import kernels
from metarl.native.world import World

NUM_OPTIONS = 3
"""Numbers that a cell may be told beside the sizes of every cell."""


class Shape(Structure):
    """Sizes of a call, the same for every agent."""

    _fields_ = [
        (name, c_int64)
        for name in (
            *("agents", "steps", "batch", "inputs", "hidden", "outputs"),
            *("segment", "kept", "threads"),
        )
    ] + [("options", c_int64 * NUM_OPTIONS)]


class Sizes(Structure):
    """Numbers that one agent needs in each kind of memory; ``work`` is a thread's."""

    _fields_ = [(name, c_int64) for name in ("weights", "trace", "parted", "readout", "work")]


class Memory(Structure):
    """Addresses of each kind of memory."""

    _fields_ = [(name, c_void_p) for name in ("weights", "trace", "parted", "readout", "work")]


class View(Structure):
    """Layout of the numbers of a state."""

    _fields_ = [
        (name, c_int64)
        for name in (
            *("offset", "step", "row", "width", "joint", "lines", "apart", "every"),
            "number",  # of a cache, which has an entry a step; else 0
        )
    ]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of this state in one sequence."""
        return (self.lines, self.width) if self.apart else (self.width,)

    @property
    def size(self) -> int:
        """Numbers of this state in one sequence."""
        return int(self.lines * self.width)


class Gradients(Structure):
    """Inputs of a way back, and where its results go."""

    _fields_ = [
        ("fused", c_void_p),
        ("starts", c_void_p),
        ("by_output", c_void_p),
        ("agent", c_int64),
        ("step", c_int64),
        ("row", c_int64),
        ("by_readout", c_void_p),
        ("weights", c_void_p),
        ("by_inputs", c_void_p),
        ("by_states", c_void_p),
    ]


class ChosenBy(Structure):
    """Noise that actions are chosen by, and where they go."""

    _fields_ = [("noise", c_void_p), ("actions", c_void_p), ("count", c_int64)]


class Choice:
    """Actions of T steps: of the first A readouts, with noise, the largest (`Run.choice`).

    Attributes:
        noise: ``[N, T, B, A]``, in one piece.
        actions: int64 ``[T, N, B]``, written step by step.
    """

    def __init__(self, noise: Tensor) -> None:
        """Choose with this noise."""
        self.noise = noise
        num_agents, num_steps, batch_size, count = noise.shape
        self.actions = torch.empty(num_steps, num_agents, batch_size, dtype=torch.int64)
        self.pointers = ChosenBy(self.noise.data_ptr(), self.actions.data_ptr(), count)


def cell(name: str, dtype: torch.dtype) -> RecurrentCell | None:
    """The kernels of a cell in a precision; None: there are none here."""
    if dtype not in SUFFIXES:
        return None
    library = kernels(name)
    return None if library is None else _cell(name, dtype, library)


@cache
def _cell(name: str, dtype: torch.dtype, library: ctypes.CDLL) -> RecurrentCell:
    return RecurrentCell(name, dtype, library)


class RecurrentCell:
    """The functions of one cell in one precision, as the header of ``src/recurrent.h`` has them."""

    sizes: Callable[..., None]
    weights: Callable[..., int]
    describe: Callable[..., int]
    load: Callable[..., None]
    put_states: Callable[..., None]
    step: Callable[..., None]
    record: Callable[..., None]
    play: Callable[..., None]
    backward: Callable[..., None]

    def __init__(self, name: str, dtype: torch.dtype, library: ctypes.CDLL) -> None:
        """Find the functions ``metarl_NAME_*``."""
        self.name, self.dtype = name, dtype
        shape, memory = POINTER(Shape), POINTER(Memory)
        arguments: dict[str, tuple[Any, ...]] = {
            "sizes": (shape, POINTER(Sizes)),
            "weights": (shape, POINTER(c_int64)),
            "describe": (shape, memory, POINTER(View)),
            "load": (shape, memory, c_void_p),
            "put_states": (shape, memory, c_int64, c_void_p),
            "step": (shape, memory, c_int64, c_void_p, c_int64, POINTER(ChosenBy)),
            "record": (shape, memory, c_void_p, c_void_p),
            "play": (shape, memory, c_int64, c_int64, c_int64, POINTER(World), POINTER(ChosenBy)),
            "backward": (shape, memory, POINTER(Gradients)),
        }
        for what, types in arguments.items():
            returns = c_int64 if what in ("weights", "describe") else None
            found = function(library, f"{name}_{what}", dtype, *types, returns=returns)
            setattr(self, what, found)
