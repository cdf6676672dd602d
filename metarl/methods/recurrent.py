"""RL^2 (Duan et al. 2016) and the Warp-RNN: agents that adapt through their hidden state.

A trial is several episodes on one task; the agent sees, beside the observation, its last action and
reward, the time in the trial and whether an episode has just begun (`metarl.rl.trial_env`). Its
hidden state is carried over the episodes of a trial and emptied between trials. What is maximised
is the discounted return of the trial: the end of an episode is no boundary. So the agent may
explore in the first episode for the sake of the later ones.

The Warp-RNN of Flennerhag et al. 2020 is such an agent with two timescales: the weights of its core
are slow, those of the heads fast (`metarl.meta.TwoTimescale`). The published maze is a trial of one
episode.

Deviation: trained by actor-critic or PPO in place of the paper's TRPO, on trials of which each has
a task of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metarl.core import Params, stack
from metarl.core.cuda_graph import Captured, require_cuda
from metarl.core.processes import current
from metarl.devices import resolve_device
from metarl.errors import UserError
from metarl.evaluate.adapter import Loaded, Measurement
from metarl.invocation import refuse_several
from metarl.meta import TwoTimescale
from metarl.methods.agents import TrialAgent
from metarl.methods.curricula import LEVELS, check_curriculum, levels_of
from metarl.methods.rl2 import RL2Settings, WarpRNNSettings, slow_cores
from metarl.methods.staged_trials import StagedTrials, check_captured, check_shared
from metarl.methods.trials import USUAL_TRIALS, OnTrials, TrialAdapter, episode_metrics
from metarl.native import sharing
from metarl.rl import (
    Policy,
    PolicyAgent,
    actor_critic,
    distribution_for,
)
from metarl.rl.minibatches import TrialMinibatches, check_divides
from metarl.rl.problem import Problem, stages_of
from metarl.runs.directory import RunDirectory
from metarl.seeding import spawn_generators
from metarl.train.beginning import check_weights
from metarl.train.besides import WithBesides
from metarl.train.curriculum import Curriculum, DomainRandomisation, SideBySide
from metarl.train.loop import LoopSettings, MetaTraining
from metarl.train.trainer import Trainer

SHUFFLES = "shuffles"
"""Random stream that deals the trials of a batch out to minibatches, where there are any; behind it
comes that of a curriculum."""


@dataclass(frozen=True)
class RecurrentLearning(OnTrials):
    """Agents with a memory, on one problem.

    Attributes:
        problem: What is learned.
        method: How the weights step.
        agent: Who learns.
        trial_episodes: Episodes of a trial.
        trial_steps: Steps of a trial in training, whatever episodes go into them; None: it is over
            with its last episode.
        published_inputs: The inputs of the published maze, with an unused one and without a flag,
            for trials of one episode.
        first_action_zero_is_set: A fault of the published inputs.
        streams: Names of the random streams, in their order; ``init`` is one.
        actions: The stream that draws actions.
        environments: The stream that draws what environments draw.
        max_skipped: Batches in a row without a finite gradient that stop training.
        curriculum: Which tasks are trained on (`metarl.train.curriculum`).
        cuda_graph: Train with each rollout, its loss and gradient as one CUDA graph.
    """

    problem: Problem
    method: RL2Settings
    agent: TrialAgent
    trial_episodes: int = 1
    trial_steps: int | None = None
    published_inputs: bool = False
    first_action_zero_is_set: bool = False
    streams: tuple[str, ...] = ("init", "tasks", "episodes")
    actions: str = "episodes"
    environments: str = "episodes"
    max_skipped: int = 1
    curriculum: Curriculum = field(default_factory=DomainRandomisation)
    cuda_graph: bool = False

    def check(self, device: str, batch_size: int, init_from: Path | None = None) -> None:
        """Check that all can be made.

        Args:
            device: Where it is to train.
            batch_size: Trials per agent and iteration.
            init_from: A run whose weights it is to begin with; None: there is none.

        Raises:
            UserError: It cannot.
        """
        place = resolve_device(device)
        if self.cuda_graph:
            require_cuda(place)
            refuse_several("--cuda-graph")
        if self.method.minibatch_trials is not None:
            try:
                check_divides(self.method.minibatch_trials, batch_size)
            except ValueError as error:
                raise UserError(str(error)) from error
        self._check_curriculum(batch_size)
        check_shared(self.agent.loss, batch_size, self.method.minibatch_trials)
        policy = self.policy()
        if isinstance(self.method, WarpRNNSettings) and not policy.slow:
            raise UserError(
                f"--core {self.agent.core} has no slow weights, which --method warp-rnn learns at "
                f"another pace: take --core {' or '.join(slow_cores())}, or --method rl2 "
                f"--core {self.agent.core}"
            )
        check_weights(init_from, policy.init(torch.Generator()))

    def _check_curriculum(self, batch_size: int) -> None:
        """Check that a curriculum can choose among the tasks of training.

        Raises:
            UserError: It cannot.
        """
        check_curriculum(self.curriculum, self.problem, batch_size)
        published = self.agent.loss.published_baseline or self.agent.loss.published_returns
        if self.curriculum.samples and published:
            raise UserError(
                f"--curriculum {self.curriculum.name} scores mazes by what a critic expects: drop "
                "published faults"
            )

    def train(
        self,
        runs: Sequence[RunDirectory],
        loop: LoopSettings,
        batch_size: int,
        device: str,
        *,
        resume_to: int | None,
    ) -> None:
        """Train one agent per seed, all as one program.

        Args:
            runs: One per seed.
            loop: When it ends, writes and saves.
            batch_size: Trials per agent and iteration, each on a task of its own.
            device: Where.
            resume_to: Iterations in all, where runs go on from their checkpoints; None: they are
                new.

        Raises:
            KeyboardInterrupt: Interrupted, after saving.
        """
        training = self.build(runs, loop, batch_size, device)
        try:
            if resume_to is not None:
                training.resume()
            training.run()
        finally:
            for run in runs:
                run.close()

    def build(
        self, runs: Sequence[RunDirectory], loop: LoopSettings, batch_size: int, device: str
    ) -> MetaTraining:
        """Make everything that trains; see `train`."""
        place = resolve_device(device)
        size = self.method.minibatch_trials
        chosen = self.curriculum.samples
        names = (*self.streams, *[SHUFFLES] * (size is not None), *[LEVELS] * chosen)
        streams = [spawn_generators(run.seed, names, place) for run in runs]
        if self.cuda_graph:
            refuse_several("--cuda-graph")  # a resume's, too
            check_captured(self.problem, self.agent.loss)
            if chosen:
                raise UserError("--cuda-graph repeats the same tasks: drop it, or --curriculum")
        policy = self.policy()
        learner = self._learner(policy, streams, batch_size, place, loop.dtype)
        trainer = Trainer(learner, self.method.timescales, max_skipped=self.max_skipped)
        stages = self._staged(policy, streams, batch_size, place)
        curricula: SideBySide | None = None
        if chosen:
            levels = levels_of(self.problem)
            samplers = [self.curriculum.sampler(levels, s[LEVELS]) for s in streams]
            curricula = SideBySide(samplers, None if self.published_inputs else self.flag)

        def iterate() -> Mapping[str, Tensor]:
            done = training.iteration / loop.iterations
            with sharing(self.method.num_threads):
                if curricula is None:
                    metrics = trainer.step(stages.at(done))
                else:
                    metrics = _on_levels(curricula, trainer, stages, batch_size, done)
            if self.trial_episodes > 1 and self.trial_steps is None:
                played = learner.batch.whole.trajectory
                own_time = self.flag if stages.own_time else None
                metrics |= episode_metrics(played, self.trial_episodes, own_time)
            return metrics

        kept = {"returns": stages.scales, "levels": curricula}
        besides = {name: one for name, one in kept.items() if one is not None}
        training = MetaTraining(
            WithBesides(trainer, besides) if besides else trainer,
            iterate,
            runs,
            streams,
            lambda iteration: batch_size * stages.num_steps(iteration / loop.iterations),
            loop,
            headline=("return_before", "return"),
        )
        return training

    def _learner(
        self,
        policy: Policy,
        streams: Sequence[Mapping[str, torch.Generator]],
        batch_size: int,
        device: torch.device,
        dtype: torch.dtype | None,
    ) -> TwoTimescale:
        """The agents before their first iteration, stacked."""
        initial = stack([policy.init(s["init"]) for s in streams])
        captured = (
            [_captured(streams, (self.actions, self.environments), device)]
            if self.cuda_graph
            else []
        )
        params = {name: p.to(device, dtype) for name, p in initial.items()}
        size, minibatches = self.method.minibatch_trials, None
        if size is not None:
            minibatches = TrialMinibatches(
                policy,
                batch_size,
                size,
                [s[SHUFFLES] for s in streams],
                share=current().share(size, "trials of a minibatch"),
                in_windows=self.method.truncate is not None,
            )
        slow = policy.slow if isinstance(self.method, WarpRNNSettings) else ()  # rl2: one timescale
        return TwoTimescale(
            params, slow, self.method.timescales, *captured, minibatches=minibatches
        )

    def _staged(
        self,
        policy: Policy,
        streams: Sequence[Mapping[str, torch.Generator]],
        batch_size: int,
        device: torch.device,
    ) -> StagedTrials:
        """The trials that all agents learn from, in environments for every stage of the problem.

        Of several processes each has its share of the trials of every agent.
        """
        generators = [s[self.environments] for s in streams]
        here, alone = current().share(batch_size, "trials of a batch"), current().count == 1
        num_envs = len(streams) * (here.stop - here.start)
        stages = [
            (stage, replace(self, problem=stage.problem).trials(num_envs, generators, device))
            for stage in stages_of(self.problem)
        ]
        for _, env in stages if not alone else ():
            env.use_share(batch_size, here.start)
        return StagedTrials(
            stages,
            policy,
            [s[self.actions] for s in streams],
            self.agent.loss,
            record="values" if self.method.learns_in_parts else True,
            share=None if alone else (batch_size, here),
            num_trials=self.method.minibatch_trials or batch_size,
            dealt_out=self.method.minibatch_trials is not None,
            truncate=self.method.truncate,
        )

    def policy(self) -> Policy:
        """Make the architecture.

        Raises:
            UserError: There is no policy for the actions, or no view to encode.
        """
        try:
            actions = distribution_for(self.problem.actions)
        except ValueError as error:
            raise UserError(f"{self.problem.name}: {error}") from error
        encoder = self.agent.make_encoder(self.problem, self.num_inputs)
        num_inputs = self.num_inputs if encoder is None else encoder.num_outputs
        return actor_critic(self.agent.make_core(num_inputs), actions, encoder)

    def load(self, run: RunDirectory, device: torch.device) -> Loaded:
        """Load the agent of a run's checkpoint, and the same before its first iteration.

        Raises:
            UserError: The checkpoint is missing, damaged or another agent's.
        """
        policy = self.policy()
        untrained = policy.init(spawn_generators(run.seed, self.streams)["init"])
        trained, iteration = trained_params(run, untrained)
        sides = [
            RecurrentAdapter(device, self, policy, {n: p.to(device) for n, p in params.items()})
            for params in (trained, untrained)
        ]
        usual = Measurement(self.trial_episodes - 1, USUAL_TRIALS)
        return Loaded(sides[0], sides[1], iteration, usual, "episodes before")


def trained_params(run: RunDirectory, like: Params) -> tuple[Params, int]:
    """Parameters of a run's checkpoint (no leading axis), and its iteration.

    Args:
        run: A run.
        like: What the settings ask for, by name.

    Raises:
        UserError: They are not those of the settings, or the file is another script's.
    """
    state = run.load_checkpoint()
    with run.fits_settings():
        params = dict(state["learner"]["params"])
        asked, there = ({n: tuple(p.shape) for n, p in of.items()} for of in (like, params))
        for name in sorted(asked.keys() | there.keys()):
            found, wanted = there.get(name, "missing"), asked.get(name, "nothing")
            if found != wanted:
                raise ValueError(f"{name} is {found}, the settings ask for {wanted}")
    return params, int(state["iteration"])


@dataclass(frozen=True)
class RecurrentAdapter(TrialAdapter):
    """An agent of this package.

    Attributes:
        policy: The architecture.
        params: Of one agent.
    """

    learning: RecurrentLearning
    policy: Policy
    params: Params

    def agent(self, generator: torch.Generator, *, greedy: bool = False) -> PolicyAgent:
        """Make who plays."""
        return PolicyAgent(
            self.policy, stack([self.params]), generator, greedy=greedy, remembers="trial"
        )


def _on_levels(
    curricula: SideBySide, trainer: Trainer, stages: StagedTrials, batch_size: int, done: float
) -> dict[str, Tensor]:
    """Play the levels that curricula offer, and learn from them if they say so; the metrics.

    Args:
        curricula: One per agent.
        trainer: Of the agents.
        stages: Their trials.
        batch_size: Trials per agent.
        done: Share of the training that is over.
    """
    assert isinstance(trainer.learner, TwoTimescale)
    levels, learn = curricula.sample(batch_size)
    trials = stages.at(done, levels)
    metrics = trainer.step(trials) if learn else dict(trainer.learner.play(trials))
    return metrics | curricula.update(trainer.learner.batch.whole)


def _captured(
    streams: Sequence[Mapping[str, torch.Generator]], names: Sequence[str], device: torch.device
) -> Any:
    """Capture of rollout, loss and gradient as one CUDA graph.

    Raises:
        UserError: There is no CUDA device.
    """
    require_cuda(device)
    return partial(Captured, generators=[s[name] for s in streams for name in dict.fromkeys(names)])
