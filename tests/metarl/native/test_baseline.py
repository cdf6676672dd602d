"""The linear baseline by a kernel is that of torch's operations."""

import pytest
import torch

from metarl.native import kernels, using
from metarl.native.policy_gradient import MOST_INPUTS, linear_baseline
from metarl.rl.advantages import LinearBaseline, discounted_returns
from metarl.rl.trajectory import Trajectory

pytestmark = pytest.mark.skipif(kernels("baseline") is None, reason="no kernels here")

DTYPES = [torch.float32, torch.float64]


def trajectory(num_inputs: int, dtype: torch.dtype, collinear: bool = False) -> Trajectory:
    """Episodes of several lengths."""
    draw = torch.Generator().manual_seed(1)
    shape = (3, 31, 5)
    seen = 4 * torch.randn(*shape, num_inputs, generator=draw, dtype=dtype)
    if collinear:
        seen[..., 1:] = seen[..., :1]
    ends = torch.randint(1, 32, (3, 1, 5), generator=draw)
    mask = (torch.arange(31)[None, :, None] < ends).to(dtype)
    no = torch.zeros(shape, dtype=torch.bool)
    rewards = torch.randn(shape, generator=draw, dtype=dtype) * mask
    return Trajectory(seen, no.long(), rewards, seen, rewards, no, no, mask, seen[:, -1])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("num_inputs", [1, 2, 3, 17, MOST_INPUTS + 1])
def test_the_baseline_is_that_of_torch(num_inputs, dtype):
    seen = trajectory(num_inputs, dtype)
    returns = discounted_returns(seen.rewards, 0.95) * seen.mask
    found = LinearBaseline().values(seen, returns)
    with using("off"):
        expected = LinearBaseline().values(seen, returns)
    assert found.dtype is dtype
    tight = {"rtol": 1e-8, "atol": 1e-9} if dtype is torch.float64 else {}
    torch.testing.assert_close(found, expected, **tight)
    assert (found[seen.mask == 0] == 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_collinear_observations_take_the_ridge(dtype):
    seen = trajectory(4, dtype, collinear=True)
    returns = discounted_returns(seen.rewards, 0.95) * seen.mask
    found = LinearBaseline(reg=1e-3).values(seen, returns)
    with using("off"):
        expected = LinearBaseline(reg=1e-3).values(seen, returns)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_a_task_without_a_fit_has_no_numbers_and_the_others_theirs():
    seen = trajectory(2, torch.float64)
    returns = discounted_returns(seen.rewards, 0.95) * seen.mask
    whole = LinearBaseline().values(seen, returns)
    seen.observations[1, 0, 0, 0] = torch.nan
    found = LinearBaseline().values(seen, returns)
    assert found[1].isnan().all()
    assert torch.equal(found[::2], whole[::2])
    large = LinearBaseline().values(seen, returns * 1e300 * 1e10)
    assert large[0][seen.mask[0] == 1].isnan().all()


def test_what_is_not_plain_is_left_to_torch():
    seen = trajectory(2, torch.float64)
    how = {"ridge": 1e-5, "clip": 10.0, "num_attempts": 6}
    assert linear_baseline(seen.observations, seen.mask, seen.rewards, **how) is not None
    with torch.device("cpu"):
        assert linear_baseline(seen.observations, seen.mask, seen.rewards, **how) is None
    assert linear_baseline(seen.observations.float(), seen.mask, seen.rewards, **how) is None
    assert linear_baseline(seen.observations, seen.mask, seen.rewards[:, :4], **how) is None
    assert linear_baseline(seen.observations, seen.mask[:, :4], seen.rewards, **how) is None
