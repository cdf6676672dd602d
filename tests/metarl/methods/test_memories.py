"""Cores that look back over the whole trial, and windows of trials, on problems of every kind."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

import metarl
from envs.problems import MDP, Bandit, GridNavi, HiddenGoals, Minigrid, Point, RandomMazes
from experiments.maze_adapt import defaults as maze_adapt
from experiments.maze_settings import defaults as maze
from metarl.errors import UserError
from metarl.evaluate.adapter import Measurement
from metarl.methods.agents import TrialsAgent
from metarl.methods.learning import learning
from metarl.methods.loading import Interface
from metarl.methods.recurrent import RecurrentLearning
from metarl.methods.rl2 import RL2Settings, WarpRNNSettings, paced, slow_cores
from metarl.native import kernels, recorded
from metarl.nn import CORES, with_sizes
from metarl.runs.seeds import create_runs
from metarl.train.loop import LoopSettings

NEW = ("transformer", "linear-attention")
LOOP = LoopSettings(4, 2, 2)
PROBLEMS = {
    "point": Point(horizon=4),
    "bandit": Bandit(horizon=1),
    "mdp": MDP(horizon=3),
    "gridnavi": GridNavi(horizon=3),
    "mazes": RandomMazes(mazes="mst", size="9", horizon=5),
    "minigrid": Minigrid(max_steps=5),
    "room": HiddenGoals(size=5, horizon=6),
}


def agent(core="transformer", **changes):
    return TrialsAgent(core=core, hidden_size=8, trial_episodes=2, **changes)


def trained(what, place, loop=LOOP, resume_to=None, runs=None):
    what.check("cpu", 4)
    runs = runs or create_runs(place, (0,), {}, device=torch.device("cpu"))
    what.train(runs, loop, 4, "cpu", resume_to=resume_to)
    return runs[0]


def weights(run):
    return run.load_checkpoint()["learner"]["params"]


@pytest.mark.parametrize("core", NEW)
@pytest.mark.parametrize("name", PROBLEMS)
def test_they_learn_and_are_measured_on_every_problem(tmp_path, name, core):
    problem = PROBLEMS[name]
    what = learning(problem, RL2Settings(lr=0.01, minibatch_trials=2, truncate=3), agent(core))
    run = trained(what, tmp_path, LoopSettings(1, 1, 1))
    loaded = what.load(run, torch.device("cpu"))
    tasks = problem.test.sample(2, torch.Generator().manual_seed(0))
    found = loaded.trained.adapt(tasks, Measurement(1, 3), torch.Generator().manual_seed(0))
    assert found.returns.shape == (2, 2, 3)
    assert np.isfinite(found.returns).all()


@pytest.mark.parametrize("core", NEW)
@pytest.mark.parametrize(
    "actions",
    [Discrete(3), MultiDiscrete([2, 3]), MultiBinary(3), Box(-1.0, 1.0, (2,))],
    ids=["discrete", "multi-discrete", "multi-binary", "box"],
)
def test_they_act_in_every_action_space(core, actions):
    interface = Interface(Box(-1.0, 1.0, (3,)), actions, view_layout=None)
    what = replace(RecurrentLearning(None, RL2Settings(), agent(core)), problem=interface)
    policy = what.policy()
    params = metarl.core.stack([policy.init(torch.Generator().manual_seed(0))])
    player = policy.begin(params, 2)
    means = [player.means(torch.randn(1, 2, what.num_inputs)) for _ in range(3)]
    assert all(bool(one.isfinite().all()) for one in means)


@pytest.mark.parametrize("encoder", ["none", "onehot", "conv"])
@pytest.mark.parametrize("core", NEW)
@pytest.mark.parametrize("truncate", [None, 3])
def test_a_run_resumes_bit_for_bit(tmp_path, core, encoder, truncate):
    method = RL2Settings(
        lr=0.01, num_epochs=2, minibatch_trials=2, decay="constant", truncate=truncate
    )
    what = RecurrentLearning(PROBLEMS["room"], method, agent(core, encoder=encoder))
    whole, cut = trained(what, tmp_path / "whole"), trained(what, tmp_path / "cut")
    os.replace(cut.path / "checkpoint.previous.pt", cut.checkpoint_path)
    before = weights(cut)
    trained(what, None, runs=[cut], resume_to=4)
    for name, value in weights(whole).items():
        assert torch.equal(weights(cut)[name], value), name
    assert any(not torch.equal(before[name], value) for name, value in weights(cut).items())


@pytest.mark.parametrize("core", NEW)
def test_one_timescale_steps_all_weights_at_once_and_two_step_mixers_later(tmp_path, core):
    def moved(method, iterations):
        what = learning(PROBLEMS["gridnavi"], method, agent(core))
        run = trained(what, tmp_path / f"{method.name}{iterations}", LoopSettings(iterations, 1, 1))
        start = what.policy().init(torch.Generator().manual_seed(0))
        del start  # drawn from another stream: compare with the run before its first step
        untrained = what.load(run, torch.device("cpu")).untrained.params
        return {n for n, p in weights(run).items() if not torch.equal(p, untrained[n])}

    one, two = RL2Settings(num_epochs=1), WarpRNNSettings(num_epochs=1, warp_period=2)
    mixers = {f"core.mix_{name}" for name in ("in", "in_bias", "out", "out_bias")}
    assert mixers <= moved(one, 1)
    assert not mixers & moved(two, 1)
    assert mixers <= moved(two, 2)


def test_cores_with_slow_weights_are_told():
    assert slow_cores() == ["warp", *NEW]
    what = learning(PROBLEMS["gridnavi"], WarpRNNSettings(), agent("gru"))
    with pytest.raises(UserError, match="take --core warp or transformer or linear-attention"):
        what.check("cpu", 4)


def test_blocks_learn_at_a_slower_pace_that_rises_first():
    usual = RL2Settings(lr=2e-3, num_epochs=2, minibatch_trials=16)
    assert paced("lstm", usual, batch_size=256) == usual
    slower = paced("transformer", usual, batch_size=256)
    assert (slower.lr, slower.warmup) == (5e-4, 4)  # 32 steps per iteration
    assert paced("transformer", replace(usual, minibatch_trials=None)).warmup == 50


def test_the_core_on_the_command_line_chooses_the_pace():
    usual, slower = (maze_adapt("gridnavi", "rl2", core=core).learner for core in ("gru", NEW[0]))
    assert (slower.lr, usual.lr) == (usual.lr / 4, 1e-2)
    assert slower.warmup == 34  # 100 steps, three per iteration
    for preset in ("default", "ppo", "minibatch"):
        fast, slow = (maze(preset, method=core).learner for core in ("gru", NEW[1]))
        assert slow.lr < fast.lr
        assert slow.warmup > fast.warmup == 0


def test_sizes_are_said_by_name_and_refused_with_what_there_is():
    core = agent(core_sizes=("layers=3", "heads=2")).make_core(5)
    assert (core.layers, core.heads, core.hidden_size) == (3, 2, 8)
    for words, message in (
        (("depth=3",), "'depth=3' is no size of a Transformer, which has: layers, heads, widening"),
        (("layers",), "a size is NAME=COUNT, such as layers=3, got 'layers'"),
        (("layers=-1",), "got 'layers=-1'"),
        (("layers=0",), "layers must be at least 1"),
        (("layers=2", "layers=3"), "said once, got layers=2 layers=3"),
        (("hidden_size=3",), "no size of a Transformer"),
    ):
        with pytest.raises(UserError, match=f"--core-sizes: .*{message}"):
            agent(core_sizes=words)
    with pytest.raises(ValueError, match="which has: none but the hidden units"):
        with_sizes(CORES["gru"](1, 1), ("layers=2",))
    assert with_sizes(CORES["associative"](5, 8), ("key_size=4",)).key_size == 4


@pytest.mark.parametrize("core", CORES)
def test_every_memory_has_a_kernel(core):
    if kernels("lstm") is None:
        pytest.skip("no native kernels here")
    with recorded() as ran:
        CORES[core](5, 4).new_outputs((1, 2, 3), torch.zeros(()))
    assert not ran.eager
    assert len(ran.kernels) == 1


@pytest.mark.parametrize("wrong", [0, -3])
def test_a_window_without_steps_is_refused(wrong):
    with pytest.raises(ValueError, match=f"truncate must be at least 1 step, or None, got {wrong}"):
        RL2Settings(truncate=wrong)
