"""Whole episodes of stacked perceptrons as one call (`src/episode.h`).

An environment whose world is known to the kernel hands over the numbers of its episodes; what comes
back is, to the last bit, what the same policy and the same world do step by step.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from ctypes import c_char_p
from typing import Any, NamedTuple

import torch
from torch import Tensor

from metarl.native.call import SUFFIXES, function, plain, watched
from metarl.native.mlp import Perceptron, fits, packed
from metarl.native.mode import kernels

WORLD = struct.Struct("qq4f")
EPISODES = struct.Struct("10q")

WORLDS = ("plane",)
"""Names of the worlds that kernels know."""


class Played(NamedTuple):
    """Episodes ``[N, T, B, ...]``; one that has ended stays where it is and pays 0."""

    observations: Tensor  # [N, T + 1, B, I], before each action and after the last one
    means: Tensor  # [N, T, B, A], what the perceptron said
    actions: Tensor  # [N, T, B, A]
    rewards: Tensor  # [N, T, B]
    terminated: Tensor  # [N, T, B] bool: it has reached an end, by this step or before
    truncated: Tensor  # [N, T, B] bool: the horizon cut it off here


def playable(net: Perceptron, params: Sequence[Tensor], shifts: Tensor) -> bool:
    """Whether `play` takes these: shifts ``[N, T, B, A]``, and a net that has a kernel."""
    sizes = net.sizes[0], net.sizes[-1], shifts.shape[-1]
    return (
        kernels("episode") is not None
        and not watched()
        and shifts.dtype in SUFFIXES
        and shifts.numel() > 0
        and sizes == (2, 2, 2)
        and fits(net, shifts[:, 0], params)  # as many, and of the same type
    )


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
    known = world["world"] in WORLDS
    if not known or any(p.shape != shape or not plain(p, torch.float32) for p in places):
        raise ValueError(
            f"episodes of {world['world']!r} are not played: hand over one of {', '.join(WORLDS)}, "
            f"with places {shape} of torch.float32 on the CPU"
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
