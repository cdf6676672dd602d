"""Few-shot Omniglot, run as a user runs it: small, but whole."""

import json
import os
import shutil
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch

from experiments import omniglot
from experiments.omniglot import METHODS, RECIPE, defaults
from metarl import run as scripts
from metarl.core import share
from metarl.methods.supervised import STREAMS
from metarl.nn.conv_settings import ReducedConvNetSettings, WarpReducedSettings
from metarl.runs.directory import RunDirectory
from metarl.seeding import spawn_generators
from metarl.supervised import Examples, FewShotOmniglot
from tests.experiments.omniglot_runs import (
    assert_same,
    summary_of,
    tiny_archives,
    train,
)
from tests.metarl.supervised.omniglot.tiny_omniglot import REAL, needs_real_images

WARP_METHODS = [name for name, method in METHODS.items() if method.warped]
from_config = RECIPE.settings_of


def main(arguments):
    scripts.main(RECIPE, arguments)


SMALL = (
    *("--ways", "3", "--filters", "4", "--meta-batch", "3", "--train-characters", "10"),
    *("--validation-characters", "3", "--validation-tasks", "4", "--validate-every", "3"),
    *("--iterations", "8", "--log-every", "2", "--checkpoint-every", "5", "--device", "cpu"),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny_archives(tmp_path_factory.mktemp("omniglot"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data):
    (run,) = train(tmp_path_factory.mktemp("runs") / "maml", data, *SMALL)
    return run


def with_filters(settings, filters):
    return replace(settings, network=replace(settings.network, filters=filters))


def of(method):
    """Few inner steps; reptile has batches of its ten shots, here of three."""
    shots = ("--train-shots", "3", "--inner-batch", "5") if method in ("reptile", "leap") else ()
    return ("--method", method, "--inner-steps", "2", "--test-steps", "2", *shots)


def test_train_leaves_a_whole_run_directory(trained):
    names = {p.name.split(".")[0] for p in trained.path.iterdir()}
    assert {"config", "metrics", "checkpoint", "events"} <= names
    found = trained.read_metrics()
    assert found["iteration"].tolist() == [2, 4, 6, 8]
    assert found["tasks_seen"][-1] == 8 * 3
    # After 3, 6 and the last iteration.
    assert np.isfinite(found["validation_accuracy"]).tolist() == [False, True, True, True]
    best = trained.load_checkpoint()["learner"]["selection"]["best"]
    assert best["score"] == np.nanmax(found["validation_accuracy"])
    assert best["iteration"] in (3, 6, 8)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--warp-kind", "1x1", "--warp-layers", "2", "--warp-residual", "--reduction", "pool"),
        ("--warp-algorithm", "offline", "--train-shots", "2", "--inner-batch", "4"),
    ],
    ids=["as-it-is", "other-layers", "offline"],
)
def test_warp_layers_learn_beside_the_initialisation(tmp_path, data, capsys, arguments):
    (run,) = train(tmp_path / "run", data, *SMALL, *of("warp-maml"), *arguments)
    assert np.isfinite(run.read_metrics()["validation_accuracy"][1:]).all()
    init = spawn_generators(0, STREAMS)["init"]
    settings = from_config(run.config)
    begun = settings.learning().learner(init, torch.device("cpu"), settings.meta_batch).params
    trained = run.load_checkpoint()["learner"]["params"]
    assert trained.keys() == begun.keys()
    for name in ("slow.warp.0.0.conv.weight", "fast.blocks.0.conv.weight", "fast.head.weight"):
        assert not torch.equal(trained[name], begun[name]), name
    summary = summary_of(run, capsys, "--tasks", "4")
    assert (summary["method"], summary["steps"]) == ("warp-maml", [0, 1, 2])


def test_warped_learners_begin_as_the_network_without_warp_layers():
    images = torch.rand(1, 6, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    outputs = []
    for method in ("maml", "warp-maml"):
        settings = with_filters(defaults(method), 4)
        network = settings.learning().network
        params = network.init(torch.Generator().manual_seed(0))
        outputs.append(network(share(params, 1), images))
    assert torch.equal(*outputs)


def test_an_interrupted_run_is_saved_and_goes_on(tmp_path, data, capsys, monkeypatch):
    (whole,) = train(tmp_path / "whole", data, *SMALL)
    usual, calls = FewShotOmniglot.training_tasks, []

    def interrupted(*arguments):
        calls.append(0)
        if len(calls) == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return usual(*arguments)

    monkeypatch.setattr(FewShotOmniglot, "training_tasks", interrupted)
    with pytest.raises(SystemExit) as exit_:
        train(tmp_path / "cut", data, *SMALL)
    assert exit_.value.code == 130
    assert f"--resume {tmp_path / 'cut'}" in capsys.readouterr().err
    cut = RunDirectory.open(tmp_path / "cut")
    assert cut.load_checkpoint()["iteration"] == 4
    elsewhere = tiny_archives(tmp_path / "moved")
    main(["train", "--resume", str(cut.path), "--data", str(elsewhere)])
    assert_same(cut, whole)


def test_evaluate_prints_its_summary_as_the_last_line(trained, capsys):
    before = trained.checkpoint_path.read_bytes()
    summary = summary_of(trained, capsys, "--tasks", "20", "--steps", "4")
    assert summary == json.loads((trained.path / "summary.json").read_text())
    assert (summary["protocol"], summary["ways"], summary["shots"]) == ("fewshot", 3, 1)
    assert summary["steps"] == [0, 1, 2, 3, 4]
    assert summary["num_tasks"] == 20
    assert summary["num_classes"] == 4 * (18 - 10 - 3)
    for name in ("transductive", "non_transductive"):
        assert len(summary[f"{name}_curve"]) == len(summary[f"{name}_curve_ci95"]) == 5
        assert summary[f"{name}_accuracy"] == summary[f"{name}_curve"][-1]
        assert 0 <= summary[f"{name}_accuracy"] <= 1
        assert summary[f"{name}_ci95"] > 0
    for picture in ("steps.png", "training.png"):
        assert (trained.path / picture).stat().st_size > 1000
    again = summary_of(trained, capsys, "--tasks", "20", "--steps", "4")
    assert {**again, "wall_seconds": 0} == {**summary, "wall_seconds": 0}
    assert trained.checkpoint_path.read_bytes() == before


def test_steps_are_chosen_on_other_characters_than_the_test_has(trained, capsys):
    few = ("--tasks", "4", "--steps", "3")
    test = summary_of(trained, capsys, *few)
    main(["evaluate", str(trained.path), "--device", "cpu", *few, "--split", "validation"])
    words = capsys.readouterr().out
    validation = json.loads((trained.path / "summary-validation.json").read_text())
    assert json.loads((trained.path / "summary.json").read_text()) == test
    assert (test["split"], validation["split"]) == ("test", "validation")
    assert validation["num_classes"] == 4 * 3
    best = int(np.argmax(validation["transductive_curve"]))
    assert f"transductive accuracy is highest after {best} inner steps" in words
    assert "classes for validation" in words


def test_queries_and_step_size_of_the_evaluation(trained, capsys):
    few = ("--tasks", "6", "--steps", "3")
    usual = summary_of(trained, capsys, *few)
    assert (usual["query_shots"], usual["inner_lr"]) == (1, 0.4)
    other = summary_of(trained, capsys, *few, "--query-shots", "3", "--inner-lr", "0.05")
    assert (other["query_shots"], other["inner_lr"]) == (3, 0.05)
    assert other["transductive_curve"] != usual["transductive_curve"]


def test_a_learned_step_size_is_not_exchanged(tmp_path, data, capsys):
    (run,) = train(tmp_path / "run", data, *SMALL, *of("metasgd"))
    with pytest.raises(SystemExit):
        main(["evaluate", str(run.path), "--tasks", "4", "--inner-lr", "0.1"])
    assert "metasgd has learned its step sizes" in capsys.readouterr().err


def test_both_accuracies_are_printed_with_what_they_mean(trained, capsys):
    main(["evaluate", str(trained.path), "--tasks", "4", "--device", "cpu"])
    text = capsys.readouterr().out
    assert "  transductive (queries normalised together)" in text
    assert "  non-transductive (as the support set is)" in text


def test_best_and_last_are_different_learners(trained, capsys):
    best, last = (
        summary_of(trained, capsys, "--tasks", "4", "--checkpoint", which)
        for which in ("best", "last")
    )
    assert last["iteration"] == 8
    assert best["iteration"] in (3, 6, 8)
    assert best["validation_accuracy"] >= (last["validation_accuracy"] or 0)


@pytest.mark.parametrize("side", ["transductive", "non-transductive"])
def test_validation_chooses_by_either_accuracy(trained, data, side):
    assert from_config(trained.config).validate_by == "transductive"
    settings = replace(from_config(trained.config), validate_by=side)
    learning, device = settings.learning(), torch.device("cpu")
    learner = learning.learner(torch.Generator().manual_seed(0), device, settings.meta_batch)
    lessons = learning.problem.lessons(learning.data, learning.network, 0, device, 1)
    tasks = lessons.validation(learner.fast)
    curve = learning.curve(learner, tasks, settings.meta_batch)
    accuracy = {
        "transductive": curve.transductive[:, -1].mean(),
        "non-transductive": curve.non_transductive[:, -1].mean(),
    }
    assert accuracy["transductive"] != accuracy["non-transductive"]
    assert learning.score(learner, tasks, settings.meta_batch) == accuracy[side]


def test_only_pictures_that_are_there_are_said_to_be_drawn(tmp_path, data, capsys):
    (run,) = train(tmp_path / "run", data, *SMALL, "--iterations", "1")
    for name, words in (("metrics.jsonl", "steps.png\n"), (None, "steps.png, {}/training.png\n")):
        kept = (run.path / "metrics.jsonl").read_bytes()
        if name:
            lines = [json.loads(line) for line in kept.splitlines()]
            rest = [{k: v for k, v in x.items() if k != "validation_accuracy"} for x in lines]
            (run.path / name).write_text("".join(json.dumps(x) + "\n" for x in rest))
        main(["evaluate", str(run.path), "--tasks", "4", "--device", "cpu"])
        assert f"  drawn: {run.path}/{words.format(run.path)}" in capsys.readouterr().out
        (run.path / "metrics.jsonl").write_bytes(kept)


@pytest.mark.parametrize(
    ("config", "script"),
    [
        ({"family": "sine", "method": "maml"}, "regression"),
        ({"env": "maze", "method": "maml", "wall_penalty": 0.0}, "maze_adapt"),
        ({"method": "warp", "wall_penalty": 0.0}, "maze"),
        ({"protocol": "multishot", "method": "warp"}, "alphabets"),
        ({"recipe": "experiments.alphabets", "method": "warp"}, "alphabets"),
    ],
)
def test_the_run_of_another_script_is_said_to_be_its(tmp_path, capsys, config, script):
    path = tmp_path / "run"
    RunDirectory.create(path, config, seed=0)
    for arguments in (["evaluate", str(path)], ["train", "--resume", str(path)]):
        with pytest.raises(SystemExit) as exit_:
            main(arguments)
        assert exit_.value.code == 2
        assert f"it is that of one of experiments.{script}" in capsys.readouterr().err


def test_train_validation_and_test_have_different_characters(data):
    problem = FewShotOmniglot(
        ways=2, train_characters=10, validation_characters=3, data=data, complete=False
    )
    images = problem.load()
    sides = [problem.tasks(images, side) for side in ("train", "validation", "test")]
    assert [len(side.classes) for side in sides] == [40, 12, 20]
    pictures = [{bytes(x.numpy()) for x in side._inputs} for side in sides]
    assert not pictures[0] & pictures[1]
    assert not (pictures[0] | pictures[1]) & pictures[2]


def test_published_settings():
    five, twenty = defaults(), defaults("maml", 20)
    assert (five.meta_batch, five.test_steps, five.learner.inner_lr) == (32, 3, 0.4)
    assert (five.learner.inner_steps, five.learner.lr) == (1, 1e-3)
    assert (twenty.meta_batch, twenty.ways, twenty.learner.inner_lr) == (16, 20, 0.1)
    assert (twenty.learner.inner_steps, twenty.test_steps) == (5, 5)
    reptile = defaults("reptile")
    assert (reptile.meta_batch, reptile.train_shots, reptile.inner_batch) == (5, 10, 10)
    assert (reptile.test_steps, reptile.iterations) == (50, 100_000)
    inner = reptile.learner
    assert (inner.inner_rule, inner.inner_lr, inner.inner_beta1) == ("adam", 1e-3, 0.0)
    assert (inner.inner_steps, inner.decay, inner.lr) == (5, "linear", 1.0)
    assert (defaults("imaml").test_steps, defaults("imaml", 20).test_steps) == (16, 25)
    warped = defaults("warp-maml")
    assert (warped.learner.inner_lr, warped.learner.inner_steps) == (0.1, 5)
    assert (warped.test_steps, warped.learner.warp_objective) == (5, "exact")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("ways", [5, 20])
def test_every_method_has_settings_that_can_be_trained(method, ways):
    settings = defaults(method, ways)
    learning = with_filters(settings, 2).learning()
    learner = learning.learner(torch.Generator(), torch.device("cpu"), settings.meta_batch)
    assert learner.num_steps == settings.learner.inner_steps
    assert (settings.method, settings.ways) == (method, ways)


@pytest.mark.parametrize(
    ("method", "changes", "training", "judging"),
    [
        ("maml", {}, 8, 8),
        ("maml", {"ways": 20}, 2, 2),
        ("maml", {"shots": 5}, 1, 1),
        ("maml", {"network": ReducedConvNetSettings(32)}, 16, 16),
        ("maml", {"train_shots": 2}, 4, 8),
        ("reptile", {}, 4, 8),
        ("warp-maml", {"network": WarpReducedSettings(16)}, 32, 32),
    ],
)
def test_as_many_tasks_are_stacked_as_was_measured_to_be_fast(
    monkeypatch, method, changes, training, judging
):
    monkeypatch.setenv("METARL_NATIVE", "off")
    settings = replace(defaults(method), **changes)
    assert settings.learner.execution.chunk_size == "auto"
    device, many, learning = torch.device("cpu"), settings.meta_batch, settings.learning()
    learner = learning.learner(torch.Generator(), device, many)
    assert learner.execution.chunk_size == training
    assert learning.execution(device, many, training=False).chunk_size == judging
    gpu = torch.device("cuda")
    assert learning.execution(gpu, many, training=True).chunk_size is None
    assert learning.execution(gpu, many, training=False).chunk_size == many


@pytest.mark.parametrize("size", [3, None])
def test_a_number_of_stacked_tasks_that_was_chosen_is_kept(trained, size):
    config = json.loads(json.dumps(trained.config))
    assert config["learner"]["chunk_size"] == "auto"
    config["learner"]["chunk_size"] = size
    learning = from_config(config).learning()
    for device in ("cpu", "cuda"):
        for training in (True, False):
            found = learning.execution(torch.device(device), 2, training=training)
            assert found.chunk_size == found.stacked == size


def test_the_config_gives_the_settings_back(trained, data):
    settings = from_config(trained.config)
    assert settings.data == data
    assert settings.learner == defaults().learner
    assert (settings.ways, settings.network.filters, settings.iterations) == (3, 4, 8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--ways", "1"), "--ways must be at least 2"),
        (("--ways", "two"), "--ways must be a whole number"),
        (("--ways", "50"), "train tasks cannot be made"),
        (("--shots", "4"), "train tasks cannot be made"),
        (("--ways", "13", "--train-characters", "12"), "validation tasks cannot be made"),
        (("--train-characters", "17"), "leave none of 18 for the test"),
        (("--inner-batch", "4"), "exceeds the 3 drawings"),
        (("--method", "daml"), "daml is for tasks that show no labels"),
        (("--method", "ft"), "ft is for training tasks that are met again"),
        (("--method", "warp-mamml"), "is not one of maml"),
        (("--method", "warp", "--warp-layers", "0"), "--warp-layers must be at least 1"),
        (("--device", "tpu"), "there is no device"),
        (("--protocol", "multishot"), "alphabets by the recipe alphabets"),
        (("--complete",), "characters"),
    ],
)
def test_mistakes_end_in_one_line_before_any_work(tmp_path, data, capsys, arguments, message):
    with pytest.raises(SystemExit) as exit_:
        train(tmp_path / "run", data, *SMALL, *arguments)
    assert exit_.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_missing_images_say_what_to_do(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["train", "--data", str(tmp_path / "none"), "--run-dir", str(tmp_path / "run")])
    assert "download" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--tasks", "0"), "--tasks must be at least 1"),
        (("--inner-lr", "-1"), "--inner-lr must be finite and above 0"),
    ],
)
def test_evaluate_refuses_what_means_nothing(trained, capsys, arguments, message):
    with pytest.raises(SystemExit) as exit_:
        main(["evaluate", str(trained.path), *arguments])
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


def test_download_puts_the_archives_where_they_are_looked_for(tmp_path, capsys, monkeypatch):
    asked = []
    monkeypatch.setattr(omniglot, "download", lambda folder: asked.append(folder))
    monkeypatch.setenv("METARL_DATA", str(tmp_path))
    main(["download"])
    main(["download", "--data", str(tmp_path / "elsewhere")])
    assert asked == [tmp_path / "omniglot", tmp_path / "elsewhere"]
    assert str(tmp_path / "elsewhere") in capsys.readouterr().out


@pytest.mark.slow
@needs_real_images
def test_maml_learns_and_a_twin_with_wrong_answers_does_not(tmp_path, capsys, monkeypatch):
    """On the real images; the twin's queries bear the labels of their neighbours."""
    small = (
        *("--filters", "16", "--meta-batch", "16", "--iterations", "200", "--device", "cpu"),
        *("--lr", "3e-3", "--validate-every", "200"),
    )

    def accuracy(name):
        main(["train", "--data", str(REAL), "--run-dir", str(tmp_path / name), *small])
        run = RunDirectory.open(tmp_path / name)
        return summary_of(run, capsys, "--tasks", "100", "--checkpoint", "last")

    learned = accuracy("whole")
    usual = FewShotOmniglot.training_tasks

    def wrong(problem, network, num_batches, batch, generator):
        inputs, targets = batch.query
        batch = batch._replace(query=Examples(inputs, targets.roll(1, -1)))
        return usual(problem, network, num_batches, batch, generator)

    monkeypatch.setattr(FewShotOmniglot, "training_tasks", wrong)
    twin = accuracy("twin")
    assert learned["transductive_accuracy"] > 0.7
    assert learned["transductive_accuracy"] > learned["non_transductive_accuracy"]
    # Random features tell some characters apart: about 0.4, as without meta-training.
    assert twin["transductive_accuracy"] < 0.5


def test_several_runs_are_summed_up_together(trained, tmp_path, capsys):
    for seed in ("seed-0", "seed-1"):
        shutil.copytree(trained.path, tmp_path / "runs" / seed)
    main(["evaluate", str(tmp_path / "runs"), "--device", "cpu", "--tasks", "4", "--json"])
    *words, line = capsys.readouterr().out.splitlines()
    stored = json.loads((tmp_path / "runs" / "summary.json").read_text())
    assert json.loads(line) == stored
    assert "mean of 2 runs: non-transductive" in words[-1]
    one = json.loads((tmp_path / "runs" / "seed-0" / "summary.json").read_text())
    mean = one["transductive_accuracy"]
    assert stored["transductive_accuracy"] == mean
    assert stored["transductive_accuracy_over_runs_ci95"] == [mean, mean]
    assert stored["runs"][0] == one
