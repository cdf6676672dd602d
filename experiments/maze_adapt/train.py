"""`train`: from settings to run directories with trained learners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from experiments import stored_settings
from experiments.maze_adapt.episodes import episodes_of
from experiments.maze_adapt.learners import Method, make_learner, make_policy
from experiments.maze_adapt.settings import TrainSettings, defaults, from_config
from experiments.maze_adapt.worlds import World
from metarl.devices import resolve_device
from metarl.meta import MetaLearner
from metarl.meta_training import OptimisedLearner, train_in_turn
from metarl.rl import Drawn, FeedForwardPolicy, fraction_unrewarded
from metarl.run_directory import RunDirectory, create_runs
from metarl.seeding import spawn_generators
from metarl.training import LoopSettings, MetaTraining

STREAMS = ("init", "tasks", "episodes")
"""Of a seed; evaluation has others (`evaluate`)."""


def train(settings: TrainSettings) -> list[RunDirectory]:
    """Train one learner a seed, one after the other.

    Args:
        settings: What to train; with `resume` set, which run to continue.

    Returns:
        The run directories, one a seed.

    Raises:
        UserError: The settings cannot be trained.
        KeyboardInterrupt: Interrupted, after saving.
    """
    resume = settings.resume is not None
    if settings.resume is not None:
        settings, runs = stored_settings.resumed(
            settings,
            settings.resume,
            from_config,
            default=defaults(settings.env, settings.method),
            plain=defaults(),
        )
    else:
        place = settings.run_dir or default_run_dir(settings)
        device = resolve_device(settings.device)
        # What cannot be made is refused before there is a run directory.
        make_untrained(settings, policy_of(settings, settings.world()), torch.Generator(), device)
        runs = create_runs(place, settings.seeds, settings, device=device)
    train_in_turn(runs, partial(build, settings), resume=resume)
    return runs


def default_run_dir(settings: TrainSettings) -> Path:
    """A name that says what the run is, under ``runs/``."""
    return Path("runs") / f"adapt-{settings.env}-{settings.method}"


def build(settings: TrainSettings, run: RunDirectory) -> MetaTraining:
    """Everything that trains one seed."""
    device = resolve_device(settings.device)
    seed = run.config["seed"]
    streams = spawn_generators(seed, STREAMS, device)
    world = settings.world()
    policy = policy_of(settings, world)
    learner = make_untrained(settings, policy, streams["init"], device)
    optimised = OptimisedLearner(learner, settings.learner.outer)

    def iterate() -> Mapping[str, Tensor]:
        batch = world.train.sample(settings.meta_batch, streams["tasks"])
        tasks = episodes_of(
            world, batch, settings.episodes, policy, settings.loss, streams["episodes"]
        )
        return {**optimised.update(tasks), **rollout_metrics(tasks.log)}

    batches = draws(settings.method, settings.learner.inner.num_steps)
    return MetaTraining(
        optimised,
        iterate,
        [run],
        [streams],
        settings.meta_batch * settings.episodes * settings.horizon * batches,
        LoopSettings(
            settings.iterations,
            settings.log_every,
            settings.checkpoint_every,
            settings.learner.schedule,
        ),
        headline=("return_before", "return"),
        description=f"training seed {seed}",
    )


def draws(method: Method, num_steps: int) -> int:
    """How often a learner of K inner steps draws episodes of every task in an iteration."""
    match method:
        case "none":
            return 0
        case "reptile":
            return num_steps
        case "imaml":
            return num_steps + 2
        case "warp":
            return 2 * num_steps
        case _:
            return num_steps + 1


def policy_of(settings: TrainSettings, world: World) -> FeedForwardPolicy:
    """The architecture."""
    return make_policy(
        settings.method,
        world.num_inputs,
        world.distribution,
        hidden=settings.hidden,
        activation=settings.activation,
        critic=settings.loss.baseline == "critic",
    )


def make_untrained(
    settings: TrainSettings,
    policy: FeedForwardPolicy,
    generator: torch.Generator,
    device: torch.device,
) -> MetaLearner:
    """The learner before its first iteration.

    Args:
        settings: Of the run.
        policy: The architecture.
        generator: Draws the initial parameters.
        device: Where they live.
    """
    params = {name: p.to(device) for name, p in policy.init(generator).items()}
    return make_learner(settings.method, policy, params, settings.learner, settings.of_policies)


def rollout_metrics(log: Sequence[Drawn]) -> dict[str, Tensor]:
    """Of what a meta-batch drew, ``[1]`` each, means over tasks and draws.

    Returns:
        ``return_before``: of the episodes to adapt by (of all inner steps); ``return``: of those
        after adaptation, or of all where a learner draws none; ``unrewarded``: the fraction of
        tasks in which the episodes to adapt by paid nothing; ``length`` and ``entropy`` of all.
    """
    if not log:
        return {}
    before, after = (
        [d.metrics["return"] for d in log if d.split == split] for split in ("support", "query")
    )
    metrics = {"return": torch.cat(after or before)}
    if before:
        metrics["return_before"] = torch.cat(before)
        metrics["unrewarded"] = fraction_unrewarded(log, "support")
    for name in ("length", "entropy"):
        metrics[name] = torch.cat([d.metrics[name] for d in log])
    return {name: values.mean().view(1) for name, values in metrics.items()}
