"""Return of whole trials on decision processes, beside algorithms that know the family.

``python -m benchmarks.adaptation.decision_processes RUN [--trials 4]``, where RUN is a folder of
seeds that `experiments.maze_adapt evaluate` has been over. The algorithms play the very processes
that the agents were evaluated on, with rewards and moves of their own. Intervals are over tasks,
and over seeds of an agent.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from envs import MDPTask
from envs.mdp.algorithms import Belief, best_policy, greedy, myopic, play_mdps, psrl
from metarl.runs.seeds import find_runs
from metarl.stats import bootstrap_ci, crossed

HORIZON = 10
"""Steps of an episode, as published."""

ALGORITHMS = {
    "posterior mean, planned every step": partial(play_mdps, greedy, every_step=True),
    "the same, planned every episode": partial(play_mdps, greedy),
    "highest mean reward, no plan": partial(play_mdps, myopic, every_step=True),
    "PSRL": partial(play_mdps, psrl),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--trials", type=int, default=4, help="of the algorithms, a process each")
    arguments = parser.parse_args()
    runs = find_runs(arguments.run)
    found = [json.loads((run.path / "adaptation.json").read_text()) for run in runs]
    returns = np.array([np.mean(np.sum(one["returns"], axis=1), axis=-1) for one in found])
    show("agents", returns)
    for seed in returns if len(returns) > 1 else ():
        show("  one of them", seed[None])
    tasks = [MDPTask.from_json(json.dumps(task)) for task in found[0]["tasks"]]
    num_episodes = len(found[0]["returns"][0])
    for name, values in of_algorithms(tasks, num_episodes, arguments.trials).items():
        show(name, values[None])


def of_algorithms(tasks: list[MDPTask], num_episodes: int, trials: int) -> dict[str, Any]:
    """Mean return of a trial, [tasks], of each algorithm; the oracle and random actions last."""
    sides = zip(*(task.arrays() for task in tasks), strict=True)
    transitions, means = (torch.as_tensor(np.repeat(np.stack(s), trials, 0)) for s in sides)
    policy = best_policy(transitions, means, HORIZON)
    players = ALGORITHMS | {
        "oracle": partial(play_mdps, lambda *_: policy),
        "random actions": partial(play_mdps, uniform, every_step=True),
    }
    generator = torch.Generator().manual_seed(0)
    place = num_episodes, HORIZON, generator
    earned = {name: play(transitions, means, *place) for name, play in players.items()}
    return {n: paid.sum((1, 2)).view(-1, trials).mean(1).numpy() for n, paid in earned.items()}


def uniform(belief: Belief, steps: int, generator: torch.Generator) -> torch.Tensor:
    """Any action, whatever was seen."""
    num_processes, num_states, num_actions = belief.rewards.shape
    size = steps, num_processes, num_states
    return torch.randint(num_actions, size, generator=generator)


def show(name: str, values: NDArray[np.float64]) -> None:
    """Mean and interval of returns [seeds, tasks]."""
    rng = np.random.default_rng(0)
    estimate, low, high = bootstrap_ci(values, rng=rng, resampling=crossed, num_resamples=2000)
    print(f"{name:36} {estimate:7.2f} [{low:.2f}, {high:.2f}]", flush=True)


if __name__ == "__main__":
    main()
