"""Problems that change while they are learned: which trials are played when, and resumes."""

import os
from dataclasses import dataclass

import pytest
import torch

from envs.problems import HiddenGoals
from metarl.errors import UserError
from metarl.methods.agents import TrialAgent
from metarl.methods.recurrent import RecurrentLearning
from metarl.methods.rl2 import RL2Settings
from metarl.methods.staged_trials import check_captured, stage_at
from metarl.rl import ActorCriticSettings
from metarl.rl.problem import Stage, stages_of
from metarl.runs.seeds import create_runs, find_runs
from metarl.train.loop import LoopSettings


@dataclass(frozen=True)
class Growing(HiddenGoals):
    """A small maze for the first 40 %, then a larger one."""

    begins: float = 0.4

    @property
    def stages(self):
        small, large = Easing(size=5, horizon=3), Easing(size=7, horizon=4)
        return Stage(0.0, small), Stage(self.begins, large)


@dataclass(frozen=True)
class Easing(HiddenGoals):
    """A maze that notes what it was told."""

    eases = True

    def ease(self, env, done):
        env.noted = [*getattr(env, "noted", []), (self.size, done)]


def learning(problem=None):
    return RecurrentLearning(
        problem or Growing(size=7), RL2Settings(num_epochs=1), TrialAgent(hidden_size=4)
    )


def train(path, iterations=10, **loop):
    runs = create_runs(path, (0, 1), {"iterations": iterations}, device="cpu")
    what = LoopSettings(iterations, log_every=2, checkpoint_every=3, **loop)
    learning().train(runs, what, 2, "cpu", resume_to=None)
    return find_runs(path)


def test_steps_are_counted_as_they_are_played(tmp_path):
    run, _ = train(tmp_path)
    # Four iterations of 3 steps, then 4 steps each; two trials.
    assert run.read_metrics()["env_steps"].tolist() == [12, 24, 40, 56, 72]


def test_a_run_resumes_bit_for_bit_in_its_stage(tmp_path):
    whole = train(tmp_path / "whole")
    cut = train(tmp_path / "cut")
    for run in cut:
        os.replace(run.path / "checkpoint.previous.pt", run.checkpoint_path)
    learning().train(cut, LoopSettings(10, 2, 3), 2, "cpu", resume_to=10)
    for run, other in zip(find_runs(tmp_path / "cut"), whole, strict=True):
        one, two = (r.load_checkpoint() for r in (run, other))
        assert one["counted"] == two["counted"] == 72
        for name, value in two["learner"]["params"].items():
            assert torch.equal(one["learner"]["params"][name], value), name
        lines, expected = (r.read_metrics() for r in (run, other))
        for name in expected.keys() - {"wall_seconds"}:
            assert lines[name].tolist() == expected[name].tolist()


def test_each_iteration_plays_its_stage_and_is_told_the_share_that_is_over(tmp_path):
    runs = create_runs(tmp_path, (0,), {}, device="cpu")
    training = learning().build(runs, LoopSettings(5), 2, "cpu")
    played = []
    step = training.learner.step

    def noted(trials):
        played.append(trials.collector.env.env)
        return step(trials)

    training.learner.step = noted
    training.run()
    small, large = dict.fromkeys(played)
    assert played == [small] * 2 + [large] * 3
    assert small.noted == [(5, 0.0), (5, 0.2)]
    assert large.noted == [(7, 0.4), (7, 0.6), (7, 0.8)]


def test_a_problem_without_stages_is_one():
    (only,) = stages_of(maze := HiddenGoals(size=5))
    assert only == Stage(0.0, maze)
    assert stage_at([only], 0.99) == 0


@pytest.mark.parametrize("begins", [0.0, 1.0, -0.5])
def test_stages_that_do_not_rise_are_refused(begins):
    with pytest.raises(UserError, match="stages begin at shares that rise from 0"):
        stages_of(Growing(begins=begins))


def test_stages_of_other_observations_are_refused():
    class Other(Growing):
        observation = None

    with pytest.raises(UserError, match="must have its observations"):
        stages_of(Other())


@pytest.mark.parametrize("problem", [Growing(), Easing()])
def test_a_cuda_graph_repeats_what_does_not_change(problem):
    check_captured(HiddenGoals(), ActorCriticSettings())
    with pytest.raises(UserError, match="changes while it is learned"):
        check_captured(problem, ActorCriticSettings())


@pytest.mark.parametrize(
    "loss", [{"entropy_decay": "linear"}, {"return_scaling": "running"}], ids=["entropy", "returns"]
)
def test_a_cuda_graph_has_a_loss_that_does_not_change(loss):
    with pytest.raises(UserError, match="return-scaling fixed alone"):
        check_captured(HiddenGoals(), ActorCriticSettings(**loss))
