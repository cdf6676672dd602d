"""`render`: film the same maze before adaptation and after each gradient step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from PIL import Image

from envs.layout import Layout
from envs.tasks import MazeTask
from experiments.maze.render import FORMATS, PlayedTrial, film, frame, write_film
from experiments.maze_adapt.episodes import environments, episodes_of
from experiments.maze_adapt.evaluate import TEST_STREAMS, trained_learner
from experiments.maze_adapt.interfaces import LocatedMazes
from experiments.maze_adapt.settings import TrainSettings, from_config
from experiments.maze_adapt.train import STREAMS, policy_of
from metarl.core import Params, share, stack
from metarl.errors import UserError
from metarl.meta import MetaLearner
from metarl.rl import FeedForwardAgent
from metarl.run_directory import RunDirectory
from metarl.seeding import spawn_generators

CPU = torch.device("cpu")


@dataclass(frozen=True)
class RenderSettings:
    """Film one unseen maze side by side: before adaptation, and after each gradient step."""

    run: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="RUN")]]
    """A run directory of mazes."""
    output: Path = Path("adaptation.gif")
    """.gif or .mp4: a film; .png: whole episodes in one picture."""
    steps: int = 3
    """Gradient steps."""
    task: int = 0
    """Which of the unseen goals, from 0, in the order of their hash split."""
    seed: int = 10_000
    """Of the episodes."""
    fps: int = 10
    """Steps a second."""
    cell_size: int | None = None
    """Pixels a cell. Default: by the size of the maze."""
    greedy: bool = False
    """Take the most probable action instead of drawing from the policy."""

    def __post_init__(self) -> None:
        """Refuse, before any work starts, what cannot be drawn."""
        if self.output.suffix not in FORMATS:
            raise UserError(f"--output {self.output} must end in {', '.join(FORMATS)}")
        for name, least in (("steps", 0), ("task", 0), ("seed", 0), ("fps", 1)):
            if getattr(self, name) < least:
                raise UserError(f"--{name} must be at least {least}, got {getattr(self, name)}")
        if self.cell_size is not None and self.cell_size < 4:
            raise UserError(f"--cell-size must be at least 4, got {self.cell_size}")


def render(settings: RenderSettings) -> None:
    """Adapt to one unseen maze, play an episode with every set of weights, write the film."""
    run = RunDirectory.open(settings.run)
    trained = from_config(run.config)
    if trained.env != "maze":
        raise UserError(
            f"{run.path} is of --env {trained.env}, and only mazes are filmed; `evaluate` draws "
            "its curve"
        )
    goals = trained.world().test
    tasks: tuple[MazeTask, ...] = goals.tasks  # type: ignore[attr-defined]
    if settings.task >= len(tasks):
        raise UserError(f"--task must be below {len(tasks)}, the unseen goals, got {settings.task}")
    learner, _ = trained_learner(run, trained, CPU)
    episodes = play_every_step(learner, trained, tasks[settings.task], settings)
    settings.output.parent.mkdir(parents=True, exist_ok=True)
    if settings.output.suffix == ".png":
        picture = frame(episodes, trained.horizon, settings.cell_size, whole_trail=True)
        Image.fromarray(picture).save(settings.output)
    else:
        frames = film(episodes, trained.horizon, settings.cell_size)
        write_film(frames, settings.output, settings.fps)
    earned = ", ".join(f"{e.title}: return {sum(e.rewards):g}" for e in episodes)
    print(f"drawn: {settings.output} ({earned})")


def play_every_step(
    learner: MetaLearner, trained: TrainSettings, task: MazeTask, settings: RenderSettings
) -> list[PlayedTrial]:
    """An episode on one task with the weights before adaptation and after each step."""
    streams = spawn_generators(settings.seed, (*STREAMS, *TEST_STREAMS, "film"))
    weights = adapted_weights(learner, trained, task, settings.steps, streams["test_episodes"])
    num_mazes = settings.steps + 1
    policy = policy_of(trained, trained.world())
    agent = FeedForwardAgent(policy, weights, streams["film"], greedy=settings.greedy)
    # The same teleports for all: one generator each, all alike.
    same = [torch.Generator().manual_seed(settings.seed) for _ in range(num_mazes)]
    mazes, options = environments(trained.world(), [task] * num_mazes, 1, same, CPU)
    assert isinstance(mazes, LocatedMazes)
    agent.begin(num_mazes)
    observation, _ = mazes.reset(options=options)
    positions, actions, rewards = [mazes.env.agent_positions], [], []
    for _ in range(trained.horizon):
        action = agent.act(observation)
        observation, reward, *_ = mazes.step(action)
        positions.append(mazes.env.agent_positions)
        actions.append(action)
        rewards.append(reward)
    cells, moves, paid = (torch.stack(side).numpy() for side in (positions, actions, rewards))
    return [
        _played(k, task.layout, task, cells[:, k], moves[:, k], paid[:, k])
        for k in range(num_mazes)
    ]


def adapted_weights(
    learner: MetaLearner,
    trained: TrainSettings,
    task: MazeTask,
    num_steps: int,
    generator: torch.Generator,
) -> Params:
    """The policy's weights after 0 to K gradient steps on one task, ``[K + 1, ...]``."""
    world = trained.world()
    policy = policy_of(trained, world)
    tasks = episodes_of(world, [task], trained.episodes, policy, trained.loss, generator)
    with torch.no_grad():
        passed = [learner.initial_fast(tasks)]
    passed += [step.next_fast for step in learner.adaptation(tasks, num_steps)]
    fast = stack([{name: p[0].detach() for name, p in fast.items()} for fast in passed])
    slow = {name: p.detach() for name, p in share(learner.slow, len(passed)).items()}
    return {**fast, **slow}


def _played(
    k: int, layout: Layout, task: MazeTask, cells: np.ndarray, moves: np.ndarray, paid: np.ndarray
) -> PlayedTrial:
    names = {0: "before adaptation", 1: "after 1 step"}
    return PlayedTrial(
        names.get(k, f"after {k} steps"),
        layout,
        task.goal,
        tuple((int(row), int(column)) for row, column in cells),
        tuple(int(move) for move in moves),
        tuple(float(reward) for reward in paid),
    )
