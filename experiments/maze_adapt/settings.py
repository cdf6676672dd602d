"""Settings of adaptation: what `--help` explains, what `config.json` keeps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

import tyro

from envs.maze.settings import GoalRule, Start
from experiments import stored_settings
from experiments.learners import ImplicitSettings, InnerSettings, own_of_learner
from experiments.maze_adapt.cores import CoreName, check_core, check_shape
from experiments.maze_adapt.learners import (
    STEPS_ITSELF,
    InnerAndOuter,
    PolicyLearnerSettings,
    check,
    own_settings,
)
from experiments.maze_adapt.methods import METHODS, METHODS_OF, KindName, Method, kind_name
from experiments.maze_adapt.ppo_settings import PPOSettings
from experiments.maze_adapt.recurrent_settings import RecurrentSettings, recurrent_defaults
from experiments.maze_adapt.worlds import SALT, EnvName, World, make_world
from metarl.core import OptimiserSettings, OuterSettings, Schedule
from metarl.errors import UserError
from metarl.foreign_bytes import understood
from metarl.rl import PolicyGradientSettings
from metarl.run.counts import Held

ENVS: tuple[EnvName, ...] = get_args(EnvName)

HORIZONS: dict[EnvName, int] = {"point": 100, "maze": 50, "gridnavi": 15, "bandit": 10, "mdp": 10}
"""Usual steps of an episode, for every kind of method."""

ONLY_FOR: dict[str, tuple[KindName, ...]] = {
    **dict.fromkeys(("episodes", "hidden", "activation"), ("gradient", "mixture")),
    **dict.fromkeys(("loss", "learner", "of_policies", "core", "core_size"), ("gradient",)),
    **dict.fromkeys(("trial_episodes", "recurrent"), ("recurrent",)),
    "ppo": ("mixture",),
}
"""Settings that not every kind of method reads (`kinds`); the others leave them as they are."""


@dataclass(frozen=True)
class TrainSettings:
    """Meta-train an agent that adapts to a new task, by gradient steps or through its memory."""

    run_dir: Path | None = None
    """Where the run goes; several seeds get a folder seed-N each. Default: under runs/."""
    env: EnvName = "point"
    """point: MAML's 2D navigation; maze: a hidden goal in a grid maze; gridnavi: VariBAD's grid;
    bandit: Bernoulli arms; mdp: random decision processes."""
    method: Method = "maml"
    """How to adapt. By policy gradient steps:
      maml: from a learned initialisation, to second order.
      fomaml: maml without second derivatives.
      anil: maml that adapts the last layer alone.
      metasgd: maml with a learned step size a weight.
      reptile: an initialisation drawn to adapted weights.
      imaml: implicit gradients of a proximal problem.
      emaml: maml with credit for exploring.
      promp: maml by several clipped steps a meta-batch.
      trpo-maml: maml within a trust region.
      warp: through learned layers that stand still.
      none: no meta-training.
    Through the hidden state, within a trial:
      rl2: a GRU, or --recurrent.core.
      warp-rnn: a network with fast and slow weights.
    By fine-tuning:
      ppo: PPO, trained on all tasks as if they were one.
    """
    iterations: int = 500
    """Iterations; in each, the learner adapts to one meta-batch of tasks."""
    meta_batch: int = 20
    """Tasks an iteration; a trial on each (rl2, warp-rnn)."""
    episodes: int = 20
    """Episodes a task and gradient step, and as many to be judged by."""
    trial_episodes: int = 4
    """Episodes of a trial, over which memory and discounting run on (rl2, warp-rnn)."""
    horizon: int = 100
    """Steps of an episode, at most."""
    size: int = 9
    """Rows and columns of the maze, odd, at least 5; 5 to 13 have been checked (maze)."""
    start: Start = "centre"
    """Episodes start at the maze's centre, or each at a random free cell (maze)."""
    goal: GoalRule = "teleports"
    """The goal pays 1 each time and sends the agent elsewhere, or ends the episode (maze)."""
    arms: int = 5
    """Arms of the bandit (bandit)."""
    salt: str = SALT
    """Another one deals the tasks out differently to the sides to train on, to choose settings by
    and to test on (maze, point, gridnavi)."""
    core: CoreName = "none"
    """The policy remembers what it saw in the episode: a recurrent network, whose weights adapt
    (those of warp's LSTM stand still where --method is warp); none: a perceptron."""
    core_size: int = 64
    """Hidden units of the core."""
    hidden: tuple[int, ...] = (64, 64)
    """Units of each hidden layer of a perceptron."""
    activation: Literal["relu", "tanh"] = "tanh"
    """Between the layers."""
    initial_std: float = 1.0
    """Deviation of a Gaussian policy to begin with; 1 is the longest step (point)."""
    seeds: tuple[int, ...] = (0,)
    """One learner a seed, trained one after the other; rl2 and warp-rnn side by side."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    log_every: int = 10
    """Iterations a line of metrics; each line is their mean."""
    checkpoint_every: int = 50
    """Iterations between checkpoints."""
    loss: PolicyGradientSettings = field(default_factory=PolicyGradientSettings)
    """Of the episodes, in adaptation and after it. With lvc and normalised advantages (the usual
    ones) support_loss and query_loss are 0 but for rounding: the returns tell progress."""
    learner: InnerAndOuter = field(default_factory=InnerAndOuter)
    """Inner and outer loop; the defaults are the method's own."""
    of_policies: PolicyLearnerSettings = field(default_factory=PolicyLearnerSettings)
    """What some learners have beside."""
    recurrent: RecurrentSettings = field(default_factory=RecurrentSettings)
    """Network, loss and optimiser of rl2 and warp-rnn."""
    ppo: PPOSettings = field(default_factory=PPOSettings)
    """Of ppo, which learns the mixture of tasks and is fine-tuned to each."""
    resume: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None
    """Continue this run; its settings come from its config.json.
    --iterations M: to M in all; a learning rate that changes does so as in a run of M."""

    HELD: ClassVar[Held] = (
        (4, "meta_batch", "episodes", "horizon"),
        (4, "meta_batch", "trial_episodes", "horizon"),
        (4, "meta_batch", "learner.inner.num_steps"),
        (4, "meta_batch", "arms"),
        (64, "hidden"),  # weights, gradients, moments, two numbers in and one out
        (16, "core_size", "core_size"),
        (16, "recurrent.hidden_size", "recurrent.hidden_size"),
        (2, "size", "size", "size", "size"),  # a number for every goal and every place
    )

    def __post_init__(self) -> None:
        """Refuse, before any work starts, what cannot be trained."""
        counts = ("iterations", "meta_batch", "episodes", "horizon", "log_every")
        for name in (*counts, "trial_episodes", "checkpoint_every", "core_size"):
            if getattr(self, name) < 1:
                option = name.replace("_", "-")
                raise UserError(f"--{option} must be at least 1, got {getattr(self, name)}")
        if self.arms < 2:
            raise UserError(f"--arms must be at least 2, got {self.arms}: one arm is no choice")
        if self.size < 5 or self.size % 2 == 0:
            raise UserError(f"--size must be odd and at least 5, got {self.size}")
        if not self.hidden or min(self.hidden) < 1:
            raise UserError(f"--hidden must be positive counts, at least one, got {self.hidden}")
        if not (math.isfinite(self.initial_std) and self.initial_std >= 1e-3):
            raise UserError(f"--initial-std must be at least 0.001, got {self.initial_std}")
        if not self.seeds or min(self.seeds) < 0 or len(set(self.seeds)) < len(self.seeds):
            raise UserError(f"--seeds must be different and not negative, got {self.seeds}")
        mazes = [(name, "maze") for name in ("size", "start", "goal")]
        for name, env in (*mazes, ("arms", "bandit"), ("initial_std", "point")):
            if self.env != env and self._changed(name):
                option = name.replace("_", "-")
                raise UserError(f"--{option} is for --env {env}; {self.env} has none")
        kind = kind_name(self.method)
        for name, kinds in ONLY_FOR.items():
            if kind not in kinds and self._changed(name):
                methods = ", ".join(m for owner in kinds for m in METHODS_OF[owner])
                option = name.replace("_", "-")
                raise UserError(f"--{option} is for {methods}; {self.method} has none")
        if kind == "gradient":
            check(self.method, self.learner, self.of_policies)
            check_core(self.core, self.method)
            check_shape(self.core, self._changed)

    def _changed(self, name: str) -> bool:
        """Whether a setting is not the one that every environment and method begins with."""
        one = self.__dataclass_fields__[name]
        usual = one.default if one.default_factory is MISSING else one.default_factory()
        return bool(getattr(self, name) != usual)

    def world(self) -> World:
        """The distribution of tasks."""
        return make_world(
            self.env,
            horizon=self.horizon,
            size=self.size,
            num_arms=self.arms,
            std=self.initial_std,
            start=self.start,
            goal=self.goal,
            salt=self.salt,
        )


def defaults(env: EnvName = "point", method: Method = "maml") -> TrainSettings:
    """The settings of an environment, with what the method needs otherwise."""
    match kind_name(method):
        case "gradient":
            changes = gradient_defaults(env, method)
        case "recurrent":
            changes = recurrent_defaults(env, method)
        case "mixture":
            changes = mixture_defaults(env)
    horizon = HORIZONS[env]
    return replace(TrainSettings(), env=env, method=method, horizon=horizon, **changes)


START_ENTROPY = 1.0
"""In a maze, whose goal must be found before anything can be learned from it."""


def gradient_defaults(env: EnvName, method: Method) -> dict[str, Any]:
    """One long step in the plane, where the way to a goal is straight; elsewhere three.

    In a maze what was done ten steps before a goal is little credited: the goal's is the only
    reward, and pays again and again.
    """
    loss = PolicyGradientSettings(divide_by_horizon=True)
    if env == "point":
        learner = _learner(method, 0.5, num_steps=1, later=0.5)
        return {"iterations": 600, "loss": loss, "learner": learner}
    if env == "maze":
        coef = 0.0 if method == "trpo-maml" else START_ENTROPY
        loss = replace(loss, gamma=0.9, start_entropy_coef=coef)
    return {"loss": loss, "learner": _learner(method, 0.5, num_steps=3)}


def mixture_defaults(env: EnvName) -> dict[str, Any]:
    """A Gaussian policy does not need the entropy that keeps a discrete one from settling.

    It would only widen.
    """
    return {"ppo": PPOSettings(entropy_coef=0.0)} if env == "point" else {}


IMPLICIT = ImplicitSettings(strength=0.5)
"""Weak enough that a step of 0.5 does not undo the one before, as it would at strength 2."""


def _learner(
    method: Method, inner_lr: float, *, num_steps: int, later: float = 1.0
) -> InnerAndOuter:
    """The learner's settings: Adam, whose 3e-3 falls to 0, unless the method has its own way.

    An inner step of 0.5 on the mean over time (hence ``divide_by_horizon``) is that of Finn et al.
    2017; learners that go far, or follow the path of adaptation, take three.
    """
    inner = InnerSettings(lr=inner_lr, num_steps=num_steps, later=later)
    outer, schedule = OuterSettings(OptimiserSettings(lr=3e-3)), Schedule("cosine")
    match method:
        case "metasgd":
            inner = replace(inner, learned="element")
        case "reptile" | "imaml" | "warp":
            inner = replace(inner, num_steps=max(num_steps, 3))
        case "trpo-maml":
            outer, schedule = STEPS_ITSELF, Schedule()
    implicit = IMPLICIT if method == "imaml" else ImplicitSettings()
    return InnerAndOuter(inner=inner, outer=outer, schedule=schedule, implicit=implicit)


def from_config(config: Mapping[str, Any]) -> TrainSettings:
    """The settings that a run's `config.json` keeps.

    Raises:
        RunDirectoryError: It is another script's run, or another version's.
    """
    required: tuple[str, ...] = (
        "env",
        "method",
        "meta_batch",
        "episodes",
        "learner",
        "of_policies",
        "salt",
    )
    if config.get("method") in METHODS and all(name in config for name in required):
        # What the method does not read was left at its default, which may be another by now.
        kind = kind_name(config["method"])
        config = {n: v for n, v in config.items() if kind in ONLY_FOR.get(n, (kind,))}
        if "of_policies" in config:
            with understood("config.json", "has no settings of learners of policies", "restore it"):
                own = own_settings(config["method"], config["of_policies"])
            config = {**config, "of_policies": own}
        required = tuple(name for name in required if name in config)
    return stored_settings.from_config(
        TrainSettings, own_of_learner(config), required=required, what="a run of maze_adapt"
    )
