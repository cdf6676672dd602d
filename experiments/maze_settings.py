"""Settings of `experiments.maze`: what can be chosen, and the presets."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any, ClassVar, Literal, get_args

import tyro

from experiments.maze_problems import HiddenGoals, MazeReferences, PublishedMaze
from metarl.core.settings import Method
from metarl.methods.agents import TrialAgent
from metarl.methods.recurrent import RecurrentLearning
from metarl.methods.rl2 import CoreName, RL2Settings, WarpRNNSettings
from metarl.rl import ActorCriticSettings
from metarl.run import RunSettings, at_least, check_option
from metarl.run.counts import Held

Preset = Literal["default", "ppo", "demo", "paper"]
METHODS: dict[str, type[RL2Settings]] = {"warp-rnn": WarpRNNSettings, "rl2": RL2Settings}
CORES = get_args(CoreName)


@dataclass(frozen=True)
class TrainSettings(RunSettings):
    """Train recurrent agents that learn a new maze within one trial."""

    method: Annotated[str, tyro.conf.arg(metavar="{warp-rnn,rl2}|" + "|".join(CORES))] = "warp-rnn"
    """warp-rnn: slow recurrent weights, fast heads; rl2: one timescale. The name of a core is short
    for the method that suits it: warp is warp-rnn, gru is rl2 --core gru, and so on."""
    preset: Preset = "default"
    """default: tuned; ppo: fewer mazes, each learned from three times; demo: small mazes, minutes;
    paper: as published, faults included."""
    core: CoreName = "warp"
    """The agent's memory. Default: warp for warp-rnn, gru for rl2."""
    hidden_size: int = 100
    """Hidden units."""
    iterations: int = 20_000
    """Iterations; in each, an agent plays one trial in every maze of its batch."""
    batch_size: int = 30
    """Mazes per iteration and agent."""
    log_every: int = 20
    """Iterations per line of metrics; each line is their mean."""
    cuda_graph: bool = False
    """Run each rollout with its loss and gradient as one CUDA graph (not yet tried on a GPU).
    A resume needs it given again."""
    environment: Annotated[HiddenGoals, tyro.conf.arg(name="")] = field(default_factory=HiddenGoals)
    """The mazes."""
    loss: ActorCriticSettings = field(default_factory=ActorCriticSettings)
    """The actor-critic."""
    learner: Annotated[Method, tyro.conf.arg(name="")] = field(default_factory=WarpRNNSettings)
    """How the weights step."""
    published_faults: bool = False
    """The published code's faults of maze and network (those of its loss are under loss)."""

    HELD: ClassVar[Held] = (
        (40, "batch_size", "environment.horizon"),  # what an agent sees: ten numbers at least
        (4, "batch_size", "environment.horizon", "hidden_size"),
        (16, "hidden_size", "hidden_size"),  # weights, gradients, moments
        (2, *["environment.size"] * 4),  # a number for every goal and every place
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "method", method_and_core(self.method)[0])
        super().__post_init__()
        at_least(1, self, "batch_size", "hidden_size")

    def learning(self, maze: HiddenGoals) -> RecurrentLearning:
        """Return what is learned in mazes."""
        assert isinstance(self.learner, RL2Settings)
        return RecurrentLearning(
            maze,
            self.learner,
            TrialAgent(
                core=self.core,
                hidden_size=self.hidden_size,
                published_split=self.published_faults,
                loss=self.loss,
            ),
            published_inputs=True,
            first_action_zero_is_set=self.published_faults,
            streams=("init", "policy", "environment"),
            actions="policy",
            environments="environment",
        )

    def trained(self) -> RecurrentLearning:
        """Return what is learned in training.

        The published fault of the maze, teleports into pillars, is for training alone: every agent
        is measured in the same maze.
        """
        faulty = PublishedMaze(**vars_of(self.environment))
        return self.learning(faulty if self.published_faults else self.environment)

    def measured(self) -> RecurrentLearning:
        """Return the same in the maze that agents are measured in."""
        return self.learning(self.environment)

    def references(self) -> MazeReferences:
        """Return what agents are judged by, on the goals that they are tested on."""
        return MazeReferences(self.environment, self.environment.test)


def method_and_core(name: str) -> tuple[str, CoreName]:
    """Return the method of a name, and its core; the name of a core is short for both.

    Raises:
        UserError: It is neither.
    """
    if name in METHODS:
        return name, METHODS[name].core
    check_option("--method", name, (*METHODS, *CORES))
    core: Any = name
    return ("warp-rnn" if core == "warp" else "rl2"), core


USUAL_RATE = 3e-3
"""Learning rate of cores for which no other has been found."""

LEARNING_RATES = {"rnn": 1e-3, "lstm": 6e-3, "plastic": 1e-3, "modulated": 1e-3}
"""Learning rates: of lstm and rnn, and the usual one of warp, chosen by trial, see benchmarks/maze;
of the others by analogy."""

PPO_LEARNING_RATES = {**LEARNING_RATES, "warp": 2e-3, "lstm": 3e-3}
"""Learning rates with PPO: of warp and lstm chosen by trial, see benchmarks/maze; the others take
theirs of A2C."""


def defaults(
    preset: Preset = "default", method: str = "warp-rnn", core: CoreName | None = None
) -> TrainSettings:
    """Return the settings of a preset, with each core's own learning rate.

    Raises:
        UserError: There is no such preset, method or core.
    """
    check_option("--preset", preset, get_args(Preset))
    name, usual = method_and_core(method)
    core = core or usual
    check_option("--core", core, CORES)
    learner: RL2Settings = METHODS[name](
        lr=LEARNING_RATES.get(core, USUAL_RATE), max_grad_norm=4.0, num_epochs=1, decay="linear"
    )
    base = TrainSettings(method=name, preset=preset, core=core, learner=learner)
    match preset:
        case "demo":  # a few minutes on two cores: small mazes
            small = replace(base.environment, size=9)
            return replace(
                base, environment=small, iterations=1000, batch_size=60, checkpoint_every=100
            )
        case "ppo":  # half the mazes, about the same time
            clipped = ActorCriticSettings(algorithm="ppo", gae_lambda=0.95)
            lr = PPO_LEARNING_RATES.get(core, USUAL_RATE)
            often = replace(learner, lr=lr, num_epochs=3, max_grad_norm=1.0)
            return replace(base, learner=often, loss=clipped, iterations=10_000)
        case "paper":
            return published(base)
    return base


def published(base: TrainSettings) -> TrainSettings:
    """Return the published settings, faults included.

    The Warp-RNN of Flennerhag et al. 2020: Adam 1e-3, warp period 30, no clipping, its faults. The
    baselines are those of Miconi et al. 2019: Adam 1e-4 with epsilon 1e-4, clipping at 4, and of
    the faults only the baseline that is maze 0's.
    """
    learner, loss = base.learner, ActorCriticSettings(published_baseline=True)
    if not isinstance(learner, WarpRNNSettings):
        assert isinstance(learner, RL2Settings)
        learner = replace(learner, lr=1e-4, eps=1e-4, decay="constant")
        return replace(base, learner=learner, loss=loss, iterations=200_000)
    learner = replace(
        learner,
        lr=1e-3,
        warp_period=30,
        max_grad_norm=None,
        slow_gradient="sum",
        burn_in=101,
        slow_phase=1,
        decay="constant",
    )
    loss = replace(loss, published_returns=True)
    return replace(base, learner=learner, loss=loss, iterations=60_000, published_faults=True)


def vars_of(settings: Any) -> dict[str, Any]:
    """Return the fields of settings."""
    return {f.name: getattr(settings, f.name) for f in fields(settings)}
