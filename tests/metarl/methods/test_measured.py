"""What pays in training alone pays nothing where agents are measured, validated or filmed."""

from dataclasses import replace

import pytest
import torch

from envs.maze import GridMazeVectorEnv
from envs.maze.random_mazes import BONUS_UNTIL
from envs.problems import RandomMazes
from metarl.errors import UserError
from metarl.experiment import Experiment
from metarl.methods import METHODS
from metarl.methods.learning import agent_for

BONUS = 0.5
MAZES = RandomMazes("dfs", "9", horizon=20, exploration_bonus=BONUS)

QUICK = {
    "maml": {"episodes": 2, "hidden": (4,)},
    "rl2": {"hidden_size": 4, "trial_episodes": 2},
    "ppo": {"episodes": 2, "hidden": (4,)},
    "recurrent-ppo": {"hidden_size": 4, "hidden": (4,), "trial_episodes": 2},
}


def experiment(name, problem=MAZES, **changes):
    method = METHODS[name]
    if name in ("ppo", "recurrent-ppo"):
        pytest.importorskip("stable_baselines3")
        changes |= {"learner": method(num_epochs=1)}
    if name == "recurrent-ppo":
        pytest.importorskip("sb3_contrib")
    agent = replace(agent_for(method), **QUICK[name])
    settings = {"learner": method(), "iterations": 1, "meta_batch": 2, "device": "cpu"}
    return Experiment(problem, agent=agent, **settings | changes)


@pytest.fixture
def bonuses(monkeypatch):
    """Bonuses by which episodes have begun."""
    noted, start = [], GridMazeVectorEnv._start_exploration

    def started(env):
        noted.append(env.exploration_bonus)
        start(env)

    monkeypatch.setattr(GridMazeVectorEnv, "_start_exploration", started)
    return noted


@pytest.mark.parametrize("name", QUICK)
def test_exploring_pays_in_training_alone(name, tmp_path, bonuses):
    one = experiment(name)
    one.train(tmp_path)
    assert set(bonuses) == {BONUS}
    bonuses.clear()
    for split in ("validation", "test"):
        one.evaluate(tmp_path, tasks=2, episodes=2, split=split)
    if name == "rl2":
        one.evaluate_trials(tmp_path, tasks=2)
    one.film(tmp_path, tmp_path / "film.png")
    assert set(bonuses) == {0.0}


def test_a_cell_that_is_new_is_no_success(tmp_path):
    found = {}
    for bonus in (0.0, BONUS):
        one = experiment("rl2", replace(MAZES, exploration_bonus=bonus))
        torch.manual_seed(0)
        runs = tmp_path / str(bonus)
        one.train(runs)
        if bonus:  # the weights of the other, so that both play alike
            (tmp_path / "0.0" / "checkpoint.pt").rename(runs / "checkpoint.pt")
        measured = one.evaluate(runs, tasks=20, episodes=2).summary
        found[bonus] = {n: measured[n] for n in ("return_mean", "success_rate", "length_mean")}
    assert found[BONUS] == found[0.0]
    assert max(found[0.0]["success_rate"]) < 1


@pytest.mark.parametrize("name", QUICK)
def test_the_bonus_falls_in_every_training(name, tmp_path, bonuses):
    experiment(name, iterations=4).train(tmp_path)
    fallen = [BONUS * max(0.0, 1 - done / BONUS_UNTIL) for done in (0.0, 0.25, 0.5, 0.75)]
    own = [bonus for n, bonus in enumerate(bonuses) if bonus not in bonuses[:n]]
    assert own == fallen


@pytest.mark.parametrize("name", QUICK)
def test_metrics_of_a_training_are_of_finds_alone(name, tmp_path):
    (run,) = experiment(name, replace(MAZES, exploration_bonus=1000.0)).train(tmp_path)
    assert run.read_metrics()["return"].max() <= MAZES.horizon  # a cell that is new pays 1000


@pytest.mark.parametrize("name", ["maml", "ppo", "recurrent-ppo"])
def test_a_training_without_stages_refuses_a_problem_that_has_some(name, tmp_path):
    one = experiment(name, replace(MAZES, size="11", size_schedule="9:0.5"))
    with pytest.raises(UserError, match=f"{name} has no stages.*drop --size-schedule"):
        one.train(tmp_path / "run")
    assert not (tmp_path / "run").exists()
