"""RL^2 (Duan et al. 2016): learners that adapt through their hidden state, as a kind of methods.

A trial is several episodes on one task; the agent sees, beside the observation, its last action and
reward, the time in the trial and whether an episode has just begun. Its hidden state is carried
over the episodes of a trial and emptied between trials. What is maximised is the discounted return
of the trial: the end of an episode is no boundary. So the agent may explore in the first episode
for the sake of the later ones.

Deviation: trained by PPO in place of the paper's TRPO, on trials of which each has a task of its
own; the core is a GRU, as in the paper, or an associative memory (rl2), or the two-timescale
Warp-RNN (warp-rnn).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from gymnasium.spaces import Box
from torch import Tensor

from envs import MazeTask, VectorMetaObservation, VectorTrial
from envs.maze.views import seen_cells
from experiments.maze_adapt.kinds import Film, Loaded, Measurement
from experiments.maze_adapt.settings import TrainSettings
from experiments.maze_adapt.streams import STREAMS
from experiments.maze_adapt.worlds import Tasks, World
from metarl.core import Params, stack
from metarl.devices import resolve_device
from metarl.errors import UserError
from metarl.evaluate.adaptation_evaluation import AdaptationResult, evaluate_agent
from metarl.meta import TwoTimescale
from metarl.nn import GRU, AssociativeMemory, RecurrentCore, WarpRNN
from metarl.rl import (
    Collector,
    Policy,
    PolicyAgent,
    PolicyGradientTasks,
    actor_critic,
)
from metarl.runs.directory import RunDirectory
from metarl.seeding import spawn_generators
from metarl.train.loop import LoopSettings, MetaTraining
from metarl.train.trainer import Trainer

USUAL_TRIALS = 20
"""A task, to be measured by."""


def check(settings: TrainSettings) -> None:
    """Make a policy once."""
    resolve_device(settings.device)
    make_policy(settings, settings.world())


def train(settings: TrainSettings, runs: Sequence[RunDirectory], *, resume: bool) -> None:
    """Train one agent a seed, all as one program."""
    training = build(settings, runs)
    try:
        if resume:
            training.resume()
        training.run()
    finally:
        for run in runs:
            run.close()


def load(run: RunDirectory, settings: TrainSettings, device: torch.device) -> Loaded:
    """The agent of a run's checkpoint, and the same before its first iteration."""
    policy = make_policy(settings, settings.world())
    untrained = policy.init(spawn_generators(run.seed, STREAMS)["init"])
    trained, iteration = trained_params(run, untrained)
    sides = (
        RecurrentAdapter(policy, {n: p.to(device) for n, p in params.items()}, settings, device)
        for params in (trained, untrained)
    )
    usual = Measurement(settings.trial_episodes - 1, USUAL_TRIALS)
    return Loaded(next(sides), next(sides), iteration, usual, "episodes before")


def build(settings: TrainSettings, runs: Sequence[RunDirectory]) -> MetaTraining:
    """Everything that trains the agents."""
    device = resolve_device(settings.device)
    streams = [spawn_generators(run.seed, STREAMS, device) for run in runs]
    world, own = settings.world(), settings.recurrent
    policy = make_policy(settings, world)
    initial = stack([policy.init(s["init"]) for s in streams])
    params = {name: p.to(device) for name, p in initial.items()}
    learner = TwoTimescale(params, policy.slow, own.learner)
    trainer = Trainer(learner, own.learner)
    generators = [s["episodes"] for s in streams]
    env = make_trials(
        world,
        len(runs) * settings.meta_batch,
        settings.trial_episodes,
        tasks=world.train,
        generator=generators,
        device=device,
    )
    # A trial each on a task drawn anew.
    options = {"tasks": None}
    collector = Collector(env, policy, generators, env.horizon, options=options, record=True)
    trials = PolicyGradientTasks(collector, own.loss)

    def iterate() -> Mapping[str, Tensor]:
        metrics, rewards = trainer.step(trials), learner.batch.trajectory.rewards
        return {**metrics, **episode_metrics(rewards, settings.trial_episodes)}

    return MetaTraining(
        trainer,
        iterate,
        runs,
        streams,
        settings.meta_batch * env.horizon,
        LoopSettings(
            settings.iterations, settings.log_every, settings.checkpoint_every, own.schedule
        ),
        headline=("return_before", "return"),
    )


def episode_metrics(rewards: Tensor, num_episodes: int) -> dict[str, Tensor]:
    """Of the episodes in trials, ``[N]`` each, means over trials.

    Args:
        rewards: ``[N, T, B]``.
        num_episodes: Of a trial.

    Returns:
        ``return_before``: of the first episode; ``return``: of the last; ``trial_return``: of all
        together; ``unrewarded``: the fraction of trials whose first episode paid nothing.
    """
    num_agents, num_steps, num_trials = rewards.shape
    horizon = num_steps // num_episodes
    episodes = rewards.view(num_agents, num_episodes, horizon, num_trials)
    returns = episodes.sum(2)
    return {
        "return_before": returns[:, 0].mean(-1),
        "return": returns[:, -1].mean(-1),
        "trial_return": returns.sum(1).mean(-1),
        "unrewarded": (episodes[:, 0] <= 0).all(1).float().mean(-1),
    }


def make_trials(
    world: World, num_envs: int, num_episodes: int, **place: Any
) -> VectorMetaObservation:
    """Trials of several episodes, as a recurrent agent sees them.

    Args:
        world: Of the tasks.
        num_envs: Trials side by side.
        num_episodes: Of each.
        place: What else the environments are made with: generator, device, tasks.
    """
    episodes = world.make_env(num_envs, **place)
    trials = VectorTrial(episodes, num_episodes, episode_flag=True, wait=True)
    return VectorMetaObservation(trials, unused_input=False)


def make_policy(settings: TrainSettings, world: World) -> Policy:
    """The architecture.

    Raises:
        UserError: The core is not the method's.
    """
    if settings.method == "warp-rnn" and settings.recurrent.core != "gru":
        raise UserError("--recurrent.core is for --method rl2; warp-rnn has a core of its own")
    space = make_trials(world, 1, 1).single_observation_space
    assert isinstance(space, Box)
    return actor_critic(make_core(settings, space.shape[0]), world.distribution)


def make_core(settings: TrainSettings, num_inputs: int) -> RecurrentCore:
    """The memory of a policy.

    Raises:
        UserError: A setting of the associative memory has been changed for another core.
    """
    own = settings.recurrent
    if own.core == "associative":
        return AssociativeMemory(num_inputs, own.hidden_size, compress_read=own.compress_read)
    if own.compress_read:
        raise UserError(
            "--recurrent.compress-read is for --recurrent.core associative; "
            "other memories are not read so"
        )
    return (WarpRNN if settings.method == "warp-rnn" else GRU)(num_inputs, own.hidden_size)


def trained_params(run: RunDirectory, like: Params) -> tuple[Params, int]:
    """The parameters of a run's checkpoint (no leading axis), and its iteration."""
    state = run.load_checkpoint()
    with run.fits_settings():
        params = {name: state["learner"]["params"][name] for name in like}
        wrong = [name for name, p in params.items() if p.shape != like[name].shape]
        if wrong:
            raise ValueError(f"{wrong[0]} is {tuple(params[wrong[0]].shape)}")
    return params, int(state["iteration"])


@dataclass(frozen=True)
class RecurrentAdapter:
    """An agent (`kinds.Adapter`): k counts the episodes of its trial that have gone before.

    The clock that it sees runs as in training; in trials that are longer than those it runs slower.

    Attributes:
        policy: The architecture.
        params: Of one agent.
        settings: What it was trained with.
        device: Where it plays.
    """

    policy: Policy
    params: Params
    settings: TrainSettings
    device: torch.device

    def adapt(self, tasks: Tasks, how: Measurement, generator: torch.Generator) -> AdaptationResult:
        """Play trials on N tasks, ``how.episodes`` on each."""
        if how.chunk_size is not None:
            raise UserError(f"--chunk-size: {self.settings.method} plays all its trials at once")
        world = self.settings.world()
        many = [task for task in tasks for _ in range(how.episodes)]
        return evaluate_agent(
            PolicyAgent(self.policy, stack([self.params]), generator, remembers="trial"),
            self._trials(world, len(many), how.steps, generator),
            len(tasks),
            how.steps + 1,
            world.horizon,
            has_goal=world.has_goal,
            options={"tasks": many},
        )

    def film(self, task: MazeTask, steps: int, seed: int, *, greedy: bool) -> Film:
        """The episodes of one trial."""
        world = self.settings.world()
        environment, actions = spawn_generators(seed, ("environment", "actions")).values()
        agent = PolicyAgent(
            self.policy, stack([self.params]), actions, greedy=greedy, remembers="trial"
        )
        env = self._trials(world, 1, steps, environment)
        agent.begin(1)
        observation, _ = env.reset(options={"tasks": [task]})
        film: list[list[Tensor]] = [[], [], []]
        for _ in range(steps + 1):
            cells, moves = [seen_cells(observation, task.layout)], []
            for _ in range(world.horizon):
                action = agent.act(observation)
                observation, reward, *_, info = env.step(action)
                after = info.get("final_episode_obs", observation)
                cells.append(seen_cells(after, task.layout))
                moves.append((action, reward))
            sides = (cells, *zip(*moves, strict=True))
            for kept, side in zip(film, sides, strict=True):
                kept.append(torch.cat(tuple(side)))
        titles = tuple(f"episode {k + 1}" for k in range(steps + 1))
        return Film(titles, *(torch.stack(side).numpy() for side in film))

    def _trials(
        self, world: World, num_trials: int, steps: int, generator: torch.Generator
    ) -> VectorMetaObservation:
        num_episodes = max(steps + 1, self.settings.trial_episodes)
        return make_trials(world, num_trials, num_episodes, generator=generator, device=self.device)
