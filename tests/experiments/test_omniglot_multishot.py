"""Multi-shot Omniglot, run as a user runs it: small, but whole."""

import csv
import json
import pickle
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch

from experiments import alphabets
from experiments.alphabets import MAY_RESET_HEAD, METHODS, RECIPE, Preset, defaults
from metarl import run as scripts
from metarl.compare.work import Job, finished
from metarl.core import num_parameters, partition, share
from metarl.evaluate.supervised import area_under
from metarl.meta import SIMPLIFIED, OfflineWarpGrad
from metarl.meta.maml import SecondOrder
from metarl.plots import lines as pictures
from metarl.run.classification import AlphabetsSettings
from metarl.runs.directory import RunDirectory
from metarl.supervised.omniglot import alphabets as lessons
from tests.experiments.omniglot_runs import (
    assert_same,
    resume_before_the_last,
    summary_of,
    tiny_archives,
)
from tests.experiments.omniglot_runs import train as train_recipe
from tests.metarl.supervised.omniglot.tiny_omniglot import REAL, needs_real_images

from_config = RECIPE.settings_of


def main(arguments):
    scripts.main(RECIPE, arguments)


def train(*arguments):
    return train_recipe(*arguments, recipe=RECIPE)


OPTIONS = (
    *("--test-alphabets", "2", "--classes", "3", "--held-out", "1", "--meta-batch", "2"),
    *("--validation-alphabets", "1", "--filters", "3", "--test-steps", "4"),
    *("--inner-steps", "3", "--images.batch-size", "4", "--validate-every", "2"),
    *("--iterations", "5", "--checkpoint-every", "3", "--device", "cpu"),
)
SMALL = ("--preset", "fast", "--pretrain", "2", *OPTIONS)


@pytest.fixture(scope="module", autouse=True)
def few_reference_images():
    """Enough for batches of four, and quick."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lessons, "REFERENCE_IMAGES", 8)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny_archives(tmp_path_factory.mktemp("omniglot"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("runs") / "warp-leap"
    (run,) = train(path, data, *SMALL)
    return run


def test_train_leaves_a_whole_run_directory(trained):
    names = {p.name.split(".")[0] for p in trained.path.iterdir()}
    assert {"config", "metrics", "checkpoint", "events", "split"} <= names
    found = trained.read_metrics()
    assert found["iteration"].tolist() == [1, 2, 3, 4, 5]
    assert found["tasks_seen"].tolist() == [2, 4, 6, 8, 10]
    # After 2, 4 and the last iteration.
    validated = np.isfinite(found["validation_accuracy"]).tolist()
    assert validated == [False, True, False, True, True]
    split = json.loads((trained.path / "split.json").read_text())
    parts = [set(split[side]) for side in ("pretrain", "validation", "test")]
    assert [len(part) for part in parts] == [2, 1, 2]
    assert len(set.union(*parts)) == 5


@pytest.mark.parametrize("method", MAY_RESET_HEAD)
def test_random_heads_resume_bit_for_bit(tmp_path, data, method):
    arguments = (*SMALL, "--method", method, "--head-reset")
    (whole,) = train(tmp_path / "whole", data, *arguments)
    (cut,) = train(tmp_path / "cut", data, *arguments)
    resume_before_the_last(cut)
    assert_same(cut, whole)


def test_evaluate_prints_its_summary_as_the_last_line(trained, capsys):
    before = trained.checkpoint_path.read_bytes()
    summary = summary_of(trained, capsys, "--every", "3")
    assert summary == json.loads((trained.path / "summary.json").read_text())
    assert (summary["protocol"], summary["method"]) == ("multishot", "warp-leap")
    assert summary["steps"] == [0, 3, 4]
    assert len(summary["non_transductive_curve"]) == 3
    assert len(summary["support_loss_curve"]) == 4
    assert set(summary["alphabets"]) == set(
        json.loads((trained.path / "split.json").read_text())["test"]
    )
    mean = np.mean(list(summary["alphabets"].values()))
    assert summary["non_transductive_accuracy"] == pytest.approx(mean)
    losses = np.array([summary["support_loss_curve"]])
    assert summary["area_under_training_loss"] == pytest.approx(area_under(losses)[0])
    again = summary_of(trained, capsys, "--every", "3")
    assert {**again, "wall_seconds": 0} == {**summary, "wall_seconds": 0}
    assert trained.checkpoint_path.read_bytes() == before


def test_the_area_under_a_constant_is_the_constant_and_under_a_line_its_middle():
    assert area_under(np.full((2, 5), 3.0)).tolist() == [3.0, 3.0]
    assert area_under(np.array([[0.0, 1.0, 2.0, 3.0]])).tolist() == [1.5]
    assert area_under(np.array([[7.0]])).tolist() == [7.0]


@pytest.mark.parametrize("method", METHODS)
def test_presets_differ_where_they_should(method):
    fast, usual, reference = (defaults(preset, method) for preset in get_args(Preset))
    assert (usual.network.filters, usual.meta_batch, usual.images.batch_size) == (64, 20, 128)
    assert fast.network.filters < usual.network.filters
    assert fast.meta_batch < usual.meta_batch
    for settings in (fast, usual):
        assert settings.resize == "lanczos"
        assert settings.images.distortion.fill == "paper"
        assert not settings.images.distort_held_out
        assert settings.images.ink == 1
        assert not settings.head_reset
    assert reference.resize == "nearest"
    assert reference.images.distortion.fill == "black"
    assert reference.images.distort_held_out
    assert reference.images.ink == 0
    assert reference.head_reset is (method in MAY_RESET_HEAD)
    whole_graph = issubclass(METHODS[method], SecondOrder)
    for settings in (usual, reference):
        assert settings.learner.inner_lr == 0.1
        assert settings.learner.inner_steps == (5 if whole_graph else 100)
    ahead = whole_graph or method in ("fomaml", "imaml")
    assert usual.query == ("held-out" if ahead else "train")
    if method != "none":
        outer = usual.learner.outer.optimiser
        assert (outer.name, outer.lr, outer.beta1) == ("sgd", 0.5 if ahead else 0.1, 0.0)
        assert usual.learner.decay == "constant"
    assert {s.test_steps for s in (fast, usual, reference)} == {100}
    if METHODS[method].warped:
        assert usual.learner.warp_algorithm == reference.learner.warp_algorithm == "offline"
        assert usual.learner.warp_objective == "exact"
        assert reference.learner.warp_objective == "first_order"
    if method in ("leap", "warp-leap"):
        assert usual.learner.leap_final
        assert fast.learner.leap_final
        assert not reference.learner.leap_final
    if method == "warp-leap":
        assert reference.learner.metric == SIMPLIFIED


def test_the_published_network_has_the_published_number_of_parameters():
    network = defaults("reference", "warp-leap").learning().network
    fast, slow = partition(p := network.init(torch.Generator()), slow=network.slow).split(p)
    assert num_parameters(fast) == 113_236
    assert num_parameters(slow) == 147_712
    strong = {"warp_layers": 2, "warp_batch_norm": True, "warp_residual": True}
    changed = replace(defaults(), network=replace(defaults().network, **strong))
    stronger = changed.learning().network
    slow = partition(p := stronger.init(torch.Generator()), slow=stronger.slow).split(p)[1]
    assert num_parameters(slow) == 297_472
    plain = defaults("default", "leap").learning().network
    assert num_parameters(plain.init(torch.Generator())) == 113_236
    assert plain.slow == ()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--warp-kind", "scaling"),
        ("--warp-kind", "1x1", "--warp-start", "random"),
        ("--warp-head",),
        ("--warp-batch-norm",),
        ("--warp-batch-norm", "--warp-residual", "--warp-layers", "2"),
        (
            *("--warp-layers", "2", "--warp-filters", "5", "--warp-activation", "relu"),
            *("--warp-residual", "--warp-batch-norm"),
        ),
        ("--warp-algorithm", "online", "--inner-rule", "adam"),
        ("--warp-stride", "2", "--inner-learned", "parameter"),
        ("--preset", "reference", *OPTIONS),
    ],
)
def test_warp_capacity_and_other_options_train(tmp_path, data, capsys, arguments):
    (run,) = train(tmp_path / "run", data, *SMALL, "--iterations", "2", *arguments)
    found = run.read_metrics()
    assert np.isfinite(found["support_loss"]).all()
    assert run.load_checkpoint()["iteration"] in (2, 5)


@pytest.mark.parametrize(
    ("preset", "options", "start"),
    [
        ("default", {}, "identity"),
        ("fast", {"warp_residual": True, "warp_activation": "tanh"}, "identity"),
        ("default", {"warp_activation": "tanh"}, "random"),
        ("fast", {"warp_head": True}, "random"),
        ("default", {"warp_start": "random"}, "random"),
        ("reference", {}, "random"),
    ],
)
def test_warp_layers_begin_as_the_identity_where_they_can(preset, options, start):
    settings = defaults(preset, "warp-leap")
    changed = replace(settings, network=replace(settings.network, **options))
    assert changed.learning().network.start == start


def test_alphabets_are_stacked_as_was_measured_to_be_fast(monkeypatch):
    monkeypatch.setenv("METARL_NATIVE", "off")
    for preset, size in (("fast", 8), ("default", 1)):
        learning = defaults(preset).learning()
        for device, chunk in (("cpu", size), ("cuda", None)):
            found = learning.execution(torch.device(device), 20, training=True)
            assert found.chunk_size == chunk


def settings_of(data, method, **changes):
    small = {
        "network": replace(defaults("fast", method).network, filters=3),
        "classes": 3,
        "held_out": 1,
        "pretrain": 2,
        "test_alphabets": 2,
    }
    changes = {**small, "validation_alphabets": 1, "meta_batch": 3, "data": data, **changes}
    return replace(defaults("fast", method), **changes)


def a_meta_batch(data, method, **changes):
    settings = settings_of(data, method, **changes)
    learning, cpu = replace(settings, complete=False).learning(), torch.device("cpu")
    seen = learning.problem.lessons(learning.data, learning.network, 0, cpu, 1)
    learner = learning.learner(torch.Generator(), cpu, settings.meta_batch)
    generator = torch.Generator().manual_seed(1)
    return learner, seen.sample(settings.meta_batch, learner.fast, generator)


def test_a_task_with_a_reset_head_begins_with_a_random_one_and_adapts_it(data):
    learner, tasks = a_meta_batch(data, "reptile", head_reset=True)
    fast = share(learner.fast, 3)
    images = tasks.sample(fast, {}, "support").inputs
    outputs = tasks.outputs(fast, {}, images)
    heads = {n: fast[n] + shift for n, shift in tasks.fresh_heads.items()}
    assert heads.keys() == {"head.weight", "head.bias"}
    assert not torch.equal(heads["head.weight"][0], heads["head.weight"][1])
    expected = tasks.network({**fast, **heads}, images)
    torch.testing.assert_close(outputs, expected)
    assert not torch.allclose(outputs, tasks.network(fast, images), atol=1e-3)
    one = tasks.select(slice(1, 2))
    torch.testing.assert_close(
        one.outputs(share(learner.fast, 1), {}, images[1:2]), outputs[1:2], rtol=1e-4, atol=1e-5
    )
    after = learner.adapt(tasks, 2)
    assert not torch.equal(after["head.weight"], fast["head.weight"])


def test_what_the_meta_loss_is_taken_on(data):
    learner, tasks = a_meta_batch(data, "warp")
    assert isinstance(learner, OfflineWarpGrad)
    assert tasks.sample({}, {}, "query").inputs.shape[1] == 20  # a minibatch to train on
    assert tasks.indices.tolist() in ([0, 1, 0], [0, 1, 1], [1, 0, 0], [1, 0, 1])
    _, tasks = a_meta_batch(data, "maml")
    assert tasks.sample({}, {}, "query").inputs.shape[1] == 3  # all that is held out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--pretrain", "3"), "0 alphabets are left for validation"),
        (("--pretrain", "9"), "9 alphabets to meta-train on and 2 to test on"),
        (("--classes", "9"), "there are 0 of at least 9 characters"),
        (("--held-out", "4"), "4 of 4 drawings held out"),
        (("--split-seed", "-1"), "--split-seed must not be negative"),
        (("--preset", "slow"), "is not one of fast, default, reference"),
        (("--method", "maml", "--head-reset"), "maml learns its head"),
        (("--method", "leap", "--warp-epochs", "2"), "leap reads no such setting"),
        (
            ("--warp-start", "identity", "--warp-activation", "tanh"),
            "--warp-start must be random or auto with warp_activation tanh",
        ),
        (
            ("--warp-start", "identity", "--warp-batch-norm", "--warp-head"),
            "--warp-start must be random or auto with warp_batch_norm or warp_head",
        ),
        (
            (*("--warp-start", "identity", "--warp-layers", "2"), "--warp-filters", "5"),
            "--warp-start must be random or auto with warp_filters 5:",
        ),
        (("--warp-layers", "0"), "--warp-layers must be at least 1"),
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


def sweep(folder, data, *options, methods=("reptile", "none"), pretrain=("1", "2"), seeds=("0",)):
    own = ("--run-dir", str(folder), "--methods", *methods, "--pretrain", *pretrain)
    rest = ("--data", str(data), "--no-complete", *OPTIONS, *options)
    main(["sweep", *own, "--seeds", *seeds, "--", *rest])


def test_a_sweep_takes_the_folder_of_the_images_on_either_side(tmp_path):
    settings = alphabets.SweepSettings(data=tmp_path, methods=("none",))
    (own,) = alphabets.jobs(settings, ())
    assert own.train.data == own.evaluate.data == tmp_path
    (other,) = alphabets.jobs(settings, ("--data", "elsewhere"))
    assert str(other.train.data) == str(other.evaluate.data) == "elsewhere"


def test_runs_of_a_sweep_reach_other_processes(tmp_path):
    (job,) = alphabets.jobs(alphabets.SweepSettings(data=tmp_path, methods=("leap",)), ())
    other = pickle.loads(pickle.dumps(job))
    assert (other.path, other.train, other.evaluate) == (job.path, job.train, job.evaluate)
    assert other.script.settings_of.__self__ is RECIPE


def test_the_advice_of_a_sweep_without_images_can_be_taken(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["sweep", "--run-dir", str(tmp_path / "sweep"), "--data", str(tmp_path)])
    error = " ".join(capsys.readouterr().err.split())
    assert f"no Omniglot images in {tmp_path}" in error
    assert "--data DIR" in error


def test_a_sweep_goes_on_where_it_stopped_and_sums_up(tmp_path, data, capsys, monkeypatch):
    usual, trained = alphabets.SCRIPT, []

    def counted(settings):
        trained.append(settings.run_dir)
        if len(trained) == 3:
            raise KeyboardInterrupt("saved at iteration 2")
        return usual.train(settings)

    monkeypatch.setattr(alphabets, "SCRIPT", replace(usual, train=counted))
    with pytest.raises(SystemExit) as exit_:
        sweep(tmp_path / "sweep", data)
    assert exit_.value.code == 130
    assert "the same command goes on" in capsys.readouterr().err
    done = tmp_path / "sweep" / "reptile" / "pretrain-1" / "seed-0"
    before = (done / "summary.json").stat().st_mtime_ns
    sweep(tmp_path / "sweep", data)
    assert len(trained) == 3 + 4 - 2
    assert (done / "summary.json").stat().st_mtime_ns == before
    with (tmp_path / "sweep" / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(r["method"], r["pretrain"], r["run_seed"]) for r in rows} == {
        (m, p, "0") for m in ("reptile", "none") for p in "12"
    }
    assert "| 2 | reptile |" in capsys.readouterr().out
    for picture in ("steps.png", "accuracy.png"):
        assert (tmp_path / "sweep" / picture).stat().st_size > 1000
    with pytest.raises(SystemExit):
        sweep(tmp_path / "sweep", data, "--filters", "4")
    assert "was trained with another network" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        sweep(tmp_path / "sweep", data, "--seeds", "5")
    assert "--seeds is said before --" in capsys.readouterr().err


def test_a_sweep_goes_on_to_more_iterations_as_one_that_was_made_for_them(tmp_path, data, capsys):
    one = {"methods": ("reptile",), "pretrain": ("2",), "seeds": ("0",)}
    constant = ("--decay", "constant")
    sweep(tmp_path / "whole", data, *constant, "--iterations", "6", **one)
    sweep(tmp_path / "cut", data, *constant, "--iterations", "4", **one)
    sweep(tmp_path / "cut", data, *constant, "--iterations", "6", **one)
    place = "reptile/pretrain-2/seed-0"
    whole, cut = (RunDirectory.open(tmp_path / name / place) for name in ("whole", "cut"))
    assert_same(whole, cut)
    assert cut.config["resumed"][0]["changed_from"] == {"iterations": 4}
    assert cut.read_summary()["trained_iterations"] == 6
    drop = ("train_seconds",)
    rows = [
        [
            {n: v for n, v in row.items() if n not in drop}
            for row in csv.DictReader((tmp_path / name / "results.csv").read_text().splitlines())
        ]
        for name in ("whole", "cut")
    ]
    assert rows[0] == rows[1]
    with pytest.raises(SystemExit):
        sweep(tmp_path / "cut", data, *constant, "--iterations", "5", **one)
    assert "has done 6 iterations already, it cannot end at 5" in capsys.readouterr().err


def test_runs_that_were_judged_otherwise_are_not_averaged_and_are_judged_again(
    tmp_path, data, capsys, monkeypatch
):
    folder = tmp_path / "sweep"
    both = {"methods": ("reptile",), "pretrain": ("2",), "seeds": ("0", "1")}
    sweep(folder, data, **both)
    capsys.readouterr()

    def report():
        main(["sweep", "--run-dir", str(folder), "--report-only"])
        with (folder / "results.csv").open() as file:
            rows = [(r["inner_steps"], r["checkpoint"], r["seed"]) for r in csv.DictReader(file)]
        lines = capsys.readouterr().out.splitlines()
        return rows, [line for line in lines if line.startswith("| 2 |")]

    rows, lines = report()
    assert rows == [("4", "best", "10000")] * 2
    assert len(lines) == 1
    assert lines[0].startswith("| 2 | reptile | 4 | best | 10000 |")
    assert lines[0].endswith("| 2 |")
    other = folder / "reptile" / "pretrain-2" / "seed-1"
    for options, told in (
        (("--steps", "2"), "inner steps 2 | 2 | best | 10000 |"),
        (("--checkpoint", "last"), "checkpoint last | 4 | last | 10000 |"),
        (("--seed", "3"), "evaluation seed 3 | 4 | best | 3 |"),
    ):
        main(["evaluate", str(other), "--device", "cpu", *options])
        rows, lines = report()
        assert len(set(rows)) == len(lines) == 2
        assert any(f"| reptile, {told}" in line for line in lines)
        assert all(line.endswith("| 1 |") for line in lines)
    # More points of the same curve are the same judgement; the picture has what all runs have.
    main(["evaluate", str(other), "--device", "cpu", "--every", "1"])
    drawn = []
    usual = pictures.learning_curves
    monkeypatch.setattr(
        pictures, "learning_curves", lambda lines, **words: drawn.append(lines) or usual(lines)
    )
    rows, lines = report()
    assert len(lines) == 1
    ((curve,),) = drawn
    assert (curve.x.tolist(), curve.values.shape) == ([0, 4], (2, 2))
    sweep(folder, data, **both)
    assert RunDirectory.open(other).read_summary()["steps"] == [0, 4]


@pytest.mark.parametrize(
    "options", [("--steps", "2"), ("--every", "1"), ("--checkpoint", "last"), ("--seed", "3")]
)
def test_a_run_of_a_sweep_is_finished_when_it_was_judged_as_the_sweep_judges(trained, options):
    how = AlphabetsSettings(trained.path, device="cpu")
    job = Job(trained.path, from_config(trained.config), how, alphabets.SCRIPT)
    main(["evaluate", str(trained.path), "--device", "cpu"])
    assert finished(job)
    main(["evaluate", str(trained.path), "--device", "cpu", *options])
    assert not finished(job)


def test_runs_of_earlier_versions_go_on_in_a_sweep(trained):
    """With the number of stacked tasks written out, and the start of the warp layers."""
    wanted = from_config(trained.config)
    config = json.loads(json.dumps(trained.config))
    config["learner"]["chunk_size"] = 5
    config["network"]["warp_start"] = "identity"
    earlier = from_config(config)
    assert earlier != wanted
    assert alphabets.plain(earlier) == alphabets.plain(wanted)
    config["network"]["warp_start"] = "random"
    assert alphabets.plain(from_config(config)) != alphabets.plain(wanted)


def test_options_after_the_dashes_are_those_of_train(tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["sweep", "--run-dir", str(tmp_path), "--", "--bogus", "1"])
    assert exit_.value.code == 2
    error = "".join(c for c in capsys.readouterr().err if c.isalnum() or c in "./- ")
    assert "python -m experiments.alphabets train --help" in " ".join(error.split())


def test_a_run_of_a_sweep_that_was_cut_short_is_resumed(tmp_path, data):
    folder = tmp_path / "sweep"
    sweep(folder, data, methods=("leap",), pretrain=("2",), seeds=("4",))
    run = RunDirectory.open(folder / "leap" / "pretrain-2" / "seed-4")
    whole = run.load_checkpoint()
    run.checkpoint_path.unlink()
    (run.path / "checkpoint.previous.pt").rename(run.checkpoint_path)
    (run.path / "summary.json").unlink()
    sweep(folder, data, methods=("leap",), pretrain=("2",), seeds=("4",))
    again = run.load_checkpoint()
    assert again["iteration"] == whole["iteration"] == 5
    for name, value in whole["learner"]["params"].items():
        assert torch.equal(again["learner"]["params"][name], value)
    assert run.read_summary()["trained_iterations"] == 5
    assert from_config(run.config).pretrain == 2


@pytest.mark.slow
@needs_real_images
def test_leap_learns_to_learn_alphabets(tmp_path, capsys):
    """On the real images, beside no meta-training."""
    small = (
        *("--preset", "fast", "--pretrain", "25", "--filters", "12"),
        *("--iterations", "40", "--meta-batch", "3", "--device", "cpu", "--data", str(REAL)),
        *("--validate-every", "40", "--validation-alphabets", "1", "--test-steps", "50"),
        *("--inner-steps", "50", "--inner-lr", "0.3"),
    )
    found = {}
    for method in ("leap", "none"):
        (run,) = train(tmp_path / method, REAL, *small, "--complete", "--method", method)
        found[method] = summary_of(run, capsys)["non_transductive_accuracy"]
    assert found["leap"] > found["none"] + 0.05
