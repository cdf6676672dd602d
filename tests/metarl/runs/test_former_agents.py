"""Runs of version 0.1 of mazes and their like, read under the names of today."""

import pytest

from experiments.environments import Room
from experiments.maze import RECIPE as MAZE
from experiments.maze_adapt import RECIPE as MAZE_ADAPT
from metarl.core import OptimiserSettings
from metarl.runs.config import today

ADAM = {"name": "adam", "lr": 3e-3, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "weight_decay": 0.0}
SCHEDULE = {"decay": "linear", "final": 0.1, "warmup": 3}


def maze_run(method, **learner):
    two = {"fast": ADAM, "slow": ADAM, "warp_period": 5, "max_grad_norm": 2.0, "num_epochs": 2}
    return {
        **{"method": method, "preset": "default", "size": 7, "horizon": 20, "reward": 5.0},
        **{"wall_penalty": 0.1, "goals": "split", "hidden_size": 8, "batch_size": 4},
        **{"learner": {**two, **learner}, "schedule": SCHEDULE, "loss": {"gamma": 0.7}},
        **{"published_faults": False, "seeds": [0], "iterations": 9},
    }


@pytest.mark.parametrize("method", ["warp", "gru", "lstm", "plastic"])
def test_a_maze_is_read(method):
    found = MAZE.settings_of(maze_run(method))
    assert (found.method, found.core) == ("warp-rnn" if method == "warp" else "rl2", method)
    assert found.environment == Room(20, 7, 5.0, 0.1, "split")
    assert (found.hidden_size, found.loss.gamma, found.iterations) == (8, 0.7, 9)
    learner = found.learner
    assert (learner.lr, learner.beta2, learner.max_grad_norm) == (3e-3, 0.99, 2.0)
    assert (learner.num_epochs, learner.schedule.warmup) == (2, 3)
    assert getattr(learner, "warp_period", 5) == 5
    assert getattr(learner, "slow_lr", None) is None


def test_timescales_that_differ_are_kept():
    slower = MAZE.settings_of(maze_run("warp", slow={**ADAM, "lr": 1e-4})).learner
    assert (slower.slow_lr, slower.slow) == (1e-4, None)
    other = {**ADAM, "name": "sgd", "beta1": 0.0}
    mixed = MAZE.settings_of(maze_run("warp", slow=other)).learner
    assert mixed.timescales.slow == OptimiserSettings("sgd", 3e-3, 0.0, 0.99)
    resets = MAZE.settings_of(maze_run("gru", reset_fast="meta-batch"))
    assert (resets.method, resets.core) == ("warp-rnn", "gru")
    assert resets.learner.reset_fast == "meta-batch"


def adapt_run(method, **changes):
    return {
        **{"env": "maze", "method": method, "horizon": 20, "size": 7, "start": "random"},
        **{"goal": "ends", "salt": "2", "arms": 5, "initial_std": 1.0, "episodes": 7},
        **{"trial_episodes": 3, "core": "none", "core_size": 64, "hidden": [8], "meta_batch": 4},
        **{"activation": "tanh", "loss": {"gamma": 0.8}, "iterations": 9, "seeds": [0]},
        "learner": {"inner": {"lr": 0.3, "num_steps": 2}, "outer": {"optimiser": ADAM}},
        "of_policies": {"promp": {"clip": 0.1, "max_divergence": None}},
        "recurrent": {
            **{"core": "gru", "hidden_size": 6, "loss": {"gamma": 0.6}, "schedule": SCHEDULE},
            "learner": {"fast": ADAM, "slow": {**ADAM, "lr": 1e-3}, "warp_period": 2},
        },
        "ppo": {"lr": 0.01, "clip": 0.3, "schedule": SCHEDULE, "fine_tuning": {"lr": 0.02}},
        **changes,
    }


@pytest.mark.parametrize("method", ["maml", "promp", "warp", "none", "rl2", "warp-rnn", "ppo"])
def test_adaptation_is_read_and_what_the_method_does_not_read_is_left_out(method):
    found = MAZE_ADAPT.settings_of(adapt_run(method))
    environment = vars(found.environment)
    assert {n: environment[n] for n in ("horizon", "size", "start", "goal")} == {
        **{"horizon": 20, "size": 7, "start": "random", "goal": "ends"}
    }
    agent, learner = found.agent, found.learner
    if method in ("rl2", "warp-rnn"):
        assert (agent.trial_episodes, agent.hidden_size, agent.loss.gamma) == (3, 6, 0.6)
        assert agent.core == {"rl2": "gru", "warp-rnn": "warp"}[method]
        assert (learner.lr, learner.schedule.final) == (3e-3, 0.1)
        assert getattr(learner, "slow_lr", 1e-3) == 1e-3
    elif method == "ppo":
        assert (agent.episodes, agent.hidden) == (7, (8,))
        assert (learner.lr, learner.clip, learner.fine_tuning.lr) == (0.01, 0.3, 0.02)
    else:
        assert (agent.episodes, agent.hidden, agent.loss.gamma) == (7, (8,), 0.8)
        assert (learner.inner_lr, learner.inner_steps) == (0.3, 2)
        assert getattr(learner, "clip", 0.1) == 0.1


def test_options_have_names_of_today():
    for former, now in {
        "learner.inner.lr": "inner-lr",
        "learner.outer.optimiser.lr": "lr",
        "recurrent.learner.fast.lr": "lr",
        "learner.fast.lr": "lr",
        "learner.slow.lr": "slow-lr",
        "warp.num-layers": "warp-layers",
        "recurrent.loss.gamma": "loss.gamma",
        "recurrent.hidden-size": "hidden-size",
        "ppo.fine-tuning.lr": "fine-tuning.lr",
        "of-policies.promp.clip": "clip",
        "of-policies.trust-region.num-iterations": "solver-iterations",
        "meta-batch": "meta-batch",
    }.items():
        assert today(former) == now
