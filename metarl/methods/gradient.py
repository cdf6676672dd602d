"""Policies that adapt by policy gradient steps: how they are trained, measured and filmed.

A meta-batch is N tasks of a problem with E episodes each to adapt by; any learner of
`metarl.meta` works on it (`metarl.rl.PolicyGradientTasks`). What a task draws does not depend on
its company: it has a generator for the policy's noise and one for its environments.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metarl.core import Params, detached, share, stack
from metarl.devices import resolve_device
from metarl.errors import UserError
from metarl.evaluate.adaptation import stages
from metarl.evaluate.adapter import Loaded, Measurement
from metarl.evaluate.film import Scene, play_stages
from metarl.evaluate.returns import AdaptationResult, evaluate_learner
from metarl.meta import MetaLearner, Penalty
from metarl.meta.method import GradientMethod, Untrained
from metarl.methods.agents import AdaptingPolicy
from metarl.methods.curricula import LEVELS, LevelsByGain, check_curriculum, levels_of
from metarl.methods.learning import InTurn, check_stages
from metarl.methods.rl2 import slow_cores
from metarl.nn import CORES, MLP, WarpMLP
from metarl.rl import (
    Collector,
    Environments,
    Policy,
    PolicyAgent,
    PolicyGradientTasks,
    mlp_policy,
    recurrent_policy,
    start_entropy,
)
from metarl.rl.problem import Problem, eased
from metarl.runs.directory import RunDirectory
from metarl.seeding import spawn_generators
from metarl.train.beginning import check_weights
from metarl.train.besides import WithBesides
from metarl.train.curriculum import Curriculum, DomainRandomisation
from metarl.train.loop import LoopSettings, MetaTraining
from metarl.train.trainer import Trainer, check_shared, load_learner

STREAMS = ("init", "tasks", "episodes")
"""Random streams of a seed in training."""

TEST_STREAMS = ("test_tasks", "test_episodes")
"""Streams of evaluation, after those of training: neither draws tasks or episodes of the other."""

ALL_STREAMS = (*STREAMS, *TEST_STREAMS, "film")
"""Those, and that of films. That of a curriculum's levels comes behind. Where an evaluation has the
seed of the training, validation plays its episodes by what these levels were drawn by."""

USUAL_STEPS = 3
"""Steps of adaptation to be measured by, usually."""

MAX_SEED = 2**62


@dataclass(frozen=True)
class GradientLearning(InTurn):
    """A learner of `metarl.meta` on one problem.

    Attributes:
        problem: What is learned.
        method: The learner's settings.
        agent: The policy, its episodes and their loss.
        curriculum: Which tasks are trained on; scores are of what adaptation gained.
    """

    problem: Problem
    method: GradientMethod
    agent: AdaptingPolicy
    curriculum: Curriculum = field(default_factory=DomainRandomisation)

    def check(self, device: str, meta_batch: int, init_from: Path | None = None) -> None:
        """Check that all can be made, and that the method reads what it is given.

        The arguments are those of `Learning.check`.

        Raises:
            UserError: It cannot.
        """
        method, loss = self.method, self.agent.loss
        if loss.auxiliary_critic and not method.through_adaptation:
            raise UserError(
                "--loss.auxiliary-critic is trained by a meta-gradient through adaptation, which "
                f"{method.name} has not"
            )
        if method.name == "trpo-maml" and loss.baseline == "critic":
            raise UserError(
                "--loss.baseline critic: trpo-maml bounds how far policies move, and a critic "
                "moves none: take --loss.baseline linear or none"
            )
        if method.name == "trpo-maml" and loss.start_entropy_coef:
            raise UserError(
                "--loss.start-entropy-coef is a term of the gradient, and trpo-maml's step is "
                "found without it: set it to 0"
            )
        if method.execution.compile:
            raise UserError("episodes of environments cannot be compiled: leave out --compile")
        if method.warped and self.agent.core not in ("none", *slow_cores()):
            raise UserError(
                f"--method warp learns weights that stand still in adaptation; --core "
                f"{self.agent.core} has none: take --core {' or '.join(slow_cores())}, or none, a "
                "perceptron with warp layers"
            )
        if self.curriculum.samples and not method.draws():
            raise UserError(
                f"--curriculum {self.curriculum.name}: --method {method.name} learns nothing in "
                "training, whatever the tasks: drop it"
            )
        check_stages(self.problem, method)
        check_curriculum(self.curriculum, self.problem, meta_batch)
        learner = self.learner(self.policy(), torch.Generator(), resolve_device(device))
        check_shared(learner, meta_batch)
        check_weights(init_from, learner.params)

    def build(
        self, run: RunDirectory, loop: LoopSettings, meta_batch: int, device: torch.device
    ) -> MetaTraining:
        """Make everything that trains one seed; see `InTurn.train`."""
        streams = spawn_generators(run.seed, STREAMS, device)
        policy = self.policy()
        learner = self.learner(policy, streams["init"], device, loop.dtype)
        trainer = Trainer(learner, self.method.outer)
        episodes, train = Episodes(self.problem, policy, self.agent, device), self.problem.train
        penalty = start_penalty(policy, self.agent.loss.start_entropy_coef)

        curriculum: LevelsByGain | None = None
        if self.curriculum.samples:
            streams[LEVELS] = spawn_generators(run.seed, (*ALL_STREAMS, LEVELS), device)[LEVELS]
            sampler = self.curriculum.sampler(levels_of(self.problem), streams[LEVELS])
            curriculum = LevelsByGain(sampler, trainer, episodes, self.problem.has_goal)

        def iterate() -> Mapping[str, Tensor]:
            episodes.done = training.iteration / loop.iterations
            if curriculum is not None:
                return curriculum.step(meta_batch, streams["episodes"], penalty)
            batch = train.sample(meta_batch, streams["tasks"])
            return trainer.step(episodes.of(batch, streams["episodes"]), penalty)

        training = MetaTraining(
            trainer if curriculum is None else WithBesides(trainer, {LEVELS: curriculum}),
            iterate,
            [run],
            [streams],
            meta_batch * self.agent.episodes * self.problem.horizon * self.method.draws(),
            loop,
            headline=("return_before", "return"),
            description=f"training seed {run.seed}",
        )
        return training

    def policy(self) -> Policy:
        """Make the architecture: a perceptron, with warp layers where they are learned; or a core.

        Actor and critic always share a core; the hidden layers of a perceptron where an auxiliary
        critic is to tell the actor something.
        """
        agent, distribution = self.agent, self.agent.distribution(self.problem)
        num_inputs = math.prod(self.problem.observation.shape or ())
        if agent.core != "none":
            core = CORES[agent.core](num_inputs, agent.core_size)
            return recurrent_policy(core, distribution, critic=agent.loss.has_critic)
        plain = mlp_policy(
            num_inputs,
            distribution,
            hidden=agent.hidden,
            activation=agent.activation,
            critic=agent.loss.has_critic,
            shared_trunk=agent.loss.auxiliary_critic,
        )
        if not self.method.warped:
            return plain
        assert isinstance(plain.actor, MLP)
        actor = WarpMLP(plain.actor, kind="tanh", start="identity")
        return Policy(actor, distribution, plain.critic)

    def learner(
        self,
        policy: Policy,
        generator: torch.Generator,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> MetaLearner:
        """Make the learner before its first iteration.

        Args:
            policy: The architecture.
            generator: Draws the initial parameters.
            device: Where they live.
            dtype: Their precision.

        Raises:
            UserError: The settings do not suit the policy.
        """
        params = {name: p.to(device, dtype) for name, p in policy.init(generator).items()}
        try:
            return self.method.build(Untrained(params, policy))
        except ValueError as error:
            raise UserError(f"--method {self.method.name}: {error}") from error

    def load(self, run: RunDirectory, device: torch.device) -> Loaded:
        """Load the learner of a run's checkpoint, and the same before its first iteration.

        Raises:
            UserError: The checkpoint is missing, damaged or another learner's.
        """
        policy = self.policy()
        trained, untrained = (
            self.learner(policy, spawn_generators(run.seed, STREAMS)["init"], device)
            for _ in range(2)
        )
        iteration = load_learner(run, trained)
        usual = Measurement(USUAL_STEPS, self.agent.episodes)
        sides = [GradientAdapter(self, policy, one, device) for one in (trained, untrained)]
        return Loaded(sides[0], sides[1], iteration, usual, "gradient steps")


class Episodes:
    """Meta-batches of a problem: tasks with episodes to adapt by, as learners take them.

    Environments are made once, and set to the tasks and generators of each meta-batch.

    Attributes:
        done: Share of the training that is over, in [0, 1], by which environments are set; 1 where
            returns are measured.
    """

    def __init__(
        self,
        problem: Problem,
        policy: Policy,
        agent: AdaptingPolicy,
        device: torch.device,
        num_episodes: int | None = None,
        *,
        done: float = 0.0,
    ) -> None:
        """Prepare meta-batches.

        Args:
            problem: Whose tasks.
            policy: Plays.
            agent: Says by how many episodes, and their loss.
            device: Where.
            num_episodes: Per task and gradient step; None: as the agent says.
            done: As the attribute.
        """
        self.problem, self.policy, self.loss, self.device = problem, policy, agent.loss, device
        self.num_episodes = agent.episodes if num_episodes is None else num_episodes
        self.done = done
        self._lent = Environments(
            partial(problem.make_env, device=device), lambda env: eased(problem, env, self.done)
        )
        one = problem.make_env(1, [torch.Generator(device)], device)
        self._numbers = getattr(one, "task_tensor", tuple)  # [N, D], where environments take them

    def of(self, tasks: Sequence[Any] | Tensor, generator: torch.Generator) -> PolicyGradientTasks:
        """N tasks to adapt to, divisible; what a task draws does not depend on its company.

        Args:
            tasks: N tasks, or their numbers ``[N, D]``.
            generator: Draws two seeds per task: of its policy's noise and of its environments.
        """
        size = (2, len(tasks))
        seeds = torch.randint(MAX_SEED, size, generator=generator, device=generator.device)
        noise, dynamics = (
            [torch.Generator(self.device).manual_seed(seed) for seed in row]
            for row in seeds.tolist()
        )
        collector = Collector(
            self._lent,
            self.policy,
            noise,
            self.problem.horizon,
            num_episodes=self.num_episodes,
            tasks=tasks if isinstance(tasks, Tensor) else self._numbers(tasks),
            dynamics=dynamics,
        )
        return PolicyGradientTasks(collector, self.loss)


def start_penalty(policy: Policy, coef: float) -> Penalty | None:
    """Penalty that keeps the policy before adaptation from settling, if its weight is not 0."""
    if not coef:
        return None
    return lambda fast, slow, drawn: -coef * start_entropy(policy, drawn, fast, slow)


@dataclass(frozen=True)
class GradientAdapter:
    """A learner (`metarl.evaluate.adapter.Adapter`): k counts gradient steps.

    Attributes:
        learning: What it was trained with.
        policy: The architecture.
        learner: Whose initialisation and update rule.
        device: Where it plays.
    """

    learning: GradientLearning
    policy: Policy
    learner: MetaLearner
    device: torch.device

    def adapt(
        self, tasks: Sequence[Any], how: Measurement, generator: torch.Generator
    ) -> AdaptationResult:
        """Take gradient steps on N tasks."""
        problem, agent = self.learning.problem, self.learning.agent
        episodes = Episodes(problem, self.policy, agent, self.device, how.episodes, done=1.0)
        return evaluate_learner(
            self.learner,
            episodes.of(tasks, generator),
            how.steps,
            has_goal=problem.has_goal,
            chunk_size=how.chunk_size,
        )

    def film(self, task: Any, steps: int, seed: int, *, greedy: bool) -> list[Scene]:
        """Play an episode with the weights before adaptation and after each step."""
        streams = spawn_generators(seed, ALL_STREAMS, self.device)
        weights = self.adapted_weights(task, steps, streams["test_episodes"])
        agent = PolicyAgent(self.policy, weights, streams["film"], greedy=greedy)
        return play_stages(self.learning.problem, task, agent, steps + 1, seed, self.device)

    def adapted_weights(self, task: Any, steps: int, generator: torch.Generator) -> Params:
        """Weights of the policy after 0 to K gradient steps on one task, ``[K + 1, ...]``."""
        learner = self.learner
        problem, agent = self.learning.problem, self.learning.agent
        episodes = Episodes(problem, self.policy, agent, self.device, done=1.0)
        tasks = episodes.of([task], generator)
        passed = [stage.fast for stage in stages(learner, tasks, steps)]
        fast = stack([{name: p[0].detach() for name, p in fast.items()} for fast in passed])
        slow = detached(share(learner.slow, len(passed)))
        return {**fast, **slow}
