"""Agents whose memory sees an encoded view: trained, resumed, loaded, refused."""

import os

import pytest
import torch

from envs.problems import HiddenGoals
from metarl.errors import UserError
from metarl.methods.agents import TrialAgent
from metarl.methods.recurrent import RecurrentLearning
from metarl.methods.rl2 import RL2Settings, WarpRNNSettings
from metarl.rl import ActorCriticSettings
from metarl.runs.seeds import create_runs
from metarl.train.loop import LoopSettings

MAZE = HiddenGoals(size=5, horizon=6)
LOOP = LoopSettings(4, 2, 2)
PPO = ActorCriticSettings(algorithm="ppo", reward_scale=0.1)


def learning(encoder, core="lstm", **settings):
    kind = WarpRNNSettings if core == "warp" else RL2Settings
    agent = TrialAgent(core=core, hidden_size=8, encoder=encoder, loss=PPO)
    return RecurrentLearning(MAZE, kind(lr=0.01, num_epochs=2, decay="constant", **settings), agent)


def trained(what, place, seeds=(0,), loop=LOOP, resume_to=None, runs=None):
    runs = runs or create_runs(place, seeds, {}, device=torch.device("cpu"))
    what.train(runs, loop, 4, "cpu", resume_to=resume_to)
    return runs


def weights(run):
    return run.load_checkpoint()["learner"]["params"]


@pytest.mark.parametrize("core", ["lstm", "warp", "associative"])
@pytest.mark.parametrize("minibatch", [None, 2])
def test_the_filters_learn_and_a_run_resumes_bit_for_bit(tmp_path, core, minibatch):
    what = learning("conv", core, minibatch_trials=minibatch)
    what.check("cpu", 4)
    (whole,) = trained(what, tmp_path / "whole")
    start = what.policy().init(torch.Generator().manual_seed(0))
    assert start["trunk.weight"].shape == (16, 1, 3, 3)
    (cut,) = trained(what, tmp_path / "cut")
    os.replace(cut.path / "checkpoint.previous.pt", cut.checkpoint_path)
    before = weights(cut)
    trained(what, None, runs=[cut], resume_to=4)
    for name, value in weights(whole).items():
        assert torch.equal(weights(cut)[name], value), name
    assert not torch.equal(before["trunk.weight"], weights(cut)["trunk.weight"])


@pytest.mark.parametrize("minibatch", [None, 2])
def test_agents_in_threads_learn_as_in_one(tmp_path, minibatch):
    one, two = (learning("conv", minibatch_trials=minibatch, num_threads=n) for n in (1, 2))
    alone, shared = (trained(w, tmp_path / str(w.method.num_threads), (0, 3)) for w in (one, two))
    for a, b in zip(alone, shared, strict=True):
        assert all(torch.equal(weights(b)[name], value) for name, value in weights(a).items())
    with pytest.raises(ValueError, match="num_threads must be at least 1, got 0"):
        learning("conv", num_threads=0).method.check()


@pytest.mark.parametrize("minibatch", [None, 2])
def test_agents_with_filters_learn_side_by_side_as_alone(tmp_path, minibatch):
    what = learning("conv", minibatch_trials=minibatch)
    both = trained(what, tmp_path / "both", seeds=(0, 3))
    (alone,) = trained(what, tmp_path / "alone", seeds=(3,))
    for name, value in weights(alone).items():
        torch.testing.assert_close(weights(both[1])[name], value, rtol=1e-3, atol=1e-5)


def test_what_is_no_view_is_refused_before_work():
    class Elsewhere(HiddenGoals):
        observation = HiddenGoals.actions

    what = RecurrentLearning(Elsewhere(), RL2Settings(), TrialAgent(encoder="onehot"))
    with pytest.raises(UserError, match="--encoder onehot: maze: observations Discrete"):
        what.policy()
    with pytest.raises(UserError, match="--filters is for --encoder conv, not none"):
        TrialAgent(filters=8)
