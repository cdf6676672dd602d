"""Gated linear attention: chunks are steps, decays are safe, and gradients are right."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import silu

from metarl.core import stack
from metarl.nn import LinearAttention
from metarl.nn.linear_attention import LONGEST, SHORTEST, chunk_read
from metarl.nn.recurrent import RecurrentCore
from tests.metarl.nn.gradients import (
    assert_same_gradients,
    gradients,
    random_inputs,
    stacked_params,
)

CORE = LinearAttention(5, 8, layers=2, heads=2, widening=3, chunk=4)


def stepwise(
    core: LinearAttention, params: dict[str, Tensor], inputs: Tensor, *more: object
) -> Tensor:
    """Outputs step by step."""
    return RecurrentCore.unrolled(core, params, inputs, *more)  # type: ignore[arg-type]


@pytest.mark.parametrize("num_steps", [1, 3, 4, 5, 8, 23])
@pytest.mark.parametrize("starting", [False, True], ids=["one stretch", "several"])
def test_chunks_are_steps(num_steps: int, starting: bool) -> None:
    shape = (2, num_steps, 3)
    params, inputs = stacked_params(CORE, 2), random_inputs(CORE, shape)
    starts = torch.rand(shape, generator=torch.Generator().manual_seed(3)) < 0.2
    given = (None, starts if starting else None)
    expected = stepwise(CORE, params, inputs, *given)
    wanted = gradients(expected, params, inputs)
    for chunk in (1, 4, 100):
        found = replace(CORE, chunk=chunk).sequence(params, inputs, *given)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
        assert_same_gradients(gradients(found, params, inputs), wanted, 1e-9)


def test_the_equations_by_loops() -> None:
    core = LinearAttention(5, 6, layers=1, heads=2, widening=1)
    params, inputs = stacked_params(core, 1), random_inputs(core, (1, 7, 1))
    p = {n: value[0].detach() for n, value in params.items()}
    size = core.head_size
    memory = torch.zeros(2, size, size).double()
    for t, x in enumerate(inputs[0, :, 0].detach()):
        e = x @ p["embed"] + p["embed_bias"]
        a = torch.nn.functional.layer_norm(e, (6,), p["norm_gain"][0, 0], p["norm_bias"][0, 0])
        mixed = a @ p["mix_in"][0] + p["mix_in_bias"][0]
        q, k, v, g = mixed[: 8 * size].view(4, 2, size)
        decay, write = mixed[8 * size :].sigmoid().view(2, 2)
        found = []
        for head in range(2):
            key, query = silu(k[head]), silu(q[head])
            memory[head] = decay[head] * memory[head] + write[head] * torch.outer(
                key / key.norm(), v[head]
            )
            read = query / query.norm() @ memory[head]
            found.append(read / (read.square().mean() + 1e-5).sqrt() * silu(g[head]))
        e = e + torch.cat(found) @ p["mix_out"][0] + p["mix_out_bias"][0]
        a = torch.nn.functional.layer_norm(e, (6,), p["norm_gain"][0, 1], p["norm_bias"][0, 1])
        wide = torch.nn.functional.gelu(a @ p["widen"][0] + p["widen_bias"][0])
        e = e + wide @ p["narrow"][0] + p["narrow_bias"][0]
        h = torch.nn.functional.layer_norm(e, (6,), p["last_gain"], p["last_bias"])
        torch.testing.assert_close(core.sequence(params, inputs)[0, t, 0], h)


def test_gradients_by_finite_differences_of_both_orders() -> None:
    core = LinearAttention(2, 3, layers=1, heads=2, widening=1, chunk=2)
    params, inputs = stacked_params(core, 2), random_inputs(core, (2, 3, 2))
    names = list(params)
    starts = torch.tensor([False, False, True]).view(1, 3, 1).expand(2, 3, 2)

    def run(x: Tensor, *leaves: Tensor) -> Tensor:
        return core.sequence(dict(zip(names, leaves, strict=True)), x, None, starts)

    leaves = (inputs, *params.values())
    assert torch.autograd.gradcheck(run, leaves, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, leaves, fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1e-6, 30.0, 1e4], ids=["kept", "forgotten", "at once"])
def test_decays_neither_overflow_nor_lose_what_is_kept(size: float, dtype: torch.dtype) -> None:
    """Products of decays underflow within a few steps; their ratios must not be numbers by 0."""
    g = torch.Generator().manual_seed(0)
    shape = 1, 2, 1, 40, 4
    query, key, value = (torch.randn(shape, generator=g, dtype=dtype) for _ in range(3))
    log_decay = torch.full(shape[:4], -size, dtype=dtype).requires_grad_()
    memory = torch.randn(1, 2, 1, 4, 4, generator=g, dtype=dtype)
    read, after = chunk_read(query, key, value, log_decay, memory, None)
    expected, state = [], memory
    for t in range(40):
        one = key[..., t, :, None] * value[..., t, None, :]
        state = log_decay.detach()[..., t, None, None].exp() * state + one
        expected.append((query[..., t, None, :] @ state).squeeze(-2))
    tolerance = 1e-10 if dtype == torch.float64 else 2e-4
    torch.testing.assert_close(read, torch.stack(expected, -2), rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(after, state, rtol=tolerance, atol=tolerance)
    (grad,) = torch.autograd.grad(read.sum() + after.sum(), log_decay)
    assert bool(grad.isfinite().all())


def test_a_chunk_that_forgets_the_memory_before_it_is_caught() -> None:
    params, inputs = stacked_params(CORE, 1), random_inputs(CORE, (1, 8, 1))
    whole = CORE.sequence(params, inputs)
    forgetful = torch.cat([CORE.sequence(params, part) for part in inputs.split(4, 1)], 1)
    torch.testing.assert_close(forgetful[:, :4], whole[:, :4])
    assert not torch.allclose(forgetful[:, 4:], whole[:, 4:], atol=1e-3)


def test_heads_begin_with_memories_from_short_to_long() -> None:
    core = LinearAttention(5, 8, heads=4)
    params = stack([core.init(torch.Generator().manual_seed(0))])
    bias = params["mix_in_bias"][0, :, -8:-4]
    steps = 1 / (1 - bias.double().sigmoid())
    torch.testing.assert_close(
        steps[:, [0, -1]], torch.tensor([[SHORTEST, LONGEST]] * 2).double(), rtol=1e-3, atol=0
    )
    assert bool((steps.diff(dim=-1) > 0).all())


def test_the_state_has_one_size_however_long_the_trial() -> None:
    weights = CORE.fuse(stacked_params(CORE, 2))
    empty = CORE.initial_state(weights, 3, 10_000)
    after = CORE.advanced(weights, random_inputs(CORE, (2, 9, 3)), empty)
    assert [s.shape for s in after] == [s.shape for s in empty] == [(2, 3, 8, 4)] * 2
    with pytest.raises(ValueError, match="chunk must be at least 1, got 0"):
        LinearAttention(5, 8, chunk=0)
