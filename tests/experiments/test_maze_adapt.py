"""The scripts of adaptation by policy gradient, run as a user runs them: small, but whole."""

import json
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from experiments.maze_adapt.__main__ import main
from experiments.maze_adapt.episodes import episodes_of
from experiments.maze_adapt.gradient import draws, load, policy_of, start_penalty
from experiments.maze_adapt.methods import METHODS_OF
from experiments.maze_adapt.settings import ENVS, defaults, from_config
from experiments.maze_adapt.streams import SIDE_STREAMS, STREAMS
from metarl.core import share
from metarl.errors import RunDirectoryError
from metarl.rl import PolicyGradientTasks
from metarl.runs.directory import RunDirectory, find_runs

SMALL = (
    *("--hidden", "4", "--meta-batch", "2", "--episodes", "3", "--horizon", "6"),
    *("--iterations", "5", "--log-every", "2", "--checkpoint-every", "3", "--device", "cpu"),
)
EVALUATE = ("--tasks", "4", "--steps", "2", "--episodes", "3", "--device", "cpu", "--json")


def train(path, *arguments):
    main(["train", *SMALL, "--run-dir", str(path), *arguments])
    return find_runs(path)


def state(run):
    return run.load_checkpoint()["learner"]


def metrics(run):
    return {k: v.tolist() for k, v in run.read_metrics().items() if k != "wall_seconds"}


def assert_same(run, other):
    assert metrics(run) == metrics(other)
    one, two = state(run)["params"], state(other)["params"]
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert torch.equal(value, two[name]), name


def summary_of(path, capsys, *arguments):
    main(["evaluate", str(path), *EVALUATE, *arguments])
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    (run,) = train(tmp_path_factory.mktemp("runs") / "maml", "--env", "maze", "--size", "5")
    return run


def test_train_leaves_a_whole_run_directory(trained):
    names = {p.name.split(".")[0] for p in trained.path.iterdir()}
    assert {"config", "metrics", "checkpoint", "events"} <= names
    assert metrics(trained)["iteration"] == [2, 4, 5]
    assert metrics(trained)["env_steps"][-1] == 5 * (3 + 1) * 2 * 3 * 6
    assert {"return", "return_before", "unrewarded", "query_loss"} <= metrics(trained).keys()


@pytest.mark.parametrize("method", METHODS_OF["gradient"])
def test_every_method_resumes_bit_for_bit_and_draws_as_it_says(tmp_path, monkeypatch, method):
    """From the checkpoint before the last, between two lines of metrics."""
    counts = set()
    measured = PolicyGradientTasks.measured
    monkeypatch.setattr(
        PolicyGradientTasks,
        "measured",
        lambda self, drawn: counts.add(len(drawn)) or measured(self, drawn),
    )
    arguments = ("--env", "gridnavi", "--method", method)
    (whole,) = train(tmp_path / "whole", *arguments)
    (cut,) = train(tmp_path / "cut", *arguments)
    os.replace(cut.path / "checkpoint.previous.pt", cut.checkpoint_path)
    assert cut.load_checkpoint()["iteration"] == 3
    main(["train", "--resume", str(cut.path)])
    assert_same(cut, whole)
    expected = draws(method, from_config(whole.config).learner.inner.num_steps)
    assert counts == ({expected} if expected else set())


@pytest.mark.parametrize("env", ENVS)
def test_every_world_trains_and_is_evaluated(tmp_path, capsys, env):
    (run,) = train(tmp_path / env, "--env", env, "--method", "fomaml")
    summary = summary_of(run.path, capsys)
    assert summary["floor_return"] < summary["oracle_return"]
    assert ("success_rate" in summary) == (env in ("maze", "point", "gridnavi"))
    assert len(summary["return_mean"]) == 3


@pytest.mark.parametrize("env", ENVS)
def test_train_and_test_tasks_are_apart(env):
    world = defaults(env).world()
    generators = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    seen = {task.task_id for task in world.train.sample(300, generators[0])}
    unseen = world.unseen_tasks("test", 50, generators[1])
    choose = world.unseen_tasks("validation", 50, generators[1])
    assert not {task.task_id for task in choose} & (seen | {task.task_id for task in unseen})
    assert len({task.task_id for task in unseen}) == len(unseen) > 0
    assert not seen & {task.task_id for task in unseen}
    if env in ("maze", "point"):
        assert all(task in world.test and task not in world.train for task in unseen)


def test_tests_have_streams_of_their_own():
    assert not set(STREAMS) & set(SIDE_STREAMS)


def test_settings_are_chosen_on_a_side_of_their_own(tmp_path, capsys):
    (run,) = train(tmp_path / "run", "--env", "maze", "--size", "5", "--method", "fomaml")
    ids = {}
    for option, side in (("--split", "validation"), ("--side", "validation"), ("--split", "test")):
        summary = summary_of(run.path, capsys, option, side)
        assert summary["split"] == side
        ids[side] = set(json.loads((run.path / "adaptation.json").read_text())["task_ids"])
    assert ids["validation"].isdisjoint(ids["test"])


def test_a_run_that_does_not_say_how_its_tasks_were_dealt_out_is_refused(tmp_path):
    (run,) = train(tmp_path / "run", "--env", "maze", "--size", "5", "--method", "fomaml")
    config = {name: value for name, value in run.config.items() if name != "salt"}
    with pytest.raises(RunDirectoryError, match="salt"):
        from_config(config)


@pytest.mark.parametrize("method", ["maml", "reptile", "promp"])
def test_training_does_not_depend_on_chunks(tmp_path, method):
    arguments = ("--env", "maze", "--size", "5", "--meta-batch", "3", "--method", method)
    (whole,) = train(tmp_path / "whole", *arguments)
    (chunks,) = train(tmp_path / "chunks", *arguments, "--learner.execution.chunk-size", "2")
    for name, value in state(whole)["params"].items():
        torch.testing.assert_close(value, state(chunks)["params"][name], rtol=1e-3, atol=1e-5)


def test_seeds_train_in_turn_equal_seeds_alone_and_are_summed_up(tmp_path, capsys):
    together = train(tmp_path / "together", "--seeds", "0", "4")
    assert [run.path.name for run in together] == ["seed-0", "seed-4"]
    (alone,) = train(tmp_path / "alone", "--seeds", "4")
    assert_same(together[1], alone)
    summary = summary_of(tmp_path / "together", capsys)
    assert summary["num_seeds"] == 2
    means = [one["return_mean"] for one in summary["runs"]]
    assert summary["return_mean"] == pytest.approx(np.mean(means, 0))
    assert (tmp_path / "together" / "adaptation.png").stat().st_size > 5000


def test_evaluate_prints_its_summary_as_the_last_line(trained, capsys):
    summary = summary_of(trained.path, capsys)
    assert summary == json.loads((trained.path / "summary.json").read_text())
    for name in (
        *("return_mean", "return_mean_ci95", "return_iqm", "return_iqm_ci95", "percentile20"),
        *("percent_improved", "length_mean", "length_ratio", "success_rate"),
        *("normalised_score", "untrained_return_mean", "experience"),
    ):
        assert len(summary[name]) == 3, name
    assert summary["experience"] == [0, 3, 6]
    assert (summary["env"], summary["method"], summary["iteration"]) == ("maze", "maml", 5)
    every = json.loads((trained.path / "adaptation.json").read_text())
    returns = np.array(every["returns"])
    assert returns.shape == (summary["num_tasks"], 3, 3)
    assert len(set(every["task_ids"])) == summary["num_tasks"]
    assert summary["return_mean"] == pytest.approx(returns.mean((0, 2)))


def test_of_one_unseen_task_evaluate_says_that_there_is_no_interval(trained, capsys):
    """A 5 x 5 maze has one unseen goal; its resamples would all be the same."""
    path = str(trained.path)
    main(["evaluate", path, *EVALUATE[:-1]])
    said = capsys.readouterr().out
    assert "1 unseen test tasks" in said
    assert "no intervals: one task is no sample of tasks" in said
    (line,) = [line for line in said.splitlines() if "95 % from" in line]
    assert line.split()[-3:] == ["–"] * 3
    summary = json.loads((trained.path / "summary.json").read_text())
    assert summary["return_mean_ci95"] == [None] * 3
    rows = {line[2:22].strip(): line[22:].split() for line in said.splitlines()}
    for words, name in (("length, mean", "length_mean"), ("length / that at 0", "length_ratio")):
        assert [float(v) for v in rows[words]] == pytest.approx(summary[name], abs=1e-3)
    assert rows["length / that at 0"][0] == "1.000"


def test_evaluation_repeats_in_chunks_too_and_leaves_the_run_as_it_was(trained, capsys):
    before = trained.checkpoint_path.read_bytes()
    one, two, chunks, other = (
        summary_of(trained.path, capsys, *extra)
        for extra in ((), (), ("--chunk-size", "1"), ("--seed", "1"))
    )
    for summary in (one, two, chunks):
        assert summary.pop("wall_seconds") > 0
    assert one == two
    assert chunks["return_mean"] == pytest.approx(one["return_mean"])
    assert one["length_mean"] != other["length_mean"]
    assert trained.checkpoint_path.read_bytes() == before


def test_without_meta_training_nothing_is_learned(tmp_path, capsys):
    (run,) = train(tmp_path / "none", "--method", "none")
    summary = summary_of(run.path, capsys)
    assert summary["return_mean"] == summary["untrained_return_mean"]


def test_render_films_the_same_maze_at_every_step(trained, tmp_path, capsys):
    picture, film = tmp_path / "steps.png", tmp_path / "steps.gif"
    for path in (picture, film):
        main(["render", str(trained.path), "--steps", "2", "--output", str(path)])
    said = capsys.readouterr().out
    assert all(f"{title}: return" in said for title in ("before adaptation", "after 2 steps"))
    with Image.open(picture) as image, Image.open(film) as frames:
        assert image.size == frames.size
        assert frames.n_frames >= 6
    width = 5 * 82 * 3 + 2 * 16  # three mazes of five cells, and the gaps between them
    assert image.size[0] == width


def test_render_refuses_what_is_no_maze(tmp_path, capsys):
    (run,) = train(tmp_path / "point", "--env", "point")
    with pytest.raises(SystemExit):
        main(["render", str(run.path)])
    assert "only mazes are filmed" in capsys.readouterr().err


def test_ctrl_c_saves_says_how_to_go_on_and_the_resume_finishes(tmp_path, monkeypatch, capsys):
    from metarl.train.trainer import Trainer

    (whole,) = train(tmp_path / "whole")
    update, calls = Trainer.step, []

    def interrupted(self, tasks, penalty=None):
        calls.append(1)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return update(self, tasks, penalty)

    monkeypatch.setattr(Trainer, "step", interrupted)
    with pytest.raises(SystemExit) as exit_:
        train(tmp_path / "cut")
    assert exit_.value.code == 130
    said = capsys.readouterr().err.splitlines()[-1]
    assert "saved at iteration 2" in said
    assert said.endswith(f"python -m experiments.maze_adapt train --resume {tmp_path / 'cut'}")
    main(["train", "--resume", str(tmp_path / "cut")])
    assert_same(find_runs(tmp_path / "cut")[0], whole)


def test_an_environment_that_fails_leaves_a_checkpoint_to_go_on_from(tmp_path, monkeypatch):
    from envs import PointNavigationVectorEnv

    step, calls = PointNavigationVectorEnv.step_tensors, []

    def failing(self, actions):
        calls.append(1)
        if len(calls) == 3 * 12 + 2:  # in the fourth iteration
            raise RuntimeError("broken")
        return step(self, actions)

    (whole,) = train(tmp_path / "whole")
    monkeypatch.setattr(PointNavigationVectorEnv, "step_tensors", failing)
    with pytest.raises(RuntimeError, match="broken"):
        train(tmp_path / "cut")
    main(["train", "--resume", str(tmp_path / "cut")])
    assert_same(find_runs(tmp_path / "cut")[0], whole)


def test_the_config_gives_the_settings_back(trained):
    assert from_config(trained.config) == replace(
        defaults("maze"),
        run_dir=trained.path,
        size=5,
        hidden=(4,),
        meta_batch=2,
        episodes=3,
        horizon=6,
        iterations=5,
        log_every=2,
        checkpoint_every=3,
        device="cpu",
    )


def test_the_first_policy_keeps_looking_longer_the_more_it_is_asked_to(tmp_path):
    """Ten large steps: minus the entropy is what is added to what is minimised."""
    entropies = []
    for coef in ("0", "30"):
        arguments = ("--env", "maze", "--size", "5", "--iterations", "10")
        (run,) = train(
            tmp_path / coef,
            *arguments,
            *("--learner.outer.optimiser.lr", "0.1", "--loss.start-entropy-coef", coef),
        )
        loaded = load(run, from_config(run.config), torch.device("cpu"))
        learner, settings = loaded.trained.learner, loaded.trained.settings
        world = settings.world()
        policy = policy_of(settings, world)
        tasks = episodes_of(
            world, world.train.tasks[:4], 5, policy, settings.loss, torch.Generator()
        )
        stacked = share({**learner.fast, **learner.slow}, 4)
        batch = tasks.sample(stacked, {}, "support")
        entropies.append(float(batch.metrics["entropy"].mean()))
        assert (start_penalty(settings, policy) is None) == (coef == "0")
    assert entropies[0] < entropies[1] - 0.01
    assert entropies[1] > 1.38  # log 4 = 1.386


def test_a_run_outlives_other_defaults_of_other_learners(trained):
    other = {**trained.config["of_policies"], "exploration_coef": 7.0}
    assert from_config({**trained.config, "of_policies": other}) == from_config(trained.config)
    with pytest.raises(RunDirectoryError, match="of this version"):
        from_config({"env": "maze", "method": "maml"})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--method", "sgd"], "--method 'sgd' is not one of maml, fomaml"),
        (["train", "--env", "mars"], "--env 'mars' is not one of maze, point"),
        (["train", "--iterations", "0"], "--iterations must be at least 1, got 0"),
        (["train", "--env", "bandit", "--arms", "1"], "--arms must be at least 2, got 1: one arm"),
        (["train", "--episodes", "0"], "--episodes must be at least 1, got 0"),
        (["train", "--env", "maze", "--size", "6"], "--size must be odd and at least 5, got 6"),
        (["train", "--size", "7"], "--size is for --env maze; point has none"),
        (["train", "--env", "maze", "--arms", "7"], "--arms is for --env bandit; maze has none"),
        (["train", "--hidden", "0"], "--hidden must be positive counts"),
        (["train", "--initial-std", "0"], "--initial-std must be at least 0.001"),
        (["train", "--seeds", "1", "1"], "--seeds must be different"),
        (["train", "--loss.gamma", "2"], "gamma must lie in [0, 1], got 2.0"),
        (["train", "--learner.inner.num-steps", "-1"], "num_steps must be at least 1, got -1"),
        (["train", "--learner.order", "serial"], "--learner.order is for reptile"),
        (["train", "--of-policies.promp.clip", "0.1"], "--of-policies.promp is for promp; maml"),
        (
            ["train", "--method", "trpo-maml", "--learner.execution.chunk-size", "2"],
            "trpo-maml takes all tasks at once",
        ),
        (
            ["train", "--method", "trpo-maml", "--learner.outer.optimiser.lr", "0.1"],
            "trpo-maml finds its own step",
        ),
        (
            ["train", "--method", "trpo-maml", "--loss.start-entropy-coef", "1"],
            "--loss.start-entropy-coef is a term of the gradient",
        ),
        (
            ["train", "--loss.start-entropy-coef", "-1"],
            "start_entropy_coef must be finite and at least 0, got -1.0",
        ),
        (["train", "--resume", "no-such-run"], "there is no run directory no-such-run"),
        (["evaluate", "no-such-run"], "there is no run directory no-such-run"),
        (["evaluate", "x", "--steps", "-1"], "--steps must be at least 0, got -1"),
        (["evaluate", "x", "--tasks", "0"], "--tasks must be at least 1, got 0"),
        (["render", "x", "--output", "x.txt"], "--output x.txt must end in .gif, .mp4, .png"),
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
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not list(tmp_path.iterdir())


def test_bad_settings_of_policies_leave_no_run_behind(tmp_path, capsys):
    with pytest.raises(SystemExit):
        train(tmp_path / "run", "--method", "promp", "--of-policies.promp.clip", "0")
    assert "clip must be above 0" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_resume_refuses_other_settings_and_foreign_runs(trained, tmp_path, capsys):
    foreign = RunDirectory.create(tmp_path / "other", {"method": "warp", "size": 13, "seed": 0})
    foreign.save_checkpoint({"iteration": 0})
    for arguments, message in (
        (["train", "--resume", str(trained.path), "--episodes", "7"], "drop --episodes"),
        (["train", "--resume", str(trained.path), "--method", "anil"], "drop --method"),
        (["train", "--resume", str(foreign.path)], "not that of a run of maze_adapt"),
        (["evaluate", str(foreign.path)], "not that of a run of maze_adapt"),
        (["train", *SMALL, "--run-dir", str(trained.path)], "--resume"),
    ):
        with pytest.raises(SystemExit) as exit_:
            main(arguments)
        assert exit_.value.code == 2
        assert message in capsys.readouterr().err


@pytest.mark.slow
def test_maml_learns_to_adapt_and_its_twin_with_mixed_up_tasks_does_not(tmp_path, monkeypatch):
    """The twin is judged by policies that adapted to other goals."""
    from metarl.rl import PolicyGradientTasks

    def returns(path):
        budget = ("--iterations", "40", "--meta-batch", "10", "--horizon", "50")
        main(["train", *budget, "--device", "cpu", "--run-dir", str(path)])
        main(["evaluate", str(path), "--tasks", "20", "--steps", "1", "--device", "cpu"])
        return json.loads((path / "summary.json").read_text())["return_mean"]

    sample = PolicyGradientTasks.sample

    def mixed_up(self, fast, slow, split):
        if split == "query":
            fast = {name: p.roll(1, 0) for name, p in fast.items()}
        return sample(self, fast, slow, split)

    before, after = returns(tmp_path / "whole")
    monkeypatch.setattr(PolicyGradientTasks, "sample", mixed_up)
    _, of_twin = returns(tmp_path / "twin")
    assert after > before + 5.0
    assert after > of_twin + 3.0
