"""Policies that play and learn by kernels: the same as eagerly, and ratios that are exactly 1."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from metarl.core import stack
from metarl.meta import TwoTimescale, TwoTimescaleSettings
from metarl.native import kernels, using
from metarl.nn import CORES, MLP
from metarl.rl import (
    ActorCriticSettings,
    Bernoulli,
    Categorical,
    Collector,
    Gaussian,
    MultiCategorical,
    Policy,
    PolicyGradientTasks,
    actor_critic,
)
from metarl.rl.heads import LinearHead
from metarl.rl.minibatches import TrialMinibatches
from metarl.train.trainer import Trainer

pytestmark = pytest.mark.skipif(kernels("lstm") is None, reason="no native kernels here")

N, T, B, INPUTS = 2, 9, 6, 5
NATIVE = [name for name, core in CORES.items() if vars(core).get("native")]


@dataclass
class Echo:
    """Pays for actions that fit what is seen, which is drawn beforehand."""

    num_envs: int = N * B

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(5)
        self._seen = torch.randn(T + 1, self.num_envs, INPUTS, generator=generator)

    def reset(self, *, options: Any = None) -> tuple[Tensor, dict[str, Any]]:
        self._t = 0
        return self._seen[0], {}

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        told = actions.float().flatten(1).sum(1) if actions.dim() > 1 else actions.float()
        rewards = (told - self._seen[self._t, :, 0]).abs().neg()
        self._t += 1
        no = torch.zeros(self.num_envs, dtype=torch.bool)
        over = no if self._t < T else ~no
        return self._seen[self._t] + 0.1 * rewards[:, None], rewards, no, over, {}


def policy_of(core: str, distribution: Any, trunk: bool = False) -> Policy:
    encoder = MLP((INPUTS, 7), "tanh", activate_last=True) if trunk else None
    return actor_critic(CORES[core](7 if trunk else INPUTS, 6), distribution, encoder)


def params_of(policy: Policy, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    params = stack([policy.init(torch.Generator().manual_seed(n)) for n in range(N)])
    return {n: p.to(dtype).requires_grad_() for n, p in params.items()}


def tasks_of(policy: Policy, record: Any = True, **settings: Any) -> PolicyGradientTasks:
    generators = [torch.Generator().manual_seed(10 + n) for n in range(N)]
    collector = Collector(Echo(), policy, generators, T, record=record)
    return PolicyGradientTasks(collector, ActorCriticSettings(**settings))


@pytest.mark.filterwarnings("ignore:An output with one or more elements was resized")
@pytest.mark.parametrize("mode", ["auto", "off"])
@pytest.mark.parametrize("part", ["trunk", "actor", "critic"])
def test_parts_that_do_not_fit_together_are_refused(part: str, mode: Any) -> None:
    policy = policy_of("lstm", Categorical(3), trunk=True)
    other: Any = MLP((INPUTS, 8), "tanh") if part == "trunk" else LinearHead(6, 2)
    policy = replace(policy, **{part: other})
    with using(mode), pytest.raises((ValueError, RuntimeError), match=r"shape|size"):
        tasks_of(policy).sample(params_of(policy), {})


@pytest.mark.parametrize("algorithm", ["a2c", "ppo"])
def test_a_loss_under_weights_that_moved_is_that_of_eager_code(algorithm: Any) -> None:
    policy, found = policy_of("gru", Categorical(3)), []
    for mode in ("auto", "off"):
        with using(mode):  # type: ignore[arg-type]
            params, tasks = params_of(policy), tasks_of(policy, algorithm=algorithm)
            batch = tasks.sample(params, {})
            losses = [tasks.loss(params, {}, batch)]
            for size in (0.3, -0.6):
                with torch.no_grad():
                    for p in params.values():
                        p += size * p.cos()
                losses.append(tasks.loss(params, {}, batch))
            grads = torch.autograd.grad(losses[-1].sum(), list(params.values()))
            found.append((*losses, *grads))
    assert not torch.equal(found[0][0], found[0][1])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("trunk", [False, True], ids=["bare", "trunk"])
@pytest.mark.parametrize("core", NATIVE)
def test_actions_loss_and_gradient_are_those_of_eager_code(core: str, trunk: bool) -> None:
    policy = policy_of(core, Categorical(3), trunk)
    found = []
    for mode in ("auto", "off"):
        with using(mode):  # type: ignore[arg-type]
            params, tasks = params_of(policy), tasks_of(policy)
            batch = tasks.sample(params, {})
            assert tasks.collector.plays_natively is (mode == "auto")
            loss = tasks.loss(params, {}, batch)
            assert (loss.grad_fn.name() == "_LossBackward") is (mode == "auto")
            grads = torch.autograd.grad(loss.sum(), list(params.values()))
            found.append((batch.trajectory, loss, grads))
    (native, loss, grads), (eager, wanted, eager_grads) = found
    assert torch.equal(native.actions, eager.actions)
    for one, other in zip(
        (native.outputs, native.values, native.log_p, loss, *grads),
        (eager.outputs, eager.values, eager.log_p, wanted, *eager_grads),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["double", "single"])
@pytest.mark.parametrize("core", NATIVE)
def test_probabilities_of_minibatches_are_those_of_playing_to_the_last_bit(
    core: str, dtype: torch.dtype
) -> None:
    policy = policy_of(core, Categorical(3), trunk=False)
    params, tasks = params_of(policy, dtype), tasks_of(policy, record="values")
    batch = tasks.sample(params, {})
    shuffles = [torch.Generator().manual_seed(n) for n in range(N)]
    parts = list(TrialMinibatches(policy, B, 2, shuffles).of(batch, 1))
    assert len(parts) == 3
    for part in parts:
        predictions = tasks.predictions(params, {}, part)
        now = policy.distribution.log_prob(predictions, part.trajectory.actions)
        assert torch.equal(now, part.trajectory.log_p)


def test_the_first_loss_of_what_was_played_has_ratios_of_one_to_the_last_bit() -> None:
    policy = policy_of("lstm", Categorical(3))
    params, tasks = params_of(policy, torch.float32), tasks_of(policy)
    batch = tasks.sample(params, {})
    outputs, values = policy.outputs_and_values(
        params, batch.trajectory.observations, trace=batch.trajectory.trace
    )
    assert outputs.requires_grad
    assert torch.equal(outputs, batch.trajectory.outputs)
    assert torch.equal(values, batch.trajectory.values)


def test_activations_that_are_not_kept_are_computed_eagerly_and_nothing_is_stale() -> None:
    policy = policy_of("gru", Categorical(3))
    params, tasks = params_of(policy, torch.float32), tasks_of(policy, record="values")
    batch = tasks.sample(params, {})
    assert tasks.collector.plays_natively
    assert batch.trajectory.trace is None
    tasks.loss(params, {}, batch).sum().backward()


@pytest.mark.parametrize(
    "distribution", [Bernoulli(2), MultiCategorical((2, 3)), Gaussian(2)], ids=lambda d: str(d)
)
def test_any_distribution_plays(distribution: Any) -> None:
    policy, found = policy_of("lstm", distribution), []
    for mode in ("auto", "off"):
        with using(mode):  # type: ignore[arg-type]
            params, tasks = params_of(policy), tasks_of(policy)
            batch = tasks.sample(params, {})
            assert tasks.collector.plays_natively is (mode == "auto")
            found.append((batch.trajectory.actions, tasks.loss(params, {}, batch)))
    for native, eager in zip(*found, strict=True):
        torch.testing.assert_close(native, eager, rtol=1e-10, atol=1e-10)


def test_logits_that_are_not_numbers_choose_as_eager_code_does() -> None:
    policy, found = policy_of("rnn", Categorical(3)), []
    for mode in ("auto", "off"):
        with using(mode), torch.no_grad():  # type: ignore[arg-type]
            params, tasks = params_of(policy), tasks_of(policy)
            params["actor.bias"][0, 1] = torch.nan
            params["actor.weight"][1] = torch.inf
            found.append(tasks.collector.collect(params).actions)
    assert torch.equal(*found)


@pytest.mark.parametrize("minibatches", [False, True], ids=["whole", "minibatches"])
def test_training_by_kernels_takes_the_same_actions_for_many_iterations(
    minibatches: bool,
) -> None:
    policy, found = policy_of("gru", Categorical(3)), []
    for mode in ("auto", "off"):
        with using(mode):  # type: ignore[arg-type]
            tasks = tasks_of(policy, record="values" if minibatches else True, algorithm="ppo")
            shuffles = [torch.Generator().manual_seed(n) for n in range(N)]
            parts = TrialMinibatches(policy, B, 3, shuffles) if minibatches else None
            settings = TwoTimescaleSettings(num_epochs=2)
            params = {n: p.detach() for n, p in params_of(policy).items()}
            learner = TwoTimescale(params, policy.slow, settings, minibatches=parts)
            trainer, actions = Trainer(learner, settings), []
            for _ in range(25):
                trainer.step(tasks)
                actions.append(learner.batch.trajectory.actions.clone())
            found.append(torch.stack(actions))
    assert torch.equal(*found)
