"""What the tests of Omniglot's scripts share: a tiny data set, runs side by side."""

import json
import os

import torch

from experiments import alphabets, omniglot
from metarl.run import main
from metarl.runs.seeds import find_runs
from tests.metarl.supervised.omniglot.tiny_omniglot import write_archives

ALPHABETS = {
    "images_background": {"Aa": 3, "Bb": 3, "Cc": 4, "Dd": 2},
    "images_evaluation": {"Ee": 3, "Ff": 3},
}
"""18 characters of 4 drawings; 5 alphabets of at least 3."""


def tiny_archives(folder):
    return write_archives(folder, alphabets=ALPHABETS)


def train(path, data, *arguments, recipe=omniglot.RECIPE):
    given = ("--data", str(data), "--no-complete", "--run-dir", str(path), *arguments)
    main(recipe, ["train", *given])
    return find_runs(path)


def recipe_of(run):
    recipes = {one.name: one for one in (omniglot.RECIPE, alphabets.RECIPE)}
    return recipes[run.config["recipe"]]


def resume_before_the_last(run, *arguments):
    """Forget the last checkpoint, and go on from the one before it."""
    os.replace(run.path / "checkpoint.previous.pt", run.checkpoint_path)
    main(recipe_of(run), ["train", "--resume", str(run.path), *arguments])


def metrics(run):
    columns = run.read_metrics()
    return {k: [repr(v) for v in c.tolist()] for k, c in columns.items() if k != "wall_seconds"}


def assert_same(run, other):
    assert metrics(run) == metrics(other)
    assert_equal(run.load_checkpoint()["learner"], other.load_checkpoint()["learner"], "learner")


def assert_equal(one, two, where):
    """Nested states, bit for bit."""
    if isinstance(one, dict):
        assert one.keys() == two.keys(), where
        for key in one:
            assert_equal(one[key], two[key], f"{where}.{key}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, two), where
    elif isinstance(one, list | tuple):
        assert len(one) == len(two), where
        for i, (a, b) in enumerate(zip(one, two, strict=True)):
            assert_equal(a, b, f"{where}[{i}]")
    else:
        assert one == two, where


def summary_of(run, capsys, *arguments):
    main(recipe_of(run), ["evaluate", str(run.path), "--device", "cpu", "--json", *arguments])
    return json.loads(capsys.readouterr().out.splitlines()[-1])
