"""What all tensor environments share: B environments on a torch device, seeded, reset and stepped.

An environment derives from `TensorEnv` and says how reset options are read, how episodes start and
what a step does. What is asked of it is checked before anything is changed: a refused reset leaves
the running episodes and the generators as they are.

Results are tensors on the device. `gymnasium.make_vec` makes the same environments speak NumPy
instead (`envs.vector_entry_points`), as its users and wrappers expect.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Space
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from ..maze.settings import check_options
from .arrays import numpy_info, numpy_step, to_numpy
from .clock import OneClock
from .generator_blocks import GeneratorBlocks
from .whole_numbers import whole_number

__all__ = ["Generators", "Seed", "StepResult", "TensorEnv"]

StepResult = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, dict[str, Any]]
Generators = torch.Generator | Sequence[torch.Generator] | None
MOST_ENVS = 2**24
"""More environments than this are a slip, and would exhaust the memory of the host."""

Seed = int | Sequence[int | None] | None


class TensorEnv(OneClock, VectorEnv[Any, Any, Any]):
    """B environments on a torch device.

    Attributes:
        options: The reset options it knows, ``reset_mask`` among them.
        speaks_numpy: Whether `reset` and `step` return NumPy arrays instead of tensors.

    Args:
        num_envs: Number of environments, B, at least 1.
        observation_space: Of one environment.
        action_space: Of one environment.
        device: Where all tensors live.
        generator: One generator on `device`, or G of them, of which each drives B / G
            environments in a row. By default the environment's own.
        autoreset_mode: What happens at the end of an episode.

    Raises:
        ValueError: If a setting is out of range.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012  # Gymnasium's own declaration
        "render_modes": [],
        "autoreset_mode": AutoresetMode.DISABLED,
    }
    options: ClassVar[tuple[str, ...]] = ("reset_mask",)
    speaks_numpy: bool = False

    def __init__(
        self,
        num_envs: int,
        observation_space: Space[Any],
        action_space: Space[Any],
        *,
        device: torch.device | str,
        generator: Generators,
        autoreset_mode: AutoresetMode | str,
    ) -> None:
        self.num_envs = whole_number(num_envs, "num_envs", most=MOST_ENVS)
        self.device = torch.device(device)
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {**self.metadata, "autoreset_mode": self.autoreset_mode}
        self.single_observation_space = observation_space
        self.single_action_space = action_space
        self.observation_space = batch_space(observation_space, self.num_envs)
        self.action_space = batch_space(action_space, self.num_envs)
        self._generators = GeneratorBlocks(generator, self.num_envs, self.device)
        self._zero = torch.zeros((), dtype=torch.float32, device=self.device)
        self._false = torch.zeros(self.num_envs, dtype=torch.bool, device=self.device)
        self._true = ~self._false
        self._elapsed: int | None = None

    # What an environment says ---------------------------------------------------------------

    @abstractmethod
    def _read_options(self, chosen: dict[str, Any]) -> Any:
        """What `_start_all` needs of the options, checked. Changes nothing."""

    @abstractmethod
    def _start_all(self, read: Any) -> tuple[torch.Tensor, dict[str, Any]]:
        """Starts an episode everywhere."""

    @abstractmethod
    def step_tensors(self, actions: Any) -> StepResult:
        """`step`, always with tensors."""

    # The episode ----------------------------------------------------------------------------

    def reset(
        self, *, seed: Seed = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Starts an episode everywhere.

        Args:
            seed: Seeds the generator; with G generators, number g gets ``seed + g``, or entry g
                of a sequence. A sequence of B seeds gives each environment a generator of its own,
                unless the generators were given.
            options: See the class.

        Returns:
            The first observations, float32 [B, ...], and the info dict.

        Raises:
            ValueError: If a seed or an option is unknown, of the wrong form or out of range.
            TypeError: If a task is of another kind.
        """
        observations, info = self.reset_tensors(seed, options)
        if self.speaks_numpy:
            return to_numpy(observations), numpy_info(info, self.num_envs)
        return observations, info

    def reset_tensors(
        self, seed: Seed = None, options: dict[str, Any] | None = None
    ) -> tuple[torch.Tensor, dict[str, Any]]:
        """`reset`, always with tensors."""
        chosen = check_options(options, self.options)
        mask = chosen.get("reset_mask")
        if mask is not None and not bool(np.all(np.asarray(mask))):
            raise ValueError(
                "reset_mask leaves some environments running, but in lock step they are reset "
                "together: use a mask of True, AutoresetMode.SAME_STEP, or "
                "gymnasium.make_vec(..., vectorization_mode='sync')"
            )
        read = self._read_options(chosen)
        if seed is not None:
            self._generators.seed(seed)
        return self._start_all(read)

    def step(self, actions: Any) -> Any:
        """Does one action everywhere.

        Args:
            actions: On `device`; anything ``torch.as_tensor`` takes is converted.

        Returns:
            Observations float32 [B, ...], the rewards of these actions float32 [B], terminated
            bool [B], truncated bool [B], info. Tensors of flags may be shared between steps: do
            not write into them. Where `speaks_numpy`, arrays, with rewards float64.

        Raises:
            gymnasium.error.ResetNeeded: Before the first reset, or past the end of an episode.
            ValueError: If actions are of the wrong shape or (where checked) out of range.
        """
        result = self.step_tensors(actions)
        return numpy_step(*result) if self.speaks_numpy else result

    def _step_past_the_end(self) -> StepResult:
        """A step after all episodes have ended: under NEXT_STEP it starts the next ones."""
        if self._elapsed is None or self.autoreset_mode is not AutoresetMode.NEXT_STEP:
            raise gymnasium.error.ResetNeeded(
                "call reset() before the first step"
                if self._elapsed is None
                else f"the episode ended after {self.horizon} steps: call reset(), or make the "
                f"environment with autoreset_mode=AutoresetMode.SAME_STEP"
            )
        first, info = self._start_all(self._read_options({}))
        return first, self._zero.expand(self.num_envs).clone(), self._false, self._false, info

    def _finish_all(
        self, rewards: torch.Tensor, terminated: torch.Tensor, truncated: torch.Tensor
    ) -> StepResult:
        """The last step of all episodes at once, under SAME_STEP."""
        final = self._observe()
        first, info = self._start_all(self._read_options({}))
        info |= {"final_obs": final, "_final_obs": self._true}
        info |= {"final_info": {}, "_final_info": self._true}
        return first, rewards, terminated, truncated, info

    @abstractmethod
    def _observe(self) -> torch.Tensor:
        """float32 [B, ...], a new tensor."""

    def _check_running(self) -> None:
        if self._elapsed is None:
            raise gymnasium.error.ResetNeeded("there is no task yet: call reset() first")

    def _check_shape(self, actions: torch.Tensor) -> torch.Tensor:
        if actions.shape != self.action_space.shape:
            raise ValueError(
                f"actions have shape {tuple(actions.shape)}, expected {self.action_space.shape}: "
                f"one for each environment"
            )
        return actions
