"""Kernels of the policy gradient: discounted sums, the linear baseline, the actor-critic's loss.

Each is one call: the one loop over steps that is left where a rollout is one (`src/sums.cpp`), the
regressions of all tasks (`src/baseline.cpp`), and the loss on whole trials (`src/losses.cpp`),
whose gradient comes with it, so that the way back is a product. Axes: N tasks (agents), T steps,
B trials, A actions.
"""

from __future__ import annotations

import math
import struct
from ctypes import c_char_p, c_double, c_int64, c_void_p
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import Function, once_differentiable

from metarl.native.call import SUFFIXES, address, function, is_plain, plain, watched
from metarl.native.mode import kernels

TYPES = c_int64, c_int64, c_int64, c_double, c_void_p, c_void_p, c_void_p


def discounted_sums(values: Tensor, gamma: float, goes_on: Tensor | None) -> Tensor | None:
    """``S_t = x_t + gamma goes_on_t S_{t+1}``; None: there is no kernel for such values.

    Args:
        values: x, ``[..., T, B]``.
        gamma: Discount.
        goes_on: ``[..., T, B]``, of the same type; None: 1 everywhere.

    Returns:
        ``[..., T, B]``, without a graph.
    """
    tensors = (values,) if goes_on is None else (values, goes_on)
    like = values.dtype, values.shape
    fits = values.numel() > 0 and values.dim() > 1 and values.dtype in SUFFIXES
    if not fits or any((t.dtype, t.shape) != like for t in tensors) or not is_plain(*tensors):
        return None
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        return None
    library = kernels("sums")
    if library is None:
        return None
    read = [t.detach().contiguous() for t in tensors]
    out = torch.empty_like(read[0])
    *outer, steps, width = values.shape
    going = None if goes_on is None else read[1]
    function(library, "discounted", values.dtype, *TYPES)(
        math.prod(outer), steps, width, gamma, *map(address, (read[0], going, out))
    )
    return out


REGRESSION = struct.Struct("8q2dq")

MOST_INPUTS = 30
"""More numbers in an observation make a regression that torch's products are faster at."""


def linear_baseline(
    observations: Tensor,
    mask: Tensor,
    returns: Tensor,
    *,
    ridge: float,
    clip: float,
    num_attempts: int,
) -> Tensor | None:
    """Fit returns ``[N, T, B]`` and predict them; None: there is no kernel for it.

    Args:
        observations: ``[N, T, B, I]``.
        mask: ``[N, T, B]``.
        returns: ``[N, T, B]``.
        ridge: The first one that is tried.
        clip: Bound of observations.
        num_attempts: Ridges that are tried, each 10 times as large.
    """
    library, dtype = kernels("baseline"), returns.dtype
    if library is None or dtype not in SUFFIXES or watched():
        return None
    given = (observations, mask, returns)
    if any(t.requires_grad or not t.numel() or not plain(t, dtype) for t in given):
        return None
    shape = mask.shape
    if len(shape) != 3 or returns.shape != shape or observations.shape[:-1] != shape:
        return None
    if observations.shape[-1] > MOST_INPUTS:
        return None
    observations, mask, returns = (t.contiguous() for t in given)
    found = torch.empty_like(returns)
    addresses = (t.data_ptr() for t in (observations, mask, returns, found))
    packed = REGRESSION.pack(*observations.shape, *addresses, ridge, clip, num_attempts)
    function(library, "baseline", dtype, c_char_p)(packed)
    return found


TRIALS = struct.Struct("9q8q3d2q")


class Constants(NamedTuple):
    """Quantities that the loss depends on beside the heads; tensors are ``[N, T, B]``.

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
