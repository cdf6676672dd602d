"""Settings of the maze experiment: what `--help` explains, and what `config.json` keeps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

import tyro

from experiments import stored_settings
from metarl.core import OptimiserSettings, Schedule
from metarl.errors import UserError
from metarl.meta import TwoTimescaleSettings
from metarl.rl import ActorCriticSettings
from metarl.run.counts import Held

Method = Literal["warp", "rnn", "gru", "lstm", "plastic", "modulated"]
Preset = Literal["default", "ppo", "demo", "paper"]


@dataclass(frozen=True)
class TrainSettings:
    """Train recurrent agents that learn a new maze within one trial."""

    run_dir: Path | None = None
    """Where the run goes; several seeds get a folder seed-N each. Default: under runs/."""
    method: Method = "warp"
    """The agent's memory: the two-timescale Warp-RNN, or a baseline with one timescale."""
    preset: Preset = "default"
    """default: tuned; ppo: fewer mazes, each learned from three times; demo: small mazes, minutes;
    paper: as published, faults included."""
    size: int = 13
    """Rows and columns of the maze, odd, at least 5."""
    horizon: int = 200
    """Steps of a trial."""
    reward: float = 10.0
    """What entering the hidden goal pays."""
    wall_penalty: float = 0.0
    """What bumping into a wall costs."""
    goals: Literal["all", "split"] = "all"
    """all: train and test on every goal, as the paper; split: test on held-out goals."""
    iterations: int = 20_000
    """Iterations; in each, an agent plays one trial in every maze of its batch."""
    batch_size: int = 30
    """Mazes an iteration and agent."""
    hidden_size: int = 100
    """Hidden units."""
    seeds: tuple[int, ...] = (0,)
    """One agent a seed; several train side by side as one tensor program."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    cuda_graph: bool = False
    """Run each rollout with its loss and gradient as one CUDA graph (not yet tried on a GPU).
    A resume needs it given again."""
    log_every: int = 20
    """Iterations a line of metrics; each line is their mean."""
    checkpoint_every: int = 500
    """Iterations between checkpoints."""
    learner: TwoTimescaleSettings = field(default_factory=TwoTimescaleSettings)
    """The two timescales. Without slow weights (rnn, lstm, ...) only the fast side counts."""
    loss: ActorCriticSettings = field(default_factory=ActorCriticSettings)
    """The actor-critic."""
    schedule: Schedule = field(default_factory=Schedule)
    """Of the learning rates."""
    published_faults: bool = False
    """The published code's faults of maze and network (those of its loss are under loss)."""
    resume: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None
    """Continue this run; its settings come from its config.json.
    --iterations M: to M in all; a learning rate that changes does so as in a run of M."""

    HELD: ClassVar[Held] = (
        (40, "batch_size", "horizon"),  # what an agent sees: ten numbers at least
        (4, "batch_size", "horizon", "hidden_size"),
        (16, "hidden_size", "hidden_size"),  # weights, gradients, moments
        (2, "size", "size", "size", "size"),  # a number for every goal and every place
    )

    def __post_init__(self) -> None:
        """Refuse, before any work starts, what cannot be trained."""
        for name in ("iterations", "batch_size", "hidden_size", "horizon", "log_every"):
            if getattr(self, name) < 1:
                raise UserError(f"--{_flag(name)} must be at least 1, got {getattr(self, name)}")
        if self.checkpoint_every < 1:
            raise UserError(f"--checkpoint-every must be at least 1, got {self.checkpoint_every}")
        if self.size < 5 or self.size % 2 == 0:
            raise UserError(f"--size must be odd and at least 5, got {self.size}")
        if not (math.isfinite(self.reward) and self.reward > 0):
            raise UserError(f"--reward must be above 0, got {self.reward}")
        if not (math.isfinite(self.wall_penalty) and self.wall_penalty >= 0):
            raise UserError(f"--wall-penalty is taken off: at least 0, got {self.wall_penalty}")
        if not self.seeds or min(self.seeds) < 0 or len(set(self.seeds)) < len(self.seeds):
            raise UserError(f"--seeds must be different and not negative, got {self.seeds}")


def defaults(preset: Preset = "default", method: Method = "warp") -> TrainSettings:
    """The settings of a preset, with each method's own learning rate."""
    if preset not in get_args(Preset):
        raise UserError(f"--preset {preset!r} is not one of {', '.join(get_args(Preset))}")
    if method not in get_args(Method):
        raise UserError(f"--method {method!r} is not one of {', '.join(get_args(Method))}")
    settings = replace(TrainSettings(), preset=preset, method=method)
    if preset == "paper":
        return _paper(settings)
    lr = LEARNING_RATES[method]
    adam = OptimiserSettings(lr=lr)
    learner = TwoTimescaleSettings(fast=adam, slow=adam, warp_period=3)
    settings = replace(settings, learner=learner, schedule=Schedule("linear"))
    match preset:
        case "demo":
            return _demo(settings)
        case "ppo":
            return _ppo(settings)
    return settings


LEARNING_RATES: dict[str, float] = {
    "warp": 3e-3,
    "rnn": 1e-3,
    "gru": 3e-3,
    "lstm": 6e-3,
    "plastic": 1e-3,
    "modulated": 1e-3,
}
"""Of warp, lstm and rnn chosen by trial, see benchmarks/maze; of the others by analogy."""


PPO_LEARNING_RATES: dict[str, float] = {"warp": 2e-3, "gru": 3e-3, "lstm": 3e-3}
"""Of warp and lstm chosen by trial, see benchmarks/maze; the others take theirs of A2C."""


def _ppo(settings: TrainSettings) -> TrainSettings:
    """Half the mazes of the default, about the same time: the clipped surrogate, three epochs."""
    adam = replace(
        settings.learner.fast, lr=PPO_LEARNING_RATES.get(settings.method, settings.learner.fast.lr)
    )
    learner = replace(settings.learner, fast=adam, slow=adam, num_epochs=3, max_grad_norm=1.0)
    loss = ActorCriticSettings(algorithm="ppo", gae_lambda=0.95)
    return replace(settings, learner=learner, loss=loss, iterations=10_000)


def _paper(settings: TrainSettings) -> TrainSettings:
    """The published settings, faults included.

    The Warp-RNN of Flennerhag et al. 2020: Adam 1e-3, warp period 30, no clipping, its faults. The
    baselines are those of Miconi et al. 2019: Adam 1e-4 with epsilon 1e-4, clipping at 4, and of
    the faults only the baseline that is maze 0's.
    """
    if settings.method != "warp":
        adam = OptimiserSettings(lr=1e-4, eps=1e-4)
        learner = TwoTimescaleSettings(fast=adam, slow=adam, max_grad_norm=4.0)
        loss = ActorCriticSettings(published_baseline=True)
        return replace(settings, learner=learner, loss=loss, iterations=200_000)
    adam = OptimiserSettings(lr=1e-3)
    learner = TwoTimescaleSettings(
        fast=adam,
        slow=adam,
        warp_period=30,
        max_grad_norm=None,
        slow_gradient="sum",
        burn_in=101,
        slow_phase=1,
    )
    loss = ActorCriticSettings(published_returns=True, published_baseline=True)
    return replace(settings, learner=learner, loss=loss, iterations=60_000, published_faults=True)


def _demo(settings: TrainSettings) -> TrainSettings:
    """A few minutes on two cores: small mazes."""
    return replace(settings, size=9, iterations=1000, batch_size=60, checkpoint_every=100)


def from_config(config: Mapping[str, Any]) -> TrainSettings:
    """The settings that a run's `config.json` keeps.

    Raises:
        RunDirectoryError: It is another script's run, or another version's.
    """
    return stored_settings.from_config(
        TrainSettings,
        config,
        required=("method", "size", "hidden_size", "horizon"),
        what="a maze run",
    )


def _flag(name: str) -> str:
    return name.replace("_", "-")
