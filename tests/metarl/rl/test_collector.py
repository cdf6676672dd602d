"""Rollouts end where episodes end, whatever the environment does then; weights are the tasks'."""

from __future__ import annotations

import gymnasium
import pytest
import torch
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from torch import Tensor

import envs
from metarl.core import share, stack
from metarl.rl import Categorical, Collector, Gaussian, HostVectorEnv, Trajectory, mlp_policy
from tests.metarl.rl.ending_env import ENDS, EndingEnv, TensorEndingEnv
from tests.metarl.rl.enumerable import TinyEnv, generators, tiny_environments, tiny_mdp

POLICY = mlp_policy(2, Categorical(2), hidden=(4,))
NUM_STEPS, NUM_TASKS = 6, 2


def host(kind: type, mode: AutoresetMode, via: str = "attribute") -> HostVectorEnv:
    options = {"daemon": True} if kind is AsyncVectorEnv else {}
    env = kind([EndingEnv] * len(ENDS), autoreset_mode=mode, **options)
    return HostVectorEnv(env, task_via=via)  # type: ignore[arg-type]


def params(num_tasks: int = NUM_TASKS) -> dict[str, Tensor]:
    return share(POLICY.init(torch.Generator().manual_seed(0)), num_tasks)


def play(env: object) -> Trajectory:
    options = {"tasks": list(range(len(ENDS)))}
    if isinstance(env, HostVectorEnv):
        options["count_anew"] = True  # type: ignore[assignment]
    collector = Collector(
        env, POLICY, generators(2), NUM_STEPS, num_tasks=NUM_TASKS, options=options
    )  # type: ignore[arg-type]
    collector.collect(params())
    return collector.collect(params())  # the second rollout begins as the first did


ENVIRONMENTS = {
    "tensor disabled": lambda: TensorEndingEnv("disabled"),
    "tensor same step": lambda: TensorEndingEnv("same_step"),
    "sync disabled": lambda: host(SyncVectorEnv, AutoresetMode.DISABLED),
    "sync same step": lambda: host(SyncVectorEnv, AutoresetMode.SAME_STEP),
    "sync next step": lambda: host(SyncVectorEnv, AutoresetMode.NEXT_STEP),
    "sync by option": lambda: host(SyncVectorEnv, AutoresetMode.SAME_STEP, "option"),
    "async same step": lambda: host(AsyncVectorEnv, AutoresetMode.SAME_STEP),
    "async disabled": lambda: host(AsyncVectorEnv, AutoresetMode.DISABLED),
}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_only_the_first_episode_counts(name: str) -> None:
    env = ENVIRONMENTS[name]()
    episodes = play(env)
    for b, (length, how) in enumerate(ENDS):
        n, i = divmod(b, len(ENDS) // NUM_TASKS)
        steps = min(length, NUM_STEPS)
        assert episodes.mask[n, :, i].tolist() == [1.0] * steps + [0.0] * (NUM_STEPS - steps)
        expected = list(range(steps)) + [0] * (NUM_STEPS - steps)
        assert episodes.rewards[n, :, i].tolist() == expected
        assert episodes.observations[n, :steps, i].tolist() == [[0.0, t] for t in range(steps)]
        assert episodes.last_observations[n, i].tolist() == [0.0, steps]
        ended = [t == steps - 1 and length <= NUM_STEPS for t in range(NUM_STEPS)]
        terminated = [end and how in ("terminated", "both") for end in ended]
        truncated = [end and how == "truncated" for end in ended]  # termination wins
        assert episodes.terminated[n, :, i].tolist() == terminated
        assert episodes.truncated[n, :, i].tolist() == truncated
    assert episodes.lengths.flatten().tolist() == [min(n, NUM_STEPS) for n, _ in ENDS]
    if isinstance(env, HostVectorEnv):
        env.env.close()


def test_gymnasium_and_tensors_play_the_same_episodes() -> None:
    a, b = play(TensorEndingEnv("disabled")), play(host(SyncVectorEnv, AutoresetMode.DISABLED))
    where = a.mask.bool()
    assert torch.equal(a.actions[where], b.actions[where])
    assert torch.equal(a.log_p[where], b.log_p[where])


def test_stored_probabilities_are_those_of_the_weights_that_played() -> None:
    """Tasks have different weights; step by step and in one pass they say the same."""
    mdp = tiny_mdp(2, num_steps=4)
    policy = mlp_policy(3, Categorical(2), hidden=(4,))
    each = [policy.init(torch.Generator().manual_seed(s)) for s in (1, 2)]
    weights = {n: 4 * p.double() for n, p in stack(each).items()}
    env = TinyEnv(mdp, 4000, generators(2))
    episodes = Collector(env, policy, generators(2, 1), 4).collect(weights)
    for i in range(2):
        for t in range(4):
            x = episodes.observations[i, t]  # [B, S]
            one = {n: p[i : i + 1] for n, p in weights.items()}
            log_p = policy.outputs(one, x[None, None])[0, 0].log_softmax(-1)
            taken = log_p.gather(1, episodes.actions[i, t][:, None])[:, 0]
            assert torch.allclose(taken, episodes.log_p[i, t], rtol=1e-9)
            # The actions are drawn from these probabilities.
            p = log_p.exp()[:, 1]
            error = (p * (1 - p)).sum().sqrt()
            assert (episodes.actions[i, t].sum() - p.sum()).abs() < 4 * error


def test_rewards_are_the_consequences_of_the_actions() -> None:
    mdp = tiny_mdp(2, num_steps=3)
    policy = mlp_policy(3, Categorical(2), hidden=(4,))
    weights = {n: p.double() for n, p in share(policy.init(torch.Generator()), 2).items()}
    env = TinyEnv(mdp, 50, generators(2))
    episodes = Collector(env, policy, generators(2, 1), 3).collect(weights)
    states = episodes.observations.argmax(-1)
    task = torch.arange(2)[:, None, None]
    assert torch.equal(episodes.rewards, mdp.rewards[task, states, episodes.actions])
    assert episodes.truncated[:, -1].all()


def test_no_graph_and_the_same_seed_the_same_episodes() -> None:
    def once() -> Trajectory:
        mdp = tiny_mdp(2)
        policy = mlp_policy(3, Categorical(2), hidden=(4,))
        weights = {
            n: p.double().requires_grad_()
            for n, p in share(policy.init(torch.Generator()), 2).items()
        }
        env = TinyEnv(mdp, 5, generators(2))
        return Collector(env, policy, generators(2, 1), 2).collect(weights)

    for a, b in zip(once(), once(), strict=True):
        if a is None:  # nothing was recorded
            continue
        assert torch.equal(a, b)
        assert not a.requires_grad


def test_what_a_task_draws_does_not_depend_on_its_company() -> None:
    mdp = tiny_mdp(3)
    policy = mlp_policy(3, Categorical(2), hidden=(4,))
    weights = {n: p.double() for n, p in share(policy.init(torch.Generator()), 3).items()}

    def collector() -> Collector:
        return Collector(
            tiny_environments(mdp, 5),
            policy,
            generators(3, 1),
            2,
            num_episodes=5,
            tasks=torch.arange(3),
            dynamics=generators(3, 4),
        )

    whole = collector().collect(weights)
    parts = collector()
    first = parts.select(slice(0, 1)).collect({n: p[:1] for n, p in weights.items()})
    last = (
        parts.select(slice(1, 3))
        .select(slice(1, 2))
        .collect({n: p[2:] for n, p in weights.items()})
    )
    for everything, a, b in zip(whole, first, last, strict=True):
        if everything is None:  # nothing was recorded
            continue
        assert torch.equal(everything[:1], a)
        assert torch.equal(everything[2:], b)


def test_gaussian_actions_reach_the_environment_by_task() -> None:
    class Echo:
        num_envs = 4

        def reset(self, *, options=None):
            return torch.zeros(4, 2), {}

        def step(self, actions):
            assert actions.shape == (4, 3)
            no = torch.zeros(4, dtype=torch.bool)
            return torch.zeros(4, 2), actions.sum(-1), no, no, {}

    policy = mlp_policy(2, Gaussian(3), hidden=(4,))
    episodes = Collector(Echo(), policy, generators(2), 5).collect(
        share(policy.init(torch.Generator()), 2)
    )
    assert episodes.actions.shape == (2, 5, 2, 3)
    assert torch.allclose(episodes.rewards, episodes.actions.sum(-1))
    assert not (episodes.terminated | episodes.truncated).any()
    assert episodes.mask.all()


@pytest.mark.parametrize("mode", ["Disabled", "SameStep", "NextStep"])
def test_grid_mazes_play_their_tasks(mode: str) -> None:
    """Each task's goal is known by where its rewards are paid; several episodes a task."""
    mazes = gymnasium.make_vec(
        "metarl/GridMaze-v0", num_envs=6, size=5, horizon=30, autoreset_mode=AutoresetMode(mode)
    )
    assert isinstance(mazes, envs.GridMazeVectorEnv)
    goals = list(mazes.task_distribution)[:2]
    options = {"tasks": [goals[0]] * 3 + [goals[1]] * 3}
    policy = mlp_policy(9, Categorical(4), hidden=(8,))
    collector = Collector(mazes, policy, generators(2), 30, options=options)
    episodes = collector.collect(share(policy.init(torch.Generator()), 2))
    assert episodes.observations.shape == (2, 30, 3, 9)
    assert episodes.mask.all()
    assert episodes.truncated[:, -1].all()
    assert not episodes.terminated.any()
    assert options["tasks"][0] == goals[0]


def test_counts_that_do_not_go_together_are_refused() -> None:
    env = TinyEnv(tiny_mdp(3), 2, generators(3))
    with pytest.raises(ValueError, match="6 environments cannot be shared evenly by 4 tasks"):
        Collector(env, POLICY, generators(4), 2)
    with pytest.raises(ValueError, match="2 generators cannot serve 3 tasks evenly"):
        Collector(env, POLICY, generators(2), 2, num_tasks=3)
    with pytest.raises(ValueError, match="at least 1, got 3 and 0"):
        Collector(env, POLICY, generators(3), 0)
    with pytest.raises(ValueError, match="cannot be divided"):
        Collector(env, POLICY, generators(3), 2).select(slice(0, 1))


def test_tasks_of_the_wrong_number_and_odd_observations_are_refused() -> None:
    env = host(SyncVectorEnv, AutoresetMode.DISABLED)
    with pytest.raises(ValueError, match="got 1 tasks for 6 environments"):
        env.reset(options={"tasks": [0]})
    odd = SyncVectorEnv([lambda: gymnasium.make("FrozenLake-v1")])
    with pytest.raises(ValueError, match="observations must be arrays"):
        HostVectorEnv(odd)


def test_points_play_the_same_first_episodes_under_every_autoreset_mode() -> None:
    """Goals so wide that episodes end at different times, with and without the next beginning."""
    played = []
    for mode in (AutoresetMode.DISABLED, AutoresetMode.SAME_STEP):
        points = gymnasium.make_vec(
            "metarl/PointNavigation-v0",
            num_envs=8,
            horizon=20,
            goal_radius=0.2,
            autoreset_mode=mode,
        )
        tasks = points.task_distribution.sample(2, torch.Generator().manual_seed(3))  # type: ignore[attr-defined]
        options = {"tasks": [task for task in tasks for _ in range(4)]}
        policy = mlp_policy(2, Gaussian(2), hidden=(4,))
        weights = share(policy.init(torch.Generator().manual_seed(0)), 2)
        played.append(
            Collector(points, policy, generators(2), 20, options=options).collect(weights)
        )
    a, b = played
    assert a.terminated.any()
    assert a.lengths.unique().numel() > 1
    for name in ("rewards", "terminated", "truncated", "mask", "last_observations"):
        assert torch.equal(getattr(a, name), getattr(b, name)), name
    where = a.mask.bool()
    assert torch.equal(a.observations[where], b.observations[where])
    assert torch.equal(a.actions[where], b.actions[where])


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_behind_its_end_an_episode_on_the_host_stands_still(mode: AutoresetMode) -> None:
    env = host(SyncVectorEnv, mode)
    env.reset(options={"tasks": list(range(len(ENDS)))})
    actions = torch.zeros(len(ENDS), dtype=torch.int64)
    for t in range(1, 9):
        observations, rewards, terminated, truncated, info = env.step(actions)
        assert info == {}
        for b, (length, how) in enumerate(ENDS):
            assert observations[b].tolist() == [0.0, min(t, length)]
            assert rewards[b] == (t - 1 if t <= length else 0)
            assert terminated[b] == (t >= length and how in ("terminated", "both"))
            assert truncated[b] == (t >= length and how in ("truncated", "both"))
    env.env.close()
