"""Adaptation to new tasks: ``python -m experiments.maze_adapt COMMAND``; alone, it lists them.

Any method (`metarl.methods`) learns any environment (`experiments.environments`), or anybody's:
``--env module:factory`` takes a problem (`metarl.rl.Problem`) or Gymnasium environments.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import tyro

from envs.problems import Point
from metarl.compare.command import compare_command
from metarl.compare.plan import Comparable
from metarl.compare.work import Job, script_of
from metarl.core.settings import Method
from metarl.errors import UserError
from metarl.evaluate.film import require_filmed
from metarl.evaluate.measures import BESIDE_TEST, RETURN, files_of
from metarl.meta.maml import MAMLSettings
from metarl.meta.method import GradientMethod
from metarl.methods import method_named, methods_for
from metarl.methods.agents import AdaptingPolicy, Agent, TrialsAgent
from metarl.methods.curricula import check_named, with_curriculum
from metarl.methods.learning import Learning, agent_for, learning, unread
from metarl.methods.ppo import ClippedSteps, PPOSettings
from metarl.methods.rl2 import RL2Settings, paced
from metarl.methods.spaces import describe_spaces
from metarl.nn import CORES
from metarl.rl import PolicyGradientSettings
from metarl.run import (
    Recipe,
    RunSettings,
    Training,
    at_least,
    check_option,
    command,
    main,
    one_of,
)
from metarl.run.adaptation import (
    EvaluateSettings,
    RenderSettings,
    check_fits,
    evaluate,
    render,
    validation_return,
)
from metarl.run.counts import Held
from metarl.search.command import search_command
from metarl.search.trials import Searchable
from metarl.train.curriculum import CURRICULA, Curriculum, DomainRandomisation

from .environments import ENVIRONMENTS, environment_named, problem_named

METHODS = methods_for("policy")
START_ENTROPY = 1.0
"""In a maze, whose goal must be found before anything can be learned from it."""


@dataclass(frozen=True)
class TrainSettings(RunSettings):
    """Meta-train an agent that adapts to a new task, by gradient steps or through its memory."""

    env: Annotated[
        str, tyro.conf.arg(metavar="{" + ",".join(ENVIRONMENTS) + "}|MODULE:FACTORY")
    ] = "point"
    """point: MAML's 2D navigation; maze: a hidden goal in a grid maze; mazes: in another maze per
    task; gridnavi: VariBAD's grid; darkroom, keytodoor: a goal, or a key and a door, in an empty
    room; bandit: Bernoulli arms; mdp: random decision processes; module:factory: anybody's problem,
    or Gymnasium environments. It chooses options too."""
    method: Annotated[str, one_of(METHODS)] = "maml"
    """How to adapt; it chooses the options of the agent and of learning."""
    iterations: int = 500
    """Iterations; in each, the learner adapts to one meta-batch of tasks."""
    meta_batch: int = 20
    """Tasks per iteration; a trial on each (rl2, warp-rnn, recurrent-ppo)."""
    log_every: int = 10
    """Iterations per line of metrics; each line is their mean."""
    checkpoint_every: int = 50
    """Iterations between checkpoints."""
    curriculum: Annotated[str, tyro.conf.arg(metavar="{" + ",".join(CURRICULA) + "}")] = "dr"
    """With --env mazes: which mazes are trained on, as by the recipe maze; scored by what
    adaptation gained. dr: fresh ones, always."""
    levels: Curriculum = field(default_factory=DomainRandomisation)
    """The curriculum's settings."""
    cuda_graph: bool = False
    """With rl2 and warp-rnn: run each rollout with its loss and gradient as one CUDA graph (not yet
    tried on a GPU). A resume goes on as the run did, unless this is given again."""
    environment: Annotated[Any, tyro.conf.arg(name="")] = field(default_factory=Point)
    """The tasks."""
    agent: Annotated[Agent, tyro.conf.arg(name="")] = field(default_factory=AdaptingPolicy)
    """Who learns."""
    learner: Annotated[Method, tyro.conf.arg(name="")] = field(default_factory=MAMLSettings)
    """How."""

    HELD: ClassVar[Held] = (
        (4, "meta_batch", "agent.episodes", "environment.horizon"),
        (4, "meta_batch", "agent.trial_episodes", "environment.horizon"),
        (4, "meta_batch", "learner.inner_steps"),
        (4, "meta_batch", "environment.arms"),
        (64, "agent.hidden"),  # weights, gradients, moments, two numbers in and one out
        (16, "agent.core_size", "agent.core_size"),
        (16, "agent.hidden_size", "agent.hidden_size"),
        (2, *["environment.size"] * 4),  # a number for every goal and every place
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, self, "meta_batch")
        check_named(self.curriculum, self.levels)
        if isinstance(self.learner, ClippedSteps) and self.dtype != "float32":
            raise UserError(
                f"--dtype {self.dtype}: {self.method} computes as SB3 does, in float32; drop it"
            )

    def learning(self) -> Learning:
        """Return what is learned, by whom and how.

        Raises:
            UserError: The environment is no problem.
        """
        problem = problem_named(self.env, self.environment)
        what = with_curriculum(learning(problem, self.learner, self.agent), self.levels)
        return graphed(what) if self.cuda_graph else what


def graphed(what: Learning) -> Learning:
    """Return the same, trained as a CUDA graph.

    Raises:
        UserError: It is no program that repeats itself.
    """
    from metarl.methods.recurrent import RecurrentLearning

    if not isinstance(what, RecurrentLearning):
        raise UserError("--cuda-graph is for rl2 and warp-rnn, whose rollouts it repeats; drop it")
    return replace(what, cuda_graph=True)


def defaults(
    env: str = "point",
    method: str = "maml",
    curriculum: str | None = None,
    core: str | None = None,
) -> TrainSettings:
    """Return the settings of an environment, with what the method needs otherwise.

    Args:
        env: Name of the environment.
        method: Name of the method.
        curriculum: Name of the curriculum; None: none.
        core: The memory of an agent that adapts through it, which chooses the learning rate; None:
            the usual one.

    Raises:
        UserError: There is no such environment, method or curriculum.
    """
    named = "dr" if curriculum is None else curriculum
    check_option("--curriculum", named, CURRICULA)
    return replace(usual(env, method, core), curriculum=named, levels=CURRICULA[named]())


def usual(env: str, method: str, core: str | None) -> TrainSettings:
    """Return the settings of an environment, but for the curriculum; see `defaults`."""
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
        return with_core(by_memory(base), core)
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
    if base.env in ("maze", "mazes"):
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


def with_core(base: TrainSettings, core: str | None) -> TrainSettings:
    """Return the same with another memory, at the pace that suits it; None: with its own."""
    if core is None or core not in CORES:  # the parser says which there are
        return base
    assert isinstance(base.learner, RL2Settings)
    assert isinstance(base.agent, TrialsAgent)
    learner = paced(core, base.learner, batch_size=base.meta_batch)
    return replace(base, agent=replace(base.agent, core=core), learner=learner)


def training(settings: TrainSettings) -> Training:
    """Return what settings train."""
    what = settings.learning()
    if settings.film_every is not None:
        require_filmed(what.problem)
    return Training(what, settings.meta_batch)


def place(settings: TrainSettings) -> Path:
    """Return a name that says what a run is, under ``runs/``."""
    core = getattr(settings.agent, "core", "none")
    usual = getattr(type(settings.learner), "core", "none")
    env = settings.env.replace(":", "-")
    name = f"adapt-{env}-{settings.method}"
    return Path("runs") / (name if core == usual else f"{name}-{core}")


RECIPE: Recipe[TrainSettings] = Recipe(
    name="experiments.maze_adapt",
    module=f"{__package__}.maze_adapt",
    defaults=defaults,
    training=training,
    place=place,
    methods=METHODS,
    picks=("env", "method", "curriculum", "core"),
    former={"curriculum": "dr", "core": None},  # core stands among the agent's settings
    unread=lambda settings: unread(settings.learner, settings.environment),
    may_move=("cuda_graph",),
    beside=lambda settings: {"spaces": describe_spaces(settings.learning().problem)},
    commands={
        "evaluate": command(
            "adapt to unseen tasks, measure every step and draw it",
            EvaluateSettings,
            lambda how: evaluate(how, RECIPE.settings_of),
        ),
        "compare": compare_command(lambda: COMPARABLE),
        "search": search_command(lambda: SEARCHABLE),
        "render": command(
            "film the same task at every step of adaptation",
            RenderSettings,
            lambda how: render(how, RECIPE.settings_of),
        ),
    },
)


def title(settings: TrainSettings) -> str:
    """Return the task distribution of settings in words."""
    problem = settings.learning().problem
    side = getattr(problem, "size", None)
    size = f" {side} x {side}" if side else ""
    return f"{settings.env}{size}, {problem.horizon} steps per episode"


def in_a_maze(env: str = "maze", method: str = "maml", **more: Any) -> TrainSettings:
    """Return settings for a comparison, in a maze unless another environment is asked for."""
    return defaults(env, method, **more)


def check_evaluation(job: Job) -> None:
    """Check that what is asked for of an evaluation fits this machine.

    Raises:
        UserError: It does not.
    """
    check_fits(job.train.learning().problem, job.evaluate)


COMPARABLE: Comparable = Comparable(
    RECIPE,
    script_of(RECIPE, evaluate, results=files_of(), beside_test=BESIDE_TEST),
    EvaluateSettings,
    RETURN,
    tasks=("env", "environment"),
    title=title,
    methods=("maml", "fomaml", "anil", "none"),
    defaults=in_a_maze,
    check=check_evaluation,
    beside_test=BESIDE_TEST,
)

SEARCHABLE: Searchable = Searchable(
    RECIPE, validation_return, tasks=("env", "environment", "trial_episodes", "trial_steps")
)

if __name__ == "__main__":
    main(RECIPE)
