"""Episodes that are one call are those of the same steps, one by one; so is what is learned."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from gymnasium.vector import AutoresetMode, VectorWrapper
from torch import Tensor

from envs import PointNavigationVectorEnv
from metarl.core import sgd, share
from metarl.meta import MAML, StaleBatchError
from metarl.native import kernels, using
from metarl.nn import MLP, WarpMLP
from metarl.rl import Collector, Gaussian, Policy, PolicyGradientSettings, PolicyGradientTasks
from metarl.rl.collector import final_observation
from metarl.rl.player import ByTables, RowPlayer
from metarl.rl.trajectory import Trajectory

pytestmark = pytest.mark.skipif(kernels("episode") is None, reason="no kernels here")

N, B, T = 3, 5, 17
POLICIES = {
    "tanh": Policy(MLP((2, 19, 8, 2), "tanh"), Gaussian(2)),
    "relu": Policy(MLP((2, 16, 2), "relu"), Gaussian(2)),
    "warp": Policy(WarpMLP(MLP((2, 7, 2), "tanh"), "tanh"), Gaussian(2)),
}


def env_of(radius: float = 0.1, num_envs: int = N * B, **options: Any) -> PointNavigationVectorEnv:
    chosen: dict[str, Any] = {"horizon": T, "goal_radius": radius, "action_scale": 0.1}
    chosen |= {"validate_actions": False, "generator": torch.Generator().manual_seed(3)}
    return PointNavigationVectorEnv(num_envs, **(chosen | options))


def params_of(policy: Policy, dtype: torch.dtype, num_tasks: int = N) -> dict[str, Tensor]:
    """Weights of their own for each task."""
    draw = torch.Generator().manual_seed(0)
    drawn = [policy.init(draw) for _ in range(num_tasks)]
    return {name: torch.stack([one[name] for one in drawn]).to(dtype) for name in drawn[0]}


def collector_of(policy: Policy, env: Any, num_steps: int = T) -> Collector:
    generators = [torch.Generator().manual_seed(i) for i in range(N)]
    return Collector(env, policy, generators, num_steps)


def played(policy: Policy, env: Any, params: dict[str, Tensor], num_steps: int = T) -> Trajectory:
    return collector_of(policy, env, num_steps).collect(params)


@pytest.fixture
def stepped(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Environments that were stepped."""
    seen: list[object] = []
    plain = PointNavigationVectorEnv.step_tensors

    def step(env: PointNavigationVectorEnv, actions: Any) -> Any:
        seen.append(env)
        return plain(env, actions)

    monkeypatch.setattr(PointNavigationVectorEnv, "step_tensors", step)
    return seen


def same(one: Trajectory, other: Trajectory) -> None:
    for name in Trajectory._fields:
        a, b = getattr(one, name), getattr(other, name)
        if isinstance(a, Tensor):
            assert a.dtype is b.dtype
            assert torch.equal(a, b), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("radius", [0.0, 0.1, 0.4])
@pytest.mark.parametrize("name", POLICIES)
def test_episodes_are_those_of_single_steps_to_the_bit(name, radius, dtype, monkeypatch, stepped):
    policy = POLICIES[name]
    params = params_of(policy, dtype)
    at_once = played(policy, env_of(radius), params)
    assert not stepped
    monkeypatch.setattr(RowPlayer, "play_at_once", lambda *_: None)
    same(at_once, played(policy, env_of(radius), params))
    assert len(stepped) == T
    if radius:
        assert at_once.terminated.any()
        assert at_once.truncated.any()


def test_shorter_stretches_are_not_cut_off(stepped):
    policy = POLICIES["tanh"]
    short = played(policy, env_of(), params_of(policy, torch.float32), T - 3)
    assert not stepped
    assert not short.truncated.any()
    assert short.rewards.shape == (N, T - 3, B)


def test_weights_without_numbers_play_episodes_without_numbers(monkeypatch):
    policy = POLICIES["tanh"]
    params = params_of(policy, torch.float32)
    params["actor.layers.0.weight"][1] = torch.nan
    at_once = played(policy, env_of(), params)
    monkeypatch.setattr(RowPlayer, "play_at_once", lambda *_: None)
    by_steps = played(policy, env_of(), params)
    for a, b in zip(at_once[:3], by_steps[:3], strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


def test_an_episode_that_was_handed_over_is_over():
    env = env_of()
    played(POLICIES["tanh"], env, params_of(POLICIES["tanh"], torch.float32))
    with pytest.raises(Exception, match="call reset"):
        env.step(torch.zeros(N * B, 2))
    env.reset()
    env.step(torch.zeros(N * B, 2))


class Slower(PointNavigationVectorEnv):
    """Its dynamics are its own."""

    def _advance(self, actions: Tensor) -> Any:
        return super()._advance(actions / 2)


@pytest.mark.parametrize(
    "make",
    [
        lambda: env_of(validate_actions=True),
        lambda: env_of(autoreset_mode=AutoresetMode.SAME_STEP),
        lambda: Slower(N * B, horizon=T, validate_actions=False),
        lambda: VectorWrapper(env_of()),
    ],
    ids=["checks", "starts again", "subclass", "wrapper"],
)
def test_what_is_more_than_its_numbers_is_stepped(make, stepped):
    played(POLICIES["tanh"], make(), params_of(POLICIES["tanh"], torch.float32))
    assert len(stepped) == T


def test_it_is_stepped_where_kernels_are_off(stepped):
    with using("off"):
        played(POLICIES["tanh"], env_of(), params_of(POLICIES["tanh"], torch.float32))
    assert len(stepped) == T


def tasks_of(policy: Policy) -> PolicyGradientTasks:
    loss = PolicyGradientSettings(divide_by_horizon=True)
    return PolicyGradientTasks(collector_of(policy, env_of(0.2)), loss)


class Replayed:
    """Tasks whose batches have been drawn."""

    def __init__(self, tasks: PolicyGradientTasks, batches: list[Any]) -> None:
        self.tasks, self.num_tasks = tasks, tasks.num_tasks
        self.batches = iter(batches)
        self.loss = tasks.loss

    def sample(self, fast: Any, slow: Any, split: str) -> Any:
        return next(self.batches)


class Kept(PolicyGradientTasks):
    """Tasks that remember their batches."""

    def sample(self, *args: Any) -> Any:
        DRAWN.append(super().sample(*args))
        return DRAWN[-1]


DRAWN: list[Any] = []


@pytest.mark.parametrize("name", POLICIES)
def test_meta_gradients_on_the_same_episodes_are_the_eager_ones(name):
    policy = POLICIES[name]
    theta = {n: p[0] for n, p in params_of(policy, torch.float64).items()}
    tasks = tasks_of(policy)

    def learned(how: Any) -> dict[str, Tensor | None]:
        learner = MAML(theta, rule=sgd(0.3), num_steps=2, slow=policy.slow)
        list(learner.meta_gradients(how))
        return {n: p.grad for n, p in learner.params.items()}

    DRAWN.clear()
    native = learned(Kept(tasks.collector, tasks.settings))
    batches = [batch._replace(played=_Never()) for batch in DRAWN]
    with using("off"):
        eager = learned(Replayed(tasks, batches))
    for n, grad in native.items():
        torch.testing.assert_close(grad, eager[n], rtol=1e-9, atol=1e-12)
        assert eager[n].abs().max() > 1e-4


class _Never:
    """Weights that have not played."""

    def are(self, params: Any) -> bool:
        return False

    def let_go(self) -> None:
        pass


def test_what_was_said_is_given_its_graph_and_not_said_again(monkeypatch):
    policy = POLICIES["tanh"]
    tasks, params = tasks_of(policy), params_of(policy, torch.float32)
    batch = tasks.sample(params, {}, "support")
    assert batch.trajectory.means is not None
    fast = {n: p.requires_grad_() for n, p in params.items()}
    again = batch._replace(trajectory=batch.trajectory._replace(means=None))
    grads = []
    for one in (again, batch):
        one = one._replace(played=type(one.played)(params, one.trajectory))
        loss = tasks.loss(fast, {}, one).sum()
        grads.append(torch.autograd.grad(loss, list(fast.values())))
    for a, b in zip(*grads, strict=True):
        assert torch.equal(a, b)


def test_other_observations_and_actions_are_noticed():
    policy = POLICIES["tanh"]
    tasks, params = tasks_of(policy), params_of(policy, torch.float32)
    for name in ("observations", "actions"):
        batch = tasks.sample(params, {}, "support")
        value = getattr(batch.trajectory, name)
        other = batch.trajectory._replace(**{name: value * 2})
        with pytest.raises(StaleBatchError):
            tasks.loss(params, {}, batch._replace(trajectory=other))
        value.mul_(2)
        with pytest.raises(StaleBatchError):
            tasks.loss(params, {}, batch)


def test_a_batch_played_natively_is_not_stale_where_kernels_are_off():
    policy = POLICIES["tanh"]
    tasks = tasks_of(policy)
    params = share({n: p[0] for n, p in params_of(policy, torch.float32).items()}, N)
    batch = tasks.sample(params, {}, "support")
    with using("off"):
        assert tasks.loss(params, {}, batch).isfinite().all()


class Still(ByTables):
    """Takes no action, and no tables."""

    def __init__(self, num_steps: int) -> None:
        self.actions = torch.zeros(num_steps, 1, 2, dtype=torch.int64)
        self.dtype = torch.float32

    def __call__(self, t: int, observations: Tensor) -> Tensor:
        return torch.zeros(1, 2, dtype=torch.int64)

    def takes_tables(self, env: Any) -> bool:
        return False

    def _advance(self, t: int, tables: Any, stretch: Any) -> Any:
        raise AssertionError("there are none")


class Counting:
    """Counts its steps; the first of two environments ends an episode in some of them."""

    def __init__(self, *ends: int) -> None:
        self._t, self._ends = 0, ends

    def look_up(self, num_steps: int) -> None:
        """There are no tables."""

    def step(self, actions: Tensor) -> Any:
        self._t += 1
        observation, over = torch.full((2, 1), float(self._t)), torch.zeros(2, dtype=torch.bool)
        over[0] = self._t in self._ends
        final = {"final_obs": -observation, "_final_obs": over} if over.any() else {}
        return observation, torch.zeros(2), over, torch.zeros_like(over), final


@pytest.mark.parametrize("ends", [(), (2,), (1, 3), (5,)])
def test_steps_lead_to_the_next_observation_or_to_a_last_one(ends: tuple[int, ...]) -> None:
    env, start = Counting(*ends), torch.zeros(2, 1)
    torch.full((1, 6, 2, 1), 9.0)  # what memory holds before it is written
    experience = Still(5).play(env, env.step, start, final_observation)
    steps = [float(t) for t in range(6)]
    assert experience.observations[0, :, 0, 0].tolist() == steps[:-1]
    led_to = experience.after[0, :, :, 0]
    assert led_to[:, 1].tolist() == steps[1:]
    assert led_to[:, 0].tolist() == [-t if t in ends else t for t in steps[1:]]
