"""Common base of SB3's PPOs: their models made, trained, checked and loaded."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from metarl.core.processes import current
from metarl.devices import resolve_device
from metarl.errors import UserError
from metarl.evaluate.adapter import Adapter, Loaded, Measurement
from metarl.methods.gradient import STREAMS
from metarl.methods.learning import InTurn, check_stages
from metarl.methods.ppo import ClippedSteps
from metarl.rl.problem import Problem
from metarl.runs.directory import RunDirectory
from metarl.sb3 import PPO, PPOLearner, TaskVecEnv, draw_seed, seeded
from metarl.seeding import spawn_generators
from metarl.train.beginning import check_weights
from metarl.train.loop import LoopSettings, MetaTraining


class BySB3(InTurn):
    """A PPO of SB3 on one problem.

    Attributes:
        problem: What is learned.
        method: How.
        learner: Drives the model.
        counted: What k counts in an evaluation.
    """

    problem: Problem
    method: ClippedSteps
    learner: ClassVar[type[PPOLearner]] = PPOLearner
    counted: ClassVar[str]

    @property
    @abstractmethod
    def steps_per_task(self) -> int:
        """Environment steps on each task of an iteration."""

    @property
    @abstractmethod
    def usual(self) -> Measurement:
        """Usual way to measure what was learned."""

    @abstractmethod
    def envs(
        self, tasks: Sequence[Any], seeds: Sequence[int], device: torch.device, done: float
    ) -> TaskVecEnv:
        """Make the environments of an iteration.

        Args:
            tasks: The tasks.
            seeds: One per task, for what its environments draw.
            device: Where.
            done: Share of the training that is over, in [0, 1).
        """

    @abstractmethod
    def kind(self, num_tasks: int, device: torch.device) -> Callable[..., PPO]:
        """Return the model's class, given its network, its environments and its rollout.

        Args:
            num_tasks: Tasks of an iteration.
            device: Where the environments are.

        Raises:
            UserError: There is no policy for the actions, or the package is not installed.
        """

    @abstractmethod
    def adapter(self, model: PPO, device: torch.device) -> Adapter:
        """Make what is measured, of a model."""

    def check(self, device: str, meta_batch: int, init_from: Path | None = None) -> None:
        """Check that a model can be made, and can begin as it is to; see `Learning.check`.

        Raises:
            UserError: It cannot.
        """
        if current().count > 1:
            raise UserError(
                f"--method {self.method.name} learns by SB3, in one process: start it without "
                "torchrun"
            )
        check_stages(self.problem, self.method)
        model = self.model(torch.Generator(), resolve_device(device))
        check_weights(init_from, model.policy.state_dict())

    def build(
        self, run: RunDirectory, loop: LoopSettings, meta_batch: int, device: torch.device
    ) -> MetaTraining:
        """Make everything that trains one seed; see `InTurn.train`."""
        streams = spawn_generators(run.seed, STREAMS, device)
        learner = self.learner(self.model(streams["init"], device, meta_batch), self.method.lr)

        def iterate() -> Mapping[str, Tensor]:
            done = training.iteration / loop.iterations
            return self.iterate(learner, streams, meta_batch, device, done)

        training = MetaTraining(
            learner,
            iterate,
            [run],
            [streams],
            meta_batch * self.steps_per_task,
            loop,
            description=f"training seed {run.seed}",
        )
        return training

    def iterate(
        self,
        learner: PPOLearner,
        streams: Mapping[str, torch.Generator],
        meta_batch: int,
        device: torch.device,
        done: float,
    ) -> Mapping[str, Tensor]:
        """Learn from one meta-batch, a share of the training being over; metrics ``[1]``."""
        tasks = self.problem.train.sample(meta_batch, streams["tasks"])
        seeds = [draw_seed(streams["episodes"]) for _ in range(len(tasks) + 1)]
        return learner.update(self.envs(tasks, seeds[1:], device, done), seeds[0], len(tasks))

    def model(self, generator: torch.Generator, device: torch.device, num_tasks: int = 1) -> PPO:
        """Make the model before its first iteration.

        Args:
            generator: Draws the seed of the initial parameters; on the CPU.
            device: Where the parameters live.
            num_tasks: Tasks of an iteration.

        Raises:
            UserError: There is no policy for the actions, or the package is not installed.
        """
        own = self.method
        with warnings.catch_warnings(), seeded(draw_seed(generator)):
            warnings.filterwarnings("ignore", "You are trying to run PPO on the GPU")
            return self.kind(num_tasks, device)(
                learning_rate=own.lr,
                batch_size=own.batch_size,
                n_epochs=own.num_epochs,
                gamma=own.gamma,
                gae_lambda=own.gae_lambda,
                clip_range=own.clip,
                ent_coef=own.entropy_coef,
                vf_coef=own.value_coef,
                max_grad_norm=own.max_grad_norm,
                target_kl=own.target_kl,
                device=device,
            )

    def load(self, run: RunDirectory, device: torch.device) -> Loaded:
        """Load the model of a run's checkpoint, and the same before its first iteration.

        Raises:
            UserError: The checkpoint is missing, damaged or another learner's.
        """
        trained, untrained = (
            self.model(spawn_generators(run.seed, STREAMS)["init"], device) for _ in range(2)
        )
        state = run.load_checkpoint()
        with run.fits_settings():
            self.learner(trained, self.method.lr).load_agent_states([state["learner"]])
        sides = [self.adapter(model, device) for model in (trained, untrained)]
        return Loaded(sides[0], sides[1], int(state["iteration"]), self.usual, self.counted)
