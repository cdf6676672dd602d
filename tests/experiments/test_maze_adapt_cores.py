"""Policies that remember, adapted by gradient, run as a user runs them: small, but whole."""

import json
import os
from pathlib import Path

import pytest
import torch

from experiments.maze_adapt.__main__ import main
from experiments.maze_adapt.settings import TrainSettings, defaults, from_config
from experiments.maze_adapt.train import default_run_dir
from metarl.core import num_parameters
from metarl.runs.directory import find_runs

SMALL = (
    *("--env", "maze", "--size", "5", "--meta-batch", "2", "--episodes", "2", "--horizon", "4"),
    *("--iterations", "2", "--log-every", "1", "--checkpoint-every", "1", "--device", "cpu"),
)
CORE = ("--core-size", "3")
INPUTS, ACTIONS = 23, 4
HEADS = 4 * ACTIONS
NUM_WEIGHTS = {
    "rnn": 3 * (INPUTS + 3 + 1),
    "gru": 9 * (INPUTS + 3 + 2),
    "lstm": 12 * (INPUTS + 3 + 2),
    "warp": 3 * (INPUTS + 3 + 1) + 12 * (INPUTS + 3 + 3 + 2) + 3 * (INPUTS + 12),
}


def train(path, *arguments):
    main(["train", *SMALL, "--run-dir", str(path), *arguments])
    (run,) = find_runs(path)
    return run


@pytest.mark.parametrize("core", NUM_WEIGHTS)
def test_every_core_trains_is_evaluated_and_filmed(tmp_path, core, capsys):
    run = train(tmp_path / core, "--core", core, *CORE)
    learned = run.load_checkpoint()["learner"]["params"]
    assert {name.partition(".")[0] for name in learned} == {"fast"}
    assert num_parameters(learned) == NUM_WEIGHTS[core] + HEADS
    assert (from_config(run.config).core, from_config(run.config).core_size) == (core, 3)
    options = ("--tasks", "2", "--steps", "1", "--episodes", "2", "--device", "cpu", "--json")
    main(["evaluate", str(run.path), *options])
    assert len(json.loads(capsys.readouterr().out.splitlines()[-1])["return_mean"]) == 2
    main(["render", str(run.path), "--steps", "1", "--output", str(tmp_path / "steps.png")])
    assert (tmp_path / "steps.png").stat().st_size > 1000


def test_warp_learns_the_slow_lstm_under_what_adapts(tmp_path):
    arguments = ("--method", "warp", "--core", "warp", *CORE)
    run = train(tmp_path / "warp", *arguments)
    before = train(tmp_path / "one", *arguments, "--iterations", "1")
    first, learned = (one.load_checkpoint()["learner"]["params"] for one in (before, run))
    moved = {name for name, p in learned.items() if not torch.equal(p, first[name])}
    assert moved == {name for name in learned if name.startswith("slow.core.warp_")} != set()


def test_a_core_resumes_bit_for_bit(tmp_path):
    arguments = ("--core", "gru", *CORE, "--method", "anil", "--loss.baseline", "critic")
    whole, cut = (train(tmp_path / name, *arguments) for name in ("whole", "cut"))
    os.replace(cut.path / "checkpoint.previous.pt", cut.checkpoint_path)
    assert cut.load_checkpoint()["iteration"] == 1
    main(["train", "--resume", str(cut.path)])
    one, two = (run.load_checkpoint()["learner"]["params"] for run in (whole, cut))
    assert all(torch.equal(p, two[name]) for name, p in one.items())


def test_an_auxiliary_critic_stands_on_the_core(tmp_path):
    run = train(tmp_path / "run", "--core", "rnn", *CORE, "--loss.auxiliary-critic")
    learned = run.load_checkpoint()["learner"]["params"]
    assert num_parameters(learned) == NUM_WEIGHTS["rnn"] + HEADS + 4


def test_the_usual_place_of_a_run_says_which_core():
    assert default_run_dir(TrainSettings(core="gru")) == Path("runs/adapt-point-maml-gru")
    assert default_run_dir(defaults("maze")) == Path("runs/adapt-maze-maml")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--core", "gru", "--hidden", "8"), "--hidden is for --core none, a perceptron"),
        (("--core", "gru", "--activation", "relu"), "--activation is for --core none"),
        (("--core-size", "8"), "--core-size is for --core rnn|gru|lstm|warp"),
        (("--core", "gru", "--core-size", "0"), "--core-size must be at least 1, got 0"),
        (("--core", "gru", "--method", "warp"), "--core gru has none: take --core warp, or none"),
        (("--core", "gru", "--method", "rl2"), "--core is for maml, fomaml"),
    ],
)
def test_what_means_nothing_is_refused_before_work_starts(arguments, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["train", "--iterations", "1", "--run-dir", str(tmp_path / "run"), *arguments])
    assert exit_.value.code == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not list(tmp_path.iterdir())
