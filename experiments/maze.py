"""The maze, end to end: ``python -m experiments.maze train|evaluate|render|export``.

Recurrent agents that learn a new maze within one trial: the two-timescale Warp-RNN of Flennerhag et
al. 2020, and baselines with one timescale, in the maze of Miconi et al. 2019.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

import numpy as np
import tyro
from gymnasium.spaces import Discrete, Space

from envs import GridMazeVectorEnv, maze_tasks
from envs.maze import anchors as oracle
from envs.maze.dynamics import NUM_ACTIONS, TeleportMode
from envs.maze.generators import GENERATORS, make_layout
from envs.maze.views import view_space
from envs.problems import BuiltIn, Family
from experiments.maze_pictures import MazePictures
from metarl.core.cuda_graph import require_cuda
from metarl.core.settings import Method
from metarl.devices import resolve_device
from metarl.errors import UserError
from metarl.methods.agents import TrialAgent
from metarl.methods.loading import describe_spaces
from metarl.methods.recurrent import RecurrentLearning
from metarl.methods.rl2 import CoreName, RL2Settings, WarpRNNSettings
from metarl.plots.references import REFERENCES, explained
from metarl.rl import ActorCriticSettings, Anchors
from metarl.run import Command, Recipe, RunSettings, Training, at_least, check_option, main, one_of
from metarl.run.command_line import parse
from metarl.run.counts import Held

Preset = Literal["default", "ppo", "demo", "paper"]
METHODS: dict[str, type[RL2Settings]] = {"warp-rnn": WarpRNNSettings, "rl2": RL2Settings}
CORES = get_args(CoreName)
QUICK_SIZE = 13
"""Up to it the reference returns take seconds; beyond, up to minutes."""


@dataclass(frozen=True)
class HiddenGoals(MazePictures, BuiltIn):
    """The published maze: a hidden goal that teleports, and an agent that sees 3 x 3 cells.

    Attributes:
        size: Rows and columns of the maze; of pillars odd, at least 5.
        horizon: Steps of a trial.
        reward: What entering the hidden goal pays.
        wall_penalty: What bumping into a wall costs.
        goals: all: train and test on every goal, as the paper; split: test on held-out goals.
        maze: Generator of the maze (`envs.maze.generators`).
    """

    name: ClassVar[str] = "maze"
    observation: ClassVar[Space[Any]] = view_space("walls")
    actions: ClassVar[Space[Any]] = Discrete(NUM_ACTIONS)
    teleport: ClassVar[TeleportMode] = "free"

    size: int = 13
    horizon: int = 200
    reward: float = 10.0
    wall_penalty: float = 0.0
    goals: Literal["all", "split"] = "all"
    maze: Annotated[str, one_of(GENERATORS)] = "pillars"

    def __post_init__(self) -> None:
        super().__post_init__()
        make_layout(self.maze, self.size)
        if not (np.isfinite(self.reward) and self.reward > 0):
            raise UserError(f"--reward must be above 0, got {self.reward}")
        if not (np.isfinite(self.wall_penalty) and self.wall_penalty >= 0):
            raise UserError(f"--wall-penalty is taken off: at least 0, got {self.wall_penalty}")

    @cached_property
    def splits(self) -> Any:
        """Goals to train on and to test on; the same ones if all are."""
        every = maze_tasks(make_layout(self.maze, self.size))
        if self.goals == "all":
            return Family(every)
        return every.split(train=0.8, validation=0.0, test=0.2)

    @property
    def vector_env(self) -> Any:
        """Mazes."""
        return partial(
            GridMazeVectorEnv,
            layout=make_layout(self.maze, self.size),
            reward=self.reward,
            wall_penalty=self.wall_penalty,
            teleport=self.teleport,
        )

    def anchors(self, tasks: Sequence[Any]) -> Anchors:
        """Returns of random actions, and of who knows the goal."""
        trial: Any = {"horizon": self.horizon, "reward": self.reward}
        return Anchors(oracle.random_return(tasks, **trial), oracle.oracle_return(tasks, **trial))


@dataclass(frozen=True)
class PublishedMaze(HiddenGoals):
    """The maze with the published code's fault: teleports may lead into pillars."""

    teleport: ClassVar[TeleportMode] = "interior"


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


@dataclass(frozen=True)
class MazeReferences:
    """Random actions, explorers and the oracle (`metarl.run.trials.References`).

    Attributes:
        maze: Says horizon and reward.
        tasks: Goals.
    """

    maze: HiddenGoals
    tasks: Any

    @cached_property
    def returns(self) -> oracle.ReferenceReturns:
        """Expected returns of a trial."""
        return oracle.reference_returns(self.tasks, **self._trial)

    def figures(self, mean_return: float) -> dict[str, float | None]:
        """Entries of a summary."""
        score = oracle.normalised_score(mean_return, self.tasks, **self._trial)
        known = {f"{name}_return": value for name, value in asdict(self.returns).items()}
        return {"normalised_score": score, **known}

    def beside(self, summary: Mapping[str, Any]) -> str:
        """The returns in words."""
        return "; ".join(f"{words} {summary[f'{n}_return']:.1f}" for n, words in REFERENCES.items())

    def curves(self) -> dict[str, Any]:
        """Expected rewards ``[T, 1]`` of the explorers and of random actions, by name."""
        curves = oracle.reference_curves(self.tasks, **self._trial)
        return {
            REFERENCES[name]: getattr(curves, name)[:, None]
            for name in ("ceiling", "localising", "random")
        }

    @property
    def note(self) -> str:
        """Words for what stands behind the curves."""
        return explained(n for n in REFERENCES if n != "oracle")

    @property
    def _trial(self) -> dict[str, Any]:
        return {"horizon": self.maze.horizon, "reward": self.maze.reward}


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


def prepare(settings: TrainSettings) -> Training:
    """Make everything once, and return the training."""
    if settings.cuda_graph:
        require_cuda(resolve_device(settings.device))
    what = settings.trained()
    if settings.resume is None:  # a run of an earlier version may be more than there is now
        what.check(settings.device, settings.batch_size)
    return lambda runs, resume_to: what.train(
        runs,
        settings.loop,
        settings.batch_size,
        settings.device,
        resume_to=resume_to,
        cuda_graph=settings.cuda_graph,
    )


def place(settings: TrainSettings) -> Path:
    """Return a name that says what a run is, under ``runs/``."""
    return Path("runs") / f"maze{settings.environment.size}-{settings.core}-{settings.preset}"


def beside(settings: TrainSettings) -> dict[str, Any]:
    """Return what random actions, the explorers and the oracle earn on the training's goals."""
    maze = settings.environment
    if maze.size > QUICK_SIZE:
        size = f"{maze.size} x {maze.size}"
        print(f"planning the best walks of a {size} maze, to compare with", file=sys.stderr)
    known = asdict(MazeReferences(maze, maze.train).returns)
    return {"anchors": known, "spaces": describe_spaces(maze)}


def vars_of(settings: Any) -> dict[str, Any]:
    """Return the fields of settings."""
    return {f.name: getattr(settings, f.name) for f in fields(settings)}


def _evaluate(prog: str, arguments: Sequence[str]) -> None:
    from metarl.run.trials import EvaluateSettings, evaluate

    evaluate(parse(EvaluateSettings, prog, arguments), RECIPE.settings_of)


def _render(prog: str, arguments: Sequence[str]) -> None:
    from metarl.run.trials import RenderSettings, render

    render(parse(RenderSettings, prog, arguments), RECIPE.settings_of)


def _export(prog: str, arguments: Sequence[str]) -> None:
    from metarl.run.export import ExportSettings, export

    export(parse(ExportSettings, prog, arguments))


RECIPE = Recipe(
    name="experiments.maze",
    defaults=defaults,
    prepare=prepare,
    place=place,
    methods=METHODS,
    picks=("preset", "method", "core"),
    commands={  # what they import, training has no use for: the drawing libraries
        "evaluate": Command(
            "measure a trained agent on fresh trials, or on held-out goals", _evaluate
        ),
        "render": Command("draw or film a trial", _render),
        "export": Command("copy a run without what only its resume needs", _export),
    },
    train="train agents into a run directory",
    may_move=("cuda_graph",),
    beside=beside,
)

if __name__ == "__main__":
    main(RECIPE)
