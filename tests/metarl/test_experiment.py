"""Experiments from Python."""

import math
from dataclasses import replace
from pathlib import Path

import gymnasium
import pytest

import envs
import metarl
from envs.problems import Bandit, RandomMazes
from metarl.errors import UserError
from metarl.experiment import Experiment, compare
from metarl.meta.maml import FOMAMLSettings, MAMLSettings
from metarl.methods import METHODS
from metarl.methods.agents import AdaptingPolicy, TrialsAgent
from metarl.methods.rl2 import RL2Settings
from metarl.rl import ActorCriticSettings, GymnasiumProblem
from metarl.runs.checkpoint import load as load_checkpoint


def arms() -> GymnasiumProblem:
    """Bandits whose tasks are the seeds of their resets."""
    return GymnasiumProblem(lambda: gymnasium.make("metarl/Bandit-v0", num_arms=3, horizon=4))


def small(**changes: object) -> Experiment:
    agent = AdaptingPolicy(episodes=2, hidden=(4,))
    one = Experiment(arms(), MAMLSettings(), agent, iterations=2, meta_batch=2, device="cpu")
    return replace(one, **changes)  # type: ignore[arg-type]


def test_a_run_that_goes_on_is_one_that_was_made_for_it(tmp_path: Path) -> None:
    small().train(tmp_path / "parts")
    small(iterations=4).resume(tmp_path / "parts")
    small(iterations=4).train(tmp_path / "whole")
    parts, whole = (
        load_checkpoint(tmp_path / name / "checkpoint.pt")["learner"]["params"]
        for name in ("parts", "whole")
    )
    assert parts.keys() == whole.keys()
    assert all(parts[name].equal(whole[name]) for name in parts)


def test_a_run_of_another_experiment_is_refused_by_the_setting_that_differs(
    tmp_path: Path,
) -> None:
    small().train(tmp_path)
    other = small(meta_batch=3)
    for work in (other.resume, other.evaluate):
        with pytest.raises(UserError, match="meta_batch"):
            work(tmp_path)


def test_what_was_compared_is_not_done_again(tmp_path: Path) -> None:
    both = {"maml": small(), "fomaml": small(learner=FOMAMLSettings())}
    first = compare(both, tmp_path, (0, 1), tasks=2, steps=1)
    trained = (tmp_path / "maml/seed-0/checkpoint.pt").stat().st_mtime_ns
    again = compare(both, tmp_path, (0, 1), tasks=2, steps=1)
    assert (tmp_path / "maml/seed-0/checkpoint.pt").stat().st_mtime_ns == trained
    assert [m["return_mean"] for m in first.methods] == [m["return_mean"] for m in again.methods]
    # Nobody knows what is to be earned at best: no score, and nothing fails of it.
    assert first.anchors == {}
    assert "no score" in (tmp_path / "comparison.md").read_text()


def test_every_family_of_methods_is_an_experiment(tmp_path: Path) -> None:
    one = Experiment(arms(), RL2Settings(), iterations=1, meta_batch=4, device="cpu")
    one.train(tmp_path)
    assert one.evaluate(tmp_path, tasks=2, episodes=2).summary["axis"] == "episodes before"
    assert "rl2" in METHODS


def test_a_problem_without_pictures_says_what_it_lacks(tmp_path: Path) -> None:
    small().train(tmp_path)
    with pytest.raises(UserError, match="rgb_array"):
        small().film(tmp_path, tmp_path / "film.gif")


def test_counts_below_one_are_refused() -> None:
    with pytest.raises(UserError, match="-1"):
        small(meta_batch=-1)
    with pytest.raises(UserError, match="0"):
        small(iterations=0)


def test_a_trained_agent_plays(tmp_path: Path) -> None:
    small().train(tmp_path)
    env = gymnasium.make("metarl/Bandit-v0", num_arms=3, horizon=4)
    assert isinstance(env.unwrapped, envs.BanditEnv)
    agent = metarl.load(tmp_path)
    agent.begin()
    assert env.action_space.contains(agent.act(env.reset(seed=0)[0]))


def test_a_run_without_native_kernels_is_of_its_experiment_all_the_same(tmp_path: Path) -> None:
    small(native="off").train(tmp_path)
    (run,) = small(iterations=4).resume(tmp_path)
    assert run.config["native"] == "off"
    assert run.config["native_ran"]["kernels"] == {}
    with pytest.raises(ValueError, match="'fast'"):
        small(native="fast")


def test_what_a_config_cannot_hold_is_refused() -> None:
    agent = TrialsAgent(loss=ActorCriticSettings(ppo_clip=math.inf))
    with pytest.raises(UserError, match=r"^loss\.ppo_clip must be finite, got inf"):
        Experiment(Bandit(horizon=3), RL2Settings(), agent)


def test_random_mazes_are_trained_judged_by_layout_and_filmed(tmp_path: Path) -> None:
    mazes = RandomMazes(mazes="dfs", size="9", horizon=20)
    agent = TrialsAgent(hidden_size=4, trial_episodes=1)
    one = Experiment(mazes, RL2Settings(), agent, iterations=1, meta_batch=4, device="cpu")
    one.train(tmp_path / "run")
    found = one.evaluate_trials(tmp_path / "run", tasks=6).summary
    assert found["random_return"] < found["explorer_return"] <= found["oracle_return"]
    assert (
        (tmp_path / "run/trials/layouts.csv").read_text().startswith("layout,height,width,trials")
    )
    assert one.film(tmp_path / "run", tmp_path / "film.gif", steps=0).stat().st_size > 1000
    with pytest.raises(UserError, match="no memory"):
        small().evaluate_trials(tmp_path / "run")


def test_any_problem_is_judged_by_its_anchors(tmp_path: Path) -> None:
    agent = TrialsAgent(hidden_size=4, trial_episodes=2)
    one = Experiment(Bandit(horizon=3), RL2Settings(), agent, iterations=1, device="cpu")
    one.train(tmp_path)
    found = one.evaluate_trials(tmp_path, tasks=6).summary
    assert found["random_return"] < found["oracle_return"] <= 6.0
    assert found["normalised_score"] is None


@pytest.mark.parametrize("count", [2.5, "3", [1]])
@pytest.mark.parametrize("name", ["iterations", "meta_batch", "log_every", "film_every"])
def test_counts_that_are_no_whole_numbers_are_refused_by_name(name: str, count: object) -> None:
    with pytest.raises(UserError, match=rf"^{name} must be a whole number, got "):
        small(**{name: count})
