"""Mazes of one layout to the last bit: traces recorded before mazes could have several.

Runs are resumed and figures repeated to the bit, so that what seeded mazes show must not change. A
trace is a hash of all that some episodes show.
"""

import hashlib
from typing import Any

import numpy as np
import pytest
import torch

from envs import GridMazeEnv, GridMazeVectorEnv

MODES = ("Disabled", "NextStep", "SameStep")

# By start, respawn, position and teleport: the single environment's trace, then the tensor twin's
# in each mode.
TRACES: dict[tuple[str, str, bool, str], tuple[str, ...]] = {
    ("centre", "random", False, "free"): (
        "83400b1100a9",
        "b3f691fa4e04",
        "b3f691fa4e04",
        "e0dc7adf9b2d",
    ),
    ("centre", "random", False, "interior"): ("6a7288b34a49", "833adc38b768"),
    ("centre", "random", True, "free"): (
        "375961b01e9b",
        "39aad7163e31",
        "39aad7163e31",
        "cd0bc8cb550b",
    ),
    ("centre", "random", True, "interior"): ("d8dc5bc93c1c", "e8bb730770ed"),
    ("centre", "end", False, "free"): (
        "7f9ac0183a6c",
        "c3d837c352ee",
        "41c56e8e9028",
        "da7bc7963959",
    ),
    ("centre", "end", False, "interior"): ("7f9ac0183a6c", "c3d837c352ee"),
    ("centre", "end", True, "free"): (
        "f4e232e41722",
        "e362785bafcb",
        "7c99569dc30d",
        "9e68dc2bc8ae",
    ),
    ("centre", "end", True, "interior"): ("f4e232e41722", "e362785bafcb"),
    ("random", "random", False, "free"): (
        "af1929bb72f0",
        "33482abf0a2d",
        "33482abf0a2d",
        "26200deb2517",
    ),
    ("random", "random", False, "interior"): ("9415a54ea0d4", "aedc14166523"),
    ("random", "random", True, "free"): (
        "a764ed201120",
        "e832d8311d52",
        "e832d8311d52",
        "005489663515",
    ),
    ("random", "random", True, "interior"): ("8e827a5bcfae", "4fac3f540d7f"),
    ("random", "end", False, "free"): (
        "4226b1ccdf9e",
        "674bfbf6e4b7",
        "e76c9b59b139",
        "3a07abbf682e",
    ),
    ("random", "end", False, "interior"): ("4226b1ccdf9e", "674bfbf6e4b7"),
    ("random", "end", True, "free"): (
        "2711fb5fb2ad",
        "91d97debdfcb",
        "5306134a5750",
        "82dd3ad6a7fe",
    ),
    ("random", "end", True, "interior"): ("2711fb5fb2ad", "91d97debdfcb"),
}


def digest(parts: list[Any]) -> str:
    content = hashlib.sha256()
    for part in parts:
        array = np.ascontiguousarray(part.numpy() if isinstance(part, torch.Tensor) else part)
        content.update(f"{array.dtype} {array.shape}".encode() + array.tobytes())
    return content.hexdigest()[:12]


def many(mode: str, **options: Any) -> str:
    generators = [torch.Generator().manual_seed(seed) for seed in range(2)]
    env = GridMazeVectorEnv(
        8, size=9, horizon=25, generator=generators, autoreset_mode=mode, **options
    )
    rng = torch.Generator().manual_seed(99)
    parts: list[Any] = []
    for _ in range(2):
        observations, info = env.reset()
        parts += [observations, info["goals"], *info["task_parameters"]]
        for _ in range(25):
            *result, info = env.step(torch.randint(4, (8,), generator=rng))
            parts += [*result, env.agent_cells, env.agent_positions]
    return digest(parts)


def alone(**options: Any) -> str:
    env = GridMazeEnv(size=9, horizon=25, **options)
    rng = np.random.default_rng(3)
    parts: list[Any] = [env.reset(seed=7)[0]]
    for _ in range(75):
        observation, reward, terminated, truncated, _ = env.step(int(rng.integers(4)))
        parts += [observation, reward, terminated, truncated, env.agent_position]
        if terminated or truncated:
            parts.append(env.reset()[0])
    return digest(parts)


@pytest.mark.parametrize("options", TRACES, ids=str)
def test_seeded_mazes_are_those_they_were(options: tuple[str, str, bool, str]) -> None:
    names = ("start", "respawn", "position", "teleport")
    settings = dict(zip(names, options, strict=True)) | {"wall_penalty": 0.25}
    single, *twins = TRACES[options]
    assert alone(**settings) == single
    for mode, twin in zip(MODES, twins, strict=False):
        assert many(mode, **settings) == twin
