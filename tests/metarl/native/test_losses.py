"""The loss of an actor and a critic by its kernel: that in torch's operations, and its gradient."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from metarl.native import kernels, using
from metarl.native.policy_gradient import Constants, actor_critic_loss
from metarl.rl.distributions import Categorical
from metarl.rl.losses import ActorCriticSettings

pytestmark = pytest.mark.skipif(kernels("losses") is None, reason="no native kernels here")

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
