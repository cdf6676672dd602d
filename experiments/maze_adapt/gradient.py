"""Learners that adapt by policy gradient steps, as a kind of methods (`kinds.Kind`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from envs import MazeTask
from experiments.maze_adapt.episodes import environments_of, episodes_of
from experiments.maze_adapt.filming import film_stages
from experiments.maze_adapt.kinds import Film, Loaded, Measurement
from experiments.maze_adapt.learners import make_learner, make_policy
from experiments.maze_adapt.methods import Method
from experiments.maze_adapt.settings import TrainSettings
from experiments.maze_adapt.streams import STREAMS, TEST_STREAMS
from experiments.maze_adapt.worlds import Tasks, World
from metarl.core import Params, share, stack
from metarl.devices import resolve_device
from metarl.errors import UserError
from metarl.evaluate.adaptation_evaluation import AdaptationResult, evaluate_learner
from metarl.meta import MetaLearner, Penalty
from metarl.rl import Policy, PolicyAgent, start_entropy
from metarl.runs.directory import RunDirectory
from metarl.seeding import spawn_generators
from metarl.train.loop import LoopSettings, MetaTraining
from metarl.train.trainer import Trainer, load_learner, train_in_turn

USUAL_STEPS = 3

THROUGH_ADAPTATION: tuple[Method, ...] = ("maml", "metasgd", "emaml", "promp", "trpo-maml")
"""Learners whose meta-gradient reaches what only adaptation uses."""


def check(settings: TrainSettings) -> None:
    """Make everything once."""
    if settings.loss.auxiliary_critic and settings.method not in THROUGH_ADAPTATION:
        raise UserError(
            "--loss.auxiliary-critic is trained by a meta-gradient through adaptation, for "
            f"{', '.join(THROUGH_ADAPTATION)}; {settings.method} has none"
        )
    if settings.loss.baseline == "critic" and settings.method == "trpo-maml":
        raise UserError(
            "--loss.baseline critic: trpo-maml bounds how far policies move, and a critic moves "
            "none: take --loss.baseline linear or none"
        )
    if settings.loss.start_entropy_coef and settings.method == "trpo-maml":
        raise UserError(
            "--loss.start-entropy-coef is a term of the gradient, and trpo-maml's step is found "
            "without it: set it to 0"
        )
    device = resolve_device(settings.device)
    make_untrained(settings, policy_of(settings, settings.world()), torch.Generator(), device)


def train(settings: TrainSettings, runs: Sequence[RunDirectory], *, resume: bool) -> None:
    """Train one learner a seed, one after the other."""
    train_in_turn(runs, partial(build, settings), resume_to=settings.iterations if resume else None)


def load(run: RunDirectory, settings: TrainSettings, device: torch.device) -> Loaded:
    """The learner of a run's checkpoint, and the same before its first iteration."""
    policy = policy_of(settings, settings.world())
    seed = run.seed
    trained, untrained = (
        make_untrained(settings, policy, spawn_generators(seed, STREAMS)["init"], device)
        for _ in range(2)
    )
    iteration = load_learner(run, trained)
    usual = Measurement(USUAL_STEPS, settings.episodes)
    return Loaded(
        GradientAdapter(trained, settings),
        GradientAdapter(untrained, settings),
        iteration,
        usual,
        "gradient steps",
    )


@dataclass(frozen=True)
class GradientAdapter:
    """A learner (`kinds.Adapter`): k counts gradient steps.

    Attributes:
        learner: Whose initialisation and update rule.
        settings: What it was trained with.
    """

    learner: MetaLearner
    settings: TrainSettings

    def adapt(self, tasks: Tasks, how: Measurement, generator: torch.Generator) -> AdaptationResult:
        """Take gradient steps on N tasks."""
        world, loss = self.settings.world(), self.settings.loss
        policy = policy_of(self.settings, world)
        return evaluate_learner(
            self.learner,
            episodes_of(world, tasks, how.episodes, policy, loss, generator),
            how.steps,
            has_goal=world.has_goal,
            chunk_size=how.chunk_size,
        )

    def film(self, task: MazeTask, steps: int, seed: int, *, greedy: bool) -> Film:
        """An episode with the weights before adaptation and after each step."""
        streams = spawn_generators(seed, (*STREAMS, *TEST_STREAMS, "film"))
        world, num_mazes = self.settings.world(), steps + 1
        policy = policy_of(self.settings, world)
        weights = self.adapted_weights(task, steps, streams["test_episodes"])
        agent = PolicyAgent(policy, weights, streams["film"], greedy=greedy)
        return film_stages(world, task, agent, num_mazes, seed)

    def adapted_weights(self, task: MazeTask, steps: int, generator: torch.Generator) -> Params:
        """The policy's weights after 0 to K gradient steps on one task, ``[K + 1, ...]``."""
        world, learner, settings = self.settings.world(), self.learner, self.settings
        policy = policy_of(settings, world)
        tasks = episodes_of(world, [task], settings.episodes, policy, settings.loss, generator)
        with torch.no_grad():
            passed = [learner.initial_fast(tasks)]
        passed += [step.next_fast for step in learner.adaptation(tasks, steps)]
        fast = stack([{name: p[0].detach() for name, p in fast.items()} for fast in passed])
        slow = {name: p.detach() for name, p in share(learner.slow, len(passed)).items()}
        return {**fast, **slow}


def build(settings: TrainSettings, run: RunDirectory) -> MetaTraining:
    """Everything that trains one seed."""
    device = resolve_device(settings.device)
    seed = run.seed
    streams = spawn_generators(seed, STREAMS, device)
    world = settings.world()
    policy = policy_of(settings, world)
    learner = make_untrained(settings, policy, streams["init"], device)
    trainer = Trainer(learner, settings.learner.outer)
    lent, penalty = environments_of(world, device), start_penalty(settings, policy)

    def iterate() -> Mapping[str, Tensor]:
        batch = world.train.sample(settings.meta_batch, streams["tasks"])
        tasks = episodes_of(
            world, batch, settings.episodes, policy, settings.loss, streams["episodes"], lent
        )
        return trainer.step(tasks, penalty)

    batches = draws(settings.method, settings.learner.inner.num_steps)
    return MetaTraining(
        trainer,
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


def start_penalty(settings: TrainSettings, policy: Policy) -> Penalty | None:
    """What keeps the policy before adaptation from settling, if the settings want it."""
    coef = settings.loss.start_entropy_coef
    if not coef:
        return None
    return lambda fast, slow, drawn: -coef * start_entropy(policy, drawn, fast, slow)


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


def policy_of(settings: TrainSettings, world: World) -> Policy:
    """The architecture."""
    return make_policy(
        settings.method,
        world.num_inputs,
        world.distribution,
        core=settings.core,
        core_size=settings.core_size,
        hidden=settings.hidden,
        activation=settings.activation,
        critic=settings.loss.has_critic,
        shared_trunk=settings.loss.auxiliary_critic,
    )


def make_untrained(
    settings: TrainSettings,
    policy: Policy,
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
