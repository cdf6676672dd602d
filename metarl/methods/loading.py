"""A trained agent in one line: `load(path)`, then `begin` and `act`, in anybody's loop.

    agent = metarl.load("runs/warp")       # or one of the package: `zoo.names()`
    observation, _ = env.reset()
    agent.begin()
    while not done:
        observation, reward, terminated, truncated, _ = env.step(agent.act(observation))
        agent.observe(reward, terminated, truncated)
        done = terminated or truncated

The environment shows what the agent was trained on. Agents that adapt through their hidden state
are told what was done and earned last, and where an episode begins (those of the published maze
have an unused input in that place):

    env = envs.MetaObservation(
        envs.Trial(env, num_episodes=1, episode_flag=True), unused_input=False
    )
    env = envs.MetaObservation(env)  # of the published maze

Actions are those that the policy draws: from 0, in one row, without bounds. An environment whose
own count from elsewhere, have other axes or bounds goes into `metarl.rl.TakesPlainActions` first.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
import torch
import tyro
from gymnasium.spaces import Box, Discrete, Space
from numpy.typing import NDArray
from torch import Tensor

from metarl import zoo
from metarl.core import Params, stack
from metarl.core.settings import Method
from metarl.errors import RunDirectoryError, UserError
from metarl.meta.method import GradientMethod
from metarl.methods import METHODS
from metarl.methods.agents import AdaptingPolicy, Agent, TrialAgent
from metarl.methods.few_shot import load_network, problem_of
from metarl.methods.gradient import GradientAdapter, GradientLearning
from metarl.methods.learning import agent_for
from metarl.methods.recurrent import RecurrentAdapter, RecurrentLearning
from metarl.methods.rl2 import RL2Settings
from metarl.methods.spaces import space_of, view_of
from metarl.nn import ViewLayout
from metarl.rl import Policy, PolicyAgent
from metarl.rl.problem import Problem
from metarl.runs.config import recipe_of, restored, upgraded
from metarl.runs.directory import RunDirectory


@dataclass(frozen=True)
class Interface:
    """The spaces of a problem, which is not there: enough to make a policy (`rl.Problem`)."""

    observation: Space[Any]
    actions: Space[Any]
    horizon: int = 1
    name: str = "a loaded run"
    view_layout: ViewLayout | None = None


@dataclass(frozen=True)
class Stored:
    """Method and agent as a run says them."""

    method: str
    learner: Annotated[Method, tyro.conf.arg(name="")]
    agent: Annotated[Agent, tyro.conf.arg(name="")]


class LoadedAgent:
    """A trained agent that plays (`metarl.rl.Agent`), with arrays or tensors, one trial or many."""

    def __init__(
        self,
        adapter: GradientAdapter | RecurrentAdapter,
        num_inputs: int,
        *,
        seed: int = 0,
        greedy: bool = False,
        weights: Params | None = None,
    ) -> None:
        """Play; see `load`.

        Args:
            adapter: What was loaded.
            num_inputs: Numbers in an observation.
            seed: Of the actions that are drawn.
            greedy: Take the most probable action.
            weights: Adapted ones, ``[1, ...]``; None: as they were learned.
        """
        self.adapter, self.num_inputs = adapter, num_inputs
        self._seed, self._greedy = seed, greedy
        generator = torch.Generator(adapter.device).manual_seed(seed)
        if isinstance(adapter, RecurrentAdapter):
            self.agent = adapter.agent(generator, greedy=greedy)
        else:
            self.agent = PolicyAgent(
                adapter.policy,
                stack([adapter.learner.model_params]) if weights is None else weights,
                generator,
                greedy=greedy,
            )
        self.num_trials = 1
        self._warned = False
        self.begin()

    @property
    def policy(self) -> Policy:
        """The architecture."""
        return self.agent.policy

    def begin(self, num_trials: int = 1) -> None:
        """Forget what was played: new trials start, side by side."""
        self.num_trials, self._begins = num_trials, True
        self.agent.begin(num_trials)

    def act(self, observation: NDArray[Any] | Tensor) -> Any:
        """Choose actions.

        Args:
            observation: Of one trial, or of as many as have begun, ``[B, ...]``; an array or a
                tensor.

        Returns:
            Of one: a whole number, or an array (a tensor); of many: an array or a tensor ``[B]`` or
            ``[B, A]``. Plain ones, as `metarl.rl.TakesPlainActions` takes them.

        Raises:
            ValueError: The observation has other numbers, or there are others than have begun.
        """
        given = torch.as_tensor(observation)
        single = given.numel() == self.num_inputs and (
            given.dim() < 2 or math.prod(given.shape[1:]) != self.num_inputs
        )
        batch = given.reshape(1, -1) if single else given.flatten(1) if given.dim() > 1 else given
        if tuple(batch.shape) != (self.num_trials, self.num_inputs):
            raise ValueError(
                f"the agent sees {self.num_inputs} numbers in {self.num_trials} trials each, got "
                f"observations of shape {tuple(given.shape)}: begin as many trials as there are "
                "environments, and show what it was trained on"
            )
        if self._begins:
            self._begins = False
            self._check_begin(batch)
        device = self.adapter.device
        actions = self.agent.act(batch.to(device, torch.float32))
        if isinstance(observation, Tensor):
            return actions[0] if single else actions
        array = actions.cpu().numpy()
        if not single:
            return array
        return int(array[0]) if array.ndim == 1 else array[0]

    def _check_begin(self, batch: Tensor) -> None:
        """Warn, once, of first inputs ``[B, I]`` that other wrappers make than in training.

        They are known by the bias behind: where no wrapper was, there is nothing to be known.
        """
        if not isinstance(self.adapter, RecurrentAdapter) or self._warned:
            return
        learning = self.adapter.learning
        told = 0 if learning.published_inputs else 1
        flag, bias = batch[:, learning.flag], batch[:, learning.flag + 1]
        if not ((flag == 1 - told) & (bias == 1)).all():
            return
        self._warned = True
        wrappers = (
            "envs.MetaObservation(env)"
            if learning.published_inputs
            else "envs.MetaObservation(envs.Trial(env, num_episodes, episode_flag=True), "
            "unused_input=False)"
        )
        warnings.warn(
            f"input {learning.flag} was always {told} in the first step of a trial when the agent "
            f"learned, and is not now: show it {wrappers}",
            UserWarning,
            stacklevel=3,
        )

    def observe(self, reward: Any, terminated: Any, truncated: Any) -> None:
        """See what the actions led to; an agent that adapts by gradient forgets what is over."""
        ended = [
            torch.as_tensor(part, device=self.adapter.device).reshape(-1)
            for part in (reward, terminated, truncated)
        ]
        self.agent.observe(ended[0], ended[1].bool(), ended[2].bool())

    def adapt(
        self, problem: Problem, task: Any, num_steps: int = 3, *, seed: int = 0
    ) -> LoadedAgent:
        """Adapt to one task by gradient steps on its episodes.

        Args:
            problem: Whose environments play the task.
            task: One of its tasks.
            num_steps: Gradient steps.
            seed: Of the episodes.

        Returns:
            The adapted agent; this one stays as it is.

        Raises:
            UserError: The agent adapts through its hidden state, or not to such environments.
        """
        adapter = self.adapter
        if isinstance(adapter, RecurrentAdapter):
            raise UserError(
                f"{adapter.learning.method.name} adapts through its hidden state, while it plays a "
                "trial: there are no gradient steps to take"
            )
        there = replace(adapter, learning=replace(adapter.learning, problem=problem))
        generator = torch.Generator(adapter.device).manual_seed(seed)
        weights = there.adapted_weights(task, num_steps, generator)
        last = {name: each[-1:] for name, each in weights.items()}
        return LoadedAgent(
            there, self.num_inputs, seed=self._seed, greedy=self._greedy, weights=last
        )


def load(
    name_or_path: Path | str,
    *,
    device: torch.device | str = "cpu",
    seed: int = 0,
    greedy: bool = False,
) -> Any:
    """Load an agent of the package by name, or the agent of a run by its path.

    Args:
        name_or_path: One of `metarl.zoo.names`, or a run directory, exported ones and those of
            version 0.1 too. A folder of that name that there is comes first.
        device: Where the agent computes.
        seed: Of the actions that are drawn.
        greedy: Take the most probable action (the mean) instead of drawing one.

    Returns:
        What plays, `LoadedAgent`; of a run that learned from examples (`experiments.regression`,
        `experiments.omniglot`) what adapts to others, `metarl.methods.few_shot.LoadedNetwork`.

    Raises:
        UserError: There is no such agent or run directory, or it is of other agents, or damaged.
    """
    run = RunDirectory.open(zoo.find(name_or_path))
    place = torch.device(device)
    if problem_of(run.config) is not None:
        return load_network(run, place)
    method, agent = stored(run)
    params = parameters(run)
    if isinstance(agent, TrialAgent) and isinstance(method, RL2Settings):
        recurrent = RecurrentLearning(
            cast(Any, None), method, agent, published_inputs=is_published_maze(run)
        )
        trials = replace(recurrent, problem=cast(Problem, interface(run, recurrent, params)))
        adapter: Any = trials.load(run, place).trained
        return LoadedAgent(adapter, trials.num_inputs, seed=seed, greedy=greedy)
    assert isinstance(method, GradientMethod)
    assert isinstance(agent, AdaptingPolicy)
    gradient = GradientLearning(cast(Any, None), method, agent)
    episodes = replace(gradient, problem=cast(Problem, interface(run, gradient, params)))
    adapter = episodes.load(run, place).trained
    num_inputs = math.prod(episodes.problem.observation.shape or ())
    return LoadedAgent(adapter, num_inputs, seed=seed, greedy=greedy)


def stored(run: RunDirectory) -> tuple[Method, Agent]:
    """Method and agent of a run, as its `config.json` says.

    Raises:
        UserError: It is the run of something else.
    """
    recipe = recipe_of(run.config)
    config = run.config if "recipe" in run.config else upgraded(run.config)
    name = config.get("method")
    kind = METHODS.get(str(name))
    if (
        kind is None
        or not issubclass(kind, GradientMethod | RL2Settings)
        or "loss"
        not in {
            *config,
            *config.get("agent", {}),
        }
    ):
        raise RunDirectoryError(
            f"{run.path} has no agent to load: it is a run of --method {name} of {recipe}; agents "
            "are those of the recipes maze and maze_adapt, but for SB3's; and of regression "
            "and omniglot, which learn from examples"
        )
    usual = Stored(kind.name, kind(), agent_for(kind))
    own = {f.name for f in fields(cast(Any, usual.agent))}
    agent = {n: v for n, v in {**config, **config.get("agent", {})}.items() if n in own}
    if recipe == "experiments.maze":
        agent["published_split"] = config.get("published_faults", False)
    known = {"recipe": recipe, "method": kind.name, "learner": config["learner"], "agent": agent}
    found = restored(lambda method: usual, known, str(recipe), ("method",))
    return found.learner, found.agent


def is_published_maze(run: RunDirectory) -> bool:
    """Whether a run is of the published maze, whose agents are not told of episodes."""
    config = run.config if "recipe" in run.config else upgraded(run.config)
    return recipe_of(run.config) == "experiments.maze" and config.get("mazes", "room") == "room"


def parameters(run: RunDirectory) -> Params:
    """Parameters of a run's policy by their names in it."""
    state = run.load_checkpoint()
    with run.fits_settings():
        params = state["learner"]["params"]
        return {name.removeprefix("fast.").removeprefix("slow."): p for name, p in params.items()}


def interface(run: RunDirectory, learning: Any, params: Params) -> Interface:
    """Spaces of a run's policy: as the run says, or as its parameters have them.

    Raises:
        UserError: The parameters are not those of the settings.
    """
    spaces = run.config.get("spaces")
    with run.fits_settings():
        actions = actions_of(params) if spaces is None else space_of(spaces["actions"])
        described = None if spaces is None else spaces.get("view")
        view = None if described is None else view_of(described)

        def policy(num_inputs: int) -> Policy:
            observation = Box(-np.inf, np.inf, (num_inputs,), np.float32)
            there = Interface(observation, actions, view_layout=view)
            found: Policy = replace(learning, problem=there).policy()
            return found

        shape = (num_inputs(policy, params),) if spaces is None else spaces["observation"]
        observation = Box(-np.inf, np.inf, tuple(shape), np.float32)
        return Interface(observation, actions, view_layout=view)


def num_inputs(policy: Callable[[int], Policy], params: Params) -> int:
    """Number of numbers in an observation, by the parameters whose shapes depend on it."""
    one, two = (
        {n: p.shape for n, p in policy(count).init(torch.Generator()).items()} for count in (1, 2)
    )
    for name, shape in one.items():
        for axis, (size, larger) in enumerate(zip(shape, two[name], strict=True)):
            if size != larger:
                return 1 + (params[name].shape[axis] - size) // (larger - size)
    raise ValueError("no parameter depends on the observation")


def actions_of(params: Params) -> Space[Any]:
    """Action space of a policy of a run that does not name it."""
    if "log_std" in params:
        return Box(-np.inf, np.inf, tuple(params["log_std"].shape), np.float32)
    biases = [p for name, p in params.items() if name.startswith("actor.") and "bias" in name]
    return Discrete(len(biases[-1]))
