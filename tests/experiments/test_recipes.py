"""The contract of every recipe, over recipes and methods: command line, settings, runs."""

import dataclasses
import json
import os
import signal
from dataclasses import fields
from pathlib import Path

import pytest

from experiments import alphabets, omniglot, regression
from metarl.run import main
from metarl.run.counts import option
from metarl.runs.directory import RunDirectory
from metarl.runs.seeds import find_runs
from metarl.train.loop import MetaTraining
from tests.experiments.omniglot_runs import assert_same, tiny_archives

EVERY = ("--log-every", "2", "--checkpoint-every", "3", "--device", "cpu", "--iterations", "5")
CHARACTERS = ("--no-complete", "--filters", "2", "--meta-batch", "2", "--validate-every", "2")
TINY = {
    "regression": (regression.RECIPE, ("--hidden", "4", "--meta-batch", "2", *EVERY)),
    "omniglot": (
        omniglot.RECIPE,
        (
            *("--ways", "2", "--train-characters", "10", "--validation-characters", "3"),
            *("--validation-tasks", "2", "--no-rotations", *CHARACTERS, *EVERY),
        ),
    ),
    "alphabets": (
        alphabets.RECIPE,
        (
            *("--preset", "fast", "--pretrain", "2", "--test-alphabets", "2", "--classes", "3"),
            *("--held-out", "1", "--validation-alphabets", "1", "--test-steps", "2"),
            *("--images.batch-size", "3", *CHARACTERS, *EVERY),
        ),
    ),
}
"""Every recipe, with options that make its training small."""

KINDS = {
    "omniglot reptile": ("--train-shots", "2", "--inner-batch", "2"),
    "omniglot leap": ("--train-shots", "2", "--inner-batch", "2"),
    "regression daml": ("--family", "sine-domain"),
}
"""What some methods need beside."""

METHODS = [(name, method) for name, (recipe, _) in TINY.items() for method in recipe.methods]
ONE = [(name, next(iter(recipe.methods))) for name, (recipe, _) in TINY.items()]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny_archives(tmp_path_factory.mktemp("omniglot"))


@pytest.fixture
def start(data):
    def train(name, method, path, *arguments):
        recipe, tiny = TINY[name]
        images = ("--data", str(data)) if recipe.may_move else ()
        steps = () if "--inner-steps" in arguments else ("--inner-steps", "2")
        own = ("--method", method, *steps, *KINDS.get(f"{name} {method}", ()))
        main(recipe, ["train", *tiny, *images, *own, "--run-dir", str(path), *arguments])
        return find_runs(path)

    return train


def defaults(name, method):
    family = {"family": "sine-domain"} if method == "daml" else {}
    return TINY[name][0].defaults(**family, method=method)


@pytest.mark.parametrize(("name", "method"), METHODS)
def test_help_shows_what_the_method_reads_and_nothing_else(name, method, capsys):
    recipe, _ = TINY[name]
    family = ("--family", "sine-domain") if method == "daml" else ()
    with pytest.raises(SystemExit) as exit_:
        main(recipe, ["train", "--method", method, *family, "--help"])
    assert exit_.value.code == 0
    shown = {word.strip("│,") for word in capsys.readouterr().out.split()}
    settings = defaults(name, method)
    read = {f.name for part in (settings, settings.learner) for f in fields(part)} - {
        *("learner", "network", "images", *recipe.unread(settings))
    }
    others = {f.name for other in recipe.methods.values() for f in fields(other)} - read
    assert {option(setting) for setting in read} <= shown
    network = {f.name for f in fields(getattr(settings, "network", settings))}
    assert not {option(setting) for setting in others - network} & shown


@pytest.mark.parametrize(("name", "method"), METHODS)
def test_usual_settings_come_back_from_a_config(name, method, tmp_path):
    recipe, settings = TINY[name][0], defaults(name, method)
    run = RunDirectory.create(tmp_path / "run", settings, seed=0, recipe=recipe.name)
    run.close()
    assert recipe.settings_of(RunDirectory.open(run.path).config) == settings
    assert settings.learner.name == method


@pytest.mark.parametrize(("name", "method"), METHODS)
def test_every_method_resumes_bit_for_bit_after_a_kill(name, method, start, tmp_path):
    """From the checkpoint before the last, between two lines of metrics."""
    (whole,), (cut,) = (start(name, method, tmp_path / place) for place in ("whole", "cut"))
    os.replace(cut.path / "checkpoint.previous.pt", cut.checkpoint_path)
    assert cut.load_checkpoint()["iteration"] == 3
    main(TINY[name][0], ["train", "--resume", str(cut.path)])
    assert_same(cut, whole)
    assert whole.config["recipe"] == TINY[name][0].name


@pytest.mark.parametrize(("name", "method"), ONE)
def test_seeds_train_in_turn_and_equal_seeds_alone(name, method, start, tmp_path):
    together = start(name, method, tmp_path / "together", "--seeds", "0", "3")
    assert [run.path.name for run in together] == ["seed-0", "seed-3"]
    (alone,) = start(name, method, tmp_path / "alone", "--seeds", "3")
    assert_same(together[1], alone)


@pytest.mark.parametrize(("name", "method"), ONE)
def test_ctrl_c_saves_and_says_how_to_go_on(name, method, start, tmp_path, capsys, monkeypatch):
    (whole,) = start(name, method, tmp_path / "whole")
    iterate, calls = MetaTraining._iterate, []

    def interrupted(self):
        calls.append(0)
        if len(calls) == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return iterate(self)

    monkeypatch.setattr(MetaTraining, "_iterate", interrupted)
    with pytest.raises(SystemExit) as exit_:
        start(name, method, tmp_path / "cut")
    assert exit_.value.code == 130
    said = capsys.readouterr().err.splitlines()[-1]
    recipe = TINY[name][0]
    assert "saved at iteration 4" in said
    assert said.endswith(f"python -m {recipe.name} train --resume {tmp_path / 'cut'}")
    main(recipe, ["train", "--resume", str(tmp_path / "cut")])
    assert_same(find_runs(tmp_path / "cut")[0], whole)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fly"], "unknown command 'fly'"),
        (["train", "--method", "sgd"], "--method 'sgd' is not one of maml, fomaml"),
        (["train", "--method", "promp"], "promp is for tasks that a policy acts in"),
        (["train", "--method", "maml", "--order", "serial"], "--order is for reptile; maml reads"),
        (["train", "--method", "none", "--lr", "1"], "none reads no such setting"),
        (["train", "--learner.inner.num-steps=2"], "num-steps is --inner-steps since version 0.2"),
        (["train", "--learner.outer.optimiser.lr", "1"], "optimiser.lr is --lr since version 0.2"),
        (["train", "--warp.head"], "--warp.head is --warp-head since version 0.2"),
        (["train", "--iterations", "0"], "--iterations must be at least 1, got 0"),
        (["train", "--iterations", str(10**30)], "--iterations must be at most"),
        (["train", "--meta-batch", "0"], "--meta-batch must be at least 1, got 0"),
        (["train", "--seeds", "1", "1"], "--seeds must be different, got 1 twice"),
        (["train", "--seeds"], "--seeds needs at least one value"),
        (["train", "--seeds", "0", "-2"], "--seeds must not be negative, got -2"),
        (["train", "--inner-lr", "-1"], "--inner-lr must be finite and above 0, got -1.0"),
        (["train", "--inner-steps", "0"], "--inner-steps must be at least 1, got 0"),
        (["train", "--max-grad-norm", "0"], "--max-grad-norm must be finite and above 0"),
        (["train", "--chunk-size", "0"], "chunk_size must be at least 1"),
        (["train", "--resume", "no-such-run"], "there is no run directory no-such-run"),
        (["train", "--resume", "no-such-run", "--meta-batch", "3"], "drop --meta-batch"),
        (["evaluate", "no-such-run"], "there is no run directory no-such-run"),
        (["evaluate", "x", "--steps", "0"], "--steps must be at least 1, got 0"),
        (["evaluate", "x", "--seed", "-1"], "--seed must not be negative, got -1"),
    ],
)
@pytest.mark.parametrize("name", TINY)
def test_mistakes_end_in_one_line_before_work_starts(
    name, arguments, message, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_:
        main(TINY[name][0], arguments)
    assert exit_.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message.replace("chunk_size", "--chunk-size") in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "method"), ONE)
def test_a_run_is_not_overwritten_nor_changed_nor_anothers(name, method, start, tmp_path, capsys):
    (run,) = start(name, method, tmp_path / "run")
    before = run.checkpoint_path.read_bytes()
    with pytest.raises(SystemExit):
        start(name, method, run.path)
    assert "--resume" in capsys.readouterr().err
    for given in (("--method", "reptile"), ("--inner-lr", "1"), ("--seeds", "4")):
        with pytest.raises(SystemExit):
            main(TINY[name][0], ["train", "--resume", str(run.path), *given])
        assert capsys.readouterr().err.endswith(f"drop {given[0]}\n")
    for other, (recipe, _) in TINY.items():
        if other == name:
            continue
        for words in (["train", "--resume", str(run.path)], ["evaluate", str(run.path)]):
            with pytest.raises(SystemExit):
                main(recipe, words)
            assert f"it is that of one of {TINY[name][0].name}" in capsys.readouterr().err
    assert run.checkpoint_path.read_bytes() == before


CONFIGS = json.loads((Path(__file__).parent / "configs_0_1.json").read_text())


@pytest.mark.parametrize(
    ("name", "recipe", "changes", "of_learner", "of_network"),
    [
        (
            "regression-warp-leap",
            regression.RECIPE,
            {"hidden": (8, 8), "meta_batch": 3, "iterations": 20, "log_every": 5},
            {},
            {},
        ),
        (
            "regression-logistic",
            regression.RECIPE,
            {"hidden": (8, 8), "meta_batch": 3, "iterations": 20, "log_every": 5},
            {},
            {},
        ),
        (
            "regression-sine-domain",
            regression.RECIPE,
            {"hidden": (8, 8), "meta_batch": 3, "iterations": 20, "log_every": 5},
            {},
            {},
        ),
        (
            "fewshot-20-reptile",
            omniglot.RECIPE,
            {
                **{"meta_batch": 2, "iterations": 3, "log_every": 5, "validate_every": 5},
                "validation_tasks": 5,
            },
            {},
            {"filters": 4},
        ),
        (
            "fewshot-warp",
            omniglot.RECIPE,
            {
                **{"meta_batch": 2, "iterations": 10, "log_every": 5, "validate_every": 5},
                "validation_tasks": 5,
            },
            {},
            {"filters": 4},
        ),
        (
            "omniglot-20way-1shot-anil",
            omniglot.RECIPE,
            {
                **{"query_shots": 3, "iterations": 4500, "meta_batch": 8, "log_every": 100},
                "checkpoint_every": 250,
            },
            {"inner_lr": 2.0, "lr": 2e-3, "decay": "cosine"},
            {},
        ),
        (
            "multishot-reference-warp-leap",
            alphabets.RECIPE,
            {"meta_batch": 2, "iterations": 2, "log_every": 5},
            {},
            {"filters": 4},
        ),
        (
            "multishot-ft",
            alphabets.RECIPE,
            {"meta_batch": 2, "iterations": 6, "log_every": 5},
            {},
            {"filters": 4},
        ),
    ],
)
def test_runs_of_version_0_1_have_the_settings_that_they_were_made_with(
    name, recipe, changes, of_learner, of_network
):
    found = recipe.settings_of(CONFIGS[name])
    expected = recipe.defaults(**{pick: CONFIGS[name][pick] for pick in recipe.picks})
    if of_network:
        changes["network"] = dataclasses.replace(expected.network, **of_network)
    learner = dataclasses.replace(expected.learner, **of_learner)
    changes |= {"run_dir": Path("runs") / name, "native": "off"}  # there were no kernels
    assert found == dataclasses.replace(expected, learner=learner, **changes)
