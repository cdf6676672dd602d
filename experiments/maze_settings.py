"""Settings of `experiments.maze`: what can be chosen, and the presets."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any, ClassVar, Literal, get_args

import tyro

from envs.maze.generators import GENERATORS
from envs.problems import PublishedMaze
from metarl.core.settings import Method
from metarl.errors import UserError
from metarl.methods.agents import Encoder, TrialAgent, check_sizes
from metarl.methods.curricula import check_named
from metarl.methods.recurrent import RecurrentLearning
from metarl.methods.rl2 import CoreName, RL2Settings, WarpRNNSettings, paced
from metarl.rl import ActorCriticSettings
from metarl.run import RunSettings, at_least, check_option
from metarl.run.commands import refused
from metarl.run.counts import Held
from metarl.train.curriculum import CURRICULA, Curriculum, DomainRandomisation

from .environments import MINIGRID, ROOM, UED, Grids, Levels, Room, mazes_named

Preset = Literal["default", "ppo", "minibatch", "demo", "paper"]

MAZES = f"{{{ROOM},{','.join(GENERATORS)},{UED}}}|minigrid:ID|FILE"

METHODS: dict[str, type[RL2Settings]] = {"warp-rnn": WarpRNNSettings, "rl2": RL2Settings}
CORES = get_args(CoreName)


@dataclass(frozen=True)
class TrainSettings(RunSettings):
    """Train recurrent agents that learn a new maze within one trial."""

    mazes: Annotated[str, tyro.conf.arg(metavar=MAZES)] = ROOM
    """room: the published maze, the same in every trial; else another maze in every trial, of this
    generator, of an id of Minigrid (minigrid:ID), or of a text file with pictures of mazes; ued:
    the levels of the papers on environment design. It chooses the options of the mazes."""
    method: Annotated[str, tyro.conf.arg(metavar="{warp-rnn,rl2}|" + "|".join(CORES))] = "warp-rnn"
    """warp-rnn: slow recurrent weights, fast heads; rl2: one timescale. The name of a core is short
    for the method that suits it: warp is warp-rnn, gru is rl2 --core gru, and so on."""
    preset: Preset = "default"
    """default: tuned; demo: small random mazes (with --mazes room: a small room), minutes; in the
    room alone ppo: fewer mazes, each learned from three times; minibatch: a tenth of the mazes,
    many small steps on scaled returns; paper: as published, faults included."""
    core: CoreName = "warp"
    """The agent's memory. Default: warp for warp-rnn; for rl2 gru in the room, else lstm. Slow
    weights, which warp-rnn needs, have warp, transformer and linear-attention."""
    hidden_size: int = 100
    """Hidden units."""
    core_sizes: tuple[str, ...] = ()
    """Other sizes of the memory, such as layers=3 heads=8 of a transformer; an unknown one is told
    which there are."""
    encoder: Encoder = "none"
    """What is made of the view before the memory sees it: none; onehot: each of its whole numbers
    as one input per value; conv: a convolution of 3 x 3 cells after that."""
    filters: int = 16
    """Filters of the convolution."""
    iterations: int = 20_000
    """Iterations; in each, an agent plays one trial in every maze of its batch."""
    batch_size: int = 30
    """Mazes per iteration and agent."""
    log_every: int = 20
    """Iterations per line of metrics; each line is their mean."""
    cuda_graph: bool = False
    """Run each rollout with its loss and gradient as one CUDA graph (not yet tried on a GPU).
    A resume goes on as the run did, unless this is given again."""
    trial_episodes: int = 1
    """Episodes of a trial, over which the agent's memory and its discounting run on."""
    trial_steps: int | None = None
    """With --mazes minigrid:ID or ued: steps of a trial in training, whatever episodes go into
    them, one as soon as the other ends. None: it is over with its last episode, and one that ends
    early waits. Measured are the first --trial-episodes episodes."""
    environment: Annotated[Any, tyro.conf.arg(name="")] = field(default_factory=Room)
    """The mazes."""
    loss: ActorCriticSettings = field(default_factory=ActorCriticSettings)
    """The actor-critic."""
    learner: Annotated[Method, tyro.conf.arg(name="")] = field(default_factory=WarpRNNSettings)
    """How the weights step."""
    curriculum: Annotated[str, tyro.conf.arg(metavar="{" + ",".join(CURRICULA) + "}")] = "dr"
    """Which random mazes are trained on: dr: fresh ones, always; plr: those that teach most come
    back; robust-plr: fresh ones are only looked at; accel: what came back is changed a little; sfl:
    those that are sometimes solved."""
    levels: Curriculum = field(default_factory=DomainRandomisation)
    """The curriculum's settings."""
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
        at_least(1, self, "batch_size", "hidden_size", "trial_episodes", "trial_steps")
        check_named(self.curriculum, self.levels)
        check_sizes(self.core, self.core_sizes)
        if self.published_faults and not self.is_room:
            raise UserError(
                f"--published-faults are those of --mazes {ROOM}: drop them, or --mazes "
                f"{self.mazes}"
            )
        if self.is_room and self.trial_episodes > 1:
            raise UserError("--trial-episodes is for random mazes: a trial in the room is one")
        if self.trial_steps is not None and not isinstance(self.environment, Grids | Levels):
            raise UserError(
                "--trial-steps is for grids of Minigrid and levels, whose episodes end early; a "
                f"trial in --mazes {self.mazes} has --horizon steps for each of its episodes"
            )
        levels = isinstance(self.environment, Levels)
        named = UED if levels else getattr(self.environment, "mazes", ROOM)
        if not self.is_room and self.mazes != named:
            raise UserError(f"--mazes {self.mazes}, but the mazes are those of {named}")

    @property
    def is_room(self) -> bool:
        """Whether the maze is the published one."""
        return self.mazes == ROOM

    def learning(self, maze: Any) -> RecurrentLearning:
        """Return what is learned in mazes."""
        assert isinstance(self.learner, RL2Settings)
        return RecurrentLearning(
            maze if self.trial_steps is None else maze.in_own_time(),
            self.learner,
            TrialAgent(
                core=self.core,
                hidden_size=self.hidden_size,
                core_sizes=self.core_sizes,
                encoder=self.encoder,
                filters=self.filters,
                published_split=self.published_faults,
                loss=self.loss,
            ),
            self.trial_episodes,
            self.trial_steps,
            published_inputs=self.is_room,
            first_action_zero_is_set=self.published_faults,
            streams=("init", "policy", "environment"),
            actions="policy",
            environments="environment",
            curriculum=self.levels,
            cuda_graph=self.cuda_graph,
        )

    def trained(self) -> RecurrentLearning:
        """Return what is learned in training.

        The published fault of the maze, teleports into pillars, is for training alone: every agent
        is measured in the same maze.

        Raises:
            UserError: There are no mazes to train on, or none to test on.
        """
        try:
            self.environment.check_sides()
        except ValueError as error:
            raise refused(error) from error
        if self.published_faults:
            maze = self.environment
            return self.learning(
                PublishedMaze(**{f.name: getattr(maze, f.name) for f in fields(maze)})
            )
        return self.learning(self.environment)


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


def agent_named(
    method: str | None, core: str | None, usual: str, rl2_core: CoreName = RL2Settings.core
) -> tuple[str, CoreName]:
    """Return the method that options name, and its core.

    Args:
        method: Name of a method or a core, if any was given.
        core: Name of a core, if any was given.
        usual: The method where none was given.
        rl2_core: The usual core of rl2.

    Raises:
        UserError: There is none of that name, or they name two cores.
    """
    name, found = method_and_core(usual if method is None else method)
    if core is None:
        return name, rl2_core if method in (None, name) and name == "rl2" else found
    check_option("--core", core, CORES)
    if method in CORES and core != method:
        raise UserError(
            f"--method {method} is short for --core {method}: drop it, or --core {core}"
        )
    chosen: Any = core
    return name, chosen


USUAL_RATE = 3e-3
"""Learning rate of cores for which no other has been found."""

LEARNING_RATES = {"rnn": 1e-3, "lstm": 6e-3, "plastic": 1e-3, "modulated": 1e-3}
"""Learning rates: of lstm and rnn, and the usual one of warp, chosen by trial, see benchmarks/maze;
of the others by analogy."""

PPO_LEARNING_RATES = {**LEARNING_RATES, "warp": 2e-3, "lstm": 3e-3}
"""Learning rates with PPO: of warp and lstm chosen by trial, see benchmarks/maze; the others take
theirs of A2C."""


MAZE_RATE = 2e-3
"""Learning rate in random mazes, falling to 0; see benchmarks/mazes."""


def defaults(
    preset: Preset = "default",
    method: str | None = None,
    core: CoreName | None = None,
    mazes: str | None = None,
    size: str | None = None,
    curriculum: str | None = None,
) -> TrainSettings:
    """Return the settings of a preset, with each core's own learning rate.

    Args:
        preset: Its name.
        method: Name of a method or a core; None: warp-rnn in the room, else rl2.
        core: The memory; None: the one that suits the method.
        mazes: What the mazes are; None: the room, in the demo depth-first mazes.
        size: Of random mazes, which chooses their horizon.
        curriculum: Name of what chooses the mazes; None: dr.

    Raises:
        UserError: There is no such preset, method, core or curriculum, or it is not for these
            mazes.
    """
    named = "dr" if curriculum is None else curriculum
    check_option("--curriculum", named, CURRICULA)
    base = preset_defaults(preset, method, core, mazes, size)
    return replace(base, curriculum=named, levels=CURRICULA[named]())


def preset_defaults(
    preset: Preset,
    method: str | None,
    core: CoreName | None,
    mazes: str | None,
    size: str | None,
) -> TrainSettings:
    """Return the settings of a preset, but for the curriculum; see `defaults`."""
    check_option("--preset", preset, get_args(Preset))
    if mazes is None:
        mazes = "dfs" if preset == "demo" else ROOM
    if mazes != ROOM:
        return random_mazes(preset, method, core, mazes, size)
    name, core = agent_named(method, core, "warp-rnn")
    learner: RL2Settings = paced(
        core,
        METHODS[name](
            lr=LEARNING_RATES.get(core, USUAL_RATE), max_grad_norm=4.0, num_epochs=1, decay="linear"
        ),
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
            often = paced(core, often)
            return replace(base, learner=often, loss=clipped, iterations=10_000)
        case "minibatch":  # a tenth of the mazes
            steps = replace(learner, lr=MAZE_RATE, num_epochs=4, minibatch_trials=8)
            steps = paced(core, replace(steps, max_grad_norm=0.5), batch_size=64)
            loss = scaled_loss(gamma=0.95)
            return replace(base, learner=steps, loss=loss, batch_size=64, iterations=900)
        case "paper":
            return published(base)
    return base


def scaled_loss(gamma: float) -> ActorCriticSettings:
    """Return the loss of many small steps, on advantages of deviation 1 and returns of about 1.

    Args:
        gamma: Discount.
    """
    return ActorCriticSettings(
        algorithm="ppo",
        gamma=gamma,
        gae_lambda=0.95,
        value_coef=0.5,
        entropy="shannon",
        entropy_coef=0.02,
        entropy_decay="linear",
        normalise_advantages=True,
        reward_scale=0.1,
    )


def random_mazes(
    preset: Preset, method: str | None, core: CoreName | None, mazes: str, size: str | None
) -> TrainSettings:
    """Return what learns another maze in every trial: many small steps on scaled returns.

    Minibatches of whole trials, advantages of deviation 1 (beside which the entropy term is small)
    and returns of the order of 1 matter most; see benchmarks/mazes.

    Raises:
        UserError: The preset is of the published maze, or a name is none.
    """
    if preset in ("paper", "ppo", "minibatch"):
        raise UserError(
            f"--preset {preset} is for the published maze; with --mazes {mazes} leave it out, or "
            "take --preset demo"
        )
    name, core = agent_named(method, core, "rl2", rl2_core="lstm")
    demo = preset == "demo"
    learner = paced(
        core,
        METHODS[name](
            lr=MAZE_RATE, max_grad_norm=0.5, num_epochs=2, minibatch_trials=16, decay="linear"
        ),
        batch_size=256,
    )
    try:
        return TrainSettings(
            mazes=mazes,
            method=name,
            preset=preset,
            core=core,
            hidden_size=128,
            iterations=300 if demo else 600,
            batch_size=256,
            log_every=5,
            checkpoint_every=50,
            trial_episodes=2 if mazes.startswith(MINIGRID) else 1,
            trial_steps=256 if mazes == UED else None,
            environment=mazes_named(mazes, size or ("9" if demo else None)),
            loss=(
                scaled_loss(gamma=0.97)
                if mazes != UED
                else replace(scaled_loss(gamma=0.99), entropy_coef=0.01)
            ),
            learner=learner,
        )
    except ValueError as error:
        raise refused(error) from error


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
