"""`render`: draw or film a trial, so that one can see what was learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import imageio.v3 as iio
import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from PIL import Image

from envs import GridMazeVectorEnv, Layout
from envs.maze.drawing import draw
from envs.maze.layout import Cell
from experiments.maze.agents import make_env, make_policy, make_tasks
from experiments.maze.evaluate import trained_params
from experiments.maze.settings import TrainSettings, from_config
from metarl.core import Params, stack
from metarl.errors import UserError
from metarl.rl import PolicyAgent
from metarl.run.counts import Held
from metarl.runs.directory import RunDirectory
from metarl.seeding import spawn_generators

Frame = NDArray[np.uint8]
FORMATS = (".gif", ".mp4", ".png")
ARROWS = "↑↓←→"
GAP = 16
"""Pixels between pictures side by side."""

COLOURS = 128
"""Of a .gif."""
MAX_SAMPLED = 24
"""Frames, at most, that the palette of a .gif is taken from."""


@dataclass(frozen=True)
class RenderSettings:
    """Draw or film one trial of a trained agent: the maze, its trail, the hidden goal."""

    run: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="RUN")]]
    """A run directory."""
    output: Path = Path("trial.gif")
    """.gif or .mp4: a film; .png: the whole trial in one picture."""
    side_by_side: bool = False
    """Show the same agent before training beside it, in the same maze."""
    seed: int = 0
    """Of the goal, the teleports and the actions."""
    steps: int | None = None
    """Show only the first steps of the trial. Default: all."""
    fps: int = 10
    """Steps a second."""
    cell_size: int | None = None
    """Pixels a cell. Default: by the size of the maze."""
    greedy: bool = False
    """Take the most probable action instead of drawing from the policy."""

    HELD: ClassVar[Held] = ((75, "cell_size", "cell_size"),)  # 5 x 5 cells in three colours

    def __post_init__(self) -> None:
        """Refuse, before any work starts, what cannot be drawn."""
        if self.output.suffix not in FORMATS:
            raise UserError(f"--output {self.output} must end in {', '.join(FORMATS)}")
        if self.seed < 0:
            raise UserError(f"--seed must not be negative, got {self.seed}")
        if self.fps < 1:
            raise UserError(f"--fps must be at least 1, got {self.fps}")
        if self.cell_size is not None and self.cell_size < 4:
            raise UserError(f"--cell-size must be at least 4, got {self.cell_size}")
        if self.steps is not None and self.steps < 1:
            raise UserError(f"--steps must be at least 1, got {self.steps}")


@dataclass(frozen=True)
class PlayedTrial:
    """What happened in one trial of T steps.

    Attributes:
        title: Who played.
        layout: The walls.
        goal: The hidden cell.
        positions: T + 1 cells, the start first; after a find, the cell teleported to.
        actions: T actions.
        rewards: T rewards; ``rewards[t]`` is the consequence of ``actions[t]``.
    """

    title: str
    layout: Layout
    goal: Cell
    positions: tuple[Cell, ...]
    actions: tuple[int, ...]
    rewards: tuple[float, ...]

    def found(self, t: int) -> bool:
        """Whether step t (from 1) entered the goal."""
        return t > 0 and self.rewards[t - 1] > 0

    def last_teleport(self, t: int) -> int:
        """The index in `positions` where the way up to step t begins."""
        return max((k for k in range(1, t + 1) if self.found(k)), default=0)


def render(settings: RenderSettings) -> None:
    """Play the trial and write the picture."""
    run = RunDirectory.open(settings.run)
    trained = from_config(run.config)
    params, iteration = trained_params(run, trained, torch.device("cpu"))
    players = [(f"trained, {iteration:,} iterations", params)]
    if settings.side_by_side:
        init = spawn_generators(run.seed, ("init",))["init"]
        players.insert(0, ("untrained", make_policy(trained).init(init)))
    trials = [record(title, weights, trained, settings) for title, weights in players]
    num_steps = min(settings.steps or trained.horizon, trained.horizon)
    settings.output.parent.mkdir(parents=True, exist_ok=True)
    if settings.output.suffix == ".png":
        Image.fromarray(frame(trials, num_steps, settings.cell_size, whole_trail=True)).save(
            settings.output
        )
    else:
        write_film(film(trials, num_steps, settings.cell_size), settings.output, settings.fps)
    found = ", ".join(f"{t.title}: return {sum(t.rewards[:num_steps]):g}" for t in trials)
    print(f"drawn: {settings.output} ({found})")


def record(
    title: str, params: Params, trained: TrainSettings, settings: RenderSettings
) -> PlayedTrial:
    """Play one trial; the same seed gives the same goal and teleports whoever plays."""
    streams = spawn_generators(settings.seed, ("tasks", "environment", "policy"))
    _, tasks = make_tasks(trained)
    (task,) = tasks.sample(1, streams["tasks"])
    env = make_env(trained, tasks, 1, streams["environment"], torch.device("cpu"))
    agent = PolicyAgent(
        make_policy(trained),
        stack([params]),
        streams["policy"],
        greedy=settings.greedy,
        remembers="trial",
    )
    agent.begin(1)
    mazes = env.unwrapped
    assert isinstance(mazes, GridMazeVectorEnv)
    observation, _ = env.reset(options={"tasks": [task]})
    positions, actions, rewards = [task.start], [], []
    for _ in range(trained.horizon):
        action = agent.act(observation)
        observation, reward, _, _, _ = env.step(action)
        row, column = mazes.agent_positions[0].tolist()
        positions.append((row, column))
        actions.append(int(action))
        rewards.append(float(reward))
    return PlayedTrial(
        title, task.layout, task.goal, tuple(positions), tuple(actions), tuple(rewards)
    )


def film(trials: Sequence[PlayedTrial], num_steps: int, cell_size: int | None) -> list[Frame]:
    """A frame a step, and one more for each find: on the goal first, then where it teleports to."""
    frames = []
    for t in range(num_steps + 1):
        if any(trial.found(t) for trial in trials):
            frames.append(frame(trials, t, cell_size, arriving=True))
        frames.append(frame(trials, t, cell_size))
    return frames


def frame(
    trials: Sequence[PlayedTrial],
    t: int,
    cell_size: int | None,
    *,
    arriving: bool = False,
    whole_trail: bool = False,
) -> Frame:
    """The trials side by side after t steps, uint8 ``[height, width, 3]``.

    Args:
        trials: Who played.
        t: Steps taken.
        cell_size: Pixels a cell; None chooses by the maze.
        arriving: Where step t found the goal, show the agent on it, before the teleport.
        whole_trail: Show the way since the start, not since the last teleport.
    """
    pictures = []
    for trial in trials:
        action = ARROWS[trial.actions[t - 1]] if t else "–"
        earned = sum(trial.rewards[:t])
        on_goal = arriving and trial.found(t)
        start = 0 if whole_trail else trial.last_teleport(t - 1 if on_goal else t)
        trail = trial.positions[start : t + 1]
        pictures.append(
            draw(
                trial.layout,
                agent=trial.goal if on_goal else trial.positions[t],
                goal=trial.goal,
                trail=(*trail[:-1], trial.goal) if on_goal else trail,
                caption=f"{trial.title}\nstep {t}  action {action}  reward {earned:g}",
                cell_size=cell_size,
            )
        )
    gap = np.full((pictures[0].shape[0], GAP, 3), 255, np.uint8)
    spaced = [part for picture in pictures for part in (gap, picture)][1:]
    return np.concatenate(spaced, axis=1)


def write_film(frames: Sequence[Frame], path: Path, fps: int) -> None:
    """Write a .gif (which loops for ever) or an .mp4."""
    if path.suffix == ".gif":
        images = in_one_palette(frames)
        images[0].save(
            path,
            save_all=True,
            append_images=images[1:],
            duration=round(1000 / fps),
            loop=0,
            optimize=True,
        )
    else:
        height, width, _ = frames[0].shape  # the codec takes even sizes
        to_even = (0, 0), (0, height % 2), (0, width % 2), (0, 0)
        padded = np.pad(np.stack(frames), to_even, constant_values=255)
        iio.imwrite(path, padded, fps=fps, macro_block_size=2)


def in_one_palette(frames: Sequence[Frame]) -> list[Image.Image]:
    """The frames in the same few colours, so that nothing changes its colour in a film.

    The octree keeps the colours that are drawn flat as they are, the small star's among them; a
    median cut of every frame would blend it with the floor.
    """
    every = -(-len(frames) // MAX_SAMPLED)
    sheet = Image.fromarray(np.concatenate(frames[::every]))
    palette = sheet.quantize(COLOURS, method=Image.Quantize.FASTOCTREE)
    return [Image.fromarray(f).quantize(palette=palette, dither=Image.Dither.NONE) for f in frames]
