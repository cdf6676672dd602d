"""Adaptation that goes wrong: policies that blow up, losses that are no numbers, tasks that mix."""

from dataclasses import replace

import pytest
import torch

from envs import TaskSet
from experiments.maze_adapt import gradient
from experiments.maze_adapt.__main__ import main
from experiments.maze_adapt.methods import METHODS
from experiments.maze_adapt.settings import defaults, from_config
from experiments.maze_adapt.worlds import gridnavi, maze
from metarl.errors import UserError
from metarl.meta import KL_LIMIT
from metarl.rl import Collector
from metarl.runs.directory import find_runs

SMALL = (
    *("--meta-batch", "2", "--horizon", "8", "--log-every", "1", "--checkpoint-every", "3"),
    *("--device", "cpu"),
)
MAZE = ("--env", "maze", "--size", "5")
RECURRENT = ("--recurrent.hidden-size", "4", "--trial-episodes", "2")


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


WILD = (
    *("--env", "maze", "--size", "7", "--method", "promp", "--episodes", "2", "--hidden", "8"),
    *("--learner.outer.optimiser.lr", "3", "--iterations", "4"),
)


def test_promp_survives_steps_that_blow_the_policy_up_and_counts_them(tmp_path, caplog):
    (run,) = train(tmp_path / "run", *WILD)
    assert sum(metrics(run)["kl_stops"]) > 0
    assert metrics(run)["kl_stops"] == metrics(run)["kl_exceeded"]
    assert min(metrics(run)["entropy"]) > 0.5
    assert caplog.text.count("taken back; counted as kl_exceeded") == 1
    (free,) = train(tmp_path / "free", *WILD, "--of-policies.promp.max-divergence", "1e30")
    assert sum(metrics(free)["kl_stops"]) == 0
    assert sum(metrics(free)["kl_exceeded"]) > 0
    assert min(metrics(free)["entropy"]) < 0.1


def test_runs_of_promp_without_a_bound_are_read_as_with_the_usual_one(tmp_path):
    (run,) = train(tmp_path / "run", *MAZE, "--method", "promp", "--iterations", "1")
    stored = run.config["of_policies"]
    before = {**stored, "promp": {**stored["promp"], "max_divergence": None, "clip": 0.1}}
    promp = from_config({**run.config, "of_policies": before}).of_policies.promp
    assert promp == replace(defaults("maze", "promp").of_policies.promp, clip=0.1)
    assert promp.max_divergence == KL_LIMIT


@pytest.mark.parametrize("method", ["rl2", "warp-rnn"])
def test_an_agent_without_a_finite_loss_skips_and_the_others_do_not_notice(
    tmp_path, monkeypatch, caplog, method
):
    arguments = (*MAZE, *RECURRENT, "--method", method, "--iterations", "7")
    (alone,) = train(tmp_path / "good", *arguments, "--seeds", "4")
    spoiled(monkeypatch, lambda k, n: n == 0 and k in (2, 3, 6))
    bad, good = train(tmp_path / "both", *arguments, "--seeds", "0", "4")
    assert metrics(bad)["skipped"] == [0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0]
    for name, values in metrics(alone).items():  # sums over a batch of other shape are rounded
        assert metrics(good)[name] == pytest.approx(values, rel=1e-4, abs=1e-6), name
    monkeypatch.undo()
    spoiled(monkeypatch, lambda k, n: k in (2, 3, 6))
    (bad_alone,) = train(tmp_path / "bad", *arguments, "--seeds", "0")
    for together, one in ((good, alone), (bad, bad_alone)):
        states = [run.load_checkpoint()["learner"] for run in (together, one)]
        for name, p in states[0]["params"].items():
            assert p.isfinite().all()
            torch.testing.assert_close(p, states[1]["params"][name], rtol=1e-4, atol=1e-5)
    assert "a meta-batch was skipped: loss or gradient is not finite" in caplog.text


@pytest.mark.parametrize("method", ["rl2", "warp-rnn"])
def test_ten_in_a_row_stop_recurrent_agents_also_across_a_resume(
    tmp_path, monkeypatch, capsys, method
):
    spoiled(monkeypatch, lambda k, n: k > 2)
    path = tmp_path / "run"
    with pytest.raises(SystemExit) as exit_:
        train(path, *MAZE, *RECURRENT, "--method", method, "--iterations", "20")
    assert exit_.value.code == 1
    said = capsys.readouterr().err
    assert "iteration 12: loss or gradient is not finite" in said
    assert "10 meta-batches in a row" in said
    (run,) = find_runs(path)
    state = run.load_checkpoint()
    assert (state["iteration"], state["learner"]["skipped_in_a_row"]) == (9, 7)
    assert all(p.isfinite().all() for p in state["learner"]["params"].values())
    monkeypatch.undo()
    spoiled(monkeypatch, lambda k, n: True)
    with pytest.raises(SystemExit):
        main(["train", "--resume", str(path)])
    assert "iteration 12: loss or gradient is not finite" in capsys.readouterr().err


def test_a_critic_is_refused_where_a_trust_region_cannot_bound_it(tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_:
        train(tmp_path / "run", *MAZE, "--method", "trpo-maml", "--loss.baseline", "critic")
    assert exit_.value.code == 2
    assert "take --loss.baseline linear or none" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_an_auxiliary_critic_acts_on_the_policy_through_adaptation_in_a_trust_region(tmp_path):
    arguments = ("--method", "trpo-maml", "--episodes", "4", "--hidden", "4", "--iterations", "2")
    (run,) = train(tmp_path / "run", *MAZE, *arguments, "--loss.auxiliary-critic")
    assert metrics(run)["skipped"] == [0.0, 0.0]
    loaded = gradient.load(run, from_config(run.config), torch.device("cpu"))
    first = loaded.untrained.learner.params
    moved = {n for n, p in loaded.trained.learner.params.items() if not torch.equal(p, first[n])}
    assert any("critic" in name for name in moved)


@pytest.mark.parametrize("world", [maze(5, 4), gridnavi(4)])
def test_a_world_whose_test_tasks_are_trained_on_is_refused(world):
    tasks = (*world.train.tasks, world.test.tasks[0])
    both = TaskSet(tasks)
    with pytest.raises(UserError, match=f"1 of {len(world.test.tasks)} test tasks are train tasks"):
        replace(world, train=both)
    assert replace(world, train=world.train) == world


def test_help_has_a_line_for_every_method_and_offers_nothing_without_use(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    said = capsys.readouterr().out.replace("│", " ")
    lines = [line.strip() for line in said.splitlines()]
    for method in METHODS:
        assert sum(line.startswith(f"{method}: ") for line in lines) == 1, method
    assert "--learner.leap" not in said
    assert "5 to 13" in " ".join(said.split())
