"""Steps per second of CPU time, one thread: the tensor twin beside Minigrid itself.

Everything is measured in one process, in interleaved rounds, with random actions drawn beforehand,
observations and resets included. Every environment of a batch has a grid of its own. The figure is
the median over the rounds. See README.md for the command.
"""

from __future__ import annotations

import argparse
import os
from statistics import median

os.environ.setdefault("OMP_NUM_THREADS", "1")

import gymnasium
import minigrid  # noqa: F401  # registers its environments
import torch
from gymnasium.vector import AutoresetMode
from minigrid.wrappers import ImgObsWrapper

import envs
from benchmarks.interleaved import Contestant, rates, single
from envs.minigrid.views import Observe

FORMS: tuple[Observe, ...] = ("image", "codes", "onehot")
NUM_GRIDS = 1000
NUM_ACTIONS = 7
LEAST_STEPS = 100


def twin(env_id: str, batch: int, observe: Observe, *, autoreset: bool) -> Contestant:
    mode = AutoresetMode.SAME_STEP if autoreset else AutoresetMode.DISABLED
    tasks = envs.minigrid_tasks(env_id, seeds=range(NUM_GRIDS))
    env = envs.MinigridVectorEnv(
        batch, tasks=tasks, observe=observe, autoreset_mode=mode, validate_actions=False
    )
    length = min(env.horizon, max(LEAST_STEPS, 3_000 // batch))
    actions = torch.randint(NUM_ACTIONS, (length, batch)).unbind(0)
    env.reset(seed=0)

    def play() -> None:
        if not autoreset:
            env.reset()
        for action in actions:
            env.step(action)

    name = f"twin, {observe}" + (", each begins again at its end" if autoreset else "")
    return Contestant(name, batch, length * batch, play)


def contestants(env_id: str, batches: list[int]) -> list[Contestant]:
    theirs = ImgObsWrapper(gymnasium.make(env_id))  # type: ignore[no-untyped-call]
    ours = gymnasium.make("metarl/Minigrid-v0", tasks=env_id)
    field = [
        single("Minigrid, ImgObs", theirs, NUM_ACTIONS, 1500),
        single('gymnasium.make("metarl/Minigrid-v0")', ours, NUM_ACTIONS, 1500),
    ]
    for batch in batches:
        field += [
            twin(env_id, batch, form, autoreset=False) for form in ("image", "codes", "onehot")
        ]
        field.append(twin(env_id, batch, "image", autoreset=True))
    return field


def measure(env_id: str, batches: list[int], rounds: int) -> None:
    field = contestants(env_id, batches)
    medians = [median(found) for found in rates(field, rounds)]
    print(f"\n{env_id}\n\n| environment | B | million steps/s | us a call | x Minigrid |")
    print("|---|---:|---:|---:|---:|")
    for c, rate in zip(field, medians, strict=True):
        print(
            f"| {c.name} | {c.batch:,} | {rate / 1e6:.3g} | {1e6 * c.batch / rate:.0f} "
            f"| {rate / medians[0]:,.1f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="the median of this many is shown")
    parser.add_argument("--batches", type=int, nargs="+", default=[30, 1024, 8192])
    parser.add_argument(
        "--ids", nargs="+", default=["MiniGrid-MultiRoom-N6-v0", "MiniGrid-KeyCorridorS3R3-v0"]
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for env_id in arguments.ids:
        measure(env_id, arguments.batches, arguments.rounds)


if __name__ == "__main__":
    main()
