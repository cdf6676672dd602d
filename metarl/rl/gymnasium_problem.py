"""Anybody's Gymnasium environments as a problem: their tasks, drawn and set at each reset.

How an environment is told its task is said by ``task_via``: by an attribute, by an option of its
``reset`` (`HostVectorEnv` sees to both, and tries whether tasks make a difference), or by the seed
of its ``reset``, which is what a task is where nothing else is known: a layout of Minigrid, a level
of a game.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, Literal

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Space
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from torch import Tensor

from metarl.errors import UserError, check_choices
from metarl.rl.host_env import HostVectorEnv
from metarl.rl.problem import Anchors, Goal, TaskSource
from metarl.rl.spaces import flattens

MAX_SEED = 2**31 - 1
"""The largest seed of a Gymnasium environment; some keep 32 bits with a sign."""

PARTS = {"train": range(7), "validation": range(7, 8), "test": range(8, 10)}
"""Last digits of the seeds of each side."""


@dataclass(frozen=True)
class SeededTasks:
    """Tasks that are seeds, of which each side has its own.

    Attributes:
        side: ``train`` (seven tenths of all seeds), ``validation`` (one) or ``test`` (two).
    """

    side: str

    def sample(self, n: int, generator: torch.Generator, /) -> tuple[int, ...]:
        """Draw n seeds."""
        digits = PARTS[self.side]
        device = generator.device
        tens = torch.randint(MAX_SEED // 10, (n,), generator=generator, device=device)
        ones = torch.randint(len(digits), (n,), generator=generator, device=device)
        return tuple((10 * tens + digits.start + ones).tolist())


@dataclass(frozen=True)
class GymnasiumProblem:
    """Gymnasium environments as a `Problem`.

    Attributes:
        make: Makes one environment (observations that are whole numbers, dicts or tuples become
            arrays, as Gymnasium flattens them); or, with a parameter ``num_envs``, a vector
            environment of so many, by default in the autoreset mode that it chooses.
        train: Tasks to train on; None: seeds.
        validation: Tasks to choose settings by; None: seeds.
        test: Tasks to report on; None: seeds.
        task_via: Way to tell an environment its task: by an attribute, an option, or a seed.
        task_name: Name of the attribute or option.
        max_steps: Steps of an episode, at most; None: the environment's ``max_episode_steps``.
        has_goal: When an episode succeeds: True, when it pays or ends early; ``"pays"``, only when
            it pays, where an end may be a failure; ``"ends"``, only when it ends early, where what
            pays may be a part of the way.
        name: Name of the problem.
        reference: Expected returns of an episode on given tasks, where they are known.

    Raises:
        UserError: There is no telling how long an episode is, or tasks need a source.
    """

    make: Callable[..., Any]
    train: TaskSource = SeededTasks("train")
    validation: TaskSource = SeededTasks("validation")
    test: TaskSource = SeededTasks("test")
    task_via: Literal["attribute", "option", "seed"] = "seed"
    task_name: str = "task"
    max_steps: int | None = None
    has_goal: Goal = False
    name: str = "gymnasium"
    reference: Callable[[Sequence[Any]], Anchors | None] = lambda tasks: None

    def __post_init__(self) -> None:
        check_choices(self)
        if self.max_steps is not None and self.max_steps < 1:
            raise UserError(f"the steps of an episode must be at least 1, got {self.max_steps}")
        seeds = [isinstance(s, SeededTasks) for s in (self.train, self.validation, self.test)]
        if self.task_via != "seed" and any(seeds):
            raise UserError(
                f"{self.name}: tasks that are set by {self.task_via} come from somewhere: give "
                "GymnasiumProblem train=, validation= and test=, each with sample(n, generator)"
            )

    @cached_property
    def _one(self) -> HostVectorEnv:
        """One environment, to be asked."""
        return self._host(1, torch.device("cpu"))

    @property
    def observation(self) -> Space[Any]:
        """Observations of one environment, flat."""
        return self._one.single_observation_space

    @property
    def actions(self) -> Space[Any]:
        """Actions of one environment, plain."""
        return self._one.single_action_space

    @cached_property
    def horizon(self) -> int:
        """Steps of an episode, at most."""
        if self.max_steps is not None:
            return self.max_steps
        below: Any = self._one.env.unwrapped
        steps = _longest(below.envs[0] if isinstance(below, SyncVectorEnv) else below)
        if steps is None:
            raise UserError(
                f"{self.name}: there is no telling how long an episode is: give --horizon (in "
                "Python: max_steps=), or make the environment with max_episode_steps"
            )
        return int(steps)

    def make_env(
        self, num_envs: int, generators: Sequence[torch.Generator], device: torch.device
    ) -> HostTasks:
        """Make environments; see `Problem.make_env`."""
        host = self._host(num_envs, device)
        return HostTasks(host, self.train, generators, by_seed=self.task_via == "seed")

    def anchors(self, tasks: Sequence[Any]) -> Anchors | None:
        """Anchors of the reference."""
        return self.reference(tasks)

    def watch(self, env: HostTasks) -> Tensor:
        """Pictures of all environments as they are, uint8 ``[B, height, width, 3]``.

        Raises:
            UserError: They do not draw themselves.
        """
        frames = env.host.env.render()
        if frames is None or any(frame is None for frame in frames):
            raise UserError(
                f"{self.name} does not draw itself: let the factory make its environments with "
                "render_mode='rgb_array'"
            )
        return torch.from_numpy(np.stack([np.asarray(f, np.uint8) for f in frames]))

    def _host(self, num_envs: int, device: torch.device) -> HostVectorEnv:
        try:
            env = self._vector(num_envs)
            if self.task_via == "seed":
                return HostVectorEnv(env, device=device, check_tasks=False)
            return HostVectorEnv(
                env, device=device, task_via=self.task_via, task_name=self.task_name
            )
        except ValueError as error:
            raise UserError(f"{self.name}: {error}") from error

    def _vector(self, num_envs: int) -> VectorEnv[Any, Any, Any]:
        if "num_envs" in inspect.signature(self.make).parameters:
            env = self.make(num_envs=num_envs)
            if not isinstance(env, VectorEnv):
                raise UserError(
                    f"{self.name}: a factory with num_envs must make a VectorEnv, got {env!r}"
                )
            if env.num_envs != num_envs:
                raise UserError(
                    f"{self.name}: asked for {num_envs} environments, got {env.num_envs}"
                )
            return env
        make = partial(_flat, self.make)
        return SyncVectorEnv([make] * num_envs, autoreset_mode=AutoresetMode.DISABLED)


class HostTasks:
    """Environments on the host with a task each, as a `problem.TensorEnv`.

    Every reset seeds every environment by a draw of its generator, so that what happens depends on
    the generators alone: a resumed run meets the episodes of one that was never interrupted.
    """

    def __init__(
        self,
        host: HostVectorEnv,
        source: TaskSource,
        generators: Sequence[torch.Generator],
        *,
        by_seed: bool,
    ) -> None:
        """Draw tasks and randomness.

        Args:
            host: B environments.
            source: Source of their tasks, where none are set.
            generators: G of them, each for B / G environments in a row.
            by_seed: A task is the seed of a reset.
        """
        self.host, self.source, self.by_seed = host, source, by_seed
        self.single_observation_space = host.single_observation_space
        self.single_action_space = host.single_action_space
        self.use_generators(generators)
        self._set: Sequence[Any] | None = None
        self._tasks: Sequence[Any] = ()

    @property
    def num_envs(self) -> int:
        """Number of environments, B."""
        return self.host.num_envs

    def use_generators(self, generators: Sequence[torch.Generator]) -> None:
        """Draw by these from the next reset on."""
        if not generators or self.num_envs % len(generators):
            raise ValueError(
                f"{self.num_envs} environments cannot be shared evenly by {len(generators)} "
                "generators"
            )
        self.generators = tuple(generators)
        self._whole, self._start = self._share, 0

    def use_share(self, whole: int, start: int) -> None:
        """Draw as a part of more environments, from the next reset on: the others are elsewhere.

        Args:
            whole: Number of all environments of a generator.
            start: Number of the first one that is here.
        """
        self._whole, self._start = whole, start

    def reset(self, *, options: dict[str, Any] | None = None) -> tuple[Tensor, dict[str, Any]]:
        """Start an episode everywhere; see `problem.TensorEnv`."""
        rest = dict(options or {})
        same = bool(rest.pop("same_task", False))
        if "tasks" in rest:
            self._set = rest.pop("tasks")
        if self._set is not None:
            self._tasks = self._set
        elif not (same and self._tasks):
            self._tasks = [t for g in self.generators for t in self._own_tasks(g)]
        if self.by_seed:
            if len(self._tasks) != self.num_envs:
                raise ValueError(f"got {len(self._tasks)} tasks for {self.num_envs} environments")
            return self.host.reset(seed=[int(task) for task in self._tasks], options=rest)
        seeds = [
            seed
            for g in self.generators
            for seed in torch.randint(
                MAX_SEED, (self._whole,), generator=g, device=g.device
            ).tolist()[self._here]
        ]
        return self.host.reset(seed=seeds, options={**rest, "tasks": list(self._tasks)})

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        """Act everywhere."""
        return self.host.step(actions)

    def _own_tasks(self, generator: torch.Generator) -> Sequence[Any]:
        """The tasks of the environments that are here, of those that a generator draws."""
        return tuple(self.source.sample(self._whole, generator))[self._here]

    @property
    def _here(self) -> slice:
        return slice(self._start, self._start + self._share)

    @property
    def _share(self) -> int:
        return self.num_envs // len(self.generators)


def problem_of(path: str, max_steps: int | None = None) -> Any:
    """The problem that ``module:factory`` makes, itself or out of Gymnasium environments.

    Args:
        path: A module that can be imported, and the name of a function (or class) in it.
        max_steps: Steps of an episode, at most, of Gymnasium environments.

    Raises:
        UserError: It cannot be found or called, or makes something else.
    """
    module, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        raise UserError(
            f"--env {path}: {error}; run where Python finds it, or set PYTHONPATH"
        ) from error
    except AttributeError as error:
        raise UserError(
            f"--env {path}: {module} has no {name or 'name behind the colon'}"
        ) from error
    if not callable(found):
        raise UserError(f"--env {path}: {name} is a {type(found).__name__}, not a factory")
    parameters = inspect.signature(found).parameters.values()
    needed = [p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    if needed not in ([], ["num_envs"]):
        raise UserError(
            f"--env {path}: a factory is called without arguments, or with num_envs alone; this "
            f"one needs {', '.join(needed)}"
        )
    of_environments = "num_envs" in inspect.signature(found).parameters
    made = found(num_envs=1) if of_environments else found()
    if isinstance(made, gymnasium.Env | VectorEnv):
        if isinstance(made, VectorEnv) and not of_environments:
            made.close()
            raise UserError(
                f"--env {path} makes a vector environment of {made.num_envs}: give the factory a "
                "parameter num_envs, or make single environments"
            )
        made.close()
        return GymnasiumProblem(found, max_steps=max_steps, name=path)
    if max_steps is None:
        return made
    if isinstance(made, GymnasiumProblem):
        return replace(made, max_steps=max_steps)
    raise UserError(f"--horizon is for Gymnasium environments; {path} has its own")


def _flat(make: Callable[[], gymnasium.Env[Any, Any]]) -> gymnasium.Env[Any, Any]:
    """An environment whose observations are arrays, as far as Gymnasium flattens them."""
    env = make()
    space = env.observation_space
    if isinstance(space, Box) or not flattens(space):
        return env
    return gymnasium.wrappers.FlattenObservation(env)


def _longest(env: Any) -> int | None:
    """Steps of an episode, at most, as its time limit, specification or horizon says."""
    if isinstance(env, gymnasium.Wrapper):
        own = getattr(env, "horizon", None)  # of a trial, say, which has several episodes inside
        inner = own or _longest(env.env)
        limit = env._max_episode_steps if isinstance(env, gymnasium.wrappers.TimeLimit) else None
        found = [inner, limit]
    else:
        found = [getattr(getattr(env, "spec", None), "max_episode_steps", None)]
        found += [getattr(env, name, None) for name in ("horizon", "max_steps")]  # Minigrid's
    return min((int(steps) for steps in found if steps is not None), default=None)
