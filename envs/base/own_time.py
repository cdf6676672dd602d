"""Episodes of a tensor environment that start and end in their own time.

Where episodes can terminate early, and the environment starts the next ones itself (SAME_STEP,
NEXT_STEP), each has a clock of its own. Whatever a step does, it does everywhere, masked: the host
does not know where episodes end, and never asks.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from gymnasium.vector import AutoresetMode

from .arrays import StepResult, as_tensor
from .tasks import Tensors

__all__ = ["OwnTime", "rows_where"]


class OwnTime:
    """Part of `TensorEnv` where each episode has its own clock. A mixin of it alone."""

    device: torch.device
    autoreset_mode: AutoresetMode
    horizon: Any
    _out_of_step: bool
    _zero: torch.Tensor
    _ended: torch.Tensor
    _false: torch.Tensor
    _told: dict[str, torch.Tensor]
    _steps: torch.Tensor
    _fixed: Tensors | None
    _params: Tensors

    @abstractmethod
    def _begin(self, started: torch.Tensor | None) -> None: ...

    @abstractmethod
    def _read_actions(self, actions: Any) -> torch.Tensor: ...

    @abstractmethod
    def _advance(self, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]: ...

    @abstractmethod
    def _observe(self) -> torch.Tensor: ...

    @abstractmethod
    def _drawn_tasks(self, where: torch.Tensor | None) -> Tensors: ...

    @abstractmethod
    def _check_shape(self, actions: torch.Tensor) -> torch.Tensor: ...

    @abstractmethod
    def _info(self) -> dict[str, Any]: ...

    @property
    def out_of_step(self) -> bool:
        """Whether each episode starts and ends in its own time."""
        return self._out_of_step

    def begin_again(self, where: torch.Tensor | None = None) -> torch.Tensor:
        """Starts another episode on the task at hand where `where`, bool [B], is True.

        Only where each episode ends in its own time (`out_of_step`). There the next step is this
        episode's first, in mode NEXT_STEP too. Never waits for the device.

        Args:
            where: None: wherever one has just ended; the next step then draws no tasks.

        Returns:
            The observations now, of all environments.

        Raises:
            ValueError: If the episodes go in lock step.
        """
        if not self.out_of_step:
            raise ValueError("these episodes go in lock step: reset them with same_task")
        begun = self._ended if where is None else where
        self._begin(begun)
        self._steps = self._steps.masked_fill(begun, 0)
        self._ended = self._false if where is None else self._ended & ~where
        return self._observe()

    def _step_each(self, actions: Any) -> StepResult:
        """A step where each episode ends in its own time, under SAME_STEP and NEXT_STEP."""
        next_step = self.autoreset_mode is AutoresetMode.NEXT_STEP
        waiting = self._ended  # under NEXT_STEP: what ended in the step before, and starts again
        if next_step:  # whatever the actions are there, they are ignored
            numbers = self._check_shape(as_tensor(actions, self.device, name="actions"))
            actions = numbers.masked_fill(_along(waiting, numbers), 0)
        rewards, reached = self._advance(self._read_actions(actions))
        assert reached is not None
        reached = reached & ~waiting
        self._steps = self._steps + 1
        truncated = (self._steps == self.horizon) & ~reached & ~waiting
        done = reached | truncated
        if next_step:
            self._ended = done
            if waiting is not self._false:  # else the host knows that none is
                self._restart(waiting)
            rewards = torch.where(waiting, self._zero, rewards)
            return self._observe(), rewards, reached, truncated, self._info() | self._told
        final = self._observe()
        self._restart(done)
        info = self._info() | {"final_obs": final, "_final_obs": done}
        info |= {"final_info": {}, "_final_info": done, **self._told}
        return self._observe(), rewards, reached, truncated, info

    def _restart(self, where: torch.Tensor) -> None:
        """Starts episodes where `where`, bool [B], is True: on new tasks, unless they are set."""
        if self._fixed is None:
            fresh = self._drawn_tasks(where)
            if fresh is not self._params:  # else none was drawn
                self._params = tuple(
                    rows_where(where, new, old)
                    for new, old in zip(fresh, self._params, strict=True)
                )
        self._begin(where)
        self._steps = self._steps.masked_fill(where, 0)


def rows_where(where: torch.Tensor, new: torch.Tensor, old: torch.Tensor) -> torch.Tensor:
    """Rows of `new`, [B, ...], where `where`, bool [B], is True, else of `old`."""
    return torch.where(_along(where, old), new, old)


def _along(where: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Bool [B] as [B, 1, ...], along the first axis of `values`."""
    return where.view(-1, *[1] * (values.dim() - 1))
