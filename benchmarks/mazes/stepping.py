"""Steps per second of CPU time, one thread: another layout in each maze, beside one shared layout.

    OMP_NUM_THREADS=1 python -m benchmarks.mazes.stepping

Mazes are minimum spanning trees of 13 x 13, episodes have 200 steps and a find sends the agent back
to its start. Everything is measured in one process, in interleaved rounds, with actions drawn
beforehand, observations in float32 and resets counted; the best of the rounds is shown. Beside
them play MiniGrid's own environment, and the tables of the mazes alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import minigrid  # noqa: F401  # registers its environments
import numpy as np
import torch
from minigrid.wrappers import ImgObsWrapper

from benchmarks.interleaved import Contestant, rates, single
from envs import GridMazeVectorEnv, MazeFamily, TaskSet
from envs.maze.dynamics import step_many
from metarl.devices import keep_freed_memory

SIDE, HORIZON, BANK = 13, 200, 1024
BATCHES = (30, 1024, 8192)
FAMILY = MazeFamily("mst", SIDE)
FROM_BANK = f"drawn from a bank of {BANK:,}"
KINDS: dict[str, Callable[[], Any]] = {
    "one layout for all": lambda: None,
    FROM_BANK: lambda: TaskSet(FAMILY.sample(BANK, np.random.default_rng(0))),
    "fresh in each episode": lambda: FAMILY,
}
VIEWS = {
    "3 x 3": {"view": "3x3"},
    "5 x 5": {"view": "5x5"},
    "turning, 5 x 5 see-through": {"view": "egocentric-5", "see_through": True},
    "turning, 7 x 7 with shadows": {"view": "egocentric-7"},
}


ALONE = ("3 x 3", "turning, 7 x 7 with shadows")
"""Views that are played by the tables alone, too."""


def mazes_of(view: str, tasks: Any, batch: int) -> GridMazeVectorEnv:
    """B mazes as one tensor program."""
    return GridMazeVectorEnv(
        batch,
        size=SIDE,
        tasks=tasks,
        horizon=HORIZON,
        respawn="start",
        validate_actions=False,
        generator=torch.Generator().manual_seed(0),
        **VIEWS[view],  # type: ignore[arg-type]
    )


def drawn(env: GridMazeVectorEnv, batch: int) -> tuple[Sequence[torch.Tensor], int]:
    """Random actions of an episode, and how many episodes are enough to be timed."""
    num_actions = int(env.single_action_space.n)  # type: ignore[attr-defined]
    return torch.randint(num_actions, (HORIZON, batch)).unbind(0), max(1, 2000 // batch)


def mazes(view: str, layouts: str, tasks: Any, batch: int) -> Contestant:
    """These mazes with actions drawn beforehand."""
    env = mazes_of(view, tasks, batch)
    actions, episodes = drawn(env, batch)

    def play() -> None:
        for _ in range(episodes):
            env.reset()
            for action in actions:
                env.step(action)

    return Contestant(f"{view} | {layouts}", batch, episodes * HORIZON * batch, play)


def tables_alone(view: str, tasks: Any, batch: int) -> Contestant:
    """Moves, finds, the way back and 8-bit views by the same tables, in a loop of its own.

    No rewards, no resets, no environment around, and views of 7 x 7 that are not made float32.
    """
    env = mazes_of(view, tasks, batch)
    env.reset()
    bank, starts, goals = env._bank, env._starts, env._goal_cells
    (actions, episodes), square = drawn(env, batch), view == "3 x 3"

    def play() -> None:
        for _ in range(episodes):
            places = starts
            for action in actions:
                _, reached, hits = step_many(bank.next_place, places, action, goals, not square)
                places = torch.where(hits, starts, reached)
                seen = torch.index_select(bank._seen, 0, places)
                if square:
                    torch.index_select(bank._patterns, 0, seen)

    name = f"{view} | {FROM_BANK}, tables alone"
    return Contestant(name, batch, episodes * HORIZON * batch, play)


def contestants() -> list[Contestant]:
    """All, MiniGrid first."""
    four_rooms = ImgObsWrapper(gymnasium.make("MiniGrid-FourRooms-v0"))  # type: ignore[no-untyped-call]
    field = [single("turning, 7 x 7 with shadows | MiniGrid-FourRooms", four_rooms, 3, 2000)]
    for layouts, make in KINDS.items():
        tasks = make()
        field += [mazes(view, layouts, tasks, batch) for view in VIEWS for batch in BATCHES]
        if layouts == FROM_BANK:
            field += [tables_alone(view, tasks, batch) for view in ALONE for batch in BATCHES]
    return field


def main() -> None:
    """Measures and prints a table of millions of steps per second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="the best of this many is shown")
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    torch.manual_seed(0)
    keep_freed_memory()
    field = contestants()
    best = [max(found) / 1e6 for found in rates(field, rounds)]
    print("| view | layouts | " + " | ".join(f"B = {batch:,}" for batch in BATCHES) + " |")
    print("|---|---|" + "---:|" * len(BATCHES))
    print(f"| {field[0].name} | {best[0]:.3g} (B = 1) | | |")
    for start in range(1, len(field), len(BATCHES)):
        row = " | ".join(f"{rate:.3g}" for rate in best[start : start + len(BATCHES)])
        print(f"| {field[start].name} | {row} |")


if __name__ == "__main__":
    main()
