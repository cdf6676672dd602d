"""Recurrent learners in the scripts of adaptation, run as a user runs them: small, but whole."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from envs import GridMazeVectorEnv
from experiments.maze_adapt.__main__ import main
from experiments.maze_adapt.dispatch import kind_of
from experiments.maze_adapt.kinds import Measurement
from experiments.maze_adapt.methods import METHODS_OF
from experiments.maze_adapt.recurrent import episode_metrics, make_policy, make_trials
from experiments.maze_adapt.settings import defaults, from_config
from experiments.maze_adapt.worlds import make_world
from metarl.errors import UserError
from metarl.nn import GRU, AssociativeMemory, WarpRNN
from metarl.rl import PolicyAgent
from metarl.runs.directory import find_runs

SMALL = (
    *("--recurrent.hidden-size", "4", "--meta-batch", "3", "--horizon", "5"),
    *("--trial-episodes", "3", "--iterations", "5", "--log-every", "2"),
    *("--checkpoint-every", "3", "--device", "cpu"),
)
MAZE = ("--env", "maze", "--size", "5")
EVALUATE = ("--tasks", "4", "--episodes", "3", "--device", "cpu", "--json")


def train(path, *arguments, method="rl2"):
    main(["train", "--method", method, *SMALL, "--run-dir", str(path), *arguments])
    return find_runs(path)


def learned(run):
    return run.load_checkpoint()["learner"]["params"]


def metrics(run):
    return {k: v.tolist() for k, v in run.read_metrics().items() if k != "wall_seconds"}


def summary_of(path, capsys, *arguments):
    main(["evaluate", str(path), *EVALUATE, *arguments])
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def adapter_of(run):
    return kind_of("rl2").load(run, from_config(run.config), torch.device("cpu")).trained


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    (run,) = train(tmp_path_factory.mktemp("runs") / "rl2", *MAZE)
    return run


def test_train_leaves_metrics_of_whole_trials(trained):
    found = metrics(trained)
    assert found["iteration"] == [2, 4, 5]
    assert found["env_steps"][-1] == 5 * 3 * 3 * 5
    assert {"return", "return_before", "trial_return", "unrewarded", "loss"} <= found.keys()


@pytest.mark.parametrize("method", METHODS_OF["recurrent"])
def test_resume_equals_uninterrupted_bit_for_bit(tmp_path, method):
    """From the checkpoint before the last, between two lines of metrics; two seeds side by side."""
    arguments = (*MAZE, "--start", "random", "--seeds", "0", "4")
    whole = train(tmp_path / "whole", *arguments, method=method)
    cut = train(tmp_path / "cut", *arguments, method=method)
    for run in cut:
        os.replace(run.path / "checkpoint.previous.pt", run.checkpoint_path)
        assert run.load_checkpoint()["iteration"] == 3
    main(["train", "--resume", str(tmp_path / "cut")])
    for one, other in zip(whole, cut, strict=True):
        assert metrics(one) == metrics(other)
        assert all(torch.equal(p, learned(other)[name]) for name, p in learned(one).items())


def test_seeds_side_by_side_equal_seeds_alone_and_are_summed_up(tmp_path, capsys):
    together = train(tmp_path / "together", "--env", "bandit", "--seeds", "0", "4")
    (alone,) = train(tmp_path / "alone", "--env", "bandit", "--seeds", "4")
    for name, value in learned(together[1]).items():
        torch.testing.assert_close(value, learned(alone)[name], rtol=1e-3, atol=1e-5)
    assert summary_of(tmp_path / "together", capsys)["num_seeds"] == 2


@pytest.mark.parametrize(
    "world", [("maze", "--size", "5", "--goal", "ends"), ("gridnavi",), ("bandit",), ("mdp",)]
)
def test_worlds_with_discrete_actions_train_and_are_evaluated(tmp_path, capsys, world):
    (run,) = train(tmp_path / "run", "--env", *world)
    summary = summary_of(run.path, capsys)
    assert summary["floor_return"] < summary["oracle_return"]
    assert ("success_rate" in summary) == (world[0] in ("maze", "gridnavi"))


def test_evaluate_counts_the_episodes_of_a_trial(trained, capsys):
    summary = summary_of(trained.path, capsys)
    assert summary == json.loads((trained.path / "summary.json").read_text())
    for name in (
        *("return_mean", "return_mean_ci95", "return_iqm", "percentile20", "percent_improved"),
        *("length_mean", "length_ratio", "success_rate", "normalised_score"),
        *("untrained_return_mean", "experience"),
    ):
        assert len(summary[name]) == 3, name
    assert (summary["axis"], summary["experience"]) == ("episodes before", [0, 1, 2])
    assert (summary["method"], summary["iteration"]) == ("rl2", 5)
    every = json.loads((trained.path / "adaptation.json").read_text())
    assert np.array(every["returns"]).shape == (summary["num_tasks"], 3, 3)
    assert (trained.path / "adaptation.png").stat().st_size > 5000


def test_a_shorter_measurement_is_the_beginning_of_a_trial(trained):
    """Same clock, same noise: what comes later changes nothing."""
    adapter = adapter_of(trained)
    # Weights that are large enough for the clock to matter.
    adapter = replace(adapter, params={n: 2 * p for n, p in adapter.params.items()})
    tasks = adapter.settings.world().test.tasks

    def returns(steps):
        generator = torch.Generator().manual_seed(0)
        return adapter.adapt(tasks, Measurement(steps, 100), generator).returns

    whole = returns(2)
    assert whole.any()
    for steps in (0, 1):
        assert np.array_equal(returns(steps), whole[:, : steps + 1])
    assert not np.array_equal(returns(4)[:, :3], whole)  # a longer trial's clock runs slower


def test_an_agent_sees_place_action_reward_time_and_beginnings():
    world = make_world("maze", horizon=2, size=5, num_arms=5, std=1.0)
    env = make_trials(world, 1, 2, generator=torch.Generator().manual_seed(0))
    seen, _ = env.reset(options={"tasks": [world.train.tasks[0]]})
    place = 23
    assert seen.shape == (1, place + 1 + 3 + 4)  # flag; bias, time, reward; action
    rows = [seen[0, place:].tolist()]
    for action in (3, 1, 0):
        seen, reward, *_ = env.step(torch.tensor([action]))
        rows.append(seen[0, place:].tolist())
        assert float(reward) == rows[-1][3]
    assert [row[0] for row in rows] == [1, 0, 1, 0]  # the second episode begins
    assert [row[2] for row in rows] == [0, 0.25, 0.5, 0.75]  # of the whole trial
    assert [row[4:] for row in rows[:3]] == [[0, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0]]


@pytest.mark.parametrize("start", ["centre", "random"])
def test_a_trial_has_one_goal_to_train_on_and_every_trial_another(tmp_path, monkeypatch, start):
    goals, reset = [], GridMazeVectorEnv.reset_tensors

    def watched(self, *arguments):
        answer = reset(self, *arguments)
        goals.append(self.goals.tolist())
        return answer

    monkeypatch.setattr(GridMazeVectorEnv, "reset_tensors", watched)
    (run,) = train(tmp_path / "run", "--env", "maze", "--size", "7", "--start", start)
    trials = [goals[i : i + 3] for i in range(0, len(goals), 3)]
    assert len(trials) == 5
    assert all(len({tuple(g) for g in trial}) == 1 for trial in trials)
    assert len({tuple(trial[0]) for trial in trials}) == 5
    to_train_on = {task.goal_number for task in from_config(run.config).world().train.tasks}
    assert {goal for batch in goals for goal in batch} <= to_train_on


def test_returns_are_told_apart_by_episode():
    rewards = torch.tensor([[[1.0, 0.0], [0.0, 0.0], [2.0, 3.0], [4.0, 0.0]]])  # [1, 4, 2]
    means = {name: float(value) for name, value in episode_metrics(rewards, 2).items()}
    assert means == {"return_before": 0.5, "return": 4.5, "trial_return": 5.0, "unrewarded": 0.5}


def test_learns_to_learn_a_bandit_and_its_twin_without_memory_does_not(
    tmp_path, monkeypatch, capsys
):
    """The twin forgets after every step: from episode to episode nothing is left to improve."""
    world = ("--env", "bandit", "--arms", "2", "--horizon", "4", "--recurrent.hidden-size", "32")
    budget = ("--meta-batch", "256", "--iterations", "80", "--log-every", "80")
    steps = ("--recurrent.learner.fast.lr", "0.02", "--recurrent.learner.num-epochs", "5")
    discount = ("--recurrent.loss.gamma", "0.7", "--recurrent.loss.gae-lambda", "1")
    (run,) = train(tmp_path / "run", *world, *budget, *steps, *discount)
    measure = ("--tasks", "100", "--episodes", "20")
    first, *_, last = summary_of(run.path, capsys, *measure)["return_mean"]
    act = PolicyAgent.act

    def forgetful(self, observations):
        self.begin(len(observations))
        return act(self, observations)

    monkeypatch.setattr(PolicyAgent, "act", forgetful)
    twin_first, *_, twin_last = summary_of(run.path, capsys, *measure)["return_mean"]
    assert last > first + 0.15
    assert twin_last < twin_first + 0.1
    assert twin_last < last - 0.1


def test_rl2_takes_the_core_it_is_given_and_that_of_decision_processes_by_default():
    def core(env, method="rl2", **changes):
        settings = defaults(env, method)
        settings = replace(settings, recurrent=replace(settings.recurrent, **changes))
        return make_policy(settings, settings.world()).core

    assert isinstance(core("mdp"), AssociativeMemory)
    assert isinstance(core("mdp", core="gru"), GRU)
    assert isinstance(core("bandit", core="associative"), AssociativeMemory)
    assert not core("bandit", core="associative").compress_read
    assert core("bandit", core="associative", compress_read=True).compress_read
    assert isinstance(core("bandit"), GRU)
    assert isinstance(core("mdp", "warp-rnn"), WarpRNN)
    with pytest.raises(UserError, match=r"--recurrent.core is for --method rl2"):
        core("mdp", "warp-rnn", core="associative")
    for method in ("rl2", "warp-rnn"):
        with pytest.raises(UserError, match=r"--recurrent.compress-read is for"):
            core("bandit", method, compress_read=True)


def test_learns_to_learn_decision_processes_as_it_is_set_up(tmp_path):
    """Random actions earn 10 an episode. In haste: larger steps than by default."""
    budget = ("--meta-batch", "64", "--horizon", "10", "--trial-episodes", "6")
    sizes = ("--recurrent.hidden-size", "64", "--iterations", "60", "--log-every", "5")
    steps = ("--recurrent.learner.fast.lr", "0.02", "--recurrent.learner.num-epochs", "6")
    (run,) = train(tmp_path / "run", "--env", "mdp", *budget, *sizes, *steps)
    first, last = (run.read_metrics()[name][-1] for name in ("return_before", "return"))
    assert first < 12
    assert last > first + 1.5


def test_render_films_the_episodes_of_one_trial(trained, tmp_path, capsys, monkeypatch):
    picture = tmp_path / "trial.png"
    main(["render", str(trained.path), "--output", str(picture)])
    said = capsys.readouterr().out
    assert all(f"episode {k}: return" in said for k in (1, 2, 3))
    with Image.open(picture) as image:
        assert image.size[0] == 5 * 82 * 3 + 2 * 16
    adapter, cells, step = adapter_of(trained), [], GridMazeVectorEnv.step_tensors

    def watched(self, actions):
        answer = step(self, actions)
        cells.append(self.agent_positions[0].tolist())
        return answer

    monkeypatch.setattr(GridMazeVectorEnv, "step_tensors", watched)
    task = adapter.settings.world().test.tasks[0]
    film = adapter.film(task, 2, 0, greedy=False)
    assert film.cells[:, 0].tolist() == [list(task.start)] * 3
    assert film.cells[:, 1:].reshape(-1, 2).tolist() == cells
    assert film.actions.shape == film.rewards.shape == (3, 5)


def test_the_config_gives_the_settings_back(trained):
    usual = defaults("maze", "rl2")
    assert from_config(trained.config) == replace(
        usual,
        run_dir=trained.path,
        size=5,
        recurrent=replace(usual.recurrent, hidden_size=4),
        meta_batch=3,
        trial_episodes=3,
        horizon=5,
        iterations=5,
        log_every=2,
        checkpoint_every=3,
        device="cpu",
    )


def test_actions_may_be_real_numbers(tmp_path, capsys):
    """The plane: the deviation of its Gaussian policy is learned with the rest."""
    (run,) = train(tmp_path / "run", "--env", "point", "--meta-batch", "2")
    params = learned(run)
    assert params["actor.weight"].shape == (4, 2)
    assert "log_std" in params
    assert summary_of(run.path, capsys)["num_tasks"] == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "rl2", *MAZE, "--episodes", "3"], "--episodes is for maml, fomaml"),
        (["--method", "rl2", *MAZE, "--loss.gamma", "0.5"], "--loss is for maml, fomaml"),
        (["--method", "warp-rnn", *MAZE, "--hidden", "8"], "--hidden is for maml, fomaml"),
        (["--trial-episodes", "3"], "--trial-episodes is for rl2, warp-rnn; maml has none"),
        (["--recurrent.hidden-size", "3"], "--recurrent is for rl2, warp-rnn; maml has none"),
        (["--method", "rl2", *MAZE, "--trial-episodes", "0"], "--trial-episodes must be at least"),
        (["--method", "rl2", *MAZE, "--recurrent.hidden-size", "0"], "hidden_size must be at"),
        (["--method", "rl2", *MAZE, "--recurrent.loss.gamma", "2"], "gamma must lie in [0, 1]"),
    ],
)
def test_settings_that_are_not_the_methods_are_refused(
    arguments, message, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_:
        main(["train", *arguments])
    assert exit_.value.code == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not list(tmp_path.iterdir())


def test_what_does_not_fit_a_run_is_refused(trained, tmp_path, capsys):
    bare = tmp_path / "bare"
    (run,) = train(bare, *MAZE, "--iterations", "1")
    run.save_checkpoint({"iteration": 1, "learner": {"params": {}}})
    for arguments, message in (
        (["evaluate", str(trained.path), "--chunk-size", "2"], "rl2 plays all its trials at once"),
        (["evaluate", str(bare)], "does not fit the settings"),
        (
            ["train", "--method", "rl2", "--resume", str(trained.path), "--trial-episodes", "9"],
            "drop --method, --trial-episodes",
        ),
    ):
        with pytest.raises(SystemExit) as exit_:
            main(arguments)
        assert exit_.value.code == 2
        assert message in capsys.readouterr().err
