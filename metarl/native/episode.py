"""Episodes of stacked perceptrons in few calls (`src/episode.h`).

An environment whose world is known to the kernel hands over the numbers of its episodes, which are
one call then; or tables of its next steps (`native.world.LookUp`), which are one. What comes back
is, to the last bit, what the same policy and the same world do step by step.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from ctypes import addressof, c_char_p, c_void_p
from typing import Any, NamedTuple

import torch
from torch import Tensor

from metarl.native.call import SUFFIXES, function, plain, watched
from metarl.native.mlp import Perceptron, fits, packed
from metarl.native.mode import kernels
from metarl.native.world import WorldView

WORLD = struct.Struct("qq4f")
EPISODES = struct.Struct("10q")
STEPS = struct.Struct("7q")

WORLDS = ("plane",)
"""Names of the worlds that kernels know."""

IN_THE_PLANE = 2, 2
"""Numbers that are seen there, and those of an action."""


class Played(NamedTuple):
    """Episodes ``[N, T, B, ...]``; one that has ended stays where it is and pays 0."""

    observations: Tensor  # [N, T + 1, B, I], before each action and after the last one
    means: Tensor  # [N, T, B, A], what the perceptron said
    actions: Tensor  # [N, T, B, A]
    rewards: Tensor  # [N, T, B]
    terminated: Tensor  # [N, T, B] bool: it has reached an end, by this step or before
    truncated: Tensor  # [N, T, B] bool: the horizon cut it off here


def playable(net: Perceptron, params: Sequence[Tensor], shifts: Tensor) -> bool:
    """Whether a kernel can play: shifts ``[N, T, B, A]``, and a net that has a kernel."""
    if kernels("episode") is None or watched() or shifts.dtype not in SUFFIXES:
        return False
    if not shifts.numel() or net.sizes[-1] != shifts.shape[-1]:
        return False
    row = shifts.new_empty(len(shifts), 1, net.sizes[0])
    return plain(shifts, shifts.dtype) and fits(net, row, params)


def play(
    net: Perceptron, params: Sequence[Tensor], shifts: Tensor, world: Mapping[str, Any]
) -> Played:
    """Play T steps of N * B episodes whose actions are ``mean + shift``.

    Args:
        net: The layers between an observation and the means.
        params: Weight ``[N, I, O]`` and bias ``[N, O]`` of each layer, as kernels read them.
        shifts: ``[N, T, B, A]``, as `playable` says.
        world: Numbers of a world, its name under ``"world"``. ``plane``: ``starts`` and ``goals``
            ``[N * B, 2]`` in single precision, ``max_step``, ``action_scale``, ``goal_radius``,
            ``horizon``.

    Raises:
        ValueError: The world is not known, or its places are not such numbers.
    """
    num_tasks, num_steps, num_episodes, _ = shifts.shape
    places = [world[name].contiguous() for name in ("starts", "goals")]
    shape = (num_tasks * num_episodes, 2)
    sizes = net.sizes[0], net.sizes[-1]
    known = world["world"] in WORLDS and sizes == IN_THE_PLANE
    if not known or any(p.shape != shape or not plain(p, torch.float32) for p in places):
        raise ValueError(
            f"episodes of {world['world']!r} are not played: hand over one of {', '.join(WORLDS)}, "
            f"with places {shape} of torch.float32 on the CPU, to a perceptron from 2 to 2 numbers"
        )
    played, shifts = _room(shifts, num_inputs=net.sizes[0]), shifts.contiguous()
    lengths = (world[name] for name in ("max_step", "action_scale", "goal_radius"))
    tensors = (shifts, *played)
    counts = (num_steps, num_episodes, int(world["horizon"]))
    library = kernels("episode")
    assert library is not None  # `playable`
    function(library, "plane", shifts.dtype, *[c_char_p] * 3)(
        packed(net, num_tasks, num_episodes, params),
        EPISODES.pack(*counts, *(t.data_ptr() for t in tensors)),
        WORLD.pack(*(p.data_ptr() for p in places), *lengths, 0.0),
    )
    return played


def steps_by_tables(
    net: Perceptron,
    params: Sequence[Tensor],
    steps: tuple[int, int],
    shifts: Tensor,
    means: Tensor,
    actions: Tensor,
    world: WorldView,
) -> None:
    """Take steps whose actions are those of the largest ``mean + shift``.

    Args:
        net: The layers between an observation and the means.
        params: Weight ``[N, I, O]`` and bias ``[N, O]`` of each layer, which `fits` has seen.
        steps: The first step, and how many.
        shifts: ``[N, T, B, A]``, in one piece and of the type of the parameters.
        means: The same; those of these steps are written.
        actions: int64 ``[T, N, B]``, written likewise.
        world: Tables of N * B environments, as many as there are steps.

    Raises:
        ValueError: The perceptron takes other inputs or says other numbers, there is no room for so
            many steps, or the tables tell of cells that are not there.
    """
    num_tasks, num_steps, num_episodes, num_actions = shifts.shape
    start, count = steps
    sizes = net.sizes[0], net.sizes[-1], world.pointers.actions
    if sizes != (world.num_inputs, num_actions, num_actions) or start + count > num_steps:
        raise ValueError(
            f"{count} steps from step {start} on with inputs {world.num_inputs} wide and "
            f"{world.pointers.actions} actions do not go into {num_steps} steps of perceptrons "
            f"from {net.sizes[0]} to {net.sizes[-1]} numbers"
        )
    library = kernels("episode")
    assert library is not None  # whoever has seen tables
    function(library, "tables", shifts.dtype, c_char_p, c_char_p, c_void_p)(
        packed(net, num_tasks, num_episodes, params),
        STEPS.pack(
            *(num_steps, num_episodes, start, count),
            *(t.data_ptr() for t in (shifts, means, actions)),
        ),
        addressof(world.pointers),
    )
    world.check_cells()


def _room(shifts: Tensor, num_inputs: int) -> Played:
    """Tensors to be written."""
    num_tasks, num_steps, num_episodes, num_actions = shifts.shape
    new, shape = shifts.new_empty, (num_tasks, num_steps, num_episodes)
    return Played(
        observations=new((num_tasks, num_steps + 1, num_episodes, num_inputs)),
        means=new((*shape, num_actions)),
        actions=new((*shape, num_actions)),
        rewards=new(shape),
        terminated=new(shape, dtype=torch.bool),
        truncated=new(shape, dtype=torch.bool),
    )
