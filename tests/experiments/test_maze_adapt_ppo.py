"""PPO on the mixture of tasks, run as a user runs it: small, but whole."""

import json
import os

import numpy as np
import pytest
import torch
from PIL import Image
from stable_baselines3 import PPO

from experiments.maze_adapt import ppo
from experiments.maze_adapt.__main__ import main
from experiments.maze_adapt.settings import ENVS, defaults, from_config
from experiments.maze_adapt.streams import STREAMS
from metarl.runs.directory import find_runs
from metarl.sb3 import play_episodes, seeded
from metarl.seeding import spawn_generators

CPU = torch.device("cpu")
SMALL = (
    *("--method", "ppo", "--hidden", "4", "--meta-batch", "2", "--episodes", "3"),
    *("--horizon", "6", "--iterations", "5", "--log-every", "2", "--checkpoint-every", "3"),
    *("--device", "cpu", "--ppo.batch-size", "10"),
)
EVALUATE = ("--tasks", "3", "--steps", "2", "--episodes", "3", "--device", "cpu", "--json")


def train(path, *arguments):
    main(["train", *SMALL, "--run-dir", str(path), *arguments])
    return find_runs(path)


def metrics(run):
    return {k: v.tolist() for k, v in run.read_metrics().items() if k != "wall_seconds"}


def assert_same(run, other):
    assert metrics(run) == metrics(other)
    one, two = (r.load_checkpoint() for r in (run, other))
    for state in (one, two):
        state.pop("wall_seconds")
    assert_equal(one, two)


def assert_equal(one, two):
    if isinstance(one, dict):
        assert one.keys() == two.keys()
        for name, value in one.items():
            assert_equal(value, two[name])
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, two)
    else:
        assert one == two


def summary_of(path, capsys, *arguments):
    main(["evaluate", str(path), *EVALUATE, *arguments])
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    (run,) = train(tmp_path_factory.mktemp("runs") / "ppo", "--env", "maze", "--size", "5")
    return run


def test_train_leaves_a_whole_run_directory(trained):
    names = {p.name.split(".")[0] for p in trained.path.iterdir()}
    assert {"config", "metrics", "checkpoint", "events"} <= names
    found = metrics(trained)
    assert found["iteration"] == [2, 4, 5]
    assert found["env_steps"] == [n * 2 * 3 * 6 for n in (2, 4, 5)]
    assert {"return", "length", "unrewarded", "entropy", "approx_kl"} <= found.keys()
    assert from_config(trained.config).ppo.batch_size == 10


@pytest.mark.parametrize(("env", "seeds"), [("gridnavi", ("4",)), ("point", ("0", "4"))])
def test_it_resumes_bit_for_bit_whatever_is_drawn_elsewhere(tmp_path, env, seeds):
    """From the checkpoint before the last, between two lines of metrics; a seed, and two."""
    arguments = ("--env", env, "--seeds", *seeds)
    whole, cut = (train(tmp_path / name, *arguments) for name in ("whole", "cut"))
    for run in cut:
        os.replace(run.path / "checkpoint.previous.pt", run.checkpoint_path)
        assert run.load_checkpoint()["iteration"] == 3
    torch.rand(7)
    np.random.rand(7)  # noqa: NPY002  # SB3 draws here
    main(["train", "--resume", str(tmp_path / "cut")])
    for one, other in zip(cut, whole, strict=True):
        assert_same(one, other)
    if len(seeds) > 1:
        (alone,) = train(tmp_path / "alone", "--env", env, "--seeds", "4")
        assert_same(alone, whole[1])


@pytest.mark.parametrize("env", ENVS)
def test_every_world_trains_and_is_evaluated(tmp_path, capsys, env):
    (run,) = train(tmp_path / env, "--env", env)
    summary = summary_of(run.path, capsys)
    assert len(summary["return_mean"]) == 3
    assert summary["experience"] == [0, 3, 6]
    assert ("success_rate" in summary) == (env in ("maze", "point", "gridnavi"))
    assert (summary["method"], summary["axis"]) == ("ppo", "fine-tuning steps")


def test_what_is_evaluated_has_learned_and_the_control_has_not(trained):
    settings = from_config(trained.config)
    loaded = ppo.load(trained, settings, CPU)
    checkpoint = trained.load_checkpoint()["learner"]["params"]
    begun = spawn_generators(0, STREAMS)["init"]
    first = ppo.make_model(settings, begun, CPU).policy.state_dict()
    assert_equal(dict(loaded.trained.model.policy.state_dict()), dict(checkpoint))
    assert_equal(dict(loaded.untrained.model.policy.state_dict()), dict(first))
    assert any(not torch.equal(p, checkpoint[name]) for name, p in first.items())


def test_a_run_outlives_other_defaults_of_what_it_does_not_read(trained):
    other = {**trained.config["recurrent"], "hidden_size": 7}
    assert from_config({**trained.config, "recurrent": other}) == from_config(trained.config)


def test_evaluation_repeats_and_leaves_the_run_as_it_was(trained, capsys):
    before = trained.checkpoint_path.read_bytes()
    one, two, other = (
        summary_of(trained.path, capsys, *extra) for extra in ((), (), ("--seed", "1"))
    )
    for summary in (one, two):
        summary.pop("wall_seconds")
    assert one == two
    assert one["length_mean"] != other["length_mean"]
    assert trained.checkpoint_path.read_bytes() == before


def test_episodes_that_end_at_the_goal_are_not_learned_from_beyond_it():
    """Mazes in lock step: the others wait. Every episode's first end counts."""
    settings = defaults("maze", "ppo")
    settings = type(settings)(**{**vars(settings), "size": 5, "goal": "ends", "horizon": 30})
    world = settings.world()
    tasks = world.train.sample(3, torch.Generator().manual_seed(0))
    model = ppo.make_model(settings, torch.Generator(), CPU)
    with seeded(0):
        played = play_episodes(model.policy, ppo.env_on(world, tasks, 4, [1, 2, 3], CPU))
    assert len(set(played.lengths.flatten().tolist())) > 2
    found = played.terminated.any(1)
    assert torch.equal(played.returns, found.double())
    assert (played.lengths[~found] == 30).all()


def test_the_point_is_moved_in_units_of_its_longest_step():
    settings = defaults("point", "ppo")
    world = settings.world()
    env = ppo.env_on(world, world.train.sample(1, torch.Generator()), 2, [0], CPU)
    env.reset()
    observation, *_ = env.step(np.array([[1.0, -0.5], [0.0, 0.25]], np.float32))
    np.testing.assert_allclose(observation, [[0.1, -0.05], [0.0, 0.025]], atol=1e-7)
    assert (env.action_space.low == -1).all()


def test_render_films_the_same_maze_at_every_step(trained, tmp_path, capsys):
    picture = tmp_path / "steps.png"
    main(["render", str(trained.path), "--steps", "2", "--output", str(picture)])
    said = capsys.readouterr().out
    assert all(f"{title}: return" in said for title in ("before adaptation", "after 2 steps"))
    with Image.open(picture) as image:
        assert image.size[0] == 5 * 82 * 3 + 2 * 16  # three mazes, and the gaps between them


def spoiled(monkeypatch, spoils):
    """Rewards as ``spoils(iteration, rewards)`` has them."""
    from experiments.maze_adapt import ppo_learner

    count = iter(range(1, 1000))

    def spoil(policy, env):
        played = play_episodes(policy, env)
        return played._replace(rewards=spoils(next(count), played.rewards))

    monkeypatch.setattr(ppo_learner, "play_episodes", spoil)


def test_an_iteration_that_is_not_finite_is_undone_and_counted(tmp_path, monkeypatch, caplog):
    spoiled(
        monkeypatch,
        lambda k, rewards: torch.full_like(rewards, torch.nan) if k in (3, 4) else rewards,
    )
    fine = ("--env", "maze", "--size", "5", "--log-every", "1", "--checkpoint-every", "1")
    (run,) = train(tmp_path / "run", *fine, "--iterations", "4")
    assert metrics(run)["skipped"] == [0.0, 0.0, 1.0, 1.0]
    monkeypatch.undo()
    (before,) = train(tmp_path / "before", *fine, "--iterations", "2", "--ppo.schedule.final", "1")
    spoiled(
        monkeypatch, lambda k, rewards: torch.full_like(rewards, torch.nan) if k > 2 else rewards
    )
    again = ("--iterations", "4", "--ppo.schedule.final", "1")
    (after,) = train(tmp_path / "after", *fine, *again)
    one, two = (r.load_checkpoint()["learner"] for r in (before, after))
    assert_equal(one["params"], two["params"])
    assert_equal(one["optimiser"]["state"], two["optimiser"]["state"])
    assert (one["skipped_in_a_row"], two["skipped_in_a_row"]) == (0, 2)
    assert "an iteration was skipped" in caplog.text


def test_weights_that_the_last_step_spoils_are_undone_too(trained, monkeypatch):
    """The losses of an iteration were taken before it."""
    settings = from_config(trained.config)
    model = ppo.make_model(settings, torch.Generator(), CPU)
    learner, sgd = ppo.PPOLearner(model, settings), PPO.train

    def last_step_spoils(self):
        sgd(self)
        next(self.policy.parameters()).data.fill_(torch.nan)

    monkeypatch.setattr(PPO, "train", last_step_spoils)
    world = settings.world()
    env = ppo.env_on(world, world.train.tasks[:2], 3, [1, 2], CPU)
    found = learner.update(env, 0)
    assert found["skipped"].tolist() == [1.0]
    assert all(p.isfinite().all() for p in model.policy.parameters())


def test_ten_in_a_row_stop_the_run_and_name_the_iteration(tmp_path, monkeypatch, capsys):
    spoiled(
        monkeypatch, lambda k, rewards: torch.full_like(rewards, torch.nan) if k > 2 else rewards
    )
    with pytest.raises(SystemExit) as exit_:
        train(tmp_path / "run", "--env", "maze", "--size", "5", "--iterations", "20")
    assert exit_.value.code == 1
    said = capsys.readouterr().err
    assert "iteration 12: " in said
    assert "10 iterations in a row" in said
    (run,) = find_runs(tmp_path / "run")
    assert run.load_checkpoint()["iteration"] == 9
    assert run.load_checkpoint()["learner"]["skipped_in_a_row"] == 7
    spoiled(monkeypatch, lambda k, rewards: torch.full_like(rewards, torch.nan))
    with pytest.raises(SystemExit):
        main(["train", "--resume", str(run.path)])
    assert "iteration 12: " in capsys.readouterr().err


def test_a_policy_that_moves_too_far_is_counted_and_can_be_stopped(tmp_path, caplog):
    arguments = ("--env", "maze", "--size", "5", "--log-every", "1")
    (healthy,) = train(tmp_path / "healthy", *arguments)
    (stopped,) = train(tmp_path / "stopped", *arguments, "--ppo.target-kl", "1e-9")
    assert metrics(healthy)["kl_stops"] == metrics(healthy)["kl_exceeded"] == [0.0] * 5
    assert not caplog.records
    assert metrics(stopped)["kl_stops"] == [1.0] * 5
    (wild,) = train(tmp_path / "wild", *arguments, "--ppo.lr", "3", "--ppo.max-grad-norm", "1e9")
    assert max(metrics(wild)["kl_exceeded"]) == 1.0
    assert caplog.text.count("counted as kl_exceeded") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--learner.inner.lr", "0.1"], "--learner is for maml, fomaml"),
        (["--loss.gamma", "0.5"], "--loss is for maml, fomaml"),
        (["--trial-episodes", "3"], "--trial-episodes is for rl2"),
        (["--method", "maml", "--ppo.lr", "0.1"], "--ppo is for ppo; maml has none"),
        (["--ppo.lr", "-1"], "lr must be finite and at least 0, got -1.0"),
        (["--ppo.batch-size", "1"], "batch_size must be at least 2, got 1"),
        (["--ppo.clip", "0"], "clip must be finite and above 0, got 0.0"),
        (["--ppo.target-kl", "0"], "target_kl must be above 0, or None, got 0.0"),
        (["--ppo.gae-lambda", "2"], "gae_lambda must lie in [0, 1], got 2.0"),
        (["--ppo.entropy-coef", "-1"], "entropy_coef must be finite and at least 0, got -1.0"),
        (["--ppo.fine-tuning.num-epochs", "0"], "num_epochs must be at least 1, got 0"),
    ],
)
def test_what_it_does_not_read_or_cannot_use_is_refused(arguments, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["train", "--method", "ppo", "--run-dir", str(tmp_path / "run"), *arguments])
    assert exit_.value.code == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not (tmp_path / "run").exists()


def test_chunks_and_foreign_checkpoints_are_refused(trained, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["evaluate", str(trained.path), "--chunk-size", "2"])
    assert "--chunk-size: ppo is fine-tuned to one task" in capsys.readouterr().err
    (run,) = train(tmp_path / "other", "--env", "maze", "--size", "5", "--hidden", "5")
    run.checkpoint_path.write_bytes(trained.checkpoint_path.read_bytes())
    for command in (["evaluate", str(run.path)], ["train", "--resume", str(run.path)]):
        with pytest.raises(SystemExit) as exit_:
            main(command)
        assert exit_.value.code == 2
        assert "does not fit the settings in its config.json" in capsys.readouterr().err
