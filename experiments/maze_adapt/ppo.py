"""PPO on the mixture of tasks, then fine-tuned to each, as a kind of methods (`kinds.Kind`).

The baseline without meta-learning: SB3's PPO learns one policy from episodes of all training tasks;
on a new task it goes on learning from that task's. It sees the same meta-batches of whole episodes
as the learners that adapt by policy gradient, but one batch an iteration, where those draw another
for each of their inner steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import torch
from stable_baselines3 import PPO
from torch import Tensor

from envs import MazeTask
from experiments.maze_adapt.filming import film_stages
from experiments.maze_adapt.kinds import Film, Loaded, Measurement
from experiments.maze_adapt.ppo_learner import PPOLearner, env_on, make_model
from experiments.maze_adapt.settings import TrainSettings
from experiments.maze_adapt.streams import STREAMS
from experiments.maze_adapt.worlds import Tasks
from metarl.devices import resolve_device
from metarl.errors import UserError
from metarl.evaluate.adaptation_evaluation import AdaptationResult
from metarl.runs.directory import RunDirectory
from metarl.sb3 import (
    FineTuning,
    SB3Agent,
    adaptation,
    copy_of,
    draw_seed,
    fine_tune,
)
from metarl.seeding import spawn_generators
from metarl.train.loop import LoopSettings, MetaTraining
from metarl.train.trainer import train_in_turn

USUAL_STEPS = 3


def check(settings: TrainSettings) -> None:
    """Make a model once."""
    make_model(settings, torch.Generator(), resolve_device(settings.device))


def train(settings: TrainSettings, runs: Sequence[RunDirectory], *, resume: bool) -> None:
    """Train one model a seed, one after the other."""
    train_in_turn(runs, partial(build, settings), resume_to=settings.iterations if resume else None)


def load(run: RunDirectory, settings: TrainSettings, device: torch.device) -> Loaded:
    """The model of a run's checkpoint, and the same before its first iteration."""
    trained, untrained = (
        make_model(settings, spawn_generators(run.seed, STREAMS)["init"], device) for _ in range(2)
    )
    state = run.load_checkpoint()
    with run.fits_settings():
        PPOLearner(trained, settings).load_agent_states([state["learner"]])
    usual = Measurement(USUAL_STEPS, settings.episodes)
    sides = (PPOAdapter(model, settings) for model in (trained, untrained))
    return Loaded(next(sides), next(sides), int(state["iteration"]), usual, "fine-tuning steps")


def build(settings: TrainSettings, run: RunDirectory) -> MetaTraining:
    """Everything that trains one seed."""
    device = resolve_device(settings.device)
    streams = spawn_generators(run.seed, STREAMS, device)
    world = settings.world()
    learner = PPOLearner(make_model(settings, streams["init"], device), settings)

    def iterate() -> Mapping[str, Tensor]:
        tasks = world.train.sample(settings.meta_batch, streams["tasks"])
        seeds = [draw_seed(streams["episodes"]) for _ in range(len(tasks) + 1)]
        env = env_on(world, tasks, settings.episodes, seeds[1:], device)
        return learner.update(env, seeds[0])

    return MetaTraining(
        learner,
        iterate,
        [run],
        [streams],
        settings.meta_batch * settings.episodes * settings.horizon,
        LoopSettings(
            settings.iterations,
            settings.log_every,
            settings.checkpoint_every,
            settings.ppo.schedule,
        ),
        description=f"training seed {run.config['seed']}",
    )


@dataclass(frozen=True)
class PPOAdapter:
    """A model (`kinds.Adapter`): k counts fine-tuning steps.

    Attributes:
        model: Trained, or not.
        settings: What it was trained with.
    """

    model: PPO
    settings: TrainSettings

    def adapt(self, tasks: Tasks, how: Measurement, generator: torch.Generator) -> AdaptationResult:
        """Fine-tune to N tasks, one after the other."""
        if how.chunk_size is not None:
            raise UserError("--chunk-size: ppo is fine-tuned to one task after the other")
        world, device = self.settings.world(), generator.device
        return fine_tune(
            self.model,
            lambda n, seed: env_on(world, [tasks[n]], how.episodes, [seed], device),
            len(tasks),
            how.steps,
            seed=draw_seed(generator),
            settings=self._how_it_learns(),
            has_goal=world.has_goal,
        )

    def film(self, task: MazeTask, steps: int, seed: int, *, greedy: bool) -> Film:
        """An episode before fine-tuning and after each step."""
        streams = spawn_generators(seed, ("episodes", "film"))
        world, device = self.settings.world(), torch.device("cpu")
        seeds = [draw_seed(streams["episodes"]) for _ in range(2)]
        env = env_on(world, [task], self.settings.episodes, seeds[:1], device)
        stages = adaptation(self.model, env, steps, seed=seeds[1], settings=self._how_it_learns())
        models = [copy_of(model) for model, _ in stages]
        agent = StagesAgent(
            [SB3Agent(model, streams["film"], deterministic=greedy) for model in models]
        )
        return film_stages(world, task, agent, len(models), seed)

    def _how_it_learns(self) -> FineTuning:
        return FineTuning(**asdict(self.settings.ppo.fine_tuning))


@dataclass(frozen=True)
class StagesAgent:
    """Several agents as one (`metarl.rl.Agent`): trial k is played by agent k."""

    agents: Sequence[SB3Agent]

    def begin(self, num_trials: int) -> None:
        """A trial each."""
        for agent in self.agents:
            agent.begin(1)

    def act(self, observations: Tensor) -> Tensor:
        """An action each."""
        seen = zip(self.agents, observations.unsqueeze(1), strict=True)
        return torch.cat([agent.act(x) for agent, x in seen])

    def observe(self, rewards: Tensor, terminated: Tensor, truncated: Tensor) -> None:
        """Nothing to do."""
