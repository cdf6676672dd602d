"""Discounted sums by a kernel are those of the loop over steps."""

from __future__ import annotations

import pytest
import torch

from metarl.native import kernels, using
from metarl.native.policy_gradient import discounted_sums
from metarl.rl.advantages import discounted_returns

pytestmark = pytest.mark.skipif(kernels("sums") is None, reason="no native kernels here")


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (2, 5, 17), (2, 3, 4, 1)], ids=str)
@pytest.mark.parametrize("cut", [False, True])
def test_sums_are_those_of_the_loop(shape: tuple[int, ...], cut: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    rewards = torch.randn(shape, generator=generator, dtype=torch.double)
    goes_on = (torch.rand(shape, generator=generator) < 0.7).double() if cut else None
    native = discounted_returns(rewards, 0.9, goes_on)
    assert discounted_sums(rewards, 0.9, goes_on) is not None
    with using("off"):
        assert discounted_sums(rewards, 0.9, goes_on) is None
        eager = discounted_returns(rewards, 0.9, goes_on)
    torch.testing.assert_close(native, eager, rtol=1e-14, atol=1e-14)


def test_what_is_not_finite_stays_so_and_strides_do_not_matter() -> None:
    rewards = torch.randn(3, 6, 4).transpose(0, 2)
    rewards[1, 2, 0] = torch.nan
    native = discounted_returns(rewards, 0.5)
    with using("off"):
        eager = discounted_returns(rewards, 0.5)
    torch.testing.assert_close(native, eager, equal_nan=True)
    assert native[1, :3, 0].isnan().all()


def test_gradients_go_through_the_loop() -> None:
    rewards = torch.randn(4, 3, requires_grad=True)
    discounted_returns(rewards, 0.5)[0].sum().backward()
    expected = torch.tensor([1, 0.5, 0.25, 0.125])[:, None].expand(4, 3)
    torch.testing.assert_close(rewards.grad, expected)


def test_other_types_are_summed_by_the_loop() -> None:
    assert discounted_sums(torch.ones(3, 2, dtype=torch.int64), 0.5, None) is None
    assert discounted_sums(torch.ones(3, 2).half(), 0.5, None) is None
    assert discounted_sums(torch.ones(3, 2), 0.5, torch.ones(3, 2).double()) is None
    assert discounted_sums(torch.ones(0, 2), 0.5, None) is None
