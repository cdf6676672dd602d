"""A run of policy learning survives what goes wrong, says so, and resumes bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from metarl.core import OuterSettings, sgd
from metarl.meta import MAML, NonFiniteLossError
from metarl.rl import Collector, PolicyGradientSettings, PolicyGradientTasks
from metarl.runs.directory import RunDirectory
from metarl.runs.seeds import create_runs, find_runs
from metarl.seeding import spawn_generators
from metarl.train.loop import LoopSettings, MetaTraining
from metarl.train.trainer import Trainer
from tests.metarl.rl.enumerable import TinyEnv, draw, tiny_mdp, tiny_policy

MDP, POLICY, B = tiny_mdp(2, num_steps=3), tiny_policy(), 4
EVERY = 5
"""Iterations between checkpoints."""


class BrokenSimulatorError(Exception):
    pass


class FailingEnv(TinyEnv):
    """Asks what to do with a reward of the middle of an episode."""

    spoil: Callable[[Tensor], Tensor]

    def step(self, actions: Tensor) -> tuple:
        observation, reward, *rest = super().step(actions)
        return observation, self.spoil(reward) if self.time == 2 else reward, *rest


def training(
    path: Path, spoil: Callable[[int, Tensor], Tensor], *, new: bool = True, iterations: int = 20
) -> MetaTraining:
    (run,) = create_runs(path, (0,), {"native": "auto"}) if new else find_runs(path)
    streams = spawn_generators(0, ("noise", "env"), torch.device("cpu"))
    learner = Trainer(MAML(draw(POLICY), rule=sgd(0.1)), OuterSettings())
    env = FailingEnv(MDP, B, [streams["env"]] * 2)
    collector = Collector(env, POLICY, [streams["noise"]] * 2, MDP.num_steps, num_tasks=2)

    def iterate() -> dict[str, Tensor]:
        env.spoil = lambda reward: spoil(loop.iteration + 1, reward)
        return learner.step(PolicyGradientTasks(collector, PolicyGradientSettings()))

    settings = LoopSettings(iterations, log_every=1, checkpoint_every=EVERY)
    loop = MetaTraining(learner, iterate, [run], [streams], 24, settings, headline=("skipped",))
    return loop


def resumed(path: Path, spoil: Callable[[int, Tensor], Tensor]) -> RunDirectory:
    loop = training(path, spoil, new=False)
    loop.resume()
    loop.run()
    return loop.runs[0]


def fine(iteration: int, reward: Tensor) -> Tensor:
    return reward


def some_infinite(iteration: int, reward: Tensor) -> Tensor:
    return reward * torch.inf if iteration in (3, 7, 8) else reward


def infinite_from_6(iteration: int, reward: Tensor) -> Tensor:
    return reward * torch.inf if iteration >= 6 else reward


def params(run: RunDirectory) -> dict[str, Tensor]:
    return run.load_checkpoint()["learner"]["params"]


def assert_equal(one: RunDirectory, two: RunDirectory) -> None:
    a, b = params(one), params(two)
    assert all(torch.equal(a[n], b[n]) for n in a)
    first, second = one.read_metrics(), two.read_metrics()
    for name in first.keys() - {"wall_seconds"}:
        assert str(first[name].tolist()) == str(second[name].tolist()), name


def test_meta_batches_without_a_finite_gradient_are_skipped_and_counted(tmp_path: Path) -> None:
    loop = training(tmp_path / "run", some_infinite)
    loop.run()
    (run,) = loop.runs
    skipped = run.read_metrics()["skipped"].tolist()
    assert [k + 1 for k, s in enumerate(skipped) if s] == [3, 7, 8]
    assert all(p.isfinite().all() for p in params(run).values())


def test_a_resume_amid_skipped_ones_is_the_whole_run(tmp_path: Path) -> None:
    whole = training(tmp_path / "whole", some_infinite)
    whole.run()

    def killed(iteration: int, reward: Tensor) -> Tensor:
        if iteration == 9:
            raise KeyboardInterrupt
        return some_infinite(iteration, reward)

    with pytest.raises(KeyboardInterrupt):
        training(tmp_path / "cut", killed).run()
    assert_equal(resumed(tmp_path / "cut", some_infinite), whole.runs[0])


def test_ten_in_a_row_stop_the_run_also_across_a_resume(tmp_path: Path) -> None:
    loop = training(tmp_path / "run", infinite_from_6)
    message = r"iteration 15: .*10 meta-batches in a row; .* untouched, but .* train again"
    with pytest.raises(NonFiniteLossError, match=message):
        loop.run()
    (run,) = loop.runs
    assert run.load_checkpoint()["iteration"] == 10
    assert all(p.isfinite().all() for p in params(run).values())
    with pytest.raises(NonFiniteLossError, match="iteration 15"):
        resumed(tmp_path / "run", infinite_from_6)
    assert resumed(tmp_path / "run", fine).load_checkpoint()["iteration"] == 20


@pytest.mark.parametrize("at", [1, 5, 13])
def test_an_environment_that_raises_leaves_a_usable_checkpoint(tmp_path: Path, at: int) -> None:
    whole = training(tmp_path / "whole", fine)
    whole.run()

    def raises(iteration: int, reward: Tensor) -> Tensor:
        if iteration == at:
            raise BrokenSimulatorError(f"iteration {iteration}")
        return reward

    loop = training(tmp_path / "broken", raises)
    with pytest.raises(BrokenSimulatorError):
        loop.run()
    (run,) = loop.runs
    assert run.load_checkpoint()["iteration"] == (at - 1) // EVERY * EVERY
    assert_equal(resumed(tmp_path / "broken", fine), whole.runs[0])
