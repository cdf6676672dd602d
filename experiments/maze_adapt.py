"""Adaptation to new tasks: ``python -m experiments.maze_adapt train|evaluate|compare|render``.

Any method (`metarl.methods`) learns any environment (`experiments.environments`), or anybody's:
``--env module:factory`` takes a problem (`metarl.rl.Problem`) or Gymnasium environments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from envs.problems import Point
from experiments.environments import ENVIRONMENTS, environment_named, problem_named
from metarl.compare.plan import Comparable, options_of
from metarl.compare.settings import EvaluationSettings
from metarl.compare.work import Job, Script
from metarl.core.settings import Method
from metarl.meta.maml import MAMLSettings
from metarl.meta.method import GradientMethod
from metarl.methods import method_named, methods_for
from metarl.methods.agents import AdaptingPolicy, Agent, TrialsAgent
from metarl.methods.learning import Learning, agent_for, learning
from metarl.methods.loading import describe_spaces
from metarl.methods.ppo import PPOSettings
from metarl.methods.rl2 import RL2Settings
from metarl.rl import PolicyGradientSettings
from metarl.run import Command, Recipe, RunSettings, Training, at_least, main, one_of, train
from metarl.run.command_line import parse
from metarl.run.counts import Held
from metarl.runs.config import today

METHODS = methods_for("policy")
START_ENTROPY = 1.0
"""In a maze, whose goal must be found before anything can be learned from it."""


@dataclass(frozen=True)
class TrainSettings(RunSettings):
    """Meta-train an agent that adapts to a new task, by gradient steps or through its memory."""

    env: Annotated[
        str, tyro.conf.arg(metavar="{" + ",".join(ENVIRONMENTS) + "}|MODULE:FACTORY")
    ] = "point"
    """point: MAML's 2D navigation; maze: a hidden goal in a grid maze; gridnavi: VariBAD's grid;
    bandit: Bernoulli arms; mdp: random decision processes; module:factory: anybody's problem, or
    Gymnasium environments. It chooses options too."""
    method: Annotated[str, one_of(METHODS)] = "maml"
    """How to adapt; it chooses the options of the agent and of learning."""
    iterations: int = 500
    """Iterations; in each, the learner adapts to one meta-batch of tasks."""
    meta_batch: int = 20
    """Tasks per iteration; a trial on each (rl2, warp-rnn)."""
    log_every: int = 10
    """Iterations per line of metrics; each line is their mean."""
    checkpoint_every: int = 50
    """Iterations between checkpoints."""
    environment: Annotated[Any, tyro.conf.arg(name="")] = field(default_factory=Point)
    """The tasks."""
    agent: Annotated[Agent, tyro.conf.arg(name="")] = field(default_factory=AdaptingPolicy)
    """Who learns."""
    learner: Annotated[Method, tyro.conf.arg(name="")] = field(default_factory=MAMLSettings)
    """How."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, self, "meta_batch")

    @property
    def HELD(self) -> Held:  # noqa: N802
        """Lower bounds of memory (`metarl.run.counts`)."""
        parts: dict[str, Any] = {
            "environment": self.environment,
            "agent": self.agent,
            "learner": self.learner,
        }
        there = {f"{part}.{f.name}" for part, of in parts.items() for f in fields(of)}
        bounds: Held = (
            (4, "meta_batch", "agent.episodes", "environment.horizon"),
            (4, "meta_batch", "agent.trial_episodes", "environment.horizon"),
            (4, "meta_batch", "learner.inner_steps"),
            (4, "meta_batch", "environment.arms"),
            (64, "agent.hidden"),  # weights, gradients, moments, two numbers in and one out
            (16, "agent.core_size", "agent.core_size"),
            (16, "agent.hidden_size", "agent.hidden_size"),
            (2, *["environment.size"] * 4),  # a number for every goal and every place
        )
        return tuple(
            bound
            for bound in bounds
            if all(not isinstance(p, str) or "." not in p or p in there for p in bound)
        )

    def learning(self) -> Learning:
        """Return what is learned, by whom and how.

        Raises:
            UserError: The environment is no problem.
        """
        return learning(problem_named(self.env, self.environment), self.learner, self.agent)


def defaults(env: str = "point", method: str = "maml") -> TrainSettings:
    """Return the settings of an environment, with what the method needs otherwise.

    Raises:
        UserError: There is no such environment or method.
    """
    kind = method_named(method, METHODS)
    base = TrainSettings(
        env=env,
        environment=environment_named(env),
        method=method,
        learner=kind(),
        agent=agent_for(kind),
    )
    if isinstance(base.learner, GradientMethod):
        return by_gradient(base)
    if isinstance(base.learner, RL2Settings):
        return by_memory(base)
    if isinstance(base.learner, PPOSettings) and env == "point":
        # A Gaussian policy does not need the entropy that keeps a discrete one from settling: it
        # would only widen.
        return replace(base, learner=replace(base.learner, entropy_coef=0.0))
    return base


def by_gradient(base: TrainSettings) -> TrainSettings:
    """Return what suits learners that adapt by gradient steps.

    An inner step of 0.5 on the mean over time (hence ``divide_by_horizon``) is that of Finn et al.
    2017: one long step in the plane, where the way to a goal is straight; elsewhere three, and
    three of learners that go far, or follow the path of adaptation. In a maze what was done ten
    steps before a goal is little credited: the goal's is the only reward, and pays again and again.
    The outer steps are Adam's, whose 3e-3 falls to 0, unless the method has its own way.
    """
    far = base.method in ("reptile", "imaml", "warp")
    num_steps = 1 if base.env == "point" and not far else 3
    changes: dict[str, Any] = {
        **{"inner_lr": 0.5, "inner_steps": num_steps},
        **{"inner_later": 0.5 if base.env == "point" else 1.0},
        **{"optimiser": "adam", "lr": 3e-3, "beta1": 0.9, "decay": "cosine"},
        # Weak enough that a step of 0.5 does not undo the one before, as it would at strength 2.
        "strength": 0.5,
    }
    own = {f.name for f in fields(base.learner)}
    learner = replace(base.learner, **{n: v for n, v in changes.items() if n in own})
    loss = PolicyGradientSettings(divide_by_horizon=True)
    if base.env == "maze":
        entropy = 0.0 if base.method == "trpo-maml" else START_ENTROPY
        loss = replace(loss, gamma=0.9, start_entropy_coef=entropy)
    iterations = 600 if base.env == "point" else base.iterations
    return replace(base, learner=learner, agent=AdaptingPolicy(loss=loss), iterations=iterations)


def by_memory(base: TrainSettings) -> TrainSettings:
    """Return what suits agents that adapt through their hidden state.

    A trial on a bandit is 100 pulls, on a decision process ten episodes, as in RL^2; on mazes and
    GridNavi it is the four episodes of VariBAD. What a pull pays says much about that arm and
    little about the pulls before it, hence the short discount. Learning rate and discount were
    chosen by short trials on bandits, GridNavi, mazes and decision processes.
    """
    agent, learner = base.agent, base.learner
    assert isinstance(agent, TrialsAgent)
    assert isinstance(learner, RL2Settings)
    if base.env not in ("bandit", "mdp"):
        return replace(base, meta_batch=64)
    agent = replace(agent, trial_episodes=10)
    if base.env == "bandit" or base.method != "rl2":
        agent = replace(agent, loss=replace(agent.loss, gamma=0.9))
        return replace(base, meta_batch=128, agent=agent)
    # Where next states are as random as in a random decision process, an action matters for its
    # own reward and hardly for later ones: a longer discount adds their noise. And a GRU takes long
    # to learn to tell apart what it was paid in each state.
    loss = replace(
        agent.loss,
        gamma=0.5,
        gae_lambda=0.8,
        value_coef=0.5,
        entropy="shannon",
        entropy_coef=0.02,
    )
    agent = replace(agent, core="associative", hidden_size=128, loss=loss)
    return replace(
        base, meta_batch=128, agent=agent, learner=replace(learner, lr=5e-3, num_epochs=4)
    )


def prepare(settings: TrainSettings) -> Training:
    """Make everything once, and return the training."""
    what = settings.learning()
    if settings.resume is None:  # a run of an earlier version may be more than there is now
        what.check(settings.device, settings.meta_batch)
    return lambda runs, resume_to: what.train(
        runs, settings.loop, settings.meta_batch, settings.device, resume_to=resume_to
    )


def place(settings: TrainSettings) -> Path:
    """Return a name that says what a run is, under ``runs/``."""
    core = getattr(settings.agent, "core", "none")
    usual = getattr(type(settings.learner), "core", "none")
    env = settings.env.replace(":", "-")
    name = f"adapt-{env}-{settings.method}"
    return Path("runs") / (name if core == usual else f"{name}-{core}")


def _compare(prog: str, arguments: Sequence[str]) -> None:
    from metarl.compare.command import run_compare

    run_compare(COMPARABLE, prog, arguments)


def _evaluate(prog: str, arguments: Sequence[str]) -> None:
    from metarl.run.adaptation import EvaluateSettings, evaluate

    evaluate(parse(EvaluateSettings, prog, arguments), RECIPE.settings_of)


def _render(prog: str, arguments: Sequence[str]) -> None:
    from metarl.run.adaptation import RenderSettings, render

    render(parse(RenderSettings, prog, arguments), RECIPE.settings_of)


RECIPE = Recipe(
    name="experiments.maze_adapt",
    defaults=defaults,
    prepare=prepare,
    place=place,
    methods=METHODS,
    picks=("env", "method"),
    beside=lambda settings: {"spaces": describe_spaces(settings.learning().problem)},
    commands={  # what they import, training has no use for: the drawing libraries
        "evaluate": Command("adapt to unseen tasks, measure every step and draw it", _evaluate),
        "compare": Command("train and evaluate many methods: one table, one picture", _compare),
        "render": Command("film the same task at every step of adaptation", _render),
    },
)

# -------------------------------------------------------------------------------- comparison

# Functions of this module, so that a process of a comparison finds them by name.


def train_one(wanted: TrainSettings) -> None:
    """Train a run."""
    train(RECIPE, wanted)


def resume_one(path: Path, wanted: TrainSettings) -> None:
    """Go on with a run, to the iterations that are wanted."""
    asked = replace(defaults(), resume=path, iterations=wanted.iterations, device=wanted.device)
    train(RECIPE, asked, ("--iterations",))


def evaluate_one(how: Any) -> None:
    """Evaluate a run."""
    from metarl.run.adaptation import evaluate

    evaluate(how, RECIPE.settings_of)


def settings_of(config: Mapping[str, Any]) -> TrainSettings:
    """Return the settings of a run."""
    return RECIPE.settings_of(config)


def evaluation(how: EvaluationSettings, run: Path, device: str) -> Any:
    """Return the settings of the evaluation of a run, of those of all."""
    from metarl.run.adaptation import EvaluateSettings

    return EvaluateSettings(run, device=device, **vars(how))


def check(job: Job) -> None:
    """Check that a run can be made and evaluated.

    Raises:
        UserError: It cannot.
    """
    from metarl.run.adaptation import check_fits

    what = job.train.learning()
    what.check(job.train.device, job.train.meta_batch)
    check_fits(what.problem, job.evaluate)


def reads(method: str, name: str) -> bool:
    """Return whether a method has an option of training, in some environment."""
    return any(name in options_of(defaults(env, method)) for env in (*ENVIRONMENTS, "a:b"))


def title(settings: TrainSettings) -> str:
    """Return the task distribution in words."""
    side = getattr(settings.environment, "size", None)
    size = f" {side} x {side}" if side else ""
    return f"{settings.env}{size}, {settings.learning().problem.horizon} steps per episode"


COMPARABLE = Comparable(
    Script(train_one, resume_one, evaluate_one, settings_of, ("summary.json", "adaptation.json")),
    list(METHODS),
    defaults=defaults,
    reads=reads,
    evaluation=evaluation,
    check=check,
    title=title,
    same=("env", *dict.fromkeys(f.name for one in ENVIRONMENTS.values() for f in fields(one))),
    families={
        family: [name for name, method in METHODS.items() if method.family == family]
        for family in dict.fromkeys(method.family for method in METHODS.values())
    },
    today=today,
)

if __name__ == "__main__":
    main(RECIPE)
