"""Truncated back-propagation through time: the gradient of windows, for every core."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from envs import GridNaviVectorEnv
from metarl.core import stack
from metarl.meta import TwoTimescale, TwoTimescaleSettings
from metarl.native import using
from metarl.nn import CORES
from metarl.rl import ActorCriticSettings, Categorical, Collector, PolicyGradientTasks, actor_critic
from metarl.rl.minibatches import TrialMinibatches
from metarl.rl.trajectory import ScoredTrajectory
from metarl.rl.trial_env import TrialEnv
from metarl.rl.windows import Windows

STEPS, TRIALS, AGENTS = 13, 4, 2
LOSS = ActorCriticSettings(algorithm="ppo", gamma=0.9, entropy_coef=0.05, value_coef=0.3)

every_core = pytest.mark.parametrize("name", CORES)


def played(name: str, truncate: int | None, dtype: torch.dtype = torch.float64) -> Any:
    """Tasks, parameters of two agents, and a batch that they have played."""
    generators = [torch.Generator().manual_seed(n) for n in range(AGENTS)]
    device = torch.device("cpu")
    grids = GridNaviVectorEnv(AGENTS * TRIALS, horizon=5, one_hot=True, generator=generators)
    env = TrialEnv(grids, 5, 3, num_steps=STEPS, device=device)
    policy = actor_critic(CORES[name](env.num_inputs, 6), Categorical(5))
    drawn = [policy.init(g) for g in generators]
    noise = torch.Generator().manual_seed(7)
    params = {
        n: (p + 0.2 * torch.randn(p.shape, generator=noise)).to(dtype)
        for n, p in stack(drawn).items()
    }
    record: Any = True if truncate is None else "values"
    collector = Collector(env, policy, generators, STEPS, options={"tasks": None}, record=record)
    windows = None if truncate is None else Windows(policy, truncate)
    tasks = PolicyGradientTasks(collector, LOSS, windows=windows)
    params = {n: p.requires_grad_() for n, p in params.items()}
    return tasks, params, tasks.sample(params, {}, "support")


def grads(loss: Tensor, params: dict[str, Tensor]) -> list[Tensor]:
    """Gradient of a loss by every parameter; 0 by those that it does not depend on."""
    leaves = list(params.values())
    return list(torch.autograd.grad(loss.sum(), leaves, allow_unused=True, materialize_grads=True))


def gradient(tasks: Any, params: dict[str, Tensor], batch: ScoredTrajectory) -> list[Tensor]:
    """Sum of the gradients of all parts of a loss."""
    total = [torch.zeros_like(p) for p in params.values()]
    for part in tasks.losses(params, {}, batch):
        found = grads(part, params)
        total = [one + other for one, other in zip(total, found, strict=True)]
    return total


def by_detaching(tasks: Any, params: dict[str, Tensor], batch: Any, size: int) -> list[Tensor]:
    """The same by one graph over the whole trial, whose state is detached every so many steps."""
    policy, whole = tasks.policy, batch.trajectory
    core_params = {n.removeprefix("core."): p for n, p in params.items() if n.startswith("core.")}
    weights = policy.core.fuse(core_params)
    state = policy.core.initial_state(weights, TRIALS, STEPS)
    hidden = []
    for t, x in enumerate(whole.observations.unbind(1)):
        if t % size == 0:
            state = tuple(one.detach() for one in state)
        h, state = policy.core.step(weights, x, state)
        hidden.append(h)
    seen = torch.stack(hidden, 1).flatten(1, 2)  # [N, T B, H]
    means = torch.baddbmm(params["actor.bias"].unsqueeze(1), seen, params["actor.weight"])
    values = torch.baddbmm(params["critic.bias"].unsqueeze(1), seen, params["critic.weight"])
    outputs = means.view(AGENTS, STEPS, TRIALS, -1).log_softmax(-1)
    log_p = outputs.gather(-1, whole.actions.unsqueeze(-1)).squeeze(-1)
    ratio = (log_p - whole.log_p).exp()
    gain = torch.minimum(ratio * batch.advantages, ratio.clamp(0.8, 1.2) * batch.advantages)
    error = (batch.targets - values.view(AGENTS, STEPS, TRIALS)).square()
    simpson = outputs.exp().square().sum(-1)
    loss = (-gain + 0.3 * error + 0.05 * simpson).mean((1, 2))
    return grads(loss, params)


def assert_close(found: list[Tensor], wanted: list[Tensor]) -> None:
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


@every_core
@pytest.mark.parametrize("mode", ["auto", "off"])
@pytest.mark.parametrize("size", [1, 4, 5])
def test_windows_are_detached_states(name: str, size: int, mode: Any) -> None:
    with using(mode):
        tasks, params, batch = played(name, size)
        assert_close(gradient(tasks, params, batch), by_detaching(tasks, params, batch, size))


@every_core
@pytest.mark.parametrize("size", [STEPS, STEPS + 1, 10_000])
def test_windows_as_long_as_the_trial_cut_nothing(name: str, size: int) -> None:
    tasks, params, batch = played(name, size)
    whole, same, other = played(name, None)
    torch.testing.assert_close(batch.trajectory.actions, other.trajectory.actions)
    assert_close(gradient(tasks, params, batch), gradient(whole, same, other))


@every_core
def test_what_is_cut_is_missing(name: str) -> None:
    tasks, params, batch = played(name, 4)
    cut, whole = (by_detaching(tasks, params, batch, size) for size in (4, STEPS))
    far = max(float((one - other).abs().max()) for one, other in zip(cut, whole, strict=True))
    assert far > 1e-6


@every_core
def test_the_loss_of_windows_is_that_of_whole_trials(name: str) -> None:
    tasks, params, batch = played(name, 4)
    found = sum(part.detach() for part in tasks.losses(params, {}, batch))
    whole = replace(tasks, windows=None).loss(params, {}, batch)
    torch.testing.assert_close(found, whole.detach())


@pytest.mark.parametrize("name", ["lstm", "transformer", "linear-attention", "associative"])
@pytest.mark.parametrize("minibatches", [False, True], ids=["whole batches", "minibatches"])
def test_a_learner_steps_on_the_sum_of_the_windows(name: str, minibatches: bool) -> None:
    found = []
    for size in (STEPS, 5, None):
        tasks, params, _ = played(name, size)
        shuffles = [torch.Generator().manual_seed(n) for n in range(AGENTS)]
        parts = TrialMinibatches(tasks.policy, TRIALS, 2, shuffles, in_windows=size is not None)
        learner = TwoTimescale(
            params, (), TwoTimescaleSettings(), minibatches=parts if minibatches else None
        )
        metrics = next(iter(learner.meta_gradients(tasks)))
        gradients = [p.grad for p in learner.params.values()]
        found.append((metrics["loss"], [g for g in gradients if g is not None]))
    torch.testing.assert_close(found[1][0], found[2][0])
    assert_close(found[0][1], found[2][1])
    assert not torch.allclose(found[1][1][0], found[2][1][0], rtol=1e-6)


def test_windows_are_of_trials_and_have_a_step() -> None:
    tasks, _, _ = played("gru", 4)
    with pytest.raises(ValueError, match="at least 1 step, got 0"):
        Windows(tasks.policy, 0)
