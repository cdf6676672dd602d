"""A random Markov decision process, one at a time.

Duan et al. (2016), section 3.2. An episode has 10 steps; `envs.Trial` makes a trial of several.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from ..base.checks import as_source, check_discrete
from ..base.single import TaskEnv
from ..base.tasks import TaskSource
from .tasks import MDPTask, MDPTasks, next_state_thresholds

__all__ = ["TabularMDPEnv", "check_sizes", "mdp_settings"]


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


def mdp_settings(
    num_states: int,
    num_actions: int,
    tasks: TaskSource[MDPTask] | Sequence[MDPTask] | None,
) -> tuple[TaskSource[MDPTask], int, int]:
    """Where processes come from, and their numbers of states and actions.

    Raises:
        ValueError: If processes of a set differ in size.
    """
    source = MDPTasks(num_states, num_actions) if tasks is None else as_source(tasks, MDPTask)
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
