"""RL^2 and SB3's PPO on Minigrid: the same grids to train on, the same number of steps.

    python -m benchmarks.mazes.minigrid --ppo RUN [--lr LR] [--validation]
    python -m benchmarks.mazes.minigrid [RUN ...]

Each RUN is a folder of seed-N runs of ``experiments.maze train --mazes minigrid:ID``. With --ppo a
PPO is trained for each of its seeds, on the run's grids, from what an agent sees without a memory:
the view one-hot, its direction, and what the mission names. It plays the test grids that
``evaluate`` goes through (with --validation those to choose settings by), one episode each. Without
--ppo the evaluations of the runs (``experiments.maze evaluate RUN``) are read. Lines go to
minigrid.csv, in place of those of the same run and learner; the table is made from it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from stable_baselines3 import PPO

from benchmarks.csv_file import groups_of, read_csv, replace_rows
from benchmarks.mazes.report import group_of
from envs import MinigridVectorEnv
from envs.minigrid.problem import Minigrid
from metarl.evaluate.references import References, known_of
from metarl.runs.directory import RunDirectory
from metarl.runs.files import read_json
from metarl.runs.seeds import find_runs
from metarl.sb3 import TaskVecEnv
from metarl.stats import mean_and_interval

HERE = Path(__file__).parent
TABLE = HERE / "minigrid.csv"
NUM_TASKS = 1000
"""Episodes of a test, as `experiments.maze evaluate` has them."""

NUM_ENVS, NUM_STEPS = 64, 32
SETTINGS: dict[str, Any] = {"batch_size": 256, "n_epochs": 4, "gamma": 0.99, "ent_coef": 0.01}
"""Of PPO; two hidden layers of 64 units, tanh, as SB3 has them."""


def main() -> None:
    """Train or read, write the lines, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument("--ppo", type=Path)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--validation", action="store_true")
    asked = parser.parse_args()
    if asked.ppo is not None:
        for run in find_runs(asked.ppo):
            row = trained(run, asked.lr, validation=asked.validation)
            print(row)
            if not asked.validation:
                keep([row])
    rows = [row for folder in asked.runs for run in find_runs(folder) for row in evaluated(run)]
    keep(rows)
    print(table(read_csv(TABLE)))


def keep(rows: Sequence[Mapping[str, Any]]) -> None:
    """Write lines into the file, in place of those of the same run, seed and learner."""
    if rows:
        replace_rows(TABLE, rows, ("run", "seed", "learner", "episode"))


def evaluated(run: RunDirectory) -> Iterable[dict[str, Any]]:
    """What an evaluation says of each episode of a trial."""
    summary = read_json(run.path / "summary.json")
    by_episode = zip(summary["success_by_episode"], summary["return_by_episode"], strict=True)
    for episode, (success, mean) in enumerate(by_episode):
        yield {
            **described(run, "rl2", episode + 1, summary["env_steps"]),
            "num_tasks": summary["num_tasks"],
            "num_layouts": summary["num_layouts"],
            "layouts_trained_on": summary["layouts_trained_on"],
            "success": round(success, 4),
            "return": round(mean, 4),
            **_beside(summary, episode),
        }


def described(run: RunDirectory, learner: str, episode: int, steps: int) -> dict[str, Any]:
    """What a line is about."""
    return {
        "run": group_of(run),
        "env_id": run.config["environment"]["env_id"],
        "learner": learner,
        "seed": run.seed,
        "episode": episode,
        "env_steps": steps,
    }


def _beside(summary: Mapping[str, Any], episode: int) -> dict[str, Any]:
    """Returns of random actions, of the explorer in the same episode, and of the oracle."""
    episodes = len(summary.get("success_by_episode", (0,)))
    explored = summary.get("explorer_return_by_episode")
    found = summary.get("explorer_success_by_episode")
    whole = {name: summary[f"{name}_return"] for name in ("random", "oracle")}
    means = {name: value and round(value / episodes, 4) for name, value in whole.items()}
    return {
        "random": means["random"],
        "explorer": explored and round(explored[episode], 4),
        "explorer_success": found and round(found[episode], 4),
        "oracle": means["oracle"],
    }


def problem_of(run: RunDirectory) -> Minigrid:
    """The grids of a run, dealt out as there."""
    fields = run.config["environment"]
    names = ("env_id", "grids", "max_steps", "by", "salt")
    return Minigrid(**{name: fields[name] for name in names})


def trained(run: RunDirectory, lr: float, *, validation: bool) -> dict[str, Any]:
    """Train a PPO on the grids of a run for as many steps, and play unseen ones."""
    problem = problem_of(run)
    steps = int(run.load_checkpoint()["counted"])
    generator = torch.Generator().manual_seed(run.seed)
    env: MinigridVectorEnv = problem.vector_env(
        NUM_ENVS,
        tasks=problem.train,
        horizon=problem.horizon,
        generator=generator,
        autoreset_mode=AutoresetMode.SAME_STEP,
    )
    started = time.process_time()
    model = PPO(
        "MlpPolicy",
        TaskVecEnv(env),
        n_steps=NUM_STEPS,
        learning_rate=lambda left: lr * left,
        seed=run.seed,
        device="cpu",
        **SETTINGS,
    )
    model.learn(steps)
    print(f"{time.process_time() - started:.0f} CPU seconds")
    every = tuple(problem.validation if validation else problem.test)
    tasks = [every[n % len(every)] for n in range(NUM_TASKS)]
    rewards = played(model, problem, tasks, run.seed)
    references = References(known_of(problem, tasks, 1), problem.num_trained_on(tasks))
    summary = references.figures(rewards[None])
    return {
        **described(run, "sb3 ppo", 1, model.num_timesteps),
        "num_tasks": NUM_TASKS,
        "num_layouts": summary["num_layouts"],
        "layouts_trained_on": summary["layouts_trained_on"],
        "success": round(summary["success"], 4),
        "return": round(float(rewards.mean()), 4),
        **_beside(summary, 0),
    }


def played(model: PPO, problem: Minigrid, tasks: list[Any], seed: int) -> Any:
    """Returns ``[B]`` of one episode on each task, actions drawn from the policy."""
    env: MinigridVectorEnv = problem.vector_env(
        len(tasks), tasks=tuple(dict.fromkeys(tasks)), horizon=problem.horizon
    )
    torch.manual_seed(seed)
    seen, _ = env.reset(options={"tasks": tasks})
    rewards = np.zeros(len(tasks))
    for _ in range(problem.horizon):
        actions, _ = model.predict(seen.numpy(), deterministic=False)
        seen, reward, terminated, truncated, _ = env.step(torch.from_numpy(actions))
        rewards += reward.double().numpy()
        if bool((terminated | truncated).all()):
            break
    return rewards


def table(rows: list[dict[str, str]]) -> str:
    """Markdown: one line per id, learner and episode, means over seeds."""
    lines = [
        "| id | run | learner | seeds | M steps | episode | success, unseen | 95 % interval "
        "| return | random | explorer (success) | oracle |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    groups = groups_of(rows, "env_id", "run", "learner", "episode")
    for (env_id, run, learner, episode), group in sorted(groups.items(), key=lambda one: one[0][0]):
        success = np.array([float(row["success"]) for row in group])
        mean, low, high = (float(x) for x in mean_and_interval(success))
        interval = f"{low:.3f} to {high:.3f}" if len(group) > 1 else "one seed"
        steps = np.mean([int(row["env_steps"]) for row in group]) / 1e6

        def over_seeds(key: str, group: list[Any] = group) -> str:
            values = [row[key] for row in group]
            return f"{np.mean([float(v) for v in values]):.3f}" if all(values) else "–"

        lines.append(
            f"| {env_id} | `{run}` | {learner} | {len(group)} | {steps:.2f} | {episode} "
            f"| **{mean:.3f}** | {interval} "
            f"| {over_seeds('return')} | {over_seeds('random')} "
            f"| {over_seeds('explorer')} ({over_seeds('explorer_success')}) "
            f"| {over_seeds('oracle')} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
