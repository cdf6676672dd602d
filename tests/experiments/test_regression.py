"""The regression scripts, run as a user runs them: small, but whole."""

import json
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch

from experiments.regression import RECIPE, defaults
from metarl import run as scripts
from metarl.methods.supervised import STREAMS
from metarl.plots import adaptation as pictures
from metarl.run import fits
from metarl.run.fits import EvaluateSettings, unseen_curves
from metarl.runs.directory import RunDirectory
from metarl.runs.seeds import find_runs
from metarl.seeding import spawn_generators
from metarl.supervised.curves import Curves
from metarl.train.trainer import load_learner

from_config = RECIPE.settings_of

SMALL = (
    *("--hidden", "6", "--meta-batch", "3", "--iterations", "30", "--log-every", "4"),
    *("--checkpoint-every", "7", "--device", "cpu"),
)


def main(arguments):
    scripts.main(RECIPE, arguments)


def trained_learner(run, settings, device):
    learner = settings.learning().untrained(run, device, settings.meta_batch)
    return learner, load_learner(run, learner)


def train(path, *arguments):
    main(["train", *SMALL, "--run-dir", str(path), *arguments])
    return find_runs(path)


def of(method):
    return ("--family", "sine-domain" if method == "daml" else "sine", "--method", method)


def state(run):
    return run.load_checkpoint()["learner"]


def metrics(run):
    return {k: v.tolist() for k, v in run.read_metrics().items() if k != "wall_seconds"}


def assert_same(run, other):
    assert metrics(run) == metrics(other)
    one, two = state(run), state(other)
    assert one["params"].keys() == two["params"].keys()
    for name, value in one["params"].items():
        assert torch.equal(value, two["params"][name]), name


def summary_of(run, capsys, *arguments):
    main(["evaluate", str(run.path), "--tasks", "20", "--json", *arguments])
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "maml"
    (run,) = train(path)
    return run


def test_train_leaves_a_whole_run_directory(trained):
    names = {p.name.split(".")[0] for p in trained.path.iterdir()}
    assert {"config", "metrics", "checkpoint", "events"} <= names
    assert metrics(trained)["iteration"] == [4, 8, 12, 16, 20, 24, 28, 30]
    assert metrics(trained)["tasks_seen"][-1] == 30 * 3
    assert {"support_loss", "query_loss", "grad_norm"} <= metrics(trained).keys()


def test_offline_warpgrad_resumes_bit_for_bit(tmp_path):
    offline = ("--method", "warp-leap", "--warp-algorithm", "offline")
    (whole,) = train(tmp_path / "whole", *offline)
    (cut,) = train(tmp_path / "cut", *offline)
    os.replace(cut.path / "checkpoint.previous.pt", cut.checkpoint_path)
    main(["train", "--resume", str(cut.path)])
    assert_same(cut, whole)


def test_ctrl_c_saves_says_how_to_go_on_and_the_resume_finishes_every_seed(
    tmp_path, monkeypatch, capsys
):
    from metarl.train.trainer import Trainer

    whole = train(tmp_path / "whole", "--seeds", "0", "1")
    update, calls = Trainer.step, []

    def interrupted(self, tasks):
        calls.append(1)
        if len(calls) == 11:
            os.kill(os.getpid(), signal.SIGINT)
        return update(self, tasks)

    monkeypatch.setattr(Trainer, "step", interrupted)
    with pytest.raises(SystemExit) as exit_:
        train(tmp_path / "cut", "--seeds", "0", "1")
    assert exit_.value.code == 130
    said = capsys.readouterr().err.splitlines()[-1]
    assert "saved at iteration 11" in said
    assert said.endswith(f"python -m experiments.regression train --resume {tmp_path / 'cut'}")
    main(["train", "--resume", str(tmp_path / "cut")])
    for run, other in zip(find_runs(tmp_path / "cut"), whole, strict=True):
        assert_same(run, other)


@pytest.mark.parametrize("arguments", [(), ("--inner-batch", "2")])
@pytest.mark.parametrize("method", ["maml", "leap"])
def test_training_does_not_depend_on_chunks(tmp_path, method, arguments):
    common = ("--method", method, "--inner-steps", "7", *arguments)
    (whole,) = train(tmp_path / "whole", *common)
    (chunks,) = train(tmp_path / "chunks", *common, "--chunk-size", "2")
    for name, value in state(whole)["params"].items():
        torch.testing.assert_close(value, state(chunks)["params"][name], rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # what the compiler imports
def test_training_does_not_depend_on_compilation(tmp_path):
    (eager,) = train(tmp_path / "eager")
    (compiled,) = train(tmp_path / "compiled", "--compile")
    for name, value in state(eager)["params"].items():
        torch.testing.assert_close(value, state(compiled)["params"][name], rtol=1e-3, atol=1e-5)
    assert compiled.config["learner"]["compile"] is True


@pytest.mark.parametrize("method", ["daml", "anil", "meta-curvature"])
def test_training_does_not_depend_on_tracing(tmp_path, monkeypatch, method):
    """The graph is run as it is, without the compiler; the run is stopped and goes on."""
    family = ("--family", "sine-domain") if method == "daml" else ()
    monkeypatch.setattr(torch, "compile", lambda graph, **_: graph)
    (eager,) = train(tmp_path / "eager", *family, "--method", method)
    (traced,) = train(tmp_path / "traced", *family, "--method", method, "--compile")
    for name, value in state(eager)["params"].items():
        torch.testing.assert_close(value, state(traced)["params"][name], rtol=1e-3, atol=1e-5)


def test_a_missing_compiler_is_said_before_work_starts(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(SystemExit) as exit_:
        train(tmp_path / "run", "--compile")
    assert exit_.value.code == 2
    assert "no-such-compiler is not on the path: install it" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_run_of_before_compilation_goes_on(tmp_path):
    (run,) = train(tmp_path / "run")
    config = json.loads((run.path / "config.json").read_text())
    del config["learner"]["compile"]
    assert from_config(config) == from_config(run.config)


def test_minibatches_are_drawn(tmp_path):
    (all_,), (few,) = (
        train(tmp_path / str(size), "--method", "reptile", "--inner-batch", str(size))
        for size in (10, 2)
    )
    assert metrics(all_)["last_support_loss"] != metrics(few)["last_support_loss"]


def test_evaluate_prints_its_summary_as_the_last_line(trained, capsys):
    summary = summary_of(trained, capsys)
    assert summary == json.loads((trained.path / "summary.json").read_text())
    for name in ("mse", "mse_ci95", "mae", "mae_ci95", "batch_loss", "untrained_mse", "steps"):
        assert len(summary[name]) == 11, name
    assert summary["steps"] == list(range(11))
    assert (summary["num_tasks"], summary["num_points"], summary["iteration"]) == (20, 10, 30)
    assert summary["tasks_seen"] == 90
    assert all(error > 0 for error in summary["mse"])
    for picture in ("fit.png", "steps.png", "training.png"):
        assert (trained.path / picture).stat().st_size > 5000


def test_one_function_has_no_interval_and_its_json_is_valid(trained, capsys):
    main(["evaluate", str(trained.path), "--tasks", "1", "--json"])
    line = capsys.readouterr().out.splitlines()[-1]
    summary = json.loads(line, parse_constant=pytest.fail)
    assert summary["mse_ci95"] == [None] * 11
    assert summary == json.loads((trained.path / "summary.json").read_text())


def test_only_pictures_that_were_drawn_are_named(tmp_path, trained, capsys):
    (untrained,) = train(tmp_path / "none", "--method", "none")
    for run, names in (
        (trained, "fit.png, steps.png, training.png"),
        (untrained, "fit.png, steps.png"),
    ):
        main(["evaluate", str(run.path), "--tasks", "5"])
        assert capsys.readouterr().out.splitlines()[-1] == f"  drawn: {run.path}/{names}"


def test_a_baseline_that_diverges_is_left_out_of_the_picture(tmp_path, capsys, monkeypatch):
    """Training may tame a step size that is too much for the initial parameters."""
    (run,) = train(tmp_path / "run")
    measured, drawn = fits.fit_errors, []

    def diverging(learner, tasks, steps):
        errors = measured(learner, tasks, steps)
        calls.append(learner)
        worse = errors._replace(squared=np.full_like(errors.squared, np.inf))
        return errors if len(calls) == 1 else worse

    calls = []
    monkeypatch.setattr(fits, "fit_errors", diverging)
    monkeypatch.setattr(pictures, "draw_fits", lambda run, errors, *_: drawn.extend(errors))
    summary = summary_of(run, capsys)
    assert drawn == ["maml"]
    assert summary["untrained_mse"] == [None] * 11


def test_the_picture_of_steps_shows_the_family_s_own_error(tmp_path, capsys, monkeypatch):
    shown = []
    monkeypatch.setattr(pictures, "draw_steps", lambda _, own, __: shown.append(own))
    monkeypatch.setattr(pictures, "save_figure", lambda *_: None)
    for name, of_method in (("daml", of("daml")), ("maml", ())):
        summary_of(train(tmp_path / name, *of_method)[0], capsys)
    assert shown == ["absolute", "squared"]


def test_evaluation_repeats_and_leaves_the_run_as_it_was(trained, capsys):
    before = trained.checkpoint_path.read_bytes()
    one, two = (summary_of(trained, capsys) for _ in range(2))
    other = summary_of(trained, capsys, "--seed", "1")
    assert one.pop("wall_seconds") > 0
    del two["wall_seconds"]
    assert one == two
    assert one["mse"] != other["mse"]
    assert trained.checkpoint_path.read_bytes() == before


def test_the_error_on_the_batch_is_the_loss_that_steps_lower(trained, capsys):
    summary = summary_of(trained, capsys, "--steps", "40", "--points", "3")
    assert summary["batch_loss"][40] < summary["batch_loss"][0]
    assert len(summary["mse"]) == 41
    assert summary["num_points"] == 3
    summary = summary_of(trained, capsys, "--points", "3", "--inner-batch", "2")
    assert summary["num_points"] == 3  # of which a step takes two


def test_test_tasks_are_apart_from_trainings(trained):
    """Even where evaluation has the seed of training."""

    learning, cpu = from_config(trained.config).learning(), torch.device("cpu")
    seed_of_training = EvaluateSettings(trained.path, tasks=3, test_points=10, seed=0)
    unseen = unseen_curves(learning, seed_of_training, cpu)
    streams = spawn_generators(0, STREAMS)
    draw, network = learning.problem.draw, learning.network
    seen = [draw(3, (10, 10), network, g, cpu) for g in streams.values()]
    shown = unseen.source.draw("support").inputs
    assert not any(torch.equal(shown, tasks.source.draw("support").inputs) for tasks in seen)


def test_validation_is_apart_from_training_and_from_the_test(trained, capsys):
    test = summary_of(trained, capsys)
    assert test["split"] == "test"
    validation = summary_of(trained, capsys, "--split", "validation")
    assert validation["split"] == "validation"
    assert validation["mse"] != test["mse"]
    assert summary_of(trained, capsys, "--side", "validation")["mse"] == validation["mse"]
    again = summary_of(trained, capsys, "--side", "test")
    assert again["mse"] == test["mse"]
    names = ("summary.json", "adaptation.json", "fit.png", "steps.png")
    before = [(trained.path / name).read_bytes() for name in names]
    summary_of(trained, capsys, "--split", "validation")
    assert [(trained.path / name).read_bytes() for name in names] == before
    kept = json.loads((trained.path / "summary-validation.json").read_text())
    assert kept["mse"] == validation["mse"]
    for name in ("adaptation-validation.json", "fit-validation.png", "steps-validation.png"):
        assert (trained.path / name).is_file()


def test_the_functions_of_the_test_stay_the_same(trained):
    """The published errors are on them, so the stream of validation comes after theirs."""

    learning, cpu = from_config(trained.config).learning(), torch.device("cpu")
    asked = EvaluateSettings(trained.path, tasks=3, test_points=10, seed=7)
    tasks = unseen_curves(learning, asked, cpu)
    stream = spawn_generators(7, (*STREAMS, "test"))["test"]
    same = learning.problem.draw(3, (10, 10), learning.network, stream, cpu)
    for part in ("support", "query"):
        assert torch.equal(tasks.source.draw(part).targets, same.source.draw(part).targets)


def test_a_line_of_the_log_without_a_loss_is_no_point_of_the_picture():
    from metarl.plots.adaptation import draw_training

    losses = np.array([3.0, np.nan, 2.0])
    log = {"tasks_seen": np.array([3, 6, 9]), "query_loss": losses, "support_loss": losses * np.nan}
    (line,) = draw_training(log, "skipped").axes[0].get_lines()
    assert line.get_xdata().tolist() == [3, 9]
    assert line.get_ydata().tolist() == [3.0, 2.0]
    assert draw_training({**log, "query_loss": losses * np.nan}, "skipped") is None


def test_without_meta_training_nothing_is_learned(tmp_path, capsys):
    (run,) = train(tmp_path / "none", "--method", "none")
    summary = summary_of(run, capsys)
    assert summary["mse"] == summary["untrained_mse"]


@pytest.mark.parametrize("family", ["sine-phase", "sine-domain", "logistic"])
def test_every_family_trains_and_is_drawn(tmp_path, capsys, family):
    settings = ("--family", family, "--iterations", "4")
    (run,) = train(tmp_path / family, *settings)
    summary = summary_of(run, capsys)
    assert summary["num_points"] == (10 if family == "logistic" else 4)
    assert len(summary["mse"]) == {"sine-phase": 11, "sine-domain": 2, "logistic": 33}[family]
    assert (run.path / "fit.png").exists()


def test_a_learned_loss_is_descended_as_far_as_in_training(tmp_path, capsys):
    (run,) = train(tmp_path / "daml", *of("daml"), "--inner-steps", "3")
    assert summary_of(run, capsys)["steps"] == [0, 1, 2, 3]
    assert summary_of(run, capsys, "--steps", "5")["steps"] == [0, 1, 2, 3, 4, 5]


def test_adaptation_that_diverges_is_named_and_sums_up_to_nothing(tmp_path, capsys):
    (run,) = train(tmp_path / "none", "--method", "none", "--inner-lr", "1e9")
    with pytest.raises(SystemExit) as exit_:
        main(["evaluate", str(run.path), "--tasks", "5"])
    assert exit_.value.code == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "of 10 the errors of" in error
    assert "of 5 functions are not finite: take fewer --steps" in error
    assert not (run.path / "summary.json").exists()


def test_a_fit_far_away_before_adaptation_does_not_flatten_the_picture(trained):
    from metarl.plots.adaptation import draw_fit

    settings, cpu = from_config(trained.config), torch.device("cpu")
    tasks = unseen_curves(settings.learning(), EvaluateSettings(trained.path, tasks=6), cpu)
    learner, _ = trained_learner(trained, settings, cpu)
    step = next(iter(learner.adaptation(tasks.select(slice(None)), 1)))
    far = {n: p + 50 * n.endswith("1.bias") for n, p in step.fast.items()}
    learner.adaptation = lambda *_: [replace(step, fast=far)]
    panel = draw_fit(learner, tasks, 1, "far").axes[0]
    far_away = panel.get_lines()[1].get_ydata()
    assert far_away.min() > panel.get_ylim()[1]
    assert panel.texts[0].get_text().startswith("after 0 steps: ")
    for line in (panel.get_lines()[0], *panel.get_lines()[2:]):
        assert panel.get_ylim()[0] < line.get_ydata().min()
        assert line.get_ydata().max() < panel.get_ylim()[1]


def test_daml_adapts_without_labels(tmp_path):
    """Its support set has no targets at all, and adaptation moves the fit."""
    from metarl.evaluate.supervised import fit_errors

    (run,) = train(tmp_path / "daml", *of("daml"))
    settings, cpu = from_config(run.config), torch.device("cpu")
    tasks = unseen_curves(settings.learning(), EvaluateSettings(run.path, tasks=5), cpu)
    assert tasks.source.draw("support").targets.isnan().all()
    learner, _ = trained_learner(run, settings, cpu)
    errors = fit_errors(learner, tasks, 1).squared
    assert (errors[:, 0] != errors[:, 1]).all()


def test_the_config_gives_the_settings_back(trained):
    assert from_config(trained.config) == replace(
        defaults(),
        run_dir=trained.path,
        hidden=(6,),
        meta_batch=3,
        iterations=30,
        log_every=4,
        checkpoint_every=7,
        device="cpu",
    )


def test_the_settings_of_the_families():
    sine = defaults()
    assert (sine.hidden, sine.meta_batch, sine.points) == ((40, 40), 25, 10)
    assert (sine.learner.inner_lr, sine.learner.inner_steps) == (0.01, 1)
    logistic = defaults("logistic")
    assert (logistic.method, logistic.iterations, logistic.meta_batch) == ("reptile", 10_000, 10)
    assert (logistic.learner.inner_lr, logistic.inner_batch) == (0.02, 5)
    assert logistic.learner.lr == 0.1
    assert set(logistic.hidden) == {32}
    assert defaults("sine-phase").points == 4
    assert defaults("sine-domain").method == "daml"


def test_reptile_on_logistic_curves_does_not_follow_a_task_that_goes_far(tmp_path):
    """Steps of 0.1 are too long for steep curves."""
    far = ("--family", "logistic", "--points", "10", "--inner-lr", "0.1")
    (run,) = train(tmp_path / "run", *far, "--iterations", "1")
    start = spawn_generators(0, STREAMS)["init"]
    before = from_config(run.config).learning().network.init(start)
    after = state(run)["params"]
    moved = torch.stack([(after[f"fast.{n}"] - p).norm() for n, p in before.items()]).norm()
    assert metrics(run)["grad_norm"][0] > 4
    torch.testing.assert_close(moved, torch.tensor(0.1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--family", "cosine"], "--family 'cosine' is not one of sine, sine-phase"),
        (["train", "--inner-batch", "11"], "--inner-batch must lie between 1 and --points 10"),
        (["train", "--hidden", "0"], "--hidden must be positive counts"),
        (["train", "--method", "ft"], "ft is for training tasks that are met again"),
        (["train", "--method", "daml"], "daml is for tasks that show no labels"),
        (["train", "--family", "sine-domain", "--method", "maml"], "maml is for tasks that are"),
        (
            ["train", "--method", "imaml", "--compile"],
            "--compile is for maml, fomaml",
        ),
        (
            ["train", "--compile", "--checkpoint"],
            "take compile or checkpoint",
        ),
        (["evaluate", "x", "--tasks", "0"], "--tasks must be at least 1, got 0"),
    ],
)
def test_bad_input_is_refused_in_one_line_before_work_starts(
    arguments, message, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not list(tmp_path.iterdir())


def test_resume_refuses_other_settings(trained, capsys):
    for given, named in (
        (("--points", "7"), "drop --points"),
        (("--hidden", "7", "--family", "logistic"), "drop --hidden, --family"),
        (("--method", "reptile"), "drop --method"),
        (("--inner-lr", "1"), "drop --inner-lr"),
    ):
        with pytest.raises(SystemExit):
            main(["train", "--resume", str(trained.path), *given])
        assert capsys.readouterr().err.endswith(f"{named}\n")


def test_a_folder_that_lacks_a_seed_is_not_resumed_without_it(tmp_path, capsys):
    first, second = train(tmp_path / "runs", "--seeds", "0", "1")
    second.path.rename(tmp_path / "elsewhere")
    with pytest.raises(SystemExit):
        main(["train", "--resume", str(tmp_path / "runs")])
    assert "lacks seed 1 of 2" in capsys.readouterr().err
    main(["train", "--resume", str(first.path)])


def test_an_exploding_run_ends_in_one_line_and_keeps_its_checkpoint(tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_:
        train(tmp_path / "run", "--iterations", "20", "--lr", "1e30")
    assert exit_.value.code == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert "iteration 11: loss or gradient is not finite" in error  # ten in a row
    assert "train again with a smaller --lr" in error
    (run,) = find_runs(tmp_path / "run")
    assert all(value.isfinite().all() for value in state(run)["params"].values())


def test_a_corrupt_checkpoint_and_a_foreign_run_are_named(tmp_path, capsys):
    (run,) = train(tmp_path / "run")
    run.checkpoint_path.write_bytes(b"not a checkpoint")
    foreign = RunDirectory.create(tmp_path / "other", {"method": "warp", "size": 13, "seed": 0})
    foreign.save_checkpoint({"iteration": 0})
    for path, message in ((run.path, "checkpoint"), (foreign.path, "not that of a run of")):
        for command in (["evaluate", str(path)], ["train", "--resume", str(path)]):
            with pytest.raises(SystemExit) as exit_:
                main(command)
            assert exit_.value.code == 2
            assert message in capsys.readouterr().err


@pytest.mark.slow
def test_maml_learns_to_learn_and_its_twin_with_mixed_up_tasks_does_not(tmp_path, monkeypatch):
    """The twin is judged by the points of other functions: there is nothing to learn to learn."""

    from metarl.supervised import FewShotBatch
    from metarl.supervised.examples import Examples

    def error_after_five(path):
        main(["train", "--iterations", "1500", "--device", "cpu", "--run-dir", str(path)])
        main(["evaluate", str(path), "--tasks", "300"])
        return json.loads((path / "summary.json").read_text())["mse"][5]

    usual = Curves.draw

    def mixed_up(*arguments, **options):
        tasks = usual(*arguments, **options)
        support, (x, y) = tasks.source
        others = Examples(x.roll(1, 0), y.roll(1, 0))
        return replace(tasks, source=FewShotBatch(support, others))

    learned = error_after_five(tmp_path / "whole")
    monkeypatch.setattr(Curves, "draw", mixed_up)
    twin = error_after_five(tmp_path / "twin")
    assert learned < 0.7
    assert twin > 2.0


@pytest.mark.parametrize("method", ["warp", "warp-leap", "warp-reptile", "warp-maml", "maml"])
def test_the_gradient_of_warp_layers_is_clipped_on_the_sine(method):
    """One function whose steps diverge, though to finite numbers, would undo a whole training."""
    assert defaults("sine", method).learner.max_grad_norm == (None if method == "maml" else 1)
