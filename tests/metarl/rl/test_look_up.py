"""Mazes played by their tables: the steps of the environments themselves, one by one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor

from envs import GridMazeVectorEnv, MazeFamily, MazeTask, VectorMetaObservation
from envs.maze import Layout
from metarl.core import stack
from metarl.native import kernels, sharing, using
from metarl.nn import LSTM, MLP, AssociativeMemory, LinearAttention, Transformer, WarpMLP
from metarl.nn.view_encoder import ViewEncoder, ViewLayout
from metarl.rl import Categorical, Collector, Policy, Trajectory, actor_critic
from metarl.rl.player import NativePlayer, RowPlayer
from metarl.rl.trial_env import TrialEnv

pytestmark = pytest.mark.skipif(kernels("lstm") is None, reason="no native kernels here")

N, B, HORIZON = 2, 6, 30
CPU = torch.device("cpu")


def generators(seed: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed + n) for n in range(N)]


def mazes(batch_size: int = B, **settings: Any) -> GridMazeVectorEnv:
    settings = {"horizon": HORIZON, **settings}
    return GridMazeVectorEnv(N * batch_size, generator=generators(3), **settings)


FAMILY = MazeFamily("dfs", 7)
SETTINGS = {
    "one layout": {},
    "pillars entered": {"teleport": "interior"},
    "back to the start": {"respawn": "start", "tasks": FAMILY},
    "ends": {"respawn": "end", "tasks": FAMILY},
    "ends, with a bonus and bumps": {
        "respawn": "end",
        "tasks": MazeFamily("dfs", 5),
        "wall_penalty": 0.1,
        "exploration_bonus": 0.3,
    },
    "ends in one layout": {"respawn": "end", "size": 7, "view": "egocentric-5"},
    "many layouts": {"tasks": FAMILY},
    "sizes differ": {"tasks": MazeFamily("dfs", (5, 9))},
    "wide view": {"tasks": FAMILY, "view": "5x5"},
    "wide view, one layout": {"view": "5x5"},
    "position": {"tasks": FAMILY, "position": True},
    "turning": {"tasks": FAMILY, "view": "egocentric-5"},
    "turning, at its place": {"tasks": FAMILY, "view": "egocentric-5", "position": True},
    "turning in one layout": {"view": "egocentric-7", "see_through": True},
    "bonus": {"tasks": FAMILY, "exploration_bonus": 0.3},
    "bonus in one layout": {"exploration_bonus": 0.3},
    "bumps": {"tasks": FAMILY, "wall_penalty": 0.1},
    "bumps and a bonus, pillars": {
        "teleport": "interior",
        "wall_penalty": 0.1,
        "exploration_bonus": 0.3,
    },
    "random starts": {"tasks": FAMILY, "start": "random"},
}


def rows_policy(env: Any, network: Any = MLP) -> Policy:
    """An actor that sees the observation alone."""
    sizes = env.single_observation_space.shape[0], 19, 8, int(env.single_action_space.n)
    actor = MLP(sizes, "tanh")
    return Policy(actor if network is MLP else WarpMLP(actor, "tanh"), Categorical(sizes[-1]))


def policy_of(env: Any, encoder: ViewEncoder | None = None, core: Any = LSTM) -> Policy:
    width = env.single_observation_space.shape[0] if encoder is None else encoder.num_outputs
    return actor_critic(core(width, 8), Categorical(int(env.single_action_space.n)), encoder)


def played(
    mode: str,
    env: Any,
    policy: Policy,
    *,
    num_steps: int | None = None,
    record: Any = True,
    dtype: torch.dtype = torch.float64,
) -> list[Trajectory]:
    """Three rollouts in a row."""
    params = stack([policy.init(torch.Generator().manual_seed(n)) for n in range(N)])
    params = {n: p.to(dtype) for n, p in params.items()}
    collector = Collector(
        env, policy, generators(20), num_steps or env.horizon, record=record, num_tasks=N
    )
    with using(mode):  # type: ignore[arg-type]
        return [collector.collect(params) for _ in range(3)]


def assert_same(native: list[Trajectory], eager: list[Trajectory]) -> None:
    for one, other in zip(native, eager, strict=True):
        for name in Trajectory._fields:
            a, b = getattr(one, name), getattr(other, name)
            if name == "trace":
                continue
            assert (a is None) == (b is None), name
            if isinstance(a, Tensor):
                tolerance = {"rtol": 1e-11, "atol": 1e-12}
                if name not in ("outputs", "values", "log_p"):
                    tolerance = {"rtol": 0.0, "atol": 0.0}
                torch.testing.assert_close(a, b, **tolerance, msg=name)


@pytest.fixture
def stretches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many steps were taken in each call of a kernel."""
    counts: list[int] = []
    for cls in (TrialEnv, type(VectorMetaObservation(mazes())), GridMazeVectorEnv):
        jump = cls.jump  # type: ignore[attr-defined]

        def noted(self: Any, places: Tensor, num_steps: int, jump: Any = jump) -> None:
            counts.append(num_steps)
            jump(self, places, num_steps)

        monkeypatch.setattr(cls, "jump", noted)
    return counts


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
@pytest.mark.parametrize("num_episodes", [1, 2])
def test_trials_by_tables_are_trials_step_by_step(
    settings: dict[str, Any], num_episodes: int, stretches: list[int]
) -> None:
    def trials() -> TrialEnv:
        env: Any = mazes(**settings)
        return TrialEnv(env, HORIZON, num_episodes, device=CPU)

    policy = policy_of(trials())
    native = played("auto", trials(), policy)
    # Of each call the trial's environment notes one, and the mazes within another.
    assert sum(stretches) == 2 * 3 * num_episodes * (HORIZON - 1)
    assert_same(native, played("off", trials(), policy))


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_what_a_meta_learner_sees_is_told_by_tables(
    settings: dict[str, Any], stretches: list[int]
) -> None:
    def wrapped() -> VectorMetaObservation:
        return VectorMetaObservation(mazes(**settings))

    policy = policy_of(wrapped())
    native = played("auto", wrapped(), policy)
    assert stretches
    assert_same(native, played("off", wrapped(), policy))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("network", [MLP, WarpMLP])
@pytest.mark.parametrize("wrapper", [lambda env: env, VectorMetaObservation])
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_a_perceptron_plays_by_tables_what_it_plays_step_by_step_to_the_bit(
    settings: dict[str, Any],
    wrapper: Any,
    network: Any,
    dtype: torch.dtype,
    stretches: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    policy = rows_policy(wrapper(mazes(**settings)), network)
    native = played("auto", wrapper(mazes(**settings)), policy, record=False, dtype=dtype)
    assert HORIZON - 1 in stretches
    stretches.clear()
    monkeypatch.setattr(RowPlayer, "takes_tables", lambda *_: False)
    by_steps = played("auto", wrapper(mazes(**settings)), policy, record=False, dtype=dtype)
    assert not stretches
    for one, other in zip(native, by_steps, strict=True):
        for name in Trajectory._fields:
            a, b = getattr(one, name), getattr(other, name)
            assert (a is None) == (b is None), name
            if isinstance(a, Tensor):
                assert a.dtype is b.dtype, name
                assert torch.equal(a, b), name


def test_a_perceptron_without_numbers_takes_the_first_action(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    policy = rows_policy(mazes())
    params = stack([policy.init(torch.Generator().manual_seed(n)) for n in range(N)])
    params["actor.layers.0.weight"][1] = torch.nan

    def collected() -> Trajectory:
        return Collector(mazes(), policy, generators(20), HORIZON, num_tasks=N).collect(params)

    native = collected()
    assert not native.actions[1].any()
    monkeypatch.setattr(RowPlayer, "takes_tables", lambda *_: False)
    by_steps = collected()
    for name in ("observations", "actions", "rewards"):
        assert torch.equal(getattr(native, name), getattr(by_steps, name))


def test_inputs_that_a_perceptron_does_not_take_are_refused_by_the_kernel() -> None:
    env = Odd(lambda t: t._replace(told=torch.zeros(t.num_steps, 4, 2)))
    with pytest.raises(ValueError, match="do not fit together"):
        played("auto", env, rows_policy(env), record=False)
    env = Odd(lambda t: t._replace(num_steps=HORIZON + 5, targets=t.targets[:1]))
    with pytest.raises(ValueError, match=r"35 steps from step 0 on .* do not go into 30"):
        played("auto", env, rows_policy(env), record=False)


@pytest.mark.parametrize("mode", [AutoresetMode.DISABLED, AutoresetMode.SAME_STEP])
def test_a_shorter_stretch_than_an_episode_and_a_bare_maze(mode: str, stretches: list[int]) -> None:
    policy = policy_of(mazes())

    def bare() -> GridMazeVectorEnv:
        return mazes(autoreset_mode=mode)

    for num_steps in (1, 4, HORIZON):
        native = played("auto", bare(), policy, num_steps=num_steps)
        assert_same(native, played("off", bare(), policy, num_steps=num_steps))
    assert stretches


@pytest.mark.parametrize("view", ["3x3", "5x5", "egocentric-5"])
@pytest.mark.parametrize("filters", [0, 3])
def test_an_encoder_sees_what_tables_show(view: str, filters: int, stretches: list[int]) -> None:
    def trials() -> TrialEnv:
        env: Any = mazes(tasks=FAMILY, view=view)
        return TrialEnv(env, HORIZON, device=CPU)

    side, values = int(view[-1]), 3 if view.startswith("ego") else 2
    layout = ViewLayout(side, side, 1, values=(values,), low=-1 if values == 3 else 0)
    encoder = ViewEncoder(layout, trials().num_inputs - side**2, filters)
    policy = policy_of(trials(), encoder)
    native = played("auto", trials(), policy, record="values")
    assert stretches
    assert_same(native, played("off", trials(), policy, record="values"))


@pytest.mark.parametrize("encoded", [False, True])
@pytest.mark.parametrize("name", ["bonus", "ends, with a bonus and bumps"])
@pytest.mark.parametrize("core", [Transformer, LinearAttention, AssociativeMemory])
def test_memories_that_play_some_trials_after_others_play_as_step_by_step(
    core: Any, name: str, encoded: bool, stretches: list[int]
) -> None:
    def trials() -> TrialEnv:
        env: Any = mazes(29, **SETTINGS[name])
        return TrialEnv(env, HORIZON, 2, device=CPU)

    encoder = ViewEncoder(ViewLayout(3, 3, 1, values=(2,), low=0), trials().num_inputs - 9, 3)
    policy = policy_of(trials(), encoder if encoded else None, core)
    native = played("auto", trials(), policy)
    assert stretches
    assert_same(native, played("off", trials(), policy))


@pytest.mark.parametrize("encoded", [False, True])
def test_agents_in_threads_play_as_in_one(encoded: bool, stretches: list[int]) -> None:
    def trials() -> TrialEnv:
        env: Any = mazes(tasks=FAMILY, respawn="start", exploration_bonus=0.3)
        return TrialEnv(env, HORIZON, device=CPU)

    encoder = ViewEncoder(ViewLayout(3, 3, 1, values=(2,), low=0), trials().num_inputs - 9, 3)
    policy = policy_of(trials(), encoder if encoded else None)
    alone = played("auto", trials(), policy)
    with sharing(2):
        shared = played("auto", trials(), policy)
    assert stretches
    for one, other in zip(shared, alone, strict=True):
        for a, b in zip(one, other, strict=True):
            assert not isinstance(a, Tensor) or torch.equal(a, b)


def test_draws_of_an_episode_in_several_blocks_are_taken_as_they_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("envs.base.randomness.MAX_DRAWS", 4 * B)
    policy = policy_of(mazes())
    assert_same(played("auto", mazes(), policy), played("off", mazes(), policy))


@pytest.mark.parametrize("respawn", ["random", "end"])
def test_an_environment_that_was_played_by_tables_goes_on_step_by_step(respawn: Any) -> None:
    how = {"exploration_bonus": 0.2, "respawn": respawn, "size": 7}
    with using("auto"):
        policy, env = policy_of(mazes()), mazes(**how)
        played("auto", env, policy, num_steps=6)
    twin = mazes(**how)
    played("off", twin, policy, num_steps=6)
    g = torch.Generator().manual_seed(0)
    for _ in range(HORIZON - 6):
        actions = torch.randint(4, (N * B,), generator=g)
        for one, other in zip(env.step(actions)[:4], twin.step(actions)[:4], strict=True):
            assert torch.equal(one, other)


class Lazy(GridMazeVectorEnv):
    """Its agents stay where they are."""

    def step_tensors(self, actions: Any) -> Any:
        return super().step_tensors(torch.zeros_like(actions))


def test_an_environment_of_a_derived_class_is_stepped_itself(stretches: list[int]) -> None:
    def lazy() -> GridMazeVectorEnv:
        return Lazy(N * B, generator=generators(3), horizon=HORIZON)

    policy = policy_of(lazy())
    assert_same(played("auto", lazy(), policy), played("off", lazy(), policy))
    assert not stretches


class Odd:
    """Hands over tables in which one thing is wrong."""

    def __init__(self, change: Any) -> None:
        self._env, self._change = mazes(), change
        self.num_envs, self.horizon = N * B, HORIZON
        self.single_action_space = self._env.single_action_space
        self.single_observation_space = self._env.single_observation_space

    def reset(self, **options: Any) -> Any:
        return self._env.reset(**options)

    def step(self, actions: Tensor) -> Any:
        return self._env.step(actions)

    def look_up(self, num_steps: int) -> Any:
        tables = self._env.look_up(num_steps)
        return None if tables is None else self._change(tables)

    def jump(self, places: Tensor, num_steps: int) -> None:
        self._env.jump(places, num_steps)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t._replace(next_place=t.next_place + 10**6),
        lambda t: t._replace(next_place=t.next_place.float()),
        lambda t: t._replace(places=t.places - 10**6),
        lambda t: t._replace(places=t.places[:-1]),
        lambda t: t._replace(targets=t.targets[:2]),
        lambda t: t._replace(targets=t.targets + 10**6),
        lambda t: t._replace(views=t.views[:3]),
        lambda t: t._replace(views=t.views[:, :3]),
        lambda t: t._replace(views=t.views.double()),
        lambda t: t._replace(rows=torch.zeros(3, dtype=torch.int32)),
        lambda t: t._replace(poses=0),
        lambda t: t._replace(told=torch.zeros(2, 4, 1)),
        lambda t: t._replace(entered=torch.zeros(4, dtype=torch.bool)),
        lambda t: t._replace(ended=torch.zeros(4, dtype=torch.bool)),
        lambda t: t._replace(ended=torch.zeros(N * B, dtype=torch.uint8)),
        lambda t: t._replace(
            entered=torch.zeros(99, dtype=torch.bool, device="meta"),
            entered_at=torch.zeros(N * B, dtype=torch.int64),
            found=torch.zeros(N * B, dtype=torch.bool, device="meta"),
        ),
    ],
)
def test_tables_that_do_not_fit_together_are_refused(change: Any) -> None:
    env = Odd(change)
    policy = policy_of(env)
    with pytest.raises(ValueError, match="do not fit together"):
        played("auto", env, policy)
    assert played("off", env, policy)


def test_tables_of_more_steps_than_are_played_are_refused() -> None:
    env = Odd(lambda t: t._replace(num_steps=HORIZON + 5, targets=t.targets[:1]))
    with pytest.raises(ValueError, match=r"35 steps from step 0 on .* do not go into 30"):
        played("auto", env, policy_of(env))


def test_views_are_encoded_as_wide_as_memory_takes_them() -> None:
    env = VectorMetaObservation(mazes())
    width, view = env.single_observation_space.shape[0], 9
    encoder = ViewEncoder(ViewLayout(3, 3, values=(2,)), width - view)
    policy = actor_critic(LSTM(encoder.num_outputs + 4, 8), Categorical(4), encoder)
    with pytest.raises(ValueError, match=r"inputs .* wide do not go into"):
        played("auto", env, policy)


def test_the_tables_are_taken_only_where_kernels_play() -> None:
    policy = policy_of(mazes())
    params = stack([policy.init(torch.Generator()) for _ in range(N)])
    assert NativePlayer.__name__  # the class that takes them
    trajectory = Collector(mazes(), policy, generators(20), HORIZON, num_tasks=N).collect(params)
    assert trajectory.trace is None


def test_tasks_that_are_set_are_played(stretches: list[int]) -> None:
    layout = Layout.from_ascii("#####\n#...#\n#.#.#\n#...#\n#####")
    task = MazeTask(layout, (1, 1))
    env = mazes(tasks=[task, MazeTask(layout, (3, 3))])
    policy = policy_of(env)
    native = played("auto", env, policy)
    assert stretches
    assert_same(native, played("off", mazes(tasks=env.task_distribution), policy))
