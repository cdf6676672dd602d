"""The transformer: cached steps are the whole sequence, and both are what peers compute."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from metarl.nn import Transformer, transformer
from tests.metarl.nn.gradients import (
    assert_same_gradients,
    gradients,
    random_inputs,
    stacked_params,
)

CORE = Transformer(5, 8, layers=2, heads=2, widening=3)


def cached(core: Transformer, params: dict[str, Tensor], inputs: Tensor) -> Tensor:
    """Outputs of steps one by one, in the memory of a rollout."""
    num_tasks, num_steps, batch_size = inputs.shape[:3]
    with torch.no_grad():
        weights = core.fuse(params)
        state = core.initial_state(weights, batch_size)
        trace = core.new_outputs((num_tasks, num_steps, batch_size), inputs)
        for x, slot in zip(inputs.unbind(1), trace.slots, strict=True):
            _, state = core.step(weights, x, state, slot)
    return trace["h"]


@pytest.mark.parametrize("shape", [(2, 23, 3), (1, 1, 1), (3, 2, 2), (1, 130, 2)])
def test_cached_steps_are_the_whole_sequence(shape: tuple[int, int, int]) -> None:
    params, inputs = stacked_params(CORE, shape[0]), random_inputs(CORE, shape)
    whole = CORE.sequence(params, inputs)
    torch.testing.assert_close(cached(CORE, params, inputs), whole, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(CORE.unrolled(params, inputs), whole, rtol=1e-12, atol=1e-12)


def test_a_cache_that_looks_at_a_step_less_is_caught() -> None:
    params, inputs = stacked_params(CORE, 1), random_inputs(CORE, (1, 6, 1))
    weights = CORE.fuse(params)
    state = CORE.advanced(weights, inputs[:, :5], CORE.initial_state(weights, 1))
    right, _ = CORE.step(weights, inputs[:, 5], state)
    wrong, _ = CORE.step(weights, inputs[:, 5], (*state[:-1], state[-1] - 1))
    torch.testing.assert_close(right, CORE.sequence(params, inputs)[:, 5], rtol=1e-12, atol=1e-12)
    assert not torch.allclose(wrong, right, atol=1e-3)


def test_single_precision_is_as_exact_as_it_can_be() -> None:
    params = {n: p.detach().float() for n, p in stacked_params(CORE, 2, noise=0.1).items()}
    inputs = random_inputs(CORE, (2, 40, 3)).detach().float()
    whole = CORE.sequence(params, inputs)
    torch.testing.assert_close(cached(CORE, params, inputs), whole, rtol=1e-4, atol=1e-5)


def test_the_equations_by_loops() -> None:
    """One head after another, pairs turned as complex numbers, softmax by hand."""
    params, inputs = stacked_params(CORE, 1), random_inputs(CORE, (1, 7, 1))
    p = {n: value[0].detach() for n, value in params.items()}
    size, heads = CORE.head_size, CORE.heads

    def norm(e: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
        mean = e.mean()
        return (e - mean) / ((e - mean).square().mean() + 1e-5).sqrt() * gain + bias

    def turn(v: Tensor, position: int) -> Tensor:
        pairs = torch.complex(v[: size // 2], v[size // 2 :])
        angles = [position * 10_000 ** (-2 * i / size) for i in range(size // 2)]
        pairs = pairs * torch.polar(torch.ones(size // 2).double(), torch.tensor(angles).double())
        return torch.cat((pairs.real, pairs.imag))

    e = [x @ p["embed"] + p["embed_bias"] for x in inputs[0, :, 0].detach()]
    for layer in range(CORE.layers):
        gain, bias = p["norm_gain"][layer], p["norm_bias"][layer]
        mixed = [
            norm(x, gain[0], bias[0]) @ p["mix_in"][layer] + p["mix_in_bias"][layer] for x in e
        ]
        parts = [m.view(3, heads, size) for m in mixed]
        for t in range(len(e)):
            found = []
            for head in range(heads):
                query = turn(parts[t][0, head], t)
                keys = [turn(parts[s][1, head], s) for s in range(t + 1)]
                weights = [math.exp(float(query @ key) / size**0.5) for key in keys]
                values = [w * parts[s][2, head] for s, w in enumerate(weights)]
                found.append(torch.stack(values).sum(0) / sum(weights))
            e[t] = e[t] + torch.cat(found) @ p["mix_out"][layer] + p["mix_out_bias"][layer]
        for t, x in enumerate(e):
            wide = norm(x, gain[1], bias[1]) @ p["widen"][layer] + p["widen_bias"][layer]
            wide = torch.nn.functional.gelu(wide)
            e[t] = x + wide @ p["narrow"][layer] + p["narrow_bias"][layer]
    expected = torch.stack([norm(x, p["last_gain"], p["last_bias"]) for x in e])
    torch.testing.assert_close(CORE.sequence(params, inputs)[0, :, 0], expected)


def test_without_positions_it_is_the_encoder_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformer, "turned", lambda x, ways: x)
    params, inputs = stacked_params(CORE, 1), random_inputs(CORE, (1, 9, 3))
    layer = torch.nn.TransformerEncoderLayer(
        8, CORE.heads, 24, 0.0, "gelu", batch_first=True, norm_first=True, dtype=torch.float64
    )
    norm = torch.nn.LayerNorm(8, dtype=torch.float64)
    peer = torch.nn.TransformerEncoder(layer, CORE.layers, norm, enable_nested_tensor=False)
    p = {n: value[0].detach() for n, value in params.items()}
    with torch.no_grad():
        for k, one in enumerate(peer.layers):
            own = {
                one.self_attn.in_proj_weight: p["mix_in"][k].T,
                one.self_attn.in_proj_bias: p["mix_in_bias"][k],
                one.self_attn.out_proj.weight: p["mix_out"][k].T,
                one.self_attn.out_proj.bias: p["mix_out_bias"][k],
                one.linear1.weight: p["widen"][k].T,
                one.linear1.bias: p["widen_bias"][k],
                one.linear2.weight: p["narrow"][k].T,
                one.linear2.bias: p["narrow_bias"][k],
                one.norm1.weight: p["norm_gain"][k, 0],
                one.norm1.bias: p["norm_bias"][k, 0],
                one.norm2.weight: p["norm_gain"][k, 1],
                one.norm2.bias: p["norm_bias"][k, 1],
            }
            for parameter, value in own.items():
                parameter.copy_(value)
        norm.weight.copy_(p["last_gain"])
        norm.bias.copy_(p["last_bias"])
    mask = torch.nn.Transformer.generate_square_subsequent_mask(9, dtype=torch.float64)
    x = inputs[0].transpose(0, 1) @ p["embed"] + p["embed_bias"]  # [B, T, H]
    expected = peer(x, mask=mask, is_causal=True).transpose(0, 1)
    found = CORE.sequence(params, inputs)[0]
    torch.testing.assert_close(found, expected)
    found, wanted = (torch.autograd.grad(y.square().sum(), inputs) for y in (found, expected))
    torch.testing.assert_close(found, wanted)


def test_gradients_by_finite_differences_of_both_orders() -> None:
    core = Transformer(2, 3, layers=1, heads=2, widening=1)
    params, inputs = stacked_params(core, 2), random_inputs(core, (2, 3, 2))
    names = list(params)
    starts = torch.tensor([True, False, True]).view(1, 3, 1).expand(2, 3, 2)

    def run(unrolled: bool, x: Tensor, *leaves: Tensor) -> Tensor:
        way = core.unrolled if unrolled else core.sequence
        return way(dict(zip(names, leaves, strict=True)), x, None, starts)

    leaves = (inputs, *params.values())
    assert torch.autograd.gradcheck(lambda *x: run(False, *x), leaves, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda *x: run(True, *x), leaves, fast_mode=True)


def test_nothing_is_seen_of_the_future_of_a_neighbour_or_of_another_trial() -> None:
    params, inputs = stacked_params(CORE, 1), random_inputs(CORE, (1, 9, 2))
    starts = torch.zeros(1, 9, 2, dtype=torch.bool)
    starts[:, 3, 0] = True
    outputs = CORE.sequence(params, inputs, None, starts)
    (grad,) = torch.autograd.grad(outputs[:, 6, 0].sum(), inputs)
    assert grad[:, 3:7, 0].abs().amax((0, 2)).min() > 0
    assert not grad[:, :3].any()
    assert not grad[:, 7:].any()
    assert not grad[:, :, 1].any()


def test_an_earlier_state_stays_what_it_was() -> None:
    params, inputs = stacked_params(CORE, 1), random_inputs(CORE, (1, 4, 1))
    with torch.no_grad():
        weights = CORE.fuse(params)
        state = CORE.advanced(weights, inputs[:, :2], CORE.initial_state(weights, 1))
        first, _ = CORE.step(weights, inputs[:, 2], state)
        CORE.step(weights, inputs[:, 3], state)
        again, _ = CORE.step(weights, inputs[:, 2], state)
    torch.testing.assert_close(again, first, rtol=0, atol=0)


def test_what_is_seen_depends_on_how_long_ago_it_was_alone() -> None:
    params, inputs = stacked_params(CORE, 1), random_inputs(CORE, (1, 6, 1))
    weights = CORE.fuse(params)
    empty = CORE.initial_state(weights, 1)
    late = (*empty[:-1], empty[-1] + 700)
    torch.testing.assert_close(
        CORE.sequence(params, inputs, late), CORE.sequence(params, inputs), rtol=1e-9, atol=1e-9
    )


def test_a_trial_begins_again_within_a_rollout() -> None:
    params, inputs = stacked_params(CORE, 2), random_inputs(CORE, (2, 8, 3))
    starts = torch.rand(2, 8, 3, generator=torch.Generator().manual_seed(0)) < 0.3
    weights = CORE.fuse(params)
    empty = state = CORE.initial_state(weights, 3)
    trace = CORE.new_outputs((2, 8, 3), inputs)
    with torch.no_grad():
        for t, slot in enumerate(trace.slots):
            state = CORE.emptied(state, empty, starts[:, t])
            _, state = CORE.step(weights, inputs[:, t], state, slot)
    expected = CORE.sequence(params, inputs, None, starts)
    torch.testing.assert_close(trace["h"], expected, rtol=1e-12, atol=1e-12)
    after = CORE.advanced(weights, inputs, empty, starts)
    assert torch.equal(after[-1], state[-1])


@pytest.mark.parametrize("wrong", ["layers", "heads", "widening"])
def test_a_size_below_one_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match=f"{wrong} must be at least 1, got 0"):
        Transformer(5, 8, **{wrong: 0})


def test_sequence_and_unrolled_have_one_gradient() -> None:
    params, inputs = stacked_params(CORE, 2), random_inputs(CORE, (2, 12, 3))
    found, wanted = (
        gradients(way(params, inputs), params, inputs) for way in (CORE.sequence, CORE.unrolled)
    )
    assert_same_gradients(found, wanted, 1e-10)
