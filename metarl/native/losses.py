"""The loss of an actor and a critic on whole trials as one call (`src/losses.cpp`).

Its gradient comes with it, so that the way back is a product. Axes: N tasks (agents), T steps,
B trials, A actions.
"""

from __future__ import annotations

import struct
from ctypes import c_char_p, c_void_p
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import Function, once_differentiable

from metarl.native.call import function
from metarl.native.mode import kernels
from metarl.native.plain import SUFFIXES, plain, watched

TRIALS = struct.Struct("9q8q3d2q")


class Constants(NamedTuple):
    """What the loss depends on beside the heads; tensors are ``[N, T, B]``.

    Attributes:
        actions: int64, those taken.
        log_p: Their log-probabilities when they were played.
        advantages: Of the actions.
        targets: Of the critic.
        mask: 1 within a trial, else 0.
        clip: PPO's bound of ratios; None: no ratios, but log-probabilities.
        value_coef: Weight of the critic's squared error.
        entropy_coef: Weight of the certainty.
        shannon: Whether that is ``sum p log p``; else ``sum p^2``.
    """

    actions: Tensor
    log_p: Tensor
    advantages: Tensor
    targets: Tensor
    mask: Tensor
    clip: float | None
    value_coef: float
    entropy_coef: float
    shannon: bool


def actor_critic_loss(readouts: Tensor, log_p: Tensor, constants: Constants) -> Tensor | None:
    """The loss of every task ``[N]``, a mean over steps; None: there is no kernel for it.

    It is differentiable once, by the readouts.

    Args:
        readouts: A logits and the value, ``[N, T, B, A + 1]``, laid out in any way.
        log_p: The logits' log softmax, laid out as ``[N, A, T * B]``.
        constants: The rest.
    """
    library, dtype = kernels("losses"), readouts.dtype
    if library is None or dtype not in SUFFIXES or watched():
        return None
    *shape, count = readouts.shape
    numbers = constants[1:5]
    fits = (
        all(plain(t, dtype) for t in (readouts, log_p, *numbers))
        and plain(constants.actions, torch.int64)
        and all(list(t.shape) == shape for t in (constants.actions, *numbers))
        and log_p.shape == (shape[0], count - 1, shape[1] * shape[2])
        and readouts.numel() > 0
        and count > 1
    )
    if not fits or any(t.requires_grad for t in (log_p, *numbers)):
        return None
    low, high = constants.actions.aminmax()
    if int(low) < 0 or int(high) >= count - 1:
        return None
    loss: Tensor = _Loss.apply(readouts, log_p, constants)  # type: ignore[no-untyped-call]
    return loss


class _Loss(Function):
    """The loss; what is kept is its gradient."""

    @staticmethod
    def forward(ctx: Any, readouts: Tensor, log_p: Tensor, constants: Constants) -> Tensor:
        *shape, count = readouts.shape
        tensors = [t.contiguous() for t in (log_p, *constants[:5])]
        loss, gradient = readouts.new_empty(shape[0]), readouts.new_empty(readouts.shape)
        scratch = readouts.new_empty(count)
        clip = constants.clip
        packed = TRIALS.pack(
            *(*shape, count - 1, readouts.data_ptr(), *readouts.stride()),
            *(t.data_ptr() for t in (*tensors, loss, gradient)),
            *(clip or 0.0, constants.value_coef, constants.entropy_coef),
            *(clip is not None, constants.shannon),
        )
        library = kernels("losses")
        assert library is not None
        called = function(library, "actor_critic", readouts.dtype, c_char_p, c_void_p)
        called(packed, scratch.data_ptr())
        ctx.save_for_backward(gradient)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * cotangent.view(-1, 1, 1, 1), None, None
