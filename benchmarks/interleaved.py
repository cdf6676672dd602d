"""Steps per second of CPU time of several environments, played in interleaved rounds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import gymnasium
import numpy as np


@dataclass(frozen=True)
class Contestant:
    """`play` makes `steps` steps, resets included, in `batch` environments side by side."""

    name: str
    batch: int
    steps: int
    play: Callable[[], None]


def single(name: str, env: gymnasium.Env, num_actions: int, steps: int) -> Contestant:
    """One environment by itself, with random actions drawn beforehand."""
    actions = np.random.default_rng(0).integers(num_actions, size=steps).tolist()
    env.reset(seed=0)

    def play() -> None:
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()

    return Contestant(name, 1, steps, play)


def rates(field: Sequence[Contestant], rounds: int) -> list[list[float]]:
    """Steps per second of CPU time of each, in each round, after a round that does not count."""
    for contestant in field:
        contestant.play()
    seconds = [[cpu_seconds(c.play) for c in field] for _ in range(rounds)]
    return [[c.steps / row[k] for row in seconds] for k, c in enumerate(field)]


def cpu_seconds(play: Callable[[], object]) -> float:
    """CPU time of one play."""
    started = time.process_time()
    play()
    return time.process_time() - started
