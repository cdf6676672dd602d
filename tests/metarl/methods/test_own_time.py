"""Agents whose trials have episodes that end in their own time."""

import os
from functools import partial

import pytest
import torch
from gymnasium.vector import AutoresetMode

from envs import GridMazeVectorEnv, pillar_maze
from envs.problems import HiddenGoals
from metarl.evaluate.adapter import Measurement
from metarl.methods.agents import TrialAgent
from metarl.methods.recurrent import RecurrentLearning
from metarl.methods.rl2 import RL2Settings
from metarl.runs.seeds import create_runs
from metarl.train.loop import LoopSettings

CPU = torch.device("cpu")


class Ending(HiddenGoals):
    """Mazes that are over with a find."""

    @property
    def vector_env(self):
        return partial(
            GridMazeVectorEnv,
            layout=pillar_maze(5),
            respawn="end",
            autoreset_mode=AutoresetMode.NEXT_STEP,
        )


def learning(**trials):
    method = RL2Settings(lr=0.01, num_epochs=2, minibatch_trials=4, decay="constant")
    agent = TrialAgent(core="gru", hidden_size=8)
    return RecurrentLearning(Ending(size=5, horizon=10), method, agent, **trials)


@pytest.mark.parametrize("trials", [{"trial_episodes": 3}, {"trial_steps": 25}], ids=str)
def test_they_are_trained_resumed_measured_and_filmed(tmp_path, trials):
    what, runs = learning(**trials), []
    for name in ("whole", "cut"):
        runs += create_runs(tmp_path / name, (0,), {}, device=CPU)
        what.train(runs[-1:], LoopSettings(4, 2, 2), 8, "cpu", resume_to=None)
    whole, cut = runs
    last = {name: column[-1] for name, column in whole.read_metrics().items()}
    assert last["length"] == 25 if "trial_steps" in trials else last["length"] < 30
    if "trial_episodes" in trials:
        assert last["trial_return"] <= 30, "three finds of 10 at most"
    os.replace(cut.path / "checkpoint.previous.pt", cut.checkpoint_path)
    what.train([cut], LoopSettings(4, 2, 2), 8, "cpu", resume_to=4)
    states = [run.load_checkpoint()["learner"]["params"] for run in runs]
    for name, value in states[0].items():
        assert torch.equal(states[1][name], value), name
    loaded = what.load(whole, CPU).trained
    tasks = tuple(what.problem.test.tasks[:3])
    found = loaded.adapt(tasks, Measurement(2, 5), torch.Generator().manual_seed(0))
    assert found.returns.shape == (3, 3, 5)
    assert set(found.returns.flatten().tolist()) <= {0.0, 10.0}
    assert (found.lengths <= 10).all()
    scenes = loaded.film(tasks[0], 2, 0, greedy=False)
    assert len(scenes) == 3


@pytest.mark.parametrize(
    ("trials", "slower"),
    [
        ({"trial_episodes": 3}, 1.0),
        ({"trial_steps": 25}, 1.0),
        ({"trial_steps": 25, "trial_episodes": 4}, 25 / 40),  # longer than those of training
        ({"trial_steps": 100, "trial_episodes": 4}, 1.0),
    ],
    ids=str,
)
@pytest.mark.parametrize("watched", [False, True])
def test_the_clock_runs_as_in_training_in_trials_that_are_no_longer(trials, slower, watched):
    what, told = learning(**trials), []
    for episodes in (None, what.trial_episodes):
        env = what.trials(
            2, [torch.Generator().manual_seed(0)], CPU, num_episodes=episodes, watched=watched
        )
        seen, _ = env.reset()
        for _ in range(5):
            seen, *_ = env.step(torch.zeros(2, dtype=torch.int64))
        told.append(seen[0, what.flag + 2].item())
    assert told[0] == pytest.approx(5 / what.num_steps)
    assert told[1] == pytest.approx(told[0] * slower)
    longer = what.trials(2, [torch.Generator()], CPU, num_episodes=20)
    assert longer.clock == 200
