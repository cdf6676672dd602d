"""Recurrent kernels on inputs of which most are zero: columns that are left out change no bit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from metarl.native import kernels
from metarl.nn.fused import Past
from tests.metarl.native.test_recurrent import NATIVE, MakeCore, both, cast
from tests.metarl.nn.gradients import stacked_params

pytestmark = pytest.mark.skipif(kernels("lstm") is None, reason="no native kernels here")

CELLS, VALUES = 60, 5
WIDTH = CELLS * VALUES
"""More inputs than are gone through unseen."""


@pytest.fixture(params=NATIVE.values(), ids=NATIVE.keys())
def make_core(request: pytest.FixtureRequest) -> MakeCore:
    return request.param


def views(shape: tuple[int, int, int], dtype: torch.dtype, present: int = 2) -> Tensor:
    """Cells one-hot ``[N, T, B, I]``, of whose values the first few are there at all."""
    generator = torch.Generator().manual_seed(3)
    cells = torch.randint(present, (*shape, CELLS), generator=generator)
    return torch.nn.functional.one_hot(cells, VALUES).flatten(-2).to(dtype)


# 210 rows are more than are looked through together; three leave a tile of the product unfilled.
@pytest.mark.parametrize("shape", [(2, 3, 70), (1, 6, 3), (1, 1, 1)], ids=str)
def test_outputs_and_gradients_are_those_of_the_eager_core(
    make_core: MakeCore, shape: tuple[int, int, int]
) -> None:
    core = make_core(WIDTH, 9)
    params = cast(stacked_params(core, shape[0], noise=0.1), torch.float64)
    native, eager = both(core, params, views(shape, torch.float64))
    for got, want in zip(native, eager, strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-12 * (1 + float(want.abs().max())))


def test_a_sequence_does_not_depend_on_what_others_see(make_core: MakeCore) -> None:
    """Alone few columns are gone through, beside others more, and beside a dense one all."""
    core, shape = make_core(WIDTH, 19), (1, 4, 53)
    params = cast(stacked_params(core, 1, noise=0.1), torch.float32)
    inputs, weights = views(shape, torch.float32), core.fuse(params)
    inputs[:, :, 0] = torch.randn(WIDTH, generator=torch.Generator().manual_seed(4))
    together = core.record(weights, inputs)["h"]
    for batch in (slice(1, 2), slice(7, 9), slice(3, 50)):
        alone = core.record(weights, inputs[:, :, batch])["h"]
        assert torch.equal(alone, together[:, :, batch])


def test_gradients_by_columns_of_zeros_are_zero_and_the_others_the_same() -> None:
    """All rows of one step see something else in every column: then nothing is left out."""
    shape, core = (1, 8, 60), NATIVE["lstm"](WIDTH, 16)
    params = cast(stacked_params(core, 1, noise=0.1), torch.float32)
    inputs = views(shape, torch.float32)
    zeros = ~inputs.any((0, 1, 2))
    assert int(zeros.sum()) == 3 * CELLS
    full = torch.cat([torch.ones(1, 8, 1, WIDTH), inputs], 2)
    grad = torch.randn(1, 8, 61, 16, generator=torch.Generator().manual_seed(5))
    grad[:, :, 0] = 0  # the row that sees everything adds nothing
    weights = core.fuse(params)
    by_weights = []
    for seen, by in ((inputs, grad[:, :, 1:]), (full, grad)):
        trace = core.record(weights, seen)
        by_weights.append(core.backward(weights, trace, Past(), by, inputs=False)[0])
    for sparse, dense in zip(*by_weights, strict=True):
        assert torch.equal(sparse, dense)
    assert not by_weights[0][0][0, :WIDTH][zeros].any()


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_not_finite_is_not_left_out(make_core: MakeCore, value: float) -> None:
    core, shape = make_core(WIDTH, 4), (1, 6, 3)
    inputs = views(shape, torch.float64)
    assert not inputs[..., VALUES - 1].any()
    whole = cast(stacked_params(core, 1, noise=0.1), torch.float64)
    for name, weight in whole.items():
        if WIDTH not in weight.shape:
            continue
        broken = weight.clone()
        index = tuple(VALUES - 1 if size == WIDTH else 0 for size in weight.shape)
        broken[index] = value
        native, eager = both(core, {**whole, name: broken}, inputs)
        assert eager[0].isnan().any()
        for got, want in zip(native, eager, strict=True):
            assert torch.equal(got.isnan(), want.isnan()), name
