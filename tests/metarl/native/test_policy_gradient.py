"""Kernels of the policy gradient: the loss, sums and the baseline are those of torch's operations.

Discounted sums are those of the loop over steps.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from metarl.native import kernels, using
from metarl.native.policy_gradient import (
    MOST_INPUTS,
    Constants,
    actor_critic_loss,
    discounted_sums,
    linear_baseline,
)
from metarl.rl.advantages import LinearBaseline, discounted_returns
from metarl.rl.distributions import Categorical
from metarl.rl.losses import ActorCriticSettings
from metarl.rl.trajectory import Trajectory

pytestmark = pytest.mark.skipif(
    any(kernels(name) is None for name in ("sums", "baseline", "losses")),
    reason="no native kernels here",
)

SIZES = [(2, 7, 3, 4), (1, 1, 1, 2), (3, 5, 17, 3)]
SETTINGS = [
    ActorCriticSettings(algorithm=algorithm, entropy=entropy, value_coef=0.7, ppo_clip=0.1)  # type: ignore[arg-type]
    for algorithm in ("a2c", "ppo")
    for entropy in ("simpson", "shannon")
]
KINDS = [f"{s.algorithm}-{s.entropy}" for s in SETTINGS]


def drawn(size: tuple[int, int, int, int], dtype: torch.dtype) -> tuple[Tensor, Tensor, Any]:
    """Readouts and log-probabilities as they are laid out in playing, and the rest."""
    n, t, b, a = size
    g = torch.Generator().manual_seed(a)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g, dtype=torch.float64).to(dtype)

    readouts = normal(n, a + 1, t, b).permute(0, 2, 3, 1).requires_grad_()
    logits = readouts.detach()[..., :a].permute(0, 3, 1, 2).flatten(2)
    actions = torch.randint(a, (n, t, b), generator=g)
    log_p = logits.log_softmax(1)
    now = log_p.gather(1, actions.flatten(1).unsqueeze(1)).view(n, t, b)
    mask = (torch.rand(n, t, b, generator=g) < 0.8).to(dtype)
    advantages = normal(n, t, b)
    advantages[..., 0] = 0.0
    return (
        readouts,
        log_p,
        (actions, now + 0.3 * normal(n, t, b), advantages, normal(n, t, b), mask),
    )


def natively(settings: ActorCriticSettings, readouts: Tensor, log_p: Tensor, rest: Any) -> Any:
    s = settings
    clip = s.ppo_clip if s.algorithm == "ppo" else None
    return actor_critic_loss(
        readouts,
        log_p,
        Constants(*rest, clip, s.value_coef, s.entropy_coef, s.entropy == "shannon"),
    )


def eagerly(settings: ActorCriticSettings, readouts: Tensor, rest: Any) -> Tensor:
    actions, played, advantages, targets, mask = rest
    s, distribution = settings, Categorical(readouts.shape[-1] - 1)
    outputs = readouts[..., :-1].log_softmax(-1)
    gain = s.gain(distribution.log_prob(outputs, actions), played, advantages, mask)
    error = s.reduce((targets - readouts[..., -1]).square(), mask)
    settling = s.reduce(s.settling(distribution, outputs), mask)
    return -gain + s.value_coef * error + s.entropy_coef * settling


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("settings", SETTINGS, ids=KINDS)
def test_loss_and_gradient_are_those_of_torch(settings: Any, size: Any) -> None:
    readouts, log_p, rest = drawn(size, torch.float64)
    ways = torch.arange(1.0, size[0] + 1, dtype=torch.float64)
    found, wanted = natively(settings, readouts, log_p, rest), eagerly(settings, readouts, rest)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-13)
    (one,), (other,) = (torch.autograd.grad((x * ways).sum(), readouts) for x in (found, wanted))
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("settings", SETTINGS, ids=KINDS)
def test_single_precision_is_close(settings: Any) -> None:
    readouts, log_p, rest = drawn(SIZES[0], torch.float32)
    found, wanted = natively(settings, readouts, log_p, rest), eagerly(settings, readouts, rest)
    torch.testing.assert_close(found, wanted)
    (one,), (other,) = (torch.autograd.grad(x.sum(), readouts) for x in (found, wanted))
    torch.testing.assert_close(one, other)


def test_gradients_at_ratios_of_exactly_one_are_those_of_torch() -> None:
    readouts, log_p, rest = drawn(SIZES[0], torch.float64)
    now = log_p.gather(1, rest[0].flatten(1).unsqueeze(1)).view(rest[1].shape)
    rest = (rest[0], now, *rest[2:])
    for settings in SETTINGS:
        found, wanted = natively(settings, readouts, log_p, rest), eagerly(settings, readouts, rest)
        (one,), (other,) = (torch.autograd.grad(x.sum(), readouts) for x in (found, wanted))
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("settings", SETTINGS, ids=KINDS)
def test_what_is_not_finite_shows_in_the_loss_of_its_task_alone(settings: Any, value: Any) -> None:
    readouts, log_p, rest = drawn(SIZES[0], torch.float64)
    log_p[0, :, 2], rest[4][0] = value, 1.0
    with torch.no_grad():
        finite = natively(settings, readouts, log_p, rest).isfinite().tolist()
    assert finite == [False, True]


def test_what_the_kernel_cannot_read_is_left_to_torch() -> None:
    readouts, log_p, rest = drawn(SIZES[0], torch.float64)
    take = SETTINGS[0]
    actions = rest[0]
    for wrong in (actions + 9, actions - 9, actions.int(), actions[:, :3]):
        assert natively(take, readouts, log_p, (wrong, *rest[1:])) is None
    assert natively(take, readouts, log_p.mT.contiguous(), rest) is None
    assert natively(take, readouts, log_p.float(), rest) is None
    assert natively(take, readouts.half(), log_p, rest) is None
    assert natively(take, readouts[..., :1], log_p, rest) is None
    assert natively(take, readouts, log_p, (*rest[:2], rest[2].float(), *rest[3:])) is None
    with using("off"):
        assert natively(take, readouts, log_p, rest) is None
    with torch.device("cpu"):
        assert natively(take, readouts, log_p, rest) is None


def test_it_is_differentiable_once() -> None:
    readouts, log_p, rest = drawn(SIZES[0], torch.float64)
    ways = torch.ones(2, dtype=torch.float64, requires_grad=True)
    loss = (natively(SETTINGS[0], readouts, log_p, rest) * ways).sum()
    (gradient,) = torch.autograd.grad(loss, readouts, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


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
