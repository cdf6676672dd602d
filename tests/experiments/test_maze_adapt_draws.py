"""Which task an environment holds, and what is drawn for it: faults that peers have had."""

import json

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import SyncVectorEnv

import envs
from experiments.maze_adapt import gradient
from experiments.maze_adapt.__main__ import main
from experiments.maze_adapt.episodes import episodes_of
from experiments.maze_adapt.evaluate import EvaluateSettings, every_episode
from experiments.maze_adapt.evaluate import evaluate_run as evaluated
from experiments.maze_adapt.streams import STREAMS, TEST_STREAMS
from experiments.maze_adapt.worlds import World, make_world
from metarl.compare.results import read_run
from metarl.rl import HostVectorEnv, PolicyGradientSettings, mlp_policy
from metarl.runs.directory import RunDirectory
from metarl.seeding import spawn_generators

BANDIT = {"horizon": 4, "size": 9, "num_arms": 2, "std": 1.0}


def sources(num_tasks: int, seed: int = 0) -> tuple[World, tuple, torch.Generator]:
    world = make_world("bandit", **BANDIT)
    generator = torch.Generator().manual_seed(seed)
    return world, world.train.sample(num_tasks, generator), generator


# A peer's split made its environments in a loop whose variable they looked up later: all of them
# had the last task.


@pytest.mark.parametrize("name", ["GridMaze", "PointNavigation", "GridNavi", "Bandit"])
def test_environments_made_in_a_loop_hold_their_own_task(name):
    made = [gymnasium.make(f"metarl/{name}-v0") for _ in range(3)]
    drawn = made[0].unwrapped.task_distribution.sample(3, np.random.default_rng(0))
    assert len({task.task_id for task in drawn}) == 3
    for env, task in zip(made, drawn, strict=True):
        env.reset(options={"task": task})
    assert [env.unwrapped.task for env in made] == list(drawn)
    host = HostVectorEnv(SyncVectorEnv([lambda one=one: one for one in made]))
    host.reset(options={"tasks": drawn[::-1]})
    assert [env.unwrapped.task for env in made] == list(drawn[::-1])


def test_worlds_made_in_a_loop_have_their_own_mazes():
    worlds = [
        make_world("maze", horizon=9, size=size, num_arms=5, std=1.0) for size in (5, 7, 9, 11)
    ]
    for world, size in zip(worlds, (5, 7, 9, 11), strict=True):
        layout = envs.pillar_maze(size)
        for side in (world.train, world.test):
            assert {task.layout for task in side.tasks} == {layout}
        env = world.make_env(2, generator=torch.Generator())
        env.reset(options={"tasks": world.test.tasks[:1] * 2})  # refuses those of another layout


def test_parts_taken_in_a_loop_hold_their_own_tasks():
    """An arm pays always or never, and is pulled until the end: returns tell the tasks apart."""
    world, _, generator = sources(1)
    tasks = [envs.BanditTask((p, p)) for p in (0.0, 1.0, 0.0, 1.0)]
    policy = mlp_policy(world.num_inputs, world.distribution, hidden=(2,))
    whole = episodes_of(world, tasks, 3, policy, PolicyGradientSettings(), generator)
    some = whole.select(slice(1, 4))
    parts = [some.select(slice(i, i + 1)) for i in range(3)]
    params = {n: p[None] for n, p in policy.init(generator).items()}
    for part, paid in zip(parts, (4.0, 0.0, 4.0), strict=True):
        assert part.sample(params, {}, "support").trajectory.returns.unique().tolist() == [paid]


# A peer keyed its evaluation by the task's name: two equal tasks became one.


@pytest.mark.parametrize("method", ["fomaml", "rl2"])
def test_two_equal_tasks_of_an_evaluation_stay_two_rows(tmp_path, monkeypatch, method):
    path = tmp_path / "run"
    small = ("--env", "bandit", "--horizon", "4", "--meta-batch", "2", "--iterations", "1")
    main(["train", *small, "--method", method, "--run-dir", str(path), "--device", "cpu"])
    unseen_tasks = World.unseen_tasks

    def twice(self, side, num_tasks, generator):
        one, other = unseen_tasks(self, side, 2, generator)
        return one, other, one

    monkeypatch.setattr(World, "unseen_tasks", twice)
    run = RunDirectory.open(path)
    found = evaluated(run, EvaluateSettings(path, steps=1, episodes=50, device="cpu"))
    assert found.summary["num_tasks"] == 3
    kept = json.loads(json.dumps(every_episode(found), default=np.ndarray.tolist))
    ids = kept["task_ids"]
    assert ids[0] == ids[2] != ids[1]
    (path / "adaptation.json").write_text(json.dumps(kept))
    run.write_summary(found.summary)
    read = read_run(path, 0)
    assert read.task_ids == tuple(sorted(ids))
    rows = read.result.returns[[i for i, name in enumerate(read.task_ids) if name == ids[0]]]
    np.testing.assert_array_equal(rows, found.trained.returns[[0, 2]])
    assert (rows[0] != rows[1]).any()  # the same task, played twice


# A peer drew a task and what happens in it from the same key.


def test_streams_of_a_seed_are_all_different():
    draws = [
        torch.randint(2**62, (2,), generator=generator).tolist()
        for seed in (0, 1)
        for generator in spawn_generators(seed, (*STREAMS, *TEST_STREAMS)).values()
    ]
    assert len({value for pair in draws for value in pair}) == 2 * len(draws)


def test_tasks_and_episodes_are_drawn_by_generators_of_their_own(tmp_path, monkeypatch):
    seen: dict[str, set[int]] = {"tasks": set(), "episodes": set()}
    sample, made = envs.BanditTasks.sample, gradient.episodes_of

    def sampled(self, n, rng):
        seen["tasks"].add(rng.initial_seed())
        return sample(self, n, rng)

    def played(world, tasks, num_episodes, policy, settings, generator, *lent):
        seen["episodes"].add(generator.initial_seed())
        return made(world, tasks, num_episodes, policy, settings, generator, *lent)

    monkeypatch.setattr(envs.BanditTasks, "sample", sampled)
    monkeypatch.setattr(gradient, "episodes_of", played)
    small = ("--env", "bandit", "--horizon", "4", "--meta-batch", "2", "--iterations", "2")
    run = str(tmp_path / "run")
    main(["train", *small, "--method", "fomaml", "--run-dir", run, "--device", "cpu"])
    main(["evaluate", run, "--tasks", "2", "--steps", "1", "--device", "cpu"])
    assert len(seen["tasks"]) == len(seen["episodes"]) == 2  # training, evaluation
    assert not seen["tasks"] & seen["episodes"]


def test_noise_and_environments_of_every_task_are_drawn_apart(monkeypatch):
    seeds = []
    monkeypatch.setattr(
        "experiments.maze_adapt.episodes._generator",
        lambda seed, device: seeds.append(seed) or torch.Generator(device).manual_seed(seed),
    )
    world, tasks, generator = sources(5)
    policy = mlp_policy(world.num_inputs, world.distribution, hidden=(2,))
    for _ in range(2):
        episodes_of(world, tasks, 3, policy, PolicyGradientSettings(), generator)
    assert len(set(seeds)) == len(seeds) == 2 * 2 * 5
