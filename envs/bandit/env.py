"""Bernoulli bandits, one at a time, as one tensor program, as a problem: the simplest to explore.

Duan et al. (2016), section 3.1. A trial is an episode here: the arms stay the same for `horizon`
pulls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete, Space
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from ..base.checks import check_discrete, whole_number
from ..base.problem import Anchors, BuiltIn, Family
from ..base.single import TaskEnv
from ..base.tasks import TaskSource, as_source
from ..base.tensor import TensorEnv
from .tasks import BanditTask, BanditTasks, bandit_reference_returns

__all__ = ["Bandit", "BanditEnv", "BanditVectorEnv"]


class BanditEnv(TaskEnv[BanditTask, np.int64]):
    """Pull the arms of a bandit, find the one that pays most often.

    ## Description
    Each arm pays 1 with its own hidden probability. With every pull one has to choose between
    learning about an arm and using what one knows.

    ## Action Space
    ``Discrete(num_arms)``: the arm to pull.

    ## Observation Space
    ``Box(0, 1, (1,), float32)``: always 0, for there is nothing to see. `envs.MetaObservation`
    adds the previous arm and reward, without which nothing can be learned within a trial.

    ## Rewards
    1 or 0.

    ## Starting State
    There is but one state.

    ## Episode End
    Never terminated. Truncated after `horizon` pulls, by the environment itself.

    ## Tasks
    ``reset(options={"task": BanditTask(probabilities)})`` sets the arms; see
    `envs.base.single`. ``options={"uniforms": float [horizon]}`` replaces an episode's
    draws: pull t pays if entry t is below the arm's probability. What is to be earned:
    `envs.bandit.tasks`.

    ## Arguments
    ```python
    gymnasium.make("metarl/Bandit-v0", num_arms=10, horizon=500)
    ```
    * `num_arms`: arms, if `tasks` is not given
    * `tasks`: a `BanditTasks`, a `TaskSet` or a sequence of `BanditTask`; uniform by default
    * `horizon`: pulls in an episode
    * `render_mode`: ``"ansi"`` (text), ``"rgb_array"`` (uint8 picture), ``"human"`` (a window)

    ## Version History
    * v0: first version
    """

    task_type = BanditTask
    step_options = ("uniforms",)
    reward_range = (0.0, 1.0)

    def __init__(
        self,
        *,
        num_arms: int = 5,
        tasks: TaskSource[BanditTask] | Sequence[BanditTask] | None = None,
        horizon: int = 100,
        render_mode: str | None = None,
    ) -> None:
        source, self.num_arms = bandit_settings(num_arms, tasks)
        super().__init__(source, horizon, render_mode)
        self.observation_space = Box(0.0, 1.0, (1,), np.float32)
        self.action_space = Discrete(self.num_arms)

    def _begin(self, task: BanditTask) -> None:
        (self._probabilities,) = task.arrays()
        self._last = "-"

    def _read_action(self, action: Any) -> np.int64:
        return check_discrete(action, self.num_arms)

    def _advance(self, action: np.int64) -> tuple[float, bool]:
        paid = self._random("uniforms") < self._probabilities[action]
        self._last = f"{action} ({'paid' if paid else 'did not pay'})"
        return float(paid), False

    def _observe(self) -> NDArray[np.float32]:
        return np.zeros(1, dtype=np.float32)

    def _check_task(self, task: Any) -> BanditTask:
        return check_arms(super()._check_task(task), self.num_arms)

    def _text(self) -> str:
        arms = " ".join(f"{p:.2f}" for p in self.task.probabilities)
        return f"arms {arms}  last pull {self._last}"


class BanditVectorEnv(TensorEnv[BanditTask]):
    """B bandits on a torch device; dynamics as in `BanditEnv`.

    Observations are float32 [B, 1] (always 0), actions int64 [B], the task's parameters the
    probabilities of the arms, float32 [B, K]. Reset option ``uniforms``: float [horizon, B].

    Args:
        num_envs: Number of bandits, B.
        num_arms, tasks, horizon: As in `BanditEnv`.
        device, generator, autoreset_mode: As in `envs.base.tensor.TensorEnv`.
        validate_actions: Refuse arms that do not exist. Done on the CPU only: elsewhere the
            check would have to wait for the device.

    Raises:
        ValueError: If a setting is out of range.
    """

    task_type = BanditTask
    step_options = ("uniforms",)
    reward_range = (0.0, 1.0)

    def __init__(
        self,
        num_envs: int = 1,
        *,
        num_arms: int = 5,
        tasks: TaskSource[BanditTask] | Sequence[BanditTask] | None = None,
        horizon: int = 100,
        device: torch.device | str = "cpu",
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.DISABLED,
        validate_actions: bool = True,
    ) -> None:
        source, self.num_arms = bandit_settings(num_arms, tasks)
        super().__init__(
            num_envs,
            source,
            horizon,
            {"probabilities": (self.num_arms,)},
            Box(0.0, 1.0, (1,), np.float32),
            Discrete(self.num_arms),
            device=device,
            generator=generator,
            autoreset_mode=autoreset_mode,
        )
        self._validate = validate_actions and self.device.type == "cpu"

    def _begin(self, started: torch.Tensor | None) -> None:
        pass  # the arms are all there is

    def _read_actions(self, actions: Any) -> torch.Tensor:
        return self._read_discrete(actions, self.num_arms, validate=self._validate)

    def _advance(self, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        (uniforms,) = self._random.next()
        chances = self._params[0].gather(1, actions[:, None])[:, 0]
        return (uniforms < chances).to(torch.float32), None

    def _observe(self) -> torch.Tensor:
        return torch.zeros(self.num_envs, 1, dtype=torch.float32, device=self.device)

    def _check_parameters(self, *parameters: torch.Tensor) -> None:
        (chances,) = parameters
        if not bool(((chances >= 0) & (chances <= 1)).all()):  # NaN is neither
            raise ValueError("tasks given as numbers must be probabilities in [0, 1]")

    def _check_task(self, task: Any) -> BanditTask:
        return check_arms(super()._check_task(task), self.num_arms)


def bandit_settings(
    num_arms: int, tasks: TaskSource[BanditTask] | Sequence[BanditTask] | None
) -> tuple[TaskSource[BanditTask], int]:
    """Returns the source of bandits, and the number of their arms.

    Raises:
        ValueError: If bandits of a set differ in their number of arms.
    """
    source = BanditTasks(num_arms) if tasks is None else as_source(tasks, BanditTask, BanditTasks)
    if isinstance(source, BanditTasks):
        return source, source.num_arms
    first, *rest = (task.num_arms for task in source)  # type: ignore[attr-defined]
    if any(number != first for number in rest):
        raise ValueError("the bandits differ in their number of arms: make an environment for each")
    return source, first


def check_arms(task: BanditTask, num_arms: int) -> BanditTask:
    """The task itself, if it has `num_arms` arms.

    Raises:
        ValueError: If it has not.
    """
    if task.num_arms != num_arms:
        raise ValueError(
            f"task {task.task_id} has {task.num_arms} arms, this environment {num_arms}: make an "
            f"environment with num_arms={task.num_arms}"
        )
    return task


@dataclass(frozen=True)
class Bandit(BuiltIn):
    """RL^2's Bernoulli bandits; an episode is ``horizon`` pulls.

    Attributes:
        arms: Arms of the bandit.
    """

    name: ClassVar[str] = "bandit"
    has_goal: ClassVar[bool] = False
    observation: ClassVar[Space[Any]] = Box(0.0, 1.0, (1,), np.float32)

    horizon: int = 10
    arms: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        whole_number(self.arms, "arms", least=2)  # one arm is no choice

    @property
    def actions(self) -> Space[Any]:
        """The arms."""
        return Discrete(self.arms)

    @cached_property
    def splits(self) -> Any:
        """Probabilities, drawn."""
        return Family(BanditTasks(self.arms))

    @property
    def vector_env(self) -> Any:
        """Maker of bandits, as a tensor program."""
        return partial(BanditVectorEnv, num_arms=self.arms)

    def anchors(self, tasks: Sequence[Any]) -> Anchors:
        """Returns of random arms, and of the best one."""
        return Anchors(*bandit_reference_returns(tasks, horizon=self.horizon))
