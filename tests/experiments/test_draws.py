"""Which task an environment holds, and what is drawn for it: faults that peers have had."""

import json
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import SyncVectorEnv

import envs
from envs.bandit.tasks import BanditTask
from envs.problems import Bandit, Maze
from experiments.maze_adapt import RECIPE
from metarl.compare.results import read_run
from metarl.methods import gradient
from metarl.methods.agents import AdaptingPolicy
from metarl.rl import HostVectorEnv, distribution_for, mlp_policy
from metarl.run import adaptation
from metarl.run.adaptation import EvaluateSettings, evaluate
from metarl.seeding import spawn_generators

from .scripts import maze_adapt

CPU = torch.device("cpu")
SMALL = ("--env", "bandit", "--horizon", "4", "--meta-batch", "2", "--device", "cpu")


def episodes(num_episodes: int = 3) -> gradient.Episodes:
    problem = Bandit(horizon=4, arms=2)
    policy = mlp_policy(1, distribution_for(problem.actions), hidden=(2,))
    return gradient.Episodes(problem, policy, AdaptingPolicy(episodes=num_episodes), CPU)


# A peer's split made its environments in a loop whose variable they looked up later: all of them
# had the last task.


@pytest.mark.parametrize("name", ["GridMaze", "PointNavigation", "GridNavi", "Bandit"])
def test_environments_made_in_a_loop_hold_their_own_task(name: str) -> None:
    made = [gymnasium.make(f"metarl/{name}-v0") for _ in range(3)]
    drawn = made[0].unwrapped.task_distribution.sample(3, np.random.default_rng(0))
    assert len({task.task_id for task in drawn}) == 3
    for env, task in zip(made, drawn, strict=True):
        env.reset(options={"task": task})
    assert [env.unwrapped.task for env in made] == list(drawn)
    host = HostVectorEnv(SyncVectorEnv([lambda one=one: one for one in made]))
    host.reset(options={"tasks": drawn[::-1]})
    assert [env.unwrapped.task for env in made] == list(drawn[::-1])


def test_problems_made_in_a_loop_have_their_own_mazes() -> None:
    problems = [Maze(horizon=9, size=size) for size in (5, 7, 9, 11)]
    for problem, size in zip(problems, (5, 7, 9, 11), strict=True):
        layout = envs.pillar_maze(size)
        for side in (problem.train, problem.test):
            assert {task.layout for task in side.tasks} == {layout}
        env = problem.make_env(2, [torch.Generator()], CPU)
        env.reset(options={"tasks": problem.test.tasks[:1] * 2})  # refuses those of another layout


def test_parts_taken_in_a_loop_hold_their_own_tasks() -> None:
    """An arm pays always or never, and is pulled until the end: returns tell the tasks apart."""
    generator = torch.Generator().manual_seed(0)
    made = episodes()
    whole = made.of([BanditTask((p, p)) for p in (0.0, 1.0, 0.0, 1.0)], generator)
    some = whole.select(slice(1, 4))
    parts = [some.select(slice(i, i + 1)) for i in range(3)]
    params = {n: p[None] for n, p in made.policy.init(generator).items()}
    for part, paid in zip(parts, (4.0, 0.0, 4.0), strict=True):
        assert part.sample(params, {}, "support").trajectory.returns.unique().tolist() == [paid]


# A peer keyed its evaluation by the task's name: two equal tasks became one.


@pytest.mark.parametrize("method", ["fomaml", "rl2"])
def test_two_equal_tasks_of_an_evaluation_stay_two_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    path = tmp_path / "run"
    maze_adapt(["train", *SMALL, "--iterations", "1", "--method", method, "--run-dir", str(path)])
    unseen_tasks = adaptation.unseen_tasks

    def twice(problem, split, num_tasks, generator):
        one, other = unseen_tasks(problem, split, 2, generator)
        return one, other, one

    monkeypatch.setattr(adaptation, "unseen_tasks", twice)
    how = EvaluateSettings(path, steps=1, episodes=50, device="cpu")
    found = evaluate(how, RECIPE.settings_of)
    assert found.summary["num_tasks"] == 3
    kept = json.loads((path / "adaptation.json").read_text())
    ids = kept["task_ids"]
    assert ids[0] == ids[2] != ids[1]
    read = read_run(path, 0)
    assert read.task_ids == tuple(sorted(ids))
    rows = read.result.returns[[i for i, name in enumerate(read.task_ids) if name == ids[0]]]
    np.testing.assert_array_equal(rows, np.asarray(kept["returns"])[[0, 2]])
    assert (rows[0] != rows[1]).any()  # the same task, played twice


# A peer drew a task and what happens in it from the same key.


def test_streams_of_a_seed_are_all_different() -> None:
    draws = [
        torch.randint(2**62, (2,), generator=generator).tolist()
        for seed in (0, 1)
        for generator in spawn_generators(seed, adaptation.STREAMS).values()
    ]
    assert len({value for pair in draws for value in pair}) == 2 * len(draws)


def test_training_and_evaluation_name_the_streams_in_one_order() -> None:
    """So that no evaluation has a stream of training, whatever the two seeds are."""
    assert adaptation.STREAMS[: len(gradient.STREAMS)] == gradient.STREAMS
    assert not set(gradient.STREAMS) & set(gradient.TEST_STREAMS)


def test_tasks_and_episodes_are_drawn_by_generators_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, set[int]] = {"tasks": set(), "episodes": set()}
    sample, of = envs.BanditTasks.sample, gradient.Episodes.of

    def sampled(self, n, rng):
        seen["tasks"].add(rng.initial_seed())
        return sample(self, n, rng)

    def played(self, tasks, generator):
        seen["episodes"].add(generator.initial_seed())
        return of(self, tasks, generator)

    monkeypatch.setattr(envs.BanditTasks, "sample", sampled)
    monkeypatch.setattr(gradient.Episodes, "of", played)
    run = str(tmp_path / "run")
    maze_adapt(["train", *SMALL, "--iterations", "2", "--method", "fomaml", "--run-dir", run])
    maze_adapt(["evaluate", run, "--tasks", "2", "--steps", "1", "--device", "cpu"])
    assert len(seen["tasks"]) == len(seen["episodes"]) == 2  # training, evaluation
    assert not seen["tasks"] & seen["episodes"]


def test_noise_and_environments_of_every_task_are_drawn_apart() -> None:
    made, generator = episodes(), torch.Generator().manual_seed(0)
    tasks = made.problem.train.sample(5, generator)
    seeds = [
        one.initial_seed()
        for _ in range(2)
        for collector in [made.of(tasks, generator).collector]
        for one in (*collector.generators, *collector.dynamics)
    ]
    assert len(set(seeds)) == len(seeds) == 2 * 2 * 5
