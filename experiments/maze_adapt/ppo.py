"""PPO on the mixture of tasks, then fine-tuned to each, as a kind of methods (`kinds.Kind`).

The baseline without meta-learning: SB3's PPO learns one policy from episodes of all training tasks;
on a new task it goes on learning from that task's. It sees the same meta-batches of whole episodes
as the learners that adapt by policy gradient, but one batch an iteration, where those draw another
for each of their inner steps.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from stable_baselines3 import PPO
from stable_baselines3.common.logger import Logger
from torch import Tensor, nn

from envs import MazeTask
from experiments.maze_adapt.episodes import environments
from experiments.maze_adapt.filming import film_stages
from experiments.maze_adapt.kinds import Film, Loaded, Measurement
from experiments.maze_adapt.settings import TrainSettings
from experiments.maze_adapt.streams import STREAMS
from experiments.maze_adapt.worlds import Tasks, World
from metarl.adaptation_evaluation import AdaptationResult
from metarl.devices import resolve_device
from metarl.errors import UserError
from metarl.meta import NonFiniteLossError
from metarl.meta_training import train_in_turn
from metarl.rl import Gaussian
from metarl.run_directory import RunDirectory
from metarl.sb3 import (
    FineTuning,
    PlayedEpisodes,
    SB3Agent,
    TaskVecEnv,
    adaptation,
    copy_of,
    draw_seed,
    fine_tune,
    play_episodes,
    rollout_buffer,
    seeded,
)
from metarl.seeding import spawn_generators
from metarl.training import LoopSettings, MetaTraining

USUAL_STEPS = 3

LOGGED = {
    "value_loss": "train/value_loss",
    "approx_kl": "train/approx_kl",
    "clip_fraction": "train/clip_fraction",
}
"""Metrics that SB3 computes, and what it calls them."""


def check(settings: TrainSettings) -> None:
    """Make a model once."""
    make_model(settings, torch.Generator(), resolve_device(settings.device))


def train(settings: TrainSettings, runs: Sequence[RunDirectory], *, resume: bool) -> None:
    """Train one model a seed, one after the other."""
    train_in_turn(runs, partial(build, settings), resume=resume)


def load(run: RunDirectory, settings: TrainSettings, device: torch.device) -> Loaded:
    """The model of a run's checkpoint, and the same before its first iteration."""
    trained, untrained = (
        make_model(settings, spawn_generators(run.config["seed"], STREAMS)["init"], device)
        for _ in range(2)
    )
    state = run.load_checkpoint()
    try:
        PPOLearner(trained, settings).load_agent_states([state["learner"]])
    except (KeyError, RuntimeError, TypeError) as error:
        raise UserError(
            f"{run.checkpoint_path} does not fit the settings in its config.json ({error})"
        ) from error
    usual = Measurement(USUAL_STEPS, settings.episodes)
    sides = (PPOAdapter(model, settings) for model in (trained, untrained))
    return Loaded(next(sides), next(sides), int(state["iteration"]), usual, "fine-tuning steps")


def build(settings: TrainSettings, run: RunDirectory) -> MetaTraining:
    """Everything that trains one seed."""
    device = resolve_device(settings.device)
    streams = spawn_generators(run.config["seed"], STREAMS, device)
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


class PPOLearner:
    """A PPO that `metarl.training.MetaTraining` can train, save and restore.

    SB3's draws begin at a seed in every iteration: its state is that of policy and optimiser.
    """

    def __init__(self, model: PPO, settings: TrainSettings) -> None:
        """Train this model, in place."""
        self.model, self.settings = model, settings
        model.set_logger(Logger(folder=None, output_formats=[]))

    def set_learning_rate_factor(self, factor: float) -> None:
        """Scale the learning rate, for a schedule."""
        lr = self.settings.ppo.lr * factor
        self.model.lr_schedule = lambda _: lr

    def update(self, env: TaskVecEnv, seed: int) -> dict[str, Tensor]:
        """Learn from one episode in every environment.

        Raises:
            NonFiniteLossError: The parameters are no numbers any more.
        """
        with seeded(seed, self.model.device):
            played = play_episodes(self.model.policy, env)
            self.model.rollout_buffer = rollout_buffer(self.model, played)
            try:
                self.model.train()
            except ValueError as error:  # a distribution refuses its parameters
                raise NonFiniteLossError(str(error).partition("\n")[0]) from error
        return {**self._logged(), **episode_metrics(played, self.settings.meta_batch)}

    def agent_state(self, index: int) -> dict[str, Any]:
        """Everything the one agent needs to go on."""
        policy = self.model.policy
        return {"params": policy.state_dict(), "optimiser": policy.optimizer.state_dict()}

    def load_agent_states(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Take up where the one agent left off.

        Raises:
            KeyError: Something is missing in its state.
            RuntimeError: It is another network's.
        """
        (state,) = states
        try:
            self.model.policy.load_state_dict(state["params"])
            self.model.policy.optimizer.load_state_dict(state["optimiser"])
        except ValueError as error:
            raise RuntimeError(str(error)) from error

    def _logged(self) -> dict[str, Tensor]:
        found = self.model.logger.name_to_value
        values = {name: found[theirs] for name, theirs in LOGGED.items()}
        values["entropy"] = -found["train/entropy_loss"]
        if not np.isfinite(list(values.values())).all():
            raise NonFiniteLossError(f"loss is not finite ({values})")
        return {name: torch.tensor([float(value)]) for name, value in values.items()}


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


def env_on(
    world: World, tasks: Tasks, num_episodes: int, seeds: Sequence[int], device: torch.device
) -> TaskVecEnv:
    """``num_episodes`` environments a task, task-major; a seed a task for its dynamics."""
    generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]
    env, options = environments(world, tasks, num_episodes, generators, device)
    actions = env.single_action_space
    if isinstance(actions, Box):  # 1 is the longest step
        actions = Box(-1.0, 1.0, actions.shape, np.float32)
    return TaskVecEnv(env, action_space=actions, tasks=options["tasks"], wait=True)


def make_model(settings: TrainSettings, generator: torch.Generator, device: torch.device) -> PPO:
    """The model before its first iteration.

    Args:
        settings: Of the run.
        generator: Draws the seed of the initial parameters; on the CPU.
        device: Where they live.
    """
    world, own = settings.world(), settings.ppo
    (task,) = world.train.sample(1, torch.Generator())
    hidden = list(settings.hidden)
    policy: dict[str, Any] = {
        "net_arch": {"pi": hidden, "vf": hidden},
        "activation_fn": nn.Tanh if settings.activation == "tanh" else nn.ReLU,
    }
    if isinstance(world.distribution, Gaussian):
        policy["log_std_init"] = float(np.log(world.distribution.initial_std))
    with warnings.catch_warnings(), seeded(draw_seed(generator)):
        warnings.filterwarnings("ignore", "You are trying to run PPO on the GPU")
        return PPO(
            "MlpPolicy",
            env_on(world, [task], 1, [0], device),
            learning_rate=own.lr,
            n_steps=own.batch_size,  # of SB3's own rollouts, which are not used
            batch_size=own.batch_size,
            n_epochs=own.num_epochs,
            gamma=own.gamma,
            gae_lambda=own.gae_lambda,
            clip_range=own.clip,
            ent_coef=own.entropy_coef,
            vf_coef=own.value_coef,
            max_grad_norm=own.max_grad_norm,
            policy_kwargs=policy,
            device=device,
        )


def episode_metrics(played: PlayedEpisodes, num_tasks: int) -> dict[str, Tensor]:
    """Of the episodes that were learned from, ``[1]`` each, means over tasks and episodes.

    Returns:
        ``return``; ``length``; ``unrewarded``: the fraction of tasks whose episodes paid nothing.
    """
    paid = (played.rewards != 0).any(0).reshape(num_tasks, -1).any(1)
    values = {
        "return": played.returns.mean(),
        "length": played.num_steps.mean(),
        "unrewarded": 1.0 - paid.mean(),
    }
    return {name: torch.tensor([float(value)]) for name, value in values.items()}
