"""The linear baseline: its regression, its time, its ridge, task by task."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from metarl.rl import LinearBaseline
from tests.metarl.rl.test_advantages import several

B, T = 5, 4


def played(num_tasks: int = 1, observations: Tensor | None = None, lengths=(4,) * B):
    one = several(torch.ones(1, T, B), list(lengths))
    if observations is None:
        g = torch.Generator().manual_seed(num_tasks)
        observations = torch.randn(num_tasks, T, B, 2, generator=g)
    grown = [part.expand(num_tasks, *part.shape[1:]) for part in one if part is not None]
    return type(one)(observations, *grown[1:])


def test_returns_that_are_linear_in_the_features_are_found() -> None:
    episodes = played(3)
    o = episodes.observations.double()
    time = torch.arange(T, dtype=torch.float64)[:, None]
    returns = 2 * o[..., 0] - o[..., 1].square() + 3 + 0.5 * time
    found = LinearBaseline(reg=1e-9).values(episodes, returns)
    assert torch.allclose(found, returns, atol=1e-4)


def test_it_is_the_ridge_regression_of_every_task() -> None:
    episodes = played(2, lengths=(4, 3, 2, 4, 1))
    g = torch.Generator().manual_seed(5)
    returns = torch.randn(2, T, B, generator=g).double() * episodes.mask
    baseline = LinearBaseline(reg=0.1)
    found = baseline.values(episodes, returns)
    for i in range(2):
        valid = episodes.mask[i].bool()
        o = episodes.observations[i].double()[valid]
        t = (torch.arange(T)[:, None].expand(T, B)[valid].double() / 100)[:, None]
        x = torch.cat((o, o**2, t, t**2, t**3, torch.ones_like(t)), 1)
        rows = torch.cat((x, 0.1**0.5 * torch.eye(x.shape[1], dtype=x.dtype)))
        y = torch.cat((returns[i][valid], torch.zeros(x.shape[1], dtype=x.dtype)))
        expected = x @ torch.linalg.lstsq(rows, y[:, None]).solution[:, 0]
        assert torch.allclose(found[i][valid], expected, atol=1e-9)
        assert (found[i][~valid] == 0).all()


def test_observations_are_clipped_and_time_is_that_of_the_episode() -> None:
    features = LinearBaseline().features(torch.full((1, T, 1, 1), 1e6))
    assert features.dtype == torch.float64
    assert features[0, 3, 0].tolist() == pytest.approx([10, 100, 0.03, 0.0009, 0.000027, 1])


def test_collinear_observations_are_no_obstacle() -> None:
    """One-hot observations: squares equal them, and they sum to the constant."""
    g = torch.Generator().manual_seed(0)
    states = torch.randint(2, (1, T, B), generator=g)
    episodes = played(1, torch.nn.functional.one_hot(states, 2).float())
    returns = states.double() * 3 + 1
    found = LinearBaseline().values(episodes, returns)
    assert torch.allclose(found, returns, atol=1e-3)


def test_the_ridge_grows_until_it_serves_task_by_task() -> None:
    """A ridge below the rounding of the squares: one task fails at first, the other does not."""
    big = torch.zeros(2, T, B, 2)
    big[0] = 10.0
    episodes = played(2, big)
    returns = torch.ones(2, T, B)
    tiny = LinearBaseline(reg=1e-14).values(episodes, returns)
    assert tiny.isfinite().all()
    assert torch.allclose(tiny, returns, atol=1e-2)


def test_no_number_in_no_number_out() -> None:
    episodes = played(2)
    returns = torch.ones(2, T, B)
    returns[0, 0, 0] = torch.nan
    found = LinearBaseline().values(episodes, returns)
    assert found[0].isnan().all()
    assert found[1].isfinite().all()


def test_a_ridge_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match=r"reg and clip must be above 0, got 0\.0"):
        LinearBaseline(reg=0.0)
