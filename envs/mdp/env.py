"""Random Markov decision processes, one at a time, as one tensor program, and as a problem.

Duan et al. (2016), section 3.2. An episode has 10 steps; `envs.Trial` makes a trial of several.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete, Space
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from ..base.checks import check_discrete
from ..base.problem import Anchors, BuiltIn, Family
from ..base.single import TaskEnv
from ..base.tasks import TaskSource, as_source
from ..base.tensor import TensorEnv
from .tasks import MDPTask, MDPTasks, mdp_reference_returns, next_state_thresholds

__all__ = ["MDP", "TabularMDPEnv", "TabularMDPVectorEnv"]


class TabularMDPEnv(TaskEnv[MDPTask, np.int64]):
    """Learn how a few states hang together, and what they pay.

    ## Description
    From each state each action leads to a random next state and pays a noisy reward. Both depend
    on the task. An agent that remembers what happened can plan better from episode to episode.

    ## Action Space
    ``Discrete(num_actions)``.

    ## Observation Space
    ``Box(0, 1, (num_states,), float32)``: the state, one-hot.

    ## Rewards
    Normal with standard deviation 1 around the task's mean for state and action.

    ## Starting State
    State 0.

    ## Episode End
    Never terminated. Truncated after `horizon` steps, by the environment itself.

    ## Tasks
    ``reset(options={"task": MDPTask(transitions, reward_means)})`` sets the process; see
    `envs.base.single`. ``options={"uniforms": float [horizon], "normals": float [horizon]}``
    replace an episode's draws of next states and of reward noise. What is to be earned:
    `envs.mdp.tasks`.

    ## Arguments
    ```python
    gymnasium.make("metarl/TabularMDP-v0", num_states=10, num_actions=5, horizon=10)
    ```
    * `num_states`, `num_actions`: if `tasks` is not given
    * `tasks`: an `MDPTasks`, a `TaskSet` or a sequence of `MDPTask`
    * `horizon`: steps in an episode
    * `render_mode`: ``"ansi"`` (text), ``"rgb_array"`` (uint8 picture), ``"human"`` (a window)

    ## Version History
    * v0: first version
    """

    task_type = MDPTask
    step_options = ("uniforms", "normals")
    reward_range = (-math.inf, math.inf)

    def __init__(
        self,
        *,
        num_states: int = 10,
        num_actions: int = 5,
        tasks: TaskSource[MDPTask] | Sequence[MDPTask] | None = None,
        horizon: int = 10,
        render_mode: str | None = None,
    ) -> None:
        source, self.num_states, self.num_actions = mdp_settings(num_states, num_actions, tasks)
        super().__init__(source, horizon, render_mode)
        self.observation_space = Box(0.0, 1.0, (self.num_states,), np.float32)
        self.action_space = Discrete(self.num_actions)

    @property
    def state(self) -> int:
        """The number of the state."""
        if self._elapsed is None:
            raise gymnasium.error.ResetNeeded("there is no state yet: call reset()")
        return self._state

    def _begin(self, task: MDPTask) -> None:
        transitions, self._means = task.arrays()
        self._thresholds = next_state_thresholds(transitions)
        self._state = 0

    def _read_action(self, action: Any) -> np.int64:
        return check_discrete(action, self.num_actions)

    def _advance(self, action: np.int64) -> tuple[float, bool]:
        uniform, normal = (np.float32(self._random(name)) for name in self.step_options)
        reward = self._means[self._state, action] + normal
        self._state = int((self._thresholds[self._state, action] <= uniform).sum())
        return float(reward), False

    def _observe(self) -> NDArray[np.float32]:
        observation = np.zeros(self.num_states, dtype=np.float32)
        observation[self._state] = 1.0
        return observation

    def _check_task(self, task: Any) -> MDPTask:
        return check_sizes(super()._check_task(task), self.num_states, self.num_actions)

    def _text(self) -> str:
        return f"state {self._state} of {self.num_states}"


class TabularMDPVectorEnv(TensorEnv[MDPTask]):
    """B processes on a torch device; dynamics as in `TabularMDPEnv`.

    Observations are float32 [B, S] (one-hot), actions int64 [B], the tasks' parameters transitions,
    float32 [B, S, A, S], and reward means, float32 [B, S, A]. Reset options ``uniforms`` and
    ``normals``: float [horizon, B].

    Args:
        num_envs: Number of processes, B.
        num_states, num_actions, tasks, horizon: As in `TabularMDPEnv`.
        device, generator, autoreset_mode: As in `envs.base.tensor.TensorEnv`.
        validate_actions: Refuse actions out of range. Done on the CPU only: elsewhere the
            check would have to wait for the device.

    Raises:
        ValueError: If a setting is out of range.
    """

    task_type = MDPTask
    step_options = ("uniforms", "normals")
    reward_range = (-math.inf, math.inf)

    def __init__(
        self,
        num_envs: int = 1,
        *,
        num_states: int = 10,
        num_actions: int = 5,
        tasks: TaskSource[MDPTask] | Sequence[MDPTask] | None = None,
        horizon: int = 10,
        device: torch.device | str = "cpu",
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.DISABLED,
        validate_actions: bool = True,
    ) -> None:
        source, self.num_states, self.num_actions = mdp_settings(num_states, num_actions, tasks)
        super().__init__(
            num_envs,
            source,
            horizon,
            {
                "transitions": (self.num_states, self.num_actions, self.num_states),
                "reward_means": (self.num_states, self.num_actions),
            },
            Box(0.0, 1.0, (self.num_states,), np.float32),
            Discrete(self.num_actions),
            device=device,
            generator=generator,
            autoreset_mode=autoreset_mode,
        )
        self._validate = validate_actions and self.device.type == "cpu"
        self._one_hot = torch.eye(self.num_states, dtype=torch.float32, device=self.device)
        self._start = torch.zeros(self.num_envs, dtype=torch.int64, device=self.device)
        rows = torch.arange(self.num_envs, device=self.device)
        self._first_rows = rows * (self.num_states * self.num_actions)

    @property
    def states(self) -> torch.Tensor:
        """int64 [B], the numbers of the states. Do not write into it."""
        assert self.task_parameters
        return self._states

    def _begin(self, started: torch.Tensor | None) -> None:
        transitions, means = self._params
        sums = transitions.cumsum(dim=-1, dtype=torch.float64)
        self._thresholds = sums[..., :-1].float().flatten(0, 2)  # [B * S * A, S - 1]
        self._means = means.flatten()  # [B * S * A]
        self._states = self._start

    def _read_actions(self, actions: Any) -> torch.Tensor:
        return self._read_discrete(actions, self.num_actions, validate=self._validate)

    def _advance(self, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        uniforms, normals = self._random.next()
        rows = self._first_rows + self._states * self.num_actions + actions
        rewards = self._means.index_select(0, rows) + normals
        below = self._thresholds.index_select(0, rows) <= uniforms[:, None]
        self._states = below.sum(dim=1)
        return rewards, None

    def _observe(self) -> torch.Tensor:
        return self._one_hot.index_select(0, self._states)

    def _check_parameters(self, *parameters: torch.Tensor) -> None:
        transitions, means = parameters
        sums = transitions.sum(dim=-1, dtype=torch.float64)
        if not bool((transitions >= 0).all()) or not bool(((sums - 1).abs() <= 1e-4).all()):
            raise ValueError("transitions must be probabilities that sum to 1 over the next state")
        if not bool(torch.isfinite(means).all()):
            raise ValueError("reward_means must be finite")

    def _check_task(self, task: Any) -> MDPTask:
        return check_sizes(super()._check_task(task), self.num_states, self.num_actions)


def mdp_settings(
    num_states: int,
    num_actions: int,
    tasks: TaskSource[MDPTask] | Sequence[MDPTask] | None,
) -> tuple[TaskSource[MDPTask], int, int]:
    """Returns the source of processes, and their numbers of states and actions.

    Raises:
        ValueError: If processes of a set differ in size.
    """
    source = (
        MDPTasks(num_states, num_actions) if tasks is None else as_source(tasks, MDPTask, MDPTasks)
    )
    if isinstance(source, MDPTasks):
        return source, source.num_states, source.num_actions
    sizes = {(task.num_states, task.num_actions) for task in source}  # type: ignore[attr-defined]
    if len(sizes) > 1:
        raise ValueError(f"the processes differ in size, {sorted(sizes)}: make one set for each")
    ((states, actions),) = sizes
    return source, states, actions


def check_sizes(task: MDPTask, num_states: int, num_actions: int) -> MDPTask:
    """The task itself, if it has these numbers of states and actions.

    Raises:
        ValueError: If it has not.
    """
    if (task.num_states, task.num_actions) != (num_states, num_actions):
        raise ValueError(
            f"task {task.task_id} has {task.num_states} states and {task.num_actions} actions, "
            f"this environment {num_states} and {num_actions}: make one with "
            f"num_states={task.num_states}, num_actions={task.num_actions}"
        )
    return task


@dataclass(frozen=True)
class MDP(BuiltIn):
    """RL^2's random decision processes with 10 states and 5 actions."""

    name: ClassVar[str] = "mdp"
    has_goal: ClassVar[bool] = False
    observation: ClassVar[Space[Any]] = Box(0.0, 1.0, (10,), np.float32)
    actions: ClassVar[Space[Any]] = Discrete(5)

    horizon: int = 10

    @cached_property
    def splits(self) -> Any:
        """Processes, drawn."""
        return Family(MDPTasks())

    @property
    def vector_env(self) -> Any:
        """Maker of processes, as a tensor program."""
        return TabularMDPVectorEnv

    def anchors(self, tasks: Sequence[Any]) -> Anchors:
        """Returns of random actions, and of the best policy."""
        return Anchors(*mdp_reference_returns(tasks, horizon=self.horizon))
