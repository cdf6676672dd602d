"""Adaptation that goes wrong: policies that blow up, losses that are no numbers."""

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO

from experiments.maze_adapt import RECIPE, defaults
from metarl.methods.fine_tuned import FineTunedLearning
from metarl.rl import Collector
from metarl.runs.seeds import find_runs
from metarl.sb3 import PPOLearner, learner, play_episodes, seeded
from tests.experiments.scripts import maze_adapt as main

SMALL = (
    *("--env", "maze", "--size", "5", "--meta-batch", "2", "--horizon", "8", "--log-every", "1"),
    *("--checkpoint-every", "3", "--device", "cpu"),
)
TRIALS = ("--hidden-size", "4", "--trial-episodes", "2")
PLAYED = ("--hidden", "4", "--episodes", "3", "--method", "ppo")
CPU = torch.device("cpu")


def train(path, *arguments):
    main(["train", *SMALL, "--run-dir", str(path), *arguments])
    return find_runs(path)


def metrics(run):
    return {k: v.tolist() for k, v in run.read_metrics().items() if k != "wall_seconds"}


def spoiled(monkeypatch, spoils):
    """Rewards of agent n are not numbers where ``spoils(rollout, n)``; rollouts count from 1."""
    collect, count = Collector.collect, iter(range(1, 1000))

    def spoil(self, params):
        played, k = collect(self, params), next(count)
        bad = [spoils(k, n) for n in range(len(played.rewards))]
        where = torch.tensor(bad).view(-1, 1, 1)
        return played._replace(rewards=torch.where(where, torch.nan, played.rewards))

    monkeypatch.setattr(Collector, "collect", spoil)


def spoiled_ppo(monkeypatch, spoils):
    """Rewards of PPO's k-th iteration are not numbers where ``spoils(k)``."""
    count = iter(range(1, 1000))

    def spoil(policy, env):
        played = play_episodes(policy, env)
        bad = torch.full_like(played.rewards, torch.nan)
        return played._replace(rewards=bad if spoils(next(count)) else played.rewards)

    monkeypatch.setattr(learner, "play_episodes", spoil)


def test_promp_survives_steps_that_blow_the_policy_up_and_counts_them(tmp_path, caplog):
    wild = ("--size", "7", "--method", "promp", "--episodes", "2", "--hidden", "8", "--lr", "3")
    (run,) = train(tmp_path / "run", *wild, "--iterations", "4")
    assert sum(metrics(run)["kl_stops"]) > 0
    assert metrics(run)["kl_stops"] == metrics(run)["kl_exceeded"]
    assert min(metrics(run)["entropy"]) > 0.5
    assert caplog.text.count("taken back; counted as kl_exceeded") == 1
    (free,) = train(tmp_path / "free", *wild, "--iterations", "4", "--max-divergence", "1e30")
    assert sum(metrics(free)["kl_stops"]) == 0
    assert sum(metrics(free)["kl_exceeded"]) > 0


@pytest.mark.parametrize("method", ["rl2", "warp-rnn"])
def test_an_agent_without_a_finite_loss_skips_and_the_others_do_not_notice(
    tmp_path, monkeypatch, caplog, method
):
    arguments = (*TRIALS, "--method", method, "--iterations", "7")
    (alone,) = train(tmp_path / "good", *arguments, "--seeds", "4")
    spoiled(monkeypatch, lambda k, n: n == 0 and k in (2, 3, 6))
    bad, good = train(tmp_path / "both", *arguments, "--seeds", "0", "4")
    assert metrics(bad)["skipped"] == [0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0]
    for name, values in metrics(alone).items():  # sums over a batch of other shape are rounded
        assert metrics(good)[name] == pytest.approx(values, rel=1e-4, abs=1e-6), name
    assert all(p.isfinite().all() for p in bad.load_checkpoint()["learner"]["params"].values())
    assert "a meta-batch was skipped: loss or gradient is not finite" in caplog.text


@pytest.mark.parametrize("method", ["rl2", "warp-rnn", "ppo"])
def test_ten_in_a_row_stop_a_run_also_across_a_resume(tmp_path, monkeypatch, capsys, method):
    options = (*PLAYED, "--iterations", "20")
    if method == "ppo":
        spoiled_ppo(monkeypatch, lambda k: k > 2)
    else:
        options = (*TRIALS, "--method", method, "--iterations", "20")
        spoiled(monkeypatch, lambda k, n: k > 2)
    path = tmp_path / "run"
    with pytest.raises(SystemExit) as exit_:
        train(path, *options)
    assert exit_.value.code == 1
    said = capsys.readouterr().err
    assert "iteration 12: " in said
    assert " in a row" in said
    (run,) = find_runs(path)
    state = run.load_checkpoint()
    assert (state["iteration"], state["learner"]["skipped_in_a_row"]) == (9, 7)
    with pytest.raises(SystemExit):
        main(["train", "--resume", str(path)])
    assert "iteration 12: " in capsys.readouterr().err


def test_an_iteration_of_ppo_that_is_not_finite_is_undone_and_counted(
    tmp_path, monkeypatch, caplog
):
    constant = (*PLAYED, "--decay", "constant", "--checkpoint-every", "1")
    (before,) = train(tmp_path / "before", *constant, "--iterations", "2")
    spoiled_ppo(monkeypatch, lambda k: k > 2)
    (after,) = train(tmp_path / "after", *constant, "--iterations", "4")
    assert metrics(after)["skipped"] == [0.0, 0.0, 1.0, 1.0]
    one, two = (run.load_checkpoint()["learner"] for run in (before, after))
    for name, p in one["params"].items():
        assert torch.equal(p, two["params"][name])
    assert (one["skipped_in_a_row"], two["skipped_in_a_row"]) == (0, 2)
    assert "a meta-batch was skipped" in caplog.text


def ppo_in(env, **changes):
    settings = defaults(env, "ppo")
    environment = type(settings.environment)(**{**vars(settings.environment), **changes})
    return FineTunedLearning(environment, settings.learner, settings.agent)


def test_weights_that_the_last_step_spoils_are_undone_too(monkeypatch):
    """The losses of an iteration were taken before it."""
    what, train_on = ppo_in("maze", size=5, horizon=8), PPO.train
    model = what.model(torch.Generator(), CPU)

    def last_step_spoils(self):
        train_on(self)
        next(self.policy.parameters()).data.fill_(torch.nan)

    monkeypatch.setattr(PPO, "train", last_step_spoils)
    env = what.env_on(what.problem.train.tasks[:2], 3, [1, 2], CPU)
    assert PPOLearner(model, 1e-3).update(env, 0, 2)["skipped"].tolist() == [1.0]
    assert all(p.isfinite().all() for p in model.policy.parameters())


def test_episodes_that_end_at_the_goal_are_not_learned_from_beyond_it():
    """Mazes in lock step: the others wait. Every episode's first end counts."""
    what = ppo_in("maze", size=5, horizon=30, goal="ends")
    tasks = what.problem.train.sample(3, torch.Generator().manual_seed(0))
    model = what.model(torch.Generator(), CPU)
    with seeded(0):
        played = play_episodes(model.policy, what.env_on(tasks, 4, [1, 2, 3], CPU))
    assert len(set(played.lengths.flatten().tolist())) > 2
    found = played.terminated.any(1)
    assert torch.equal(played.returns, found.double())
    assert (played.lengths[~found] == 30).all()


def test_the_point_is_moved_in_units_of_its_longest_step():
    what = ppo_in("point")
    env = what.env_on(what.problem.train.sample(1, torch.Generator()), 2, [0], CPU)
    env.reset()
    observation, *_ = env.step(np.array([[1.0, -0.5], [0.0, 0.25]], np.float32))
    np.testing.assert_allclose(observation, [[0.1, -0.05], [0.0, 0.025]], atol=1e-7)
    assert (env.action_space.low == -1).all()


def test_a_policy_of_ppo_that_moves_too_far_is_counted_and_can_be_stopped(tmp_path, caplog):
    few = (*PLAYED, "--iterations", "3")
    (healthy,) = train(tmp_path / "healthy", *few)
    (stopped,) = train(tmp_path / "stopped", *few, "--target-kl", "1e-9")
    assert metrics(healthy)["kl_stops"] == metrics(healthy)["kl_exceeded"] == [0.0] * 3
    assert not caplog.records
    assert metrics(stopped)["kl_stops"] == [1.0] * 3


def test_an_auxiliary_critic_acts_on_the_policy_through_adaptation_in_a_trust_region(tmp_path):
    own = ("--method", "trpo-maml", "--episodes", "4", "--hidden", "4", "--iterations", "2")
    (run,) = train(tmp_path / "run", *own, "--loss.auxiliary-critic")
    assert metrics(run)["skipped"] == [0.0, 0.0]
    loaded = RECIPE.settings_of(run.config).learning().load(run, CPU)
    first = loaded.untrained.learner.params
    moved = {n for n, p in loaded.trained.learner.params.items() if not torch.equal(p, first[n])}
    assert {"fast.critic.layers.0.weight", "fast.actor.layers.0.weight"} <= moved
