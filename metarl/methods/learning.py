"""A method on a problem: trained, loaded and measured alike, whatever it adapts by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from gymnasium.spaces import Discrete, MultiBinary, MultiDiscrete

from metarl.core.processes import current
from metarl.core.settings import Compiled, Method
from metarl.devices import resolve_device
from metarl.errors import UserError
from metarl.evaluate.adapter import Loaded
from metarl.meta.method import GradientMethod
from metarl.meta.policy.trpo import TRPOSettings
from metarl.methods.agents import AdaptingPolicy, Agent, LSTMOfSB3, MixturePolicy, TrialsAgent
from metarl.methods.ppo import ClippedSteps, PPOSettings, RecurrentPPOSettings
from metarl.methods.rl2 import RL2Settings, WarpRNNSettings
from metarl.methods.spaces import view_layout
from metarl.rl.problem import Problem, stages_of
from metarl.runs import resume
from metarl.runs.directory import RunDirectory
from metarl.train.loop import LoopSettings, MetaTraining


class Trainable(Protocol):
    """A method on a problem, which can be trained."""

    def check(self, device: str, meta_batch: int, init_from: Path | None = None) -> None:
        """Check that all can be made, before there is a run directory.

        Args:
            device: Where it is to train.
            meta_batch: Tasks of an iteration.
            init_from: A run whose weights it is to begin with; None: there is none.

        Raises:
            UserError: It cannot.
        """

    def train(
        self,
        runs: Sequence[RunDirectory],
        loop: LoopSettings,
        meta_batch: int,
        device: str,
        *,
        resume_to: int | None,
    ) -> None:
        """Train a learner per run, from its seed or from where its checkpoint stopped.

        Raises:
            KeyboardInterrupt: Interrupted, after saving.
        """


class Learning(Trainable, Protocol):
    """A method and an agent on a problem that is acted in."""

    @property
    def problem(self) -> Problem:
        """The problem that is learned."""

    def load(self, run: RunDirectory, device: torch.device) -> Loaded:
        """Load what a run has learned.

        Raises:
            UserError: Its checkpoint is missing, damaged or another learner's.
        """


class InTurn(ABC):
    """A `Trainable` whose seeds are trained one after the other, each as if alone."""

    def train(
        self,
        runs: Sequence[RunDirectory],
        loop: LoopSettings,
        meta_batch: int,
        device: str,
        *,
        resume_to: int | None,
    ) -> None:
        """Train one learner per seed, one after the other.

        Args:
            runs: One per seed.
            loop: When it ends, writes and saves.
            meta_batch: Tasks per iteration.
            device: Where.
            resume_to: Iterations in all, where runs go on from their checkpoints; None: they are
                new.

        Raises:
            KeyboardInterrupt: Interrupted, after saving.
        """
        place = resolve_device(device)
        train_in_turn(
            runs,
            lambda run: self.build(run, loop, meta_batch, place),
            resume_to=resume_to,
        )

    @abstractmethod
    def build(
        self, run: RunDirectory, loop: LoopSettings, meta_batch: int, device: torch.device
    ) -> MetaTraining:
        """Make everything that trains one seed; see `train`."""


def train_in_turn(
    runs: Sequence[RunDirectory],
    build: Callable[[RunDirectory], MetaTraining],
    *,
    resume_to: int | None = None,
) -> None:
    """Train one seed after the other, each in its run directory.

    Args:
        runs: One per seed.
        build: Makes the trainer of a seed; called when its turn comes.
        resume_to: Go on to so many iterations where each run stopped: one that is finished is left
            alone, one that has not begun begins. None: the runs are new.

    Raises:
        UserError: A checkpoint is damaged, or not of these settings; a run has done more.
        NonFiniteLossError: A loss became NaN or infinite; later seeds have not begun.
        KeyboardInterrupt: Ctrl-C was pressed; a checkpoint has been written first.
    """
    try:
        if resume_to is not None:
            claimed = current().first(partial(resume.claim, runs, resume_to))
            for run, done in zip(runs, claimed, strict=True):
                resume.note(run, done, resume_to, goes_on=False)
        for run in runs:
            training = build(run)
            if resume_to is not None:
                training.resume()
            training.run()
    finally:
        for run in runs:
            run.close()


def check_stages(problem: Problem, method: Method) -> None:
    """Check that a problem is one from the beginning of its training to the end.

    Args:
        problem: What is to be learned.
        method: How, in a training that has no stages.

    Raises:
        UserError: It is learned in stages.
    """
    if len(stages_of(problem)) > 1:
        raise UserError(
            f"--method {method.name} has no stages, and this problem is learned in some: drop "
            "--size-schedule, or take --method rl2"
        )


def learning(problem: Problem, method: Method, agent: Agent) -> Learning:
    """Return how a method learns a problem; imports no other way.

    Raises:
        TypeError: The agent is of another kind of methods, or the method of no kind.
    """
    match method, agent:
        case GradientMethod(), AdaptingPolicy():
            from metarl.methods.gradient import GradientLearning

            return GradientLearning(problem, method, agent)
        case RL2Settings(), TrialsAgent():
            from metarl.methods.recurrent import RecurrentLearning

            return RecurrentLearning(
                problem,
                method,
                agent,
                agent.trial_episodes,
                trial_steps=agent.trial_steps,
                max_skipped=10,
            )
        case PPOSettings(), MixturePolicy():
            from metarl.methods.fine_tuned import FineTunedLearning

            return FineTunedLearning(problem, method, agent)
        case RecurrentPPOSettings(), LSTMOfSB3():
            from metarl.methods.recurrent_ppo import RecurrentPPOLearning

            return RecurrentPPOLearning(problem, method, agent)
    raise TypeError(f"{type(agent).__name__} does not learn by {type(method).__name__}")


def agent_for(method: type[Method]) -> Agent:
    """Return the usual agent of a method.

    Raises:
        TypeError: The method is of no kind.
    """
    if issubclass(method, GradientMethod):
        return AdaptingPolicy()
    if issubclass(method, RL2Settings):
        return TrialsAgent(core=method.core)
    if issubclass(method, PPOSettings):
        return MixturePolicy()
    if issubclass(method, RecurrentPPOSettings):
        return LSTMOfSB3()
    raise TypeError(f"{method.__name__} has no agent: it is of no kind that plays")


def unread(method: Method, problem: Any = None) -> tuple[str, ...]:
    """Return settings that a method does not read, on the episodes of a problem.

    Args:
        method: The method.
        problem: The problem, or what is known of it; None: nothing is.

    Returns:
        Paths such as ``learner.compile`` and ``agent.loss.auxiliary_critic``; `Learning.check`
        refuses them where they are given.
    """
    actions = getattr(problem, "actions", None)
    discrete = isinstance(actions, Discrete | MultiDiscrete | MultiBinary)
    found = []
    if isinstance(method, Compiled):  # a program that is traced once cannot play
        found.append("learner.compile")
    if isinstance(method, GradientMethod) and not method.through_adaptation:
        found.append("agent.loss.auxiliary_critic")
    if isinstance(method, TRPOSettings):  # its step is found without the gradient
        found.append("agent.loss.start_entropy_coef")
    if isinstance(method, WarpRNNSettings):  # an associative memory has no slow weights
        found.append("agent.compress_read")
    if isinstance(method, ClippedSteps):  # SB3 computes in single precision
        found.append("dtype")
    if isinstance(method, GradientMethod | PPOSettings) and discrete:  # no Gaussian policy
        found.append("agent.initial_std")
    if not isinstance(method, RL2Settings):  # no rollout that repeats itself
        found.append("cuda_graph")
    elif hasattr(problem, "observation"):
        try:
            view_layout(problem)
        except ValueError:  # there is no view to encode
            found += ["agent.encoder", "agent.filters"]
    return tuple(found)
