"""`metarl.load`: agents of all kinds of runs, in anybody's loop."""

from contextlib import nullcontext

import gymnasium
import numpy as np
import pytest
import torch

import envs
import metarl
from envs.problems import Maze, Point
from metarl.errors import UserError
from metarl.runs.directory import RunDirectory
from metarl.runs.seeds import find_runs
from tests.experiments.scripts import maze, maze_adapt

TINY = ("--iterations", "1", "--device", "cpu")
ADAPT = (*TINY, "--meta-batch", "2", "--horizon", "5")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    place = tmp_path_factory.mktemp("runs")
    small = ("--size", "5", "--horizon", "9", "--batch-size", "2", "--hidden-size", "4")
    maze(["train", *small, *TINY, "--run-dir", str(place / "warp")])
    maze(["train", *small, *TINY, "--method", "lstm", "--run-dir", str(place / "lstm")])
    maze(["train", *small, *TINY, "--preset", "paper", "--run-dir", str(place / "paper")])
    many = ("--mazes", "dfs", "--size", "9", "--horizon", "9", "--batch-size", "2")
    often = ("--minibatch-trials", "1", "--hidden-size", "4")
    maze(["train", *many, *often, *TINY, "--run-dir", str(place / "rl2-mazes")])
    own = ("--env", "maze", "--size", "5", "--episodes", "2")
    maze_adapt(["train", *ADAPT, *own, "--run-dir", str(place / "maml")])
    core = ("--core", "gru", "--core-size", "4")
    maze_adapt(["train", *ADAPT, *own, *core, "--run-dir", str(place / "gru")])
    maze_adapt(["train", *ADAPT, "--episodes", "2", "--run-dir", str(place / "point")])
    maze_adapt(
        ["train", *ADAPT, "--env", "bandit", "--method", "rl2", "--run-dir", str(place / "rl2")]
    )
    maze_adapt(["train", *ADAPT, "--method", "rl2", "--run-dir", str(place / "plane")])
    own = ("--env", "maze", "--size", "5", "--episodes", "2", "--method", "ppo")
    maze_adapt(["train", *ADAPT, *own, "--run-dir", str(place / "ppo")])
    return place


@pytest.mark.parametrize("name", ["warp", "lstm", "paper"])
def test_an_agent_plays_a_gymnasium_loop(runs, name):
    env = envs.MetaObservation(gymnasium.make("metarl/GridMaze-v0", size=5, horizon=9))
    agent = metarl.load(runs / name)
    observation, _ = env.reset(seed=0)
    agent.begin()
    over = False
    while not over:
        action = agent.act(observation)
        assert isinstance(action, int)
        observation, reward, terminated, truncated, _ = env.step(action)
        agent.observe(reward, terminated, truncated)
        over = terminated or truncated


def test_inputs_of_other_wrappers_than_those_of_training_are_warned_of(runs):
    """Both have as many numbers: where one agent is told of episodes, the other is told nothing."""
    maze = {"size": 5, "horizon": 9, "reward": 1.0}
    for name, flagged in (("warp", False), ("rl2-mazes", True)):
        for shown in (False, True):
            env = gymnasium.make("metarl/GridMaze-v0", **maze)
            if shown:
                env = envs.Trial(env, num_episodes=1, episode_flag=True)
            env = envs.MetaObservation(env, unused_input=not shown)
            agent = metarl.load(runs / name)
            for seed in range(2):
                observation, _ = env.reset(seed=seed)
                agent.begin()
                wrong = shown != flagged and seed == 0  # once is enough
                with pytest.warns(UserWarning, match="input 9") if wrong else nullcontext():
                    agent.act(observation)
                agent.act(env.step(0)[0])


def test_the_pretrained_agent_is_loaded():
    agent = metarl.load("experiments/pretrained/maze13-warp", greedy=True)
    assert agent.num_inputs == 17
    assert agent.act(np.zeros(17, np.float32)) in range(4)


def test_the_pretrained_agent_of_random_mazes_solves_unseen_ones():
    """In Gymnasium's own loop, as the README says; random actions find 0.6 goals in a trial."""
    _, _, unseen = envs.MazeFamily("mst", 13).split(train=0.8, validation=0.1, test=0.1, salt="2")
    env = gymnasium.make(
        "metarl/GridMaze-v0", tasks=unseen, respawn="start", reward=1.0, horizon=200
    )
    trial = envs.Trial(env, num_episodes=1, episode_flag=True)
    env = envs.MetaObservation(trial, unused_input=False)
    agent = metarl.load("experiments/pretrained/mazes13")
    returns = []
    for seed in range(12):
        observation, _ = env.reset(seed=seed)
        agent.begin()
        rewards = []
        for _ in range(200):
            observation, reward, _, truncated, _ = env.step(agent.act(observation))
            rewards.append(reward)
        assert truncated
        returns.append(sum(rewards))
    assert np.mean(returns) > 8


def test_one_or_many_arrays_or_tensors(runs):
    agent = metarl.load(runs / "maml")
    seen = np.zeros((3, agent.num_inputs), np.float32)
    assert isinstance(agent.act(seen[0]), int)
    assert agent.act(seen[:1]).shape == (1,)
    assert agent.act(torch.zeros(agent.num_inputs)).shape == ()
    agent.begin(3)
    assert agent.act(seen).shape == (3,)
    assert isinstance(agent.act(seen), np.ndarray)
    assert isinstance(agent.act(torch.from_numpy(seen)), torch.Tensor)
    for wrong in (seen[:2], seen[:, :4], np.zeros(5)):
        with pytest.raises(ValueError, match="begin as many trials as there are environments"):
            agent.act(wrong)
    point = metarl.load(runs / "point")
    assert point.act(np.zeros(2)).shape == (2,)
    bandit = metarl.load(runs / "rl2")
    assert bandit.act(np.zeros(bandit.num_inputs)) in range(5)


def test_the_same_seed_acts_alike_and_greedy_takes_the_most_probable(runs):
    seen = np.zeros(metarl.load(runs / "maml").num_inputs, np.float32)
    drawn = [[metarl.load(runs / "maml", seed=3).act(seen) for _ in range(1)] for _ in range(2)]
    assert drawn[0] == drawn[1]
    greedy = metarl.load(runs / "maml", greedy=True)
    assert len({greedy.act(seen) for _ in range(9)}) == 1


@pytest.mark.parametrize("name", ["maml", "gru"])
def test_an_agent_adapts_by_gradient_steps_and_stays_as_it_was(runs, name):
    agent = metarl.load(runs / name)
    problem = Maze(size=5, horizon=40)
    before = {n: p.clone() for n, p in agent.agent.params.items()}
    adapted = agent.adapt(problem, problem.test[0], num_steps=2)
    assert all(torch.equal(p, before[n]) for n, p in agent.agent.params.items())
    assert any(not torch.equal(p, before[n]) for n, p in adapted.agent.params.items())
    adapted.act(np.zeros(agent.num_inputs))
    again = agent.adapt(problem, problem.test[0], num_steps=2)
    for n, p in again.agent.params.items():
        assert torch.equal(p, adapted.agent.params[n])
    with pytest.raises((UserError, ValueError)):
        agent.adapt(Point(), Point().train.sample(1, torch.Generator())[0])


def test_runs_that_do_not_say_their_spaces_are_loaded_by_their_weights(runs, tmp_path):
    for name in ("warp", "maml", "gru", "point", "rl2", "plane"):
        (run,) = find_runs(runs / name)
        config = {n: v for n, v in run.config.items() if n not in ("spaces", "provenance")}
        copy = RunDirectory.create(tmp_path / name, config)
        copy.checkpoint_path.write_bytes(run.checkpoint_path.read_bytes())
        one, other = metarl.load(run.path), metarl.load(copy.path)
        assert one.num_inputs == other.num_inputs
        seen = np.zeros(one.num_inputs, np.float32)
        assert np.array_equal(one.act(seen), other.act(seen))


def test_what_is_no_agent_is_refused(runs, tmp_path):
    with pytest.raises(UserError, match="there is no run directory"):
        metarl.load(tmp_path / "nothing")
    with pytest.raises(UserError, match="has no agent to load: it is a run of --method ppo"):
        metarl.load(runs / "ppo")
    with pytest.raises(UserError, match="adapts through its hidden state"):
        metarl.load(runs / "rl2").adapt(Maze(), None)
