"""Adaptation, as a user runs it: small, but whole, over environments, methods and cores."""

import json
import os
import re
import shutil
from dataclasses import replace

import pytest
import torch

from experiments.environments import ENVIRONMENTS, environment_named
from experiments.maze_adapt import METHODS, RECIPE, defaults
from metarl.methods.gradient import GradientLearning
from metarl.nn import CORES
from metarl.rl.problem import is_finite, task_name
from metarl.run.adaptation import STREAMS
from metarl.runs.directory import RunDirectory
from metarl.runs.seeds import find_runs
from metarl.train.trainer import Trainer
from tests.experiments.scripts import maze_adapt as main

EVERY = ("--iterations", "5", "--log-every", "2", "--checkpoint-every", "3", "--device", "cpu")
BATCH = ("--meta-batch", "2", "--horizon", "6")
PLAYED = ("--episodes", "3", "--hidden", "4")
TRIALS = ("--trial-episodes", "2", "--hidden-size", "4")
EVALUATE = ("--tasks", "4", "--steps", "2", "--episodes", "3", "--device", "cpu", "--json")
MAZE = ("--env", "maze", "--size", "7")
MEMORIES = ("rl2", "warp-rnn", "recurrent-ppo")


def options(method):
    return (*EVERY, *BATCH, *(TRIALS if method in MEMORIES else PLAYED), "--method", method)


def train(path, method="maml", *arguments):
    main(["train", *options(method), "--run-dir", str(path), *arguments])
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
    (run,) = train(tmp_path_factory.mktemp("runs") / "maml", "maml", *MAZE)
    return run


# Contracts: every method, environment and core ---------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_every_method_resumes_bit_for_bit_and_is_measured(tmp_path, capsys, method):
    (whole,) = train(tmp_path / "whole", method, *MAZE)
    (cut,) = train(tmp_path / "cut", method, *MAZE)
    os.replace(cut.path / "checkpoint.previous.pt", cut.checkpoint_path)
    assert cut.load_checkpoint()["iteration"] == 3
    main(["train", "--resume", str(cut.path)])
    assert_same(cut, whole)
    one, other = (RECIPE.settings_of(run.config) for run in (cut, whole))
    assert one == replace(other, run_dir=cut.path)
    summary = summary_of(cut.path, capsys)
    assert (summary["env"], summary["method"], summary["num_tasks"]) == ("maze", method, 4)
    assert len(summary["return_mean"]) == len(summary["untrained_return_mean"]) == 3
    assert summary == summary_of(cut.path, capsys) | {"wall_seconds": summary["wall_seconds"]}


@pytest.mark.parametrize("env", ENVIRONMENTS)
@pytest.mark.parametrize("method", ["maml", "rl2", "ppo", "recurrent-ppo"])
def test_every_environment_trains_and_is_evaluated(tmp_path, capsys, env, method):
    (run,) = train(tmp_path / "run", method, "--env", env)
    summary = summary_of(run.path, capsys)
    assert summary["floor_return"] <= summary["oracle_return"]
    assert ("success_rate" in summary) == (env not in ("bandit", "mdp"))


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("method", ["maml", "rl2"])
def test_every_core_trains_resumes_and_is_filmed(tmp_path, core, method):
    size = () if method == "rl2" else ("--core-size", "4", "--hidden", "64", "64")
    core_of = (*MAZE, "--core", core, *size)
    (whole,) = train(tmp_path / "whole", method, *core_of)
    (cut,) = train(tmp_path / "cut", method, *core_of)
    os.replace(cut.path / "checkpoint.previous.pt", cut.checkpoint_path)
    main(["train", "--resume", str(cut.path)])
    assert_same(cut, whole)
    main(["render", str(cut.path), "--output", str(tmp_path / "film.png"), "--steps", "1"])
    assert (tmp_path / "film.png").stat().st_size > 1000


@pytest.mark.parametrize("method", ["maml", "rl2", "ppo"])
def test_seeds_together_equal_seeds_alone_and_are_summed_up(tmp_path, capsys, method):
    size = ("--hidden-size", "32", "--meta-batch", "8") if method == "rl2" else ()
    together = train(tmp_path / "together", method, *MAZE, *size, "--seeds", "0", "4")
    for run, seed in zip(together, (0, 4), strict=True):
        (alone,) = train(tmp_path / f"{seed}", method, *MAZE, *size, "--seeds", str(seed))
        assert_same(run, alone)
    assert summary_of(tmp_path / "together", capsys)["num_seeds"] == 2
    assert (tmp_path / "together" / "adaptation.png").exists()


@pytest.mark.parametrize("method", ["maml", "rl2", "ppo", "recurrent-ppo"])
@pytest.mark.parametrize("ending", [".gif", ".png"])
def test_render_films_the_same_maze_at_every_step(tmp_path, capsys, method, ending):
    (run,) = train(tmp_path / "run", method, *MAZE)
    said = []
    for name in ("one", "two"):
        film = tmp_path / f"{name}{ending}"
        main(["render", str(run.path), "--output", str(film), "--steps", "1"])
        said.append(capsys.readouterr().out.splitlines()[-1].partition(" (")[2])
        assert film.stat().st_size > 1000
    assert said[0] == said[1]
    names = (
        ("episode 1", "episode 2") if method in MEMORIES else ("before adaptation", "after 1 step")
    )
    assert all(name in said[0] for name in names)


@pytest.mark.parametrize("method", METHODS)
def test_help_shows_what_the_method_reads_alone(capsys, method):
    with pytest.raises(SystemExit):
        main(["train", "--method", method, "--help"])
    said = capsys.readouterr().out
    assert said.count("\n") < 220
    assert ("--trial-episodes" in said) == (method in MEMORIES)
    assert ("--inner-lr" in said) == (method not in (*MEMORIES, "ppo"))
    assert ("--slow-lr" in said) == (method in ("anil", "warp", "warp-rnn"))
    assert ("--fine-tuning.lr" in said) == (method == "ppo")
    for other in ("--leap", "--strength" if method != "imaml" else "--leap"):
        assert other not in said


# Tasks and draws ------------------------------------------------------------------------------


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_train_and_unseen_tasks_are_apart(env):
    problem = environment_named(env)
    sides = (problem.train, problem.validation, problem.test)
    names = [
        {
            task_name(t)
            for t in (s if is_finite(s) else s.sample(50, torch.Generator().manual_seed(n)))
        }
        for n, s in enumerate(sides)
    ]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not names[one] & names[other]


def test_tests_have_streams_of_their_own():
    assert STREAMS[:3] == ("init", "tasks", "episodes")
    assert len(set(STREAMS)) == len(STREAMS)


@pytest.mark.parametrize("method", ["maml", "promp", "warp"])
def test_training_does_not_depend_on_chunks(tmp_path, method):
    (whole,) = train(tmp_path / "whole", method, *MAZE, "--meta-batch", "3")
    (chunked,) = train(
        tmp_path / "chunked", method, *MAZE, "--meta-batch", "3", "--chunk-size", "2"
    )
    for name, value in state(whole)["params"].items():
        torch.testing.assert_close(value, state(chunked)["params"][name], rtol=1e-4, atol=1e-6)


def test_environments_are_made_once_and_not_once_per_iteration(tmp_path, monkeypatch):
    from experiments.environments import Maze

    made = []
    make = Maze.make_env
    monkeypatch.setattr(
        Maze,
        "make_env",
        lambda self, n, *place, **on: made.append(n) or make(self, n, *place, **on),
    )
    train(tmp_path / "run", "maml", *MAZE)
    assert made.count(6) == 1


def test_every_draw_that_a_method_counts_is_a_meta_batch_of_steps(trained):
    assert metrics(trained)["env_steps"][-1] == 5 * 2 * 3 * 6 * (3 + 1)


# Evaluation ------------------------------------------------------------------------------------


def test_evaluate_leaves_summary_episodes_and_picture(trained, capsys):
    before = trained.checkpoint_path.read_bytes()
    summary = summary_of(trained.path, capsys)
    assert summary == json.loads((trained.path / "summary.json").read_text())
    assert {"axis", "floor", "oracle_return", "return_iqm_ci95", "salt", "split"} <= summary.keys()
    episodes = json.loads((trained.path / "adaptation.json").read_text())
    assert torch.tensor(episodes["returns"]).shape == (4, 3, 3)
    assert len(set(episodes["task_ids"])) == 4
    assert (trained.path / "adaptation.png").stat().st_size > 0
    chunked = summary_of(trained.path, capsys, "--chunk-size", "3")
    assert chunked["return_mean"] == summary["return_mean"]
    assert trained.checkpoint_path.read_bytes() == before
    assert summary_of(trained.path, capsys, "--side", "validation")["split"] == "validation"


def test_what_validation_leaves_is_beside_what_the_test_left(trained, capsys, tmp_path):
    names = ("summary.json", "adaptation.json", "adaptation.png")
    summary_of(trained.path, capsys)
    before = [(trained.path / name).read_bytes() for name in names]
    found = summary_of(trained.path, capsys, "--split", "validation")
    assert [(trained.path / name).read_bytes() for name in names] == before
    assert found == json.loads((trained.path / "summary-validation.json").read_text())
    episodes = json.loads((trained.path / "adaptation-validation.json").read_text())
    assert torch.tensor(episodes["returns"]).shape == (2, 3, 3)  # all that there are
    assert (trained.path / "adaptation-validation.png").stat().st_size > 0
    for seed in (0, 1):
        shutil.copytree(trained.path, tmp_path / f"seed-{seed}")
    summary_of(tmp_path, capsys, "--split", "validation")
    assert (tmp_path / "summary-validation.json").is_file()
    assert (tmp_path / "adaptation-validation.png").is_file()
    assert not (tmp_path / "summary.json").exists()


def test_of_one_unseen_task_evaluate_says_that_there_is_no_interval(trained, capsys):
    main(["evaluate", str(trained.path), *EVALUATE, "--tasks", "1"])
    assert "no intervals: one task is no sample of tasks" in capsys.readouterr().out


def test_a_trial_is_measured_by_its_episodes(tmp_path, capsys):
    (run,) = train(tmp_path / "run", "rl2", *MAZE)
    summary = summary_of(run.path, capsys)
    assert (summary["axis"], summary["experience"]) == ("episodes before", [0, 1, 2])
    with pytest.raises(SystemExit):
        main(["evaluate", str(run.path), "--chunk-size", "2"])
    assert "--chunk-size: rl2 plays all its trials at once" in capsys.readouterr().err


# Anybody's environments ------------------------------------------------------------------------

LINES = "tests.metarl.rl.lines"


@pytest.mark.parametrize("method", ["maml", "rl2", "warp-rnn", "ppo", "recurrent-ppo"])
@pytest.mark.parametrize("factory", ["single", "vector", "told", "continuous"])
def test_anybodys_environments_are_trained_on_resumed_measured_and_filmed(
    tmp_path, capsys, factory, method
):
    few = [word for word in options(method) if word not in ("--horizon", "6")]
    where = ("train", *few, "--env", f"{LINES}:{factory}")
    runs = [tmp_path / name for name in ("whole", "cut")]
    for path in runs:
        main([*where, "--run-dir", str(path)])
    whole, cut = (find_runs(path)[0] for path in runs)
    os.replace(cut.path / "checkpoint.previous.pt", cut.checkpoint_path)
    main(["train", "--resume", str(cut.path)])
    assert_same(cut, whole)
    summary = summary_of(cut.path, capsys)
    assert summary["env"] == f"{LINES}:{factory}"
    assert summary["floor_return"] is None
    assert summary["num_tasks"] == (2 if factory == "told" else 4)
    film = tmp_path / "film.gif"
    main(["render", str(cut.path), "--output", str(film), "--steps", "1"])
    assert film.stat().st_size > 100


def test_anybodys_environments_are_compared(tmp_path):
    place = ("--run-dir", str(tmp_path / "c"), "--seeds", "0", "--jobs", "1", "--device", "cpu")
    few = ("--iterations", "1", "--meta-batch", "2", "--episodes", "2", "--evaluate.tasks", "2")
    main(["compare", "--env", f"{LINES}:told", "--methods", "maml", "none", *few, *place])
    assert "| maml |" in (tmp_path / "c" / "comparison.md").read_text()


def test_what_draws_nothing_is_not_filmed(tmp_path, capsys):
    few = [word for word in options("maml") if word not in ("--horizon", "6")]
    main(["train", *few, "--env", f"{LINES}:blind", "--run-dir", str(tmp_path / "run")])
    with pytest.raises(SystemExit):
        main(["render", str(tmp_path / "run"), "--output", str(tmp_path / "x.gif")])
    assert "render_mode='rgb_array'" in capsys.readouterr().err
    (run,) = train(tmp_path / "bandit", "maml", "--env", "bandit")
    with pytest.raises(SystemExit):
        main(["render", str(run.path), "--output", str(tmp_path / "x.gif")])
    assert "bandit is not filmed" in capsys.readouterr().err


# Settings --------------------------------------------------------------------------------------


def test_the_config_gives_the_settings_back(trained):
    settings = RECIPE.settings_of(trained.config)
    usual = defaults("maze", "maml")
    assert settings == replace(
        usual,
        run_dir=trained.path,
        environment=replace(usual.environment, size=7, horizon=6),
        agent=replace(usual.agent, hidden=(4,), episodes=3),
        **{"iterations": 5, "log_every": 2, "checkpoint_every": 3, "device": "cpu"},
        meta_batch=2,
    )
    assert isinstance(settings.learning(), GradientLearning)


def test_defaults_suit_environment_and_method():
    assert defaults("point", "maml").learner.inner_steps == 1
    assert defaults("point", "warp").learner.inner_steps == 3
    assert defaults("maze", "maml").agent.loss.start_entropy_coef == 1.0
    assert defaults("maze", "trpo-maml").agent.loss.start_entropy_coef == 0.0
    assert defaults("maze", "reptile").learner.optimiser == "adam"
    assert defaults("mdp", "rl2").agent.core == "associative"
    assert defaults("mdp", "warp-rnn").agent.core == "warp"
    assert defaults("point", "ppo").learner.entropy_coef == 0.0


@pytest.mark.filterwarnings("ignore:.*too few to say much:UserWarning")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--env", "labyrinth"], "--env 'labyrinth' is not one of maze, mazes, minigrid, point"),
        (["--env", "no_such_module:make"], "No module named 'no_such_module'"),
        (["--env", "math:pi"], "pi is a float, not a factory"),
        (["--env", "math:sqrt"], "a factory is called without arguments"),
        (["--env", "collections:Counter"], "Counter is no problem, it has no name, observation"),
        (["--method", "leap"], "--method leap is for tasks that are labelled data"),
        (["--method", "sarsa"], "--method 'sarsa' is not one of maml"),
        (["--method", "rl2", "--inner-lr", "1"], "--inner-lr is for maml, fomaml"),
        (["--method", "maml", "--slow-lr", "1"], "--slow-lr is for anil, warp, warp-rnn"),
        (["--method", "warp", "--core", "gru"], "--core gru has none: take --core warp"),
        (["--method", "warp-rnn", "--core", "gru", "--env", "maze"], "has no slow weights"),
        (["--core-size", "3"], "--core-size is for --core rnn|gru"),
        (["--core", "gru", "--hidden", "3"], "--hidden is for --core none"),
        (["--env", "maze", "--initial-std", "2"], "--initial-std is of Gaussian policies"),
        (["--method", "rl2", "--compress-read", "--env", "maze"], "is for --core associative"),
        (["--env", "maze", "--size", "6"], "--size must be odd"),
        (["--env", "mazes", "--mazes", "named"], "--mazes must be others than named"),
        (["--env", "minigrid", "--env-id", "Nope-v0"], "no Minigrid environment 'Nope-v0'"),
        (["--env", "minigrid", "--env-id", "MiniGrid-Empty-5x5-v0"], "grids would be for training"),
        (["--env", "minigrid", "--env-id", "BabyAI-GoToObj-v0", "--grids", "9"], "does not play"),
        (["--env", "bandit", "--arms", "1"], "--arms must be at least 2"),
        (["--episodes", "0"], "--episodes must be at least 1"),
        (["--compile"], "cannot be compiled: leave out --compile"),
        (["--method", "fomaml", "--loss.auxiliary-critic"], "--loss.auxiliary-critic"),
        (["--method", "trpo-maml", "--loss.baseline", "critic"], "a critic moves none"),
        (["--method", "trpo-maml", "--loss.start-entropy-coef", "1"], "set it to 0"),
        (["--resume", "no-such-run"], "there is no run directory no-such-run"),
    ],
)
def test_bad_input_is_refused_in_one_line_before_work_starts(
    arguments, message, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_:
        main(["train", *arguments])
    assert exit_.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.iterdir())


def test_resume_refuses_other_settings_and_foreign_runs(trained, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["train", "--resume", str(trained.path), "--inner-lr", "1"])
    assert "drop --inner-lr" in capsys.readouterr().err
    foreign = RunDirectory.create(tmp_path / "x", {"recipe": "experiments.maze", "seed": 0})
    with pytest.raises(SystemExit):
        main(["evaluate", str(foreign.path)])
    assert "it is that of one of experiments.maze" in capsys.readouterr().err


def test_a_checkpoint_of_another_agent_is_named(trained, tmp_path, capsys):
    (other,) = train(tmp_path / "other", "maml", *MAZE, "--hidden", "5")
    other.checkpoint_path.write_bytes(trained.checkpoint_path.read_bytes())
    with pytest.raises(SystemExit):
        main(["evaluate", str(other.path)])
    assert re.search(r"does not fit the settings in its config\.json", capsys.readouterr().err)


# Learning ----------------------------------------------------------------------------------------


def last_gain(path, *arguments):
    few = ("--env", "point", "--iterations", "60", "--meta-batch", "10", "--log-every", "20")
    few += ("--episodes", "10", "--horizon", "20", "--hidden", "16", "--device", "cpu")
    main(["train", *few, "--run-dir", str(path), *arguments])
    found = find_runs(path)[0].read_metrics()
    return found["return"][-1] - found["return_before"][-1]


@pytest.mark.slow
def test_maml_learns_to_adapt_and_its_twin_with_mixed_up_tasks_does_not(tmp_path, monkeypatch):
    gain = last_gain(tmp_path / "whole")
    step = Trainer.step

    def mixed_up(self, tasks, penalty=None):
        """What is adapted to is not what is judged by."""
        sample = tasks.sample

        def rolled(fast, slow, split="support"):
            tasks.collector.tasks = tasks.collector.tasks.roll(1, 0)
            return sample(fast, slow, split)

        object.__setattr__(tasks, "sample", rolled)
        return step(self, tasks, penalty)

    monkeypatch.setattr(Trainer, "step", mixed_up)
    assert gain > 2 * abs(last_gain(tmp_path / "twin"))


@pytest.mark.slow
def test_rl2_learns_to_learn_a_bandit_and_its_twin_without_memory_does_not(tmp_path, monkeypatch):
    from metarl.nn import GRU

    few = ("--env", "bandit", "--arms", "2", "--horizon", "10", "--iterations", "150")
    few += ("--meta-batch", "64", "--hidden-size", "16", "--log-every", "50")
    whole = train(tmp_path / "whole", "rl2", *few)
    step = GRU.step

    def forgets(self, weights, x, state, *slot):
        return step(self, weights, x, tuple(torch.zeros_like(s) for s in state), *slot)

    monkeypatch.setattr(GRU, "step", forgets)
    twin = train(tmp_path / "twin", "rl2", *few, "--native", "off")  # a kernel has its own step
    learned, forgetful = (run[0].read_metrics()["return"][-1] for run in (whole, twin))
    assert learned > forgetful + 0.3
