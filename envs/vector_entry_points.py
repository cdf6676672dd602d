"""Vector entry points of our ids for `gymnasium.make_vec`, in Gymnasium's own conventions.

    >>> mazes = gymnasium.make_vec("metarl/GridMaze-v0", num_envs=64)                   # NumPy
    >>> mazes = gymnasium.make_vec("metarl/GridMaze-v0", num_envs=64, device="cuda")    # tensors

Everything around `make_vec`, Gymnasium's own vector wrappers above all, is written for arrays of
NumPy and for the autoreset mode NEXT_STEP. Both are therefore the default here: such a wrapper, or
the usual loop, works on what `make_vec` returns. A device is a word of torch's, and who names one
wants tensors there: with ``device=`` (``"cpu"`` too) the same environment speaks tensors.

The classes themselves (`envs.GridMazeVectorEnv` and its siblings) always make tensors, and are
DISABLED by default, as metarl's collectors, which reset whole batches, want them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import torch
from gymnasium.vector import AutoresetMode

from .base.clock import one_horizon
from .base.tensor import TensorEnv
from .families import FAMILIES

__all__ = ["make_vector"]


def __getattr__(folder: str) -> Callable[..., TensorEnv[Any]]:
    """Maker of the vector environments of a family, by the name of its folder."""
    if folder not in FAMILIES:
        raise AttributeError(f"module {__name__!r} has no attribute {folder!r}")
    family = import_module(f"{__package__}.{folder}")
    return partial(make_vector, getattr(family, f"{FAMILIES[folder]}VectorEnv"))


def make_vector(
    kind: Callable[..., TensorEnv[Any]],
    num_envs: int,
    *,
    device: torch.device | str | None = None,
    autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    max_episode_steps: int | None = None,
    render_mode: str | None = None,
    **settings: Any,
) -> TensorEnv[Any]:
    """An environment of `kind` for `gymnasium.make_vec`.

    Args:
        kind: Class of the environment.
        num_envs: Number of environments, B.
        device: Device of the tensors; None for arrays of NumPy (computed on the CPU).
        autoreset_mode: Behaviour at the end of an episode.
        max_episode_steps: The horizon, by its name in Gymnasium.
        render_mode: One of the class's, or None.
        settings: The others of `kind`.

    Raises:
        ValueError: If a setting is out of range, or `horizon` is below `max_episode_steps`.
    """
    if render_mode is not None:
        known = kind.metadata["render_modes"]  # type: ignore[attr-defined]
        if render_mode not in known:
            raise ValueError(
                f"render_mode must be None or one of {known} for these environments as one "
                f"program, got {render_mode!r}: single ones draw, with vectorization_mode='sync'"
            )
        settings["render_mode"] = render_mode
    if max_episode_steps is not None:
        settings["horizon"] = one_horizon(settings.get("horizon"), max_episode_steps)
    env = kind(num_envs, device=device or "cpu", autoreset_mode=autoreset_mode, **settings)
    env.speaks_numpy = device is None
    return env
