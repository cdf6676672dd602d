"""The space of a search, as it is written on the command line."""

import math

import pytest
from optuna.trial import FixedTrial

from experiments import maze, maze_adapt
from metarl.errors import UserError
from metarl.run.command_line import parse_training
from metarl.search.space import Choice, Range, corners, dimension, proposed

CLOSED = {"environment": "that would be other tasks", "iterations": "all have the same"}


@pytest.fixture(scope="module")
def settings():
    return maze_adapt.defaults("bandit", "rl2")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("lr=log:1e-4:1e-2", Range("lr", 1e-4, 1e-2, False, log=True)),
        ("learner.lr=float:0.1:0.5", Range("lr", 0.1, 0.5, False)),
        ("--lr=float:0:1:0.25", Range("lr", 0.0, 1.0, False, step=0.25)),
        ("hidden-size=int:32:256", Range("hidden-size", 32, 256, True)),
        ("agent.hidden_size=log:32:256", Range("hidden-size", 32, 256, True, log=True)),
        ("meta_batch=int:8:64:8", Range("meta-batch", 8, 64, True, step=8)),
        ("loss.gamma=float:0.5:0.9", Range("loss.gamma", 0.5, 0.9, False)),
        ("agent.loss.gamma=0.5,0.9", Choice("loss.gamma", ("0.5", "0.9"))),
        ("core=gru, lstm", Choice("core", ("gru", "lstm"))),
        ("loss.normalise-advantages=True,false", None),
        ("max-grad-norm=none,0.5,1", Choice("max-grad-norm", ("none", "0.5", "1"))),
    ],
)
def test_what_can_be_written(settings, text, found):
    one = dimension(text, settings, CLOSED)
    if found is None:
        found = Choice("loss.normalise-advantages", ("true", "false"), flag=True)
    assert one == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lr", "must be NAME=int:LOW:HIGH"),
        ("lr=", "must be NAME=int:LOW:HIGH"),
        ("learning-rate=log:1:2", "there is no option learning-rate; there are "),
        ("loss=1,2", "name an option; in loss there is "),
        ("loss.gama=1,2", "there is no option gama; there are "),
        ("lr.x=1,2", "name an option; in lr there is nothing"),
        ("lr=1e-3", "different values, at least two"),
        ("core=gru,gru", "different values, at least two"),
        ("core=gru,", "different values, at least two"),
        ("lr=log:1e-4", "a range is log:LOW:HIGH"),
        ("lr=log:a:b", "a range is log:LOW:HIGH"),
        ("lr=log:1:2:3:4", "a range is log:LOW:HIGH"),
        ("lr=log:0:1", "begins above 0"),
        ("lr=log:-1:1", "begins above 0"),
        ("lr=float:1:1", "the first below the second"),
        ("lr=float:2:1", "the first below the second"),
        ("lr=float:0:inf", "must be finite"),
        ("lr=float:nan:1", "must be finite"),
        ("lr=float:0:1:2", "at most as long as the range"),
        ("lr=float:0:1:-1", "a step is above 0"),
        ("lr=log:1:2:0.5", "not of log"),
        ("hidden-size=float:1:2", "is a whole number: hidden-size=int:LOW:HIGH"),
        ("hidden-size=int:1.5:2", "is a whole number, so are the ends"),
        ("core=int:1:2", "is no number: name its values"),
        ("loss.normalise-advantages=yes,no", "is true or false"),
        ("horizon=int:3:5", "that would be other tasks"),
        ("environment.horizon=int:3:5", "that would be other tasks"),
        ("iterations=int:3:5", "all have the same"),
    ],
)
def test_what_is_refused(settings, text, said):
    with pytest.raises(UserError) as error:
        dimension(text, settings, CLOSED)
    assert str(error.value).startswith(f"--search {text}")
    assert said in str(error.value)


def test_what_is_proposed_is_what_train_reads():
    texts = (
        *("lr=log:1e-4:1e-2", "hidden-size=int:8:16", "core=gru,lstm", "hidden=8 8,16 16"),
        "loss.normalise-advantages=true,false",
    )
    settings = maze.defaults(mazes="dfs")
    space = [dimension(text, settings, {}) for text in texts if not text.startswith("hidden=")]
    values = {"lr": 1 / 3 * 1e-2, "hidden-size": 9, "core": "gru"}
    trial = FixedTrial({**values, "loss.normalise-advantages": "false"})
    words = proposed(space, trial)
    found = parse_training(maze.RECIPE, "train", ["--mazes", "dfs", *words])
    assert (found.learner.lr, found.hidden_size, found.core) == tuple(values.values())
    assert found.loss.normalise_advantages is False
    many = dimension("hidden=8 8,16", maze_adapt.defaults("bandit"), {})
    words = many.words("8 8")
    found = parse_training(maze_adapt.RECIPE, "train", ["--env", "bandit", *words])
    assert found.agent.hidden == (8, 8)


def test_every_value_that_a_space_names_stands_in_a_corner():
    settings = maze_adapt.defaults("bandit", "rl2")
    texts = ("lr=log:1e-4:1e-2", "core=gru,lstm,rnn")
    found = list(corners([dimension(text, settings, {}) for text in texts]))
    assert [words[3] for words in found] == ["gru", "gru", "lstm", "rnn"]
    assert [words[1] for words in found] == ["0.0001", "0.01", "0.0001", "0.0001"]
    assert all(math.isfinite(float(words[1])) for words in found)
