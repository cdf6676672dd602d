"""The maze's scripts, run as a user runs them: small, but whole."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from envs.maze import anchors as oracle
from envs.problems import HiddenGoals
from experiments.environments import Room
from experiments.maze import RECIPE, defaults
from experiments.maze_settings import CORES
from metarl.core import num_parameters, partition
from metarl.runs.directory import RunDirectory
from metarl.runs.seeds import find_runs
from tests.experiments.scripts import maze as main

METHODS = CORES
from_config = RECIPE.settings_of
SMALL = (
    *("--size", "5", "--horizon", "12", "--batch-size", "3", "--hidden-size", "6"),
    *("--iterations", "30", "--log-every", "4", "--checkpoint-every", "7", "--device", "cpu"),
)
ROOT = Path(__file__).parents[2]


def train(path, *arguments):
    main(["train", *SMALL, "--run-dir", str(path), *arguments])
    return find_runs(path)


def learned(run):
    return run.load_checkpoint()["learner"]["params"]


def metrics(run):
    return {k: v.tolist() for k, v in run.read_metrics().items() if k != "wall_seconds"}


def assert_same(run, other):
    assert metrics(run) == metrics(other)
    for name, value in learned(run).items():
        assert torch.equal(value, learned(other)[name]), name


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "warp"
    (run,) = train(path)
    return run


def test_long_planning_before_training_is_announced(monkeypatch, capsys):
    from experiments.maze import beside

    returns = oracle.ReferenceReturns(1.0, 2.0, 3.0, 4.0)
    monkeypatch.setattr("envs.maze.problems.reference_returns", lambda *_, **__: returns)
    monkeypatch.setattr("envs.maze.problems.reference_curves", lambda *_, **__: returns)
    beside(replace(defaults(), environment=HiddenGoals(size=13)))
    assert not capsys.readouterr().err
    beside(replace(defaults(), environment=HiddenGoals(size=15)))
    assert "planning the best walks of a 15 x 15 maze" in capsys.readouterr().err


def test_train_leaves_a_whole_run_directory(trained):
    names = {p.name.split(".")[0] for p in trained.path.iterdir()}
    assert {"config", "metrics", "checkpoint", "events"} <= names
    assert set(trained.config["anchors"]) == {"random", "localising", "ceiling", "oracle"}
    assert metrics(trained)["iteration"] == [4, 8, 12, 16, 20, 24, 28, 30]
    assert metrics(trained)["env_steps"][-1] == 30 * 3 * 12


@pytest.mark.parametrize("script", ["maze", "maze_adapt", "omniglot", "alphabets", "regression"])
def test_what_training_imports_leaves_heavy_libraries_out(script):
    program = (
        f"import sys, experiments.{script}; "
        "heavy = {'matplotlib', 'pygame', 'minigrid', 'scipy'}; "
        "heavy |= {'stable_baselines3', 'tensorboard'}; "
        "sys.exit(len(heavy & sys.modules.keys()))"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("method", METHODS)
def test_same_seed_same_numbers_for_every_method(tmp_path, method):
    (one,), (two,) = (train(tmp_path / name, "--method", method) for name in ("one", "two"))
    assert_same(one, two)


@pytest.mark.parametrize(
    "more", [(), ("--preset", "ppo", "--batch-size", "16", "--minibatch-trials", "8")]
)
def test_seeds_together_equal_seeds_alone(tmp_path, more):
    """To the last bit, where matrices are large enough for one way of multiplying them."""
    size = ("--hidden-size", "32", "--batch-size", "8", *more)
    together = train(tmp_path / "together", "--seeds", "0", "4", *size)
    assert [run.path.name for run in together] == ["seed-0", "seed-4"]
    for run, seed in zip(together, (0, 4), strict=True):
        (alone,) = train(tmp_path / f"alone-{seed}", "--seeds", str(seed), *size)
        assert_same(run, alone)
        state, own = (r.load_checkpoint()["learner"]["optimisers"] for r in (run, alone))
        for side, optimiser in state.items():
            for name, entries in optimiser.items():
                for entry, value in entries.items():
                    assert torch.equal(value, own[side][name][entry]), (side, name, entry)


def start(arguments, log):
    """A real process, in a group of its own."""
    with log.open("w") as stderr:
        return subprocess.Popen(
            [sys.executable, "-m", "experiments.maze", *arguments],
            cwd=ROOT,
            stderr=stderr,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )


def wait_for_iteration(run_path, iteration, process):
    for _ in range(1200):
        lines = run_path / "metrics.jsonl"
        if lines.exists() and lines.read_text().count("\n") * 4 >= iteration:
            return
        assert process.poll() is None, "the process ended too early"
        time.sleep(0.05)
    raise AssertionError("the process did not get that far")


@pytest.mark.parametrize(
    ("method", "number"),
    [
        ("warp", signal.SIGKILL),
        ("warp", signal.SIGINT),
        *(pytest.param(m, signal.SIGKILL, marks=pytest.mark.slow) for m in METHODS if m != "warp"),
    ],
)
def test_a_killed_process_resumes_bit_for_bit(tmp_path, method, number):
    long = ("--method", method, "--iterations", "400", "--seeds", "0", "1")
    arguments = ["train", *SMALL, *long, "--run-dir", str(tmp_path / "killed")]
    log = tmp_path / "log"
    process = start(arguments, log)
    wait_for_iteration(tmp_path / "killed" / "seed-0", 60, process)
    os.killpg(process.pid, number)
    assert process.wait(60) != 0
    if number == signal.SIGINT:
        assert f"--resume {tmp_path / 'killed'}" in log.read_text()
    assert len(metrics(find_runs(tmp_path / "killed")[0])["iteration"]) < 100
    main(["train", "--resume", str(tmp_path / "killed")])
    whole = train(tmp_path / "whole", *long)
    for run, other in zip(find_runs(tmp_path / "killed"), whole, strict=True):
        assert_same(run, other)


OTHER_LEARNERS = {
    "reset-fast": ("--reset-fast", "meta-batch", "--warp-period", "5"),
    "ppo": ("--preset", "ppo"),
    "minibatch": ("--preset", "minibatch", "--batch-size", "8"),
    "rmsprop": ("--optimiser", "rmsprop", "--slow-lr", "0.01"),
    "paper": ("--preset", "paper"),
    "scaled": ("--loss.return-scaling", "running", "--loss.entropy-decay", "linear"),
    "minibatches": ("--preset", "ppo", "--batch-size", "6", "--minibatch-trials", "2"),
}


@pytest.mark.parametrize(
    "arguments",
    [*(("--method", method) for method in METHODS), *OTHER_LEARNERS.values()],
    ids=[*METHODS, *OTHER_LEARNERS],
)
def test_every_method_resumes_bit_for_bit(tmp_path, arguments):
    """As above, from the checkpoint before the last, without a process each."""
    (whole,) = train(tmp_path / "whole", *arguments)
    (cut,) = train(tmp_path / "cut", *arguments)
    os.replace(cut.path / "checkpoint.previous.pt", cut.checkpoint_path)
    assert cut.load_checkpoint()["iteration"] == 28
    main(["train", "--resume", str(cut.path)])
    assert_same(cut, whole)


@pytest.mark.gpu
@pytest.mark.parametrize("method", METHODS)
def test_on_cuda_a_run_resumes_between_two_lines_of_metrics(tmp_path, method):
    """From iteration 21: sums of a line half done, the generators' states, the optimisers'."""
    cuda = ("--device", "cuda", "--method", method, "--iterations", "28")
    (whole,) = train(tmp_path / "whole", *cuda)
    (cut,) = train(tmp_path / "cut", *cuda)
    os.replace(cut.path / "checkpoint.previous.pt", cut.checkpoint_path)
    assert cut.load_checkpoint()["iteration"] == 21
    main(["train", "--resume", str(cut.path), "--device", "cuda"])
    assert metrics(cut)["iteration"] == metrics(whole)["iteration"]
    for name, value in learned(cut).items():
        torch.testing.assert_close(value, learned(whole)[name], rtol=1e-3, atol=1e-4)
    main(["evaluate", str(cut.path), "--tasks", "10", "--device", "cuda"])


def test_evaluate_prints_its_summary_as_the_last_line(trained, capsys):
    (trained.path / "summary.json").unlink(missing_ok=True)
    main(["evaluate", str(trained.path), "--tasks", "40", "--json"])
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary == json.loads((trained.path / "summary.json").read_text())
    expected = {
        *("mean_return", "ci95", "iqm", "normalised_score", "random_return"),
        *("localising_return", "ceiling_return"),
        *("oracle_return", "num_tasks", "wall_seconds", "protocol", "within_trial"),
    }
    assert expected <= summary.keys()
    assert summary["num_tasks"] == 40
    assert summary["protocol"] == "fresh trials, all goals"
    low, high = summary["ci95"]
    assert low <= summary["mean_return"] <= high <= summary["oracle_return"] * 1.5
    assert len(summary["within_trial"]) == 1
    assert (trained.path / "within_trial.png").stat().st_size > 0


def test_a_summary_is_told_in_whole_phrases():
    from metarl.evaluate.references import References
    from metarl.run.trial_report import describe, describe_seeds

    maze = HiddenGoals(size=5, horizon=5)
    references = References(maze.known(maze.test))

    from metarl.evaluate.evaluation_result import evaluation_result

    summary = {
        **{"ci95": (1.0, 3.0), "num_tasks": 4, "protocol": "fresh trials", "num_goals": 5},
        **{"iteration": 6, "mean_return": 2.0, "iqm": 2.0, "normalised_score": None},
        **{f"{name}_return": 9.0 for name in ("random", "localising", "ceiling", "oracle")},
        **{"first_find_rate": 0.25, "first_find_mean": 3.0, "first_find_median": None},
        **{"find_interval_mean": None},
    }
    said = describe("run", summary, references)
    assert "floor 9.0; best known with these inputs 9.0; ceiling 9.0; oracle 9.0" in said
    assert "in 25.0 % of the trials, mean step 3.0 of these (too few for a median" in said
    said = describe(
        "run", {**summary, "first_find_rate": 1.0, "first_find_median": 2.5}, references
    )
    assert "mean step 3.0 of these, median step 2.5;" in said
    said = describe("run", {**summary, "first_find_rate": 0.0, "first_find_mean": None}, references)
    assert "first find: in none of the trials;" in said
    seeds = {str(x): {"mean_return": x} for x in (170.0, 171.0, 172.0)}
    result = evaluation_result(Path("runs"), seeds, ("mean_return",))
    assert describe_seeds(result.summary) == (
        "mean of 3 runs: return 171.0 [168.5, 173.5] (95 % t interval over the runs)"
    )


def test_references_have_one_name_and_are_explained_in_the_picture(trained):
    from experiments.maze_evaluation import measured_on
    from metarl.evaluate.references import REFERENCES

    references = measured_on(from_config(trained.config)).references(())
    beside = references.curves
    assert list(beside) == [REFERENCES[key] for key in ("ceiling", "localising", "random")]
    assert "best known with these inputs: the best walk found" in references.note
    assert "oracle" not in references.note


def test_evaluation_repeats_and_leaves_the_run_as_it_was(trained):
    before = trained.checkpoint_path.read_bytes()
    results = []
    for _ in range(2):
        (trained.path / "summary.json").unlink(missing_ok=True)
        main(["evaluate", str(trained.path), "--tasks", "30"])
        summary = json.loads((trained.path / "summary.json").read_text())
        results.append({k: v for k, v in summary.items() if k != "wall_seconds"})
    assert results[0] == results[1]
    assert trained.checkpoint_path.read_bytes() == before


def test_a_summary_of_more_trials_or_of_the_same_ones_stays(trained, tmp_path, capsys):
    path = trained.path / "summary.json"
    path.unlink(missing_ok=True)

    def evaluate(*options):
        """The trials of the summary that is there then, and what was said of it."""
        main(["evaluate", str(trained.path), *options])
        said = capsys.readouterr().out
        return json.loads(path.read_text())["num_tasks"], "stays" in said, path.read_bytes()

    num_tasks, stays, first = evaluate("--tasks", "12")
    assert (num_tasks, stays) == (12, False)
    assert evaluate("--tasks", "12") == (12, True, first)
    assert evaluate("--tasks", "5", "--seed", "1") == (12, True, first)
    evaluate("--tasks", "5", "--output", str(tmp_path / "elsewhere"))
    assert path.read_bytes() == first
    elsewhere = json.loads((tmp_path / "elsewhere" / "summary.json").read_text())
    assert (elsewhere["num_tasks"], elsewhere["seed"], elsewhere["greedy"]) == (5, 10_000, False)
    assert (tmp_path / "elsewhere" / "within_trial.png").exists()
    assert evaluate("--tasks", "12", "--greedy")[:2] == (12, False)
    assert json.loads(path.read_text())["greedy"] is True
    assert evaluate("--tasks", "13")[:2] == (13, False)
    assert evaluate("--tasks", "5", "--output", str(trained.path))[:2] == (5, False)
    path.write_text(json.dumps({"num_tasks": 99, "iteration": 7}))  # of the agent as it was before
    assert evaluate("--tasks", "12")[:2] == (12, False)


def test_a_trial_of_one_step_has_no_normalised_score(tmp_path, capsys):
    (run,) = train(tmp_path / "run", "--horizon", "1", "--iterations", "1")
    main(["evaluate", str(run.path), "--tasks", "5", "--json"])
    said = capsys.readouterr().out
    assert "normalised score –" in said
    assert json.loads(said.splitlines()[-1])["normalised_score"] is None


def test_held_out_goals_are_disjoint_and_named(tmp_path, capsys):
    (run,) = train(tmp_path / "run", "--goals", "split", "--size", "7")
    main(["evaluate", str(run.path), "--tasks", "20", "--json"])
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["protocol"] == "held-out goals"
    mazes = from_config(run.config).environment
    training, test = mazes.train, mazes.test
    assert not set(training) & set(test)
    assert summary["num_goals"] == len(test) > 0
    # What training's curve is judged by is earned on the goals that it trains on.
    for tasks, ceiling in (
        (training, run.config["anchors"]["ceiling"]),
        (test, summary["ceiling_return"]),
    ):
        assert ceiling == pytest.approx(oracle.explore_then_exploit_return(tasks, horizon=12))
    assert run.config["anchors"]["ceiling"] != pytest.approx(summary["ceiling_return"], rel=1e-3)


@pytest.mark.parametrize("name", ["trial.gif", "trial.png", "trial.mp4"])
def test_render_writes_pictures(trained, tmp_path, name):
    output = tmp_path / "made" / name
    main(["render", str(trained.path), "--output", str(output), "--steps", "3", "--side-by-side"])
    assert output.stat().st_size > 1000


def test_an_exported_run_is_small_and_evaluates_alike(trained, tmp_path, capsys):
    copy = tmp_path / "copy"
    main(["export", str(trained.path), "--output", str(copy)])
    small, whole = (p.stat().st_size for p in (copy / "checkpoint.pt", trained.checkpoint_path))
    assert small < whole / 2
    results = []
    for path in (trained.path, copy):
        main(["evaluate", str(path), "--tasks", "10", "--json"])
        summary = json.loads(capsys.readouterr().out.splitlines()[-1])
        results.append({k: v for k, v in summary.items() if k != "wall_seconds"})
    assert results[0] == results[1]
    with pytest.raises(SystemExit):
        main(["train", "--resume", str(copy)])
    assert f"{copy} is an exported run, which has the weights alone" in capsys.readouterr().err
    assert not (copy / ".lock").exists()
    with pytest.raises(SystemExit):
        main(["export", str(trained.path), "--output", str(copy)])


def test_an_exported_run_tells_nothing_of_the_machines_folders(trained):
    from metarl.run.export import without_folders

    command = "/opt/venv/bin/python -m experiments.maze train --size 5 --run-dir=/home/me/warp"
    config = {**trained.config, "provenance": {"git_commit": "abc", "command_line": command}}
    shared = without_folders(config)
    assert shared["provenance"] == {
        "git_commit": "abc",
        "command_line": "python -m experiments.maze train --size 5 --run-dir=warp",
    }
    assert from_config(shared) == replace(from_config(trained.config), run_dir=None)


def test_the_config_gives_the_settings_back(trained):
    settings = from_config(trained.config)
    assert settings == replace(
        defaults(),
        run_dir=trained.path,
        environment=Room(size=5, horizon=12),
        batch_size=3,
        hidden_size=6,
        iterations=30,
        log_every=4,
        checkpoint_every=7,
        device="cpu",
    )


def test_presets():
    paper = defaults("paper")
    assert paper.learner.warp_period == 30
    assert (paper.learner.lr, paper.learner.slow_lr) == (1e-3, None)
    assert paper.learner.max_grad_norm is None
    assert paper.published_faults
    assert paper.loss.published_returns
    assert paper.loss.published_baseline
    assert not defaults().published_faults
    baseline = defaults("paper", "rnn")
    assert (baseline.learner.lr, baseline.learner.eps) == (1e-4, 1e-4)
    assert baseline.learner.max_grad_norm == 4.0
    assert baseline.loss.published_baseline
    assert not baseline.loss.published_returns
    assert not baseline.published_faults
    ppo = defaults("ppo")
    assert (ppo.loss.algorithm, ppo.learner.num_epochs, ppo.learner.lr) == ("ppo", 3, 2e-3)
    assert defaults("ppo", "rnn").learner.lr == defaults("default", "rnn").learner.lr
    small = defaults("minibatch", "lstm")
    assert (small.batch_size, small.learner.minibatch_trials, small.learner.lr) == (64, 8, 2e-3)
    assert small.loss == replace(defaults(mazes="mst").loss, gamma=0.95)
    with pytest.raises(SystemExit):
        main(["train", "--preset", "unknown"])


@pytest.mark.parametrize("preset", ["default", "paper"])
def test_the_faults_of_maze_and_network_come_with_the_paper_preset_alone(preset):
    settings, published = defaults(preset), preset == "paper"
    of_training, measured = (
        one.trials(2, [torch.Generator()], torch.device("cpu"))
        for one in (settings.trained(), settings.learning(settings.environment))
    )
    assert of_training.env.unwrapped.settings.teleport == ("interior" if published else "free")
    assert measured.env.unwrapped.settings.teleport == "free"
    observation, _ = of_training.reset()
    assert observation[:, 13:].tolist() == [[float(published), 0, 0, 0]] * 2
    policy = settings.trained().policy()
    fast, slow = partition(p := policy.init(torch.Generator()), slow=policy.slow).split(p)
    assert num_parameters(fast) == 12_305
    assert num_parameters(slow) == (139_300 if published else 129_300)


def test_paper_preset_trains(tmp_path):
    (run,) = train(tmp_path / "run", "--preset", "paper")
    assert from_config(run.config).published_faults
    assert learned(run)["core.warp_project"].shape == (6, 17 + 5 * 6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--size", "12"], "--size must be odd"),
        (["train", "--size", "3"], "--size must be at least 5, got 3"),
        (
            ["train", "--method", "mamba"],
            "--method 'mamba' is not one of warp-rnn, rl2, rnn",
        ),
        (
            ["train", "--preset", "best"],
            "--preset 'best' is not one of default, ppo, minibatch, demo, paper",
        ),
        (["train", "--iterations", "0"], "--iterations must be at least 1, got 0"),
        (["train", "--batch-size", "-3"], "--batch-size must be at least 1, got -3"),
        (["train", "--seeds", "1", "1"], "--seeds must be different"),
        (["train", "--reward", "0"], "--reward must be above 0, got 0.0"),
        (
            ["train", "--wall-penalty", "-1"],
            "--wall-penalty must be finite and at least 0, got -1.0",
        ),
        (["train", "--learner.fast.lr", "1"], "--learner.fast.lr is --lr since version 0.2"),
        (["train", "--lr", "-1"], "lr must be finite and at least 0, got -1.0"),
        (["train", "--beta2", "1"], "beta2 must lie in [0, 1), got 1.0"),
        (["train", "--warp-period", "2", "--method", "gru"], "--warp-period is for warp-rnn"),
        (["train", "--method", ""], "--method '' is not one of warp-rnn, rl2, rnn"),
        (["train", "--core", ""], "--core '' is not one of rnn, gru"),
        (["train", "--curriculum", ""], "--curriculum '' is not one of dr, plr"),
        (
            ["train", "--method", "lstm", "--core", "gru"],
            "--method lstm is short for --core lstm: drop it, or --core gru",
        ),
        (["train", "--method", "warp-rnn", "--core", "gru"], "--core gru has no slow weights"),
        (["train", "--warmup", "-5"], "warmup must be at least 0, got -5"),
        (["train", "--loss.entropy-coef", "-1"], "entropy_coef must be finite and at least 0"),
        (["train", "--max-grad-norm", "nan"], "--max-grad-norm must be finite and above 0"),
        (["train", "--max-grad-norm", "0"], "--max-grad-norm must be finite and above 0"),
        (["train", "--warp-period", "0"], "--warp-period must be at least 1, got 0"),
        (["train", "--loss.gamma", "1.5"], r"gamma must lie in [0, 1], got 1.5"),
        (
            ["train", "--minibatch-trials", "7"],
            "minibatches of 7 trials do not make up a batch of 30: minibatch_trials can be 1, 2, 3",
        ),
        (["train", "--minibatch-trials", "0"], "--minibatch-trials must be at least 1, or None"),
        (
            ["train", "--preset", "paper", "--minibatch-trials", "10"],
            "the published fault of the baseline has the value of maze 0 for every maze",
        ),
        (["train", "--resume", "no-such-run"], "there is no run directory no-such-run"),
        (["evaluate", "no-such-run"], "there is no run directory no-such-run"),
        (["evaluate", "no-such-run", "--seed", "-1"], "--seed must not be negative, got -1"),
        (["render", "no-such-run", "--seed", "-3"], "--seed must not be negative, got -3"),
        (["render", "x", "--output", "trial.avi"], "must end in .gif, .mp4, .png"),
        (["fly"], "unknown command 'fly'"),
    ],
)
def test_bad_input_is_refused_in_one_line_before_work_starts(
    arguments, message, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (OSError(28, "No space left"), 1, "No space left; nothing has been trained yet"),
        (KeyboardInterrupt(), 130, "interrupted, nothing has been trained yet"),
    ],
)
def test_a_full_disk_and_a_second_ctrl_c_end_in_one_line(
    tmp_path, monkeypatch, capsys, error, status, message
):
    from metarl.train.loop import MetaTraining

    def fails(self):
        raise error

    monkeypatch.setattr(MetaTraining, "run", fails)
    with pytest.raises(SystemExit) as exit_:
        train(tmp_path / "run")
    assert exit_.value.code == status
    last = capsys.readouterr().err.splitlines()[-1]
    assert message in last
    assert last.endswith(
        f"go on with: python -m experiments.maze train --resume {tmp_path / 'run'}"
    )


def test_ctrl_c_before_there_is_a_run_promises_no_resume(tmp_path, monkeypatch, capsys):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("metarl.run.recipe.create_runs", interrupted)
    with pytest.raises(SystemExit) as exit_:
        train(tmp_path / "run")
    assert exit_.value.code == 130
    assert "--resume" not in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_where_none_is(capsys, tmp_path):
    with pytest.raises(SystemExit):
        train(tmp_path / "run", "--device", "cuda")
    assert "device 'cuda' was asked for" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_an_existing_run_is_not_overwritten(trained, capsys):
    before = trained.checkpoint_path.read_bytes()
    with pytest.raises(SystemExit):
        train(trained.path)
    assert "--resume" in capsys.readouterr().err
    assert trained.checkpoint_path.read_bytes() == before


def test_resume_refuses_other_settings(trained, capsys):
    for given, named in (
        (("--size", "7"), "drop --size"),
        (("--batch-size", "7", "--preset", "demo"), "drop --batch-size, --preset"),
        (("--lr", "1", "--method", "rnn"), "drop --lr, --method"),
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
        train(tmp_path / "run", "--lr", "1e30")
    assert exit_.value.code == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert "iteration 2: loss" in error
    assert error.startswith(f"error: {tmp_path / 'run'}: iteration 2: loss")
    assert "train again with a smaller --lr" in error
    (run,) = find_runs(tmp_path / "run")
    assert all(value.isfinite().all() for value in learned(run).values())


def test_a_corrupt_checkpoint_is_named(tmp_path, capsys):
    (run,) = train(tmp_path / "run")
    run.checkpoint_path.write_bytes(b"not a checkpoint")
    for command in (["evaluate", str(run.path)], ["train", "--resume", str(run.path)]):
        with pytest.raises(SystemExit) as exit_:
            main(command)
        assert exit_.value.code == 2
        assert "checkpoint" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"method": "warp", "ways": 5}, "is not that of a run of experiments.maze"),
        ({"method": "walk", "wall_penalty": 0.0, "learner": {}, "preset": "demo"}, "'walk' is not"),
    ],
)
def test_a_foreign_run_is_named(tmp_path, capsys, config, message):
    run = RunDirectory.create(tmp_path / "other", {**config, "seed": 0})
    run.save_checkpoint({"iteration": 0})
    for command in (["evaluate", str(run.path)], ["train", "--resume", str(run.path)]):
        with pytest.raises(SystemExit):
            main(command)
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        (("--hidden-size", "7"), r"is \(.*6.*\), the settings ask for \(.*7.*\)"),
        (("--method", "rnn"), r"is (missing|\(.*\)), the settings ask for (nothing|\(.*\))"),
    ],
)
def test_a_checkpoint_of_another_agent_is_named(trained, tmp_path, capsys, options, difference):
    (other,) = train(tmp_path / "other", *options)
    other.checkpoint_path.write_bytes(trained.checkpoint_path.read_bytes())
    film = str(tmp_path / "film.gif")
    for command in (["evaluate", str(other.path)], ["render", str(other.path), "--output", film]):
        with pytest.raises(SystemExit) as exit_:
            main(command)
        assert exit_.value.code == 2
        error = capsys.readouterr().err
        assert f"{other.checkpoint_path} does not fit the settings in its config.json" in error
        assert re.search(difference, error), error
