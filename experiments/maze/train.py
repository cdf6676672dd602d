"""`train`: from settings to a run directory with a trained agent."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from envs.maze import anchors as oracle
from experiments.maze.agents import make_env, make_policy, make_tasks
from experiments.maze.settings import TrainSettings, from_config
from experiments.stored_settings import resumed
from metarl.core import stack
from metarl.core.cuda_graph import Captured, require_cuda
from metarl.devices import resolve_device
from metarl.meta import TwoTimescale
from metarl.rl import Collector, PolicyGradientTasks
from metarl.runs.directory import RunDirectory, create_runs
from metarl.seeding import spawn_generators
from metarl.train.loop import LoopSettings, MetaTraining
from metarl.train.trainer import Trainer


def train(settings: TrainSettings, given: Sequence[str] = ()) -> list[RunDirectory]:
    """Train one agent a seed, as one program.

    Args:
        settings: What to train; with `resume` set, which run to continue.
        given: The options of the command line; of a run that is resumed few may be given.

    Returns:
        The run directories, one a seed.

    Raises:
        UserError: The settings cannot be trained.
        KeyboardInterrupt: Interrupted, after saving.
    """
    settings, runs = resumed(settings, given, from_config, anew=("cuda_graph",))
    device = resolve_device(settings.device)
    if settings.cuda_graph:
        require_cuda(device)
    runs = runs or create_runs(
        settings.run_dir or default_run_dir(settings),
        settings.seeds,
        settings,
        device=device,
        anchors=anchors(settings),
    )
    training = build(settings, runs)
    if settings.resume is not None:
        training.resume()
    try:
        training.run()
    finally:
        for run in runs:
            run.close()
    return runs


def default_run_dir(settings: TrainSettings) -> Path:
    """A name that says what the run is, under ``runs/``."""
    return Path("runs") / f"maze{settings.size}-{settings.method}-{settings.preset}"


def build(settings: TrainSettings, runs: list[RunDirectory]) -> MetaTraining:
    """Everything that trains, from the settings and one run directory a seed."""
    device = resolve_device(settings.device)
    streams = [
        spawn_generators(run.seed, ("init", "policy", "environment"), device) for run in runs
    ]
    policy = make_policy(settings)
    train_tasks, _ = make_tasks(settings)
    env = make_env(
        settings,
        train_tasks,
        len(runs) * settings.batch_size,
        [s["environment"] for s in streams],
        device,
        training=True,
    )
    initial = stack([policy.init(s["init"]) for s in streams])
    params = {name: p.to(device) for name, p in initial.items()}
    if settings.cuda_graph:
        drawn_from = [s[name] for s in streams for name in ("policy", "environment")]
        captured = partial(Captured, generators=drawn_from)
        learner = TwoTimescale(params, policy.slow, settings.learner, captured)
    else:
        learner = TwoTimescale(params, policy.slow, settings.learner)
    noise = [s["policy"] for s in streams]
    collector = Collector(env, policy, noise, settings.horizon, record=True)
    trials = PolicyGradientTasks(collector, settings.loss)
    trainer = Trainer(learner, settings.learner, max_skipped=1)
    return MetaTraining(
        trainer,
        partial(trainer.step, trials),
        runs,
        streams,
        settings.horizon * settings.batch_size,
        LoopSettings(
            settings.iterations, settings.log_every, settings.checkpoint_every, settings.schedule
        ),
    )


QUICK_SIZE = 13
"""Up to it the reference returns take seconds; beyond, up to minutes."""


def anchors(settings: TrainSettings) -> dict[str, float]:
    """What random actions, the explorers and the oracle return on the training's goals."""
    if settings.size > QUICK_SIZE:
        size = f"{settings.size} x {settings.size}"
        print(f"planning the best walks of a {size} maze, to compare with", file=sys.stderr)
    tasks, _ = make_tasks(settings)
    returns = oracle.reference_returns(tasks, horizon=settings.horizon, reward=settings.reward)
    return asdict(returns)
