"""`experiments.maze train --curriculum`, run as a user runs it: small, but whole."""

import json
import os
import re

import pytest
import torch

from experiments.maze import defaults
from metarl.errors import UserError
from metarl.runs.seeds import find_runs
from metarl.train.curriculum import CURRICULA
from tests.experiments.scripts import maze as main

SMALL = (
    *("--mazes", "dfs", "--size", "9", "--horizon", "12", "--batch-size", "6"),
    *("--hidden-size", "6", "--minibatch-trials", "3", "--iterations", "12"),
    *("--log-every", "1", "--checkpoint-every", "5", "--device", "cpu"),
)
FULL = ("--levels.capacity", "24", "--levels.min-fill", "0.5")
OPTIONS = {
    "plr": FULL,
    "robust-plr": (*FULL, "--levels.score", "max-mc"),
    "accel": (*FULL, "--levels.num-edits", "3"),
    "sfl": ("--levels.scouts", "2", "--levels.period", "3", "--levels.attempts", "2"),
}
LEARNS = {"replayed", "mixed"}


def train(path, name, *arguments):
    main(
        ["train", *SMALL, "--curriculum", name, *OPTIONS[name], *arguments, "--run-dir", str(path)]
    )
    return find_runs(path)


def read(run):
    """Lines of metrics, but for the time they took."""
    lines = map(json.loads, (run.path / "metrics.jsonl").read_text().splitlines())
    return [{n: v for n, v in line.items() if n != "wall_seconds"} for line in lines]


def assert_same(run, other):
    assert read(run) == read(other)
    for name, value in weights(run).items():
        assert torch.equal(value, weights(other)[name]), name


def kinds(run):
    """What the levels of each iteration were."""
    lines = read(run)
    names = ("fresh", "replayed", "edited", "scouted", "mixed")
    return [next(kind for kind in names if f"return_{kind}" in line) for line in lines]


def weights(run):
    return run.load_checkpoint()["learner"]["params"]


def test_every_curriculum_is_tried_here():
    assert set(OPTIONS) == {name for name, one in CURRICULA.items() if one.samples}


@pytest.fixture(scope="module", params=OPTIONS)
def pair(request, tmp_path_factory):
    """A curriculum, and two seeds that trained side by side."""
    path = tmp_path_factory.mktemp(request.param)
    return request.param, train(path / "runs", request.param, "--seeds", "0", "1")


def test_iterations_that_only_look_learn_nothing(pair):
    name, (run, _) = pair
    found, lines = kinds(run), read(run)
    expected = {
        "plr": {"fresh", "replayed"},
        "robust-plr": {"fresh", "replayed"},
        "accel": {"fresh", "replayed", "edited"},
        "sfl": {"scouted", "mixed"},
    }
    assert set(found) == expected[name]
    for kind, line in zip(found, lines, strict=True):
        assert ("loss" in line) == (name == "plr" or kind in LEARNS)
        assert line["return"] == pytest.approx(line[f"return_{kind}"])
        assert line["refused_scores"] == 0
    assert lines[-1]["env_steps"] == 12 * 6 * 12  # what is only looked at counts
    if name != "sfl":  # which keeps nothing of levels that no trial solves
        assert lines[-1]["buffer_levels"] > 0


def test_an_agent_is_trained_as_if_alone(pair, tmp_path):
    name, (_, second) = pair
    (alone,) = train(tmp_path / "alone", name, "--seeds", "1")
    assert_same(second, alone)


@pytest.mark.parametrize("stopped_at", [4, 7])
def test_a_run_that_was_stopped_goes_on_bit_for_bit(pair, stopped_at, tmp_path):
    name, (whole, _) = pair
    every = ("--checkpoint-every", str(stopped_at))
    (cut,) = train(tmp_path / "cut", name, *every)
    os.replace(cut.path / "checkpoint.previous.pt", cut.checkpoint_path)
    assert cut.load_checkpoint()["iteration"] == stopped_at * (11 // stopped_at)
    main(["train", "--resume", str(cut.path)])
    assert_same(cut, whole)
    assert whole.config["curriculum"] == name


def test_what_is_only_looked_at_moves_no_weight(tmp_path):
    (run,) = train(tmp_path / "run", "robust-plr", "--iterations", "2")
    (before,) = train(tmp_path / "one", "robust-plr", "--iterations", "1")
    assert kinds(run) == ["fresh", "fresh"]
    for name, value in weights(run).items():
        assert torch.equal(value, weights(before)[name])


def test_domain_randomisation_is_what_there_is_without_a_curriculum():
    settings = defaults(mazes="dfs", size="9")
    assert settings.curriculum == "dr"
    assert not settings.learning(settings.environment).curriculum.samples


def test_checkpoints_hold_the_buffer(pair):
    name, (run, _) = pair
    state = run.load_checkpoint()["learner"]["levels"]
    if name == "sfl":
        assert state["offers"] == 12
    else:
        assert 0 < len(state["buffer"]["keys"]) <= 24
        assert len(set(state["buffer"]["keys"].tolist())) == len(state["buffer"]["keys"])


def test_published_levels_are_trained_on_and_tested_with_both_limits(tmp_path, capsys):
    options = ("--mazes", "ued", "--batch-size", "4", "--trial-steps", "16", "--iterations", "4")
    small = ("--hidden-size", "6", "--minibatch-trials", "2", "--log-every", "1")
    curriculum = ("--curriculum", "accel", "--levels.capacity", "8", "--levels.num-edits", "3")
    main(["train", *options, *small, *curriculum, "--run-dir", str(tmp_path / "run")])
    (run,) = find_runs(tmp_path / "run")
    assert kinds(run) == ["fresh", "fresh", "replayed", "edited"]
    for horizon in ("20", "45"):
        main(
            [
                "evaluate",
                str(run.path),
                "--mazes",
                "named",
                "--horizon",
                horizon,
                "--tasks",
                "10",
                "--json",
            ]
        )
        summary = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert summary["horizon"] == int(horizon)
        assert {"right_hand_return", "explorer_return", "oracle_return"} <= summary.keys()
        assert summary["layouts_trained_on"] == 0
    main(["evaluate", str(run.path), "--tasks", "4", "--mazes", "walls-25", "--json"])
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (summary["mazes"], summary["num_layouts"]) == ("walls-25", 4)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["--curriculum", "plr"], "has no levels to choose among"),
        (["--mazes", "dfs", "--curriculum", "paired"], "--curriculum .*paired"),
        (
            ["--mazes", "dfs", "--size-schedule", "9:0.4", "--curriculum", "plr"],
            "chooses among mazes of one size: drop --size-schedule",
        ),
        (
            ["--mazes", "dfs", "--size", "9", "--num-layouts", "5", "--curriculum", "accel"],
            "endlessly many mazes of a generator, got those of dfs, 5 layouts",
        ),
        (["--mazes", "pillars", "--curriculum", "sfl"], "endlessly many mazes"),
        (
            [
                *("--mazes", "dfs", "--size", "9", "--curriculum", "sfl", "--batch-size", "48"),
                *("--levels.attempts", "5"),
            ],
            "5 attempts at each level do not divide a batch of 48",
        ),
        (
            ["--mazes", "dfs", "--curriculum", "plr", "--levels.staleness", "2"],
            "staleness must lie in",
        ),
        (["--mazes", "dfs", "--levels.capacity", "5"], "levels.capacity"),
    ],
)
def test_what_cannot_be_chosen_from_is_refused_before_there_is_a_run(
    arguments, match, tmp_path, capsys
):
    with pytest.raises((UserError, SystemExit)) as error:
        main(["train", *arguments, "--run-dir", str(tmp_path / "run")])
    said = str(error.value) + "".join(capsys.readouterr())
    assert re.search(match, " ".join(said.split())), said
    assert not (tmp_path / "run").exists()
