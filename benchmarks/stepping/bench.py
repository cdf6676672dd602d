"""Steps per second of CPU time, one thread: our mazes beside MiniGrid and a plain Python loop.

Everything is measured in one process, in interleaved rounds, with actions drawn beforehand and
resets counted. The figure is the median over the rounds. See README.md for the command.
"""

from __future__ import annotations

import argparse
import os
from statistics import median

os.environ.setdefault("OMP_NUM_THREADS", "1")

import gymnasium
import minigrid  # noqa: F401  # registers its environments
import numpy as np
import torch
from minigrid.wrappers import ImgObsWrapper

import envs
from benchmarks.interleaved import Contestant, rates, single

SIZE, HORIZON = 13, 200


def tensor_mazes(batch: int, *, meta: bool, validate: bool = False) -> Contestant:
    env = envs.GridMazeVectorEnv(batch, size=SIZE, horizon=HORIZON, validate_actions=validate)
    env.reset(seed=0)
    top = envs.VectorMetaObservation(env) if meta else env
    actions = torch.randint(4, (HORIZON, batch)).unbind(0)
    episodes = max(1, 3000 // batch)

    def play() -> None:
        for _ in range(episodes):
            top.reset()
            for action in actions:
                top.step(action)

    name = "metarl tensor" + (" + 17 inputs" if meta else "") + (" + checks" if validate else "")
    return Contestant(name, batch, episodes * HORIZON * batch, play)


def python_loop(batch: int) -> Contestant:
    """The same mazes as one would first write them: a loop over mazes, a slice for what is seen."""
    layout = envs.pillar_maze(SIZE)
    walls = layout.walls.astype(np.float32)
    blocked = layout.walls.tolist()
    free = layout.free_cells
    moves = ((-1, 0), (1, 0), (0, -1), (0, 1))
    rng = np.random.default_rng(0)
    actions = rng.integers(4, size=(HORIZON, batch))

    def play() -> None:
        goals = [free[k] for k in rng.integers(len(free), size=batch)]
        places = [layout.centre] * batch
        for t in range(HORIZON):
            seen = np.empty((batch, 9), dtype=np.float32)
            rewards = np.zeros(batch, dtype=np.float32)
            for b in range(batch):
                row, column = places[b]
                down, right = moves[actions[t, b]]
                if not blocked[row + down][column + right]:
                    row, column = row + down, column + right
                if (row, column) == goals[b]:
                    rewards[b] = 10.0
                    while (row, column) == goals[b]:
                        row, column = free[rng.integers(len(free))]
                places[b] = (row, column)
                seen[b] = walls[row - 1 : row + 2, column - 1 : column + 2].reshape(-1)

    return Contestant("plain Python loop", batch, HORIZON * batch, play)


def contestants() -> list[Contestant]:
    four_rooms = ImgObsWrapper(gymnasium.make("MiniGrid-FourRooms-v0"))  # type: ignore[no-untyped-call]
    ours = gymnasium.make("metarl/GridMaze-v0", size=SIZE, horizon=HORIZON)
    return [
        single("MiniGrid-FourRooms, ImgObs", four_rooms, 3, 2000),
        python_loop(30),
        single("metarl single (gymnasium.make)", ours, 4, 6000),
        tensor_mazes(30, meta=False, validate=True),
        *(
            tensor_mazes(batch, meta=meta)
            for batch in (30, 1024, 8192, 65536)
            for meta in (False, True)
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="the median of this many is shown")
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    torch.manual_seed(0)
    field = contestants()
    medians = [median(found) for found in rates(field, rounds)]
    print("| environment | B | million steps/s | us a call | x MiniGrid | x Python loop |")
    print("|---|---:|---:|---:|---:|---:|")
    for c, rate in zip(field, medians, strict=True):
        print(
            f"| {c.name} | {c.batch:,} | {rate / 1e6:.3g} | {1e6 * c.batch / rate:.1f} "
            f"| {rate / medians[0]:,.1f} | {rate / medians[1]:,.1f} |"
        )


if __name__ == "__main__":
    main()
