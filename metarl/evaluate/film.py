"""Films of episodes: what is noted while they are played, and the pictures put side by side.

What a picture shows is the problem's affair (`Filmed`): of a maze the cells that the agent was on,
of other environments the pictures that they draw of themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarl.errors import UserError
from metarl.evaluate.trials import play
from metarl.rl.agents import Agent
from metarl.rl.collector import in_tensors
from metarl.rl.problem import Problem, TensorEnv, eased

Frame = NDArray[np.uint8]
"""A picture, ``[height, width, 3]``."""

FORMATS = (".gif", ".mp4", ".png")
"""Endings of films, and of one picture of a whole episode."""

GAP = 16
"""Pixels between pictures side by side."""

COLOURS = 128
"""Number of colours of a .gif."""

MAX_SAMPLED = 24
"""Frames, at most, that the palette of a .gif is taken from."""


@dataclass(frozen=True, eq=False)
class Scene:
    """One episode of T steps.

    Attributes:
        title: Name of the agent.
        task: The task played on.
        seen: Notes from before the first step and after each, ``[T + 1, ...]``.
        actions: ``[T, ...]``.
        rewards: ``[T]``; ``rewards[t]`` is the consequence of ``actions[t]``.
    """

    title: str
    task: Any
    seen: NDArray[Any]
    actions: NDArray[Any]
    rewards: NDArray[np.float64]

    def earned(self, t: int) -> float:
        """Rewards of the first t steps together."""
        return float(self.rewards[:t].sum())

    def last(self, t: int) -> int:
        """Step t, or the last one of an episode that has ended by then."""
        return min(t, len(self.actions))

    def found(self, t: int) -> bool:
        """Whether step t (from 1) paid."""
        return t > 0 and bool(self.rewards[t - 1] > 0)


@runtime_checkable
class Filmed(Protocol):
    """A problem whose episodes can be filmed."""

    def watch(self, env: Any) -> Tensor:
        """Notes that pictures need of environments as they are now, ``[B, ...]``."""

    def pictures(self, scene: Scene, t: int, cell_size: int | None) -> Sequence[Frame]:
        """Pictures after t steps: one, or more where something is shown one after the other."""

    def whole(self, scene: Scene, t: int, cell_size: int | None) -> Frame:
        """One picture of the first t steps."""


class SelfDrawn:
    """Films of environments that draw themselves: their own pictures, with words below.

    Attributes:
        watch: Pictures of all environments as they are, uint8 ``[B, height, width, 3]``.
    """

    def __init__(self, watch: Callable[[Any], Tensor]) -> None:
        self.watch = watch

    def pictures(self, scene: Scene, t: int, cell_size: int | None) -> tuple[Frame, ...]:
        """One picture after t steps."""
        return (self.whole(scene, t, cell_size),)

    def whole(self, scene: Scene, t: int, cell_size: int | None) -> Frame:
        """The picture after t steps.

        Raises:
            UserError: A size of cells is asked for.
        """
        if cell_size is not None:
            raise UserError(
                f"--cell-size {cell_size} is for mazes: this environment draws itself, leave it out"
            )
        return captioned(scene.seen[t], f"{scene.title}\nstep {t}  reward {scene.earned(t):g}")


def require_filmed(problem: Any) -> Filmed:
    """The problem, if it can be filmed: its own pictures, or those that its environments draw.

    Raises:
        UserError: It cannot.
    """
    if isinstance(problem, Filmed):
        return problem
    if hasattr(problem, "watch"):
        return SelfDrawn(problem.watch)
    raise UserError(
        f"{problem.name} is not filmed: give the problem watch, pictures and whole "
        "(metarl.evaluate.film.Filmed), or watch alone where it returns pictures; `evaluate` draws "
        "its curve"
    )


class Watched:
    """Environments that are watched: what they show is noted at every reset and step.

    Attributes:
        episodes: Notes, a list for each episode, each ``[B, ...]``.
        actions: The actions of each episode, each ``[B, ...]``.
        rewards: The rewards of each episode, each ``[B]``.
    """

    def __init__(self, env: TensorEnv, problem: Filmed) -> None:
        """Watch these environments."""
        self.env, self.problem = env, problem
        self._reset, self._step = in_tensors(env)
        self.single_observation_space = env.single_observation_space
        self.single_action_space = env.single_action_space
        self.episodes: list[list[Tensor]] = []
        self.actions: list[list[Tensor]] = []
        self.rewards: list[list[Tensor]] = []

    @property
    def num_envs(self) -> int:
        """Number of environments, B."""
        return self.env.num_envs

    @property
    def out_of_step(self) -> bool:
        """Whether each episode ends in its own time."""
        return bool(getattr(self.env, "out_of_step", False))

    @property
    def autoreset_mode(self) -> Any:
        """Behaviour of the environments at an episode's end; None: unknown."""
        return getattr(self.env, "autoreset_mode", None)

    def begin_again(self) -> Tensor:
        """Start another episode wherever one has just ended; it is noted where all have."""
        env: Any = self.env
        found: Tensor = env.begin_again()
        if bool(self._ended.all()):
            self._note()
        return found

    def _note(self) -> None:
        """Note what an episode begins with."""
        self.episodes.append([self.problem.watch(self.env)])
        self.actions.append([])
        self.rewards.append([])

    def reset(self, *, options: dict[str, Any] | None = None) -> tuple[Tensor, dict[str, Any]]:
        """Start an episode."""
        found: tuple[Tensor, dict[str, Any]] = self._reset(options=options)
        _, self._step = in_tensors(self.env)  # a reset may choose another way of stepping
        self._note()
        return found

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        """Act."""
        found: tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]] = self._step(actions)
        self.episodes[-1].append(self.problem.watch(self.env))
        self.actions[-1].append(actions)
        self.rewards[-1].append(found[1])
        self._ended = found[2] | found[3]
        return found

    def scenes(self, task: Any, titles: Sequence[str]) -> list[Scene]:
        """The episodes of all environments, those of the first reset first.

        Args:
            task: The task played on.
            titles: One for each; what was played behind them is left out.
        """
        parts = zip(self.episodes, self.actions, self.rewards, strict=True)
        rows = [
            row  # of one environment: [T + 1, ...], [T, ...], [T]
            for seen, actions, rewards in parts
            if actions
            for row in zip(
                *(torch.stack(part, 1).cpu().numpy() for part in (seen, actions, rewards)),
                strict=True,
            )
        ]
        return [
            Scene(title, task, seen, actions, rewards.astype(np.float64))
            for title, (seen, actions, rewards) in zip(titles, rows, strict=False)
        ]


def play_stages(
    problem: Problem, task: Any, agent: Agent, num_stages: int, seed: int, device: torch.device
) -> list[Scene]:
    """Play an episode of each stage of adaptation, side by side.

    Args:
        problem: Whose environments; it can be filmed.
        task: The task to play on.
        agent: Plays K + 1 trials side by side: trial k as it is after k steps.
        num_stages: K + 1.
        seed: Seed of the environments: all stages meet the same random numbers.
        device: Device of the tensors.
    """
    same = [torch.Generator(device).manual_seed(seed) for _ in range(num_stages)]
    env = eased(problem, problem.make_env(num_stages, same, device))
    watched = Watched(env, require_filmed(problem))
    play(agent, watched, problem.horizon, {"tasks": [task] * num_stages})
    names = ("before adaptation", "after 1 step")
    return watched.scenes(
        task, [names[k] if k < 2 else f"after {k} steps" for k in range(num_stages)]
    )


def write(
    scenes: Sequence[Scene],
    problem: Filmed,
    output: Path,
    *,
    num_steps: int,
    fps: int,
    cell_size: int | None,
) -> None:
    """Write scenes side by side: a film, or (.png) one picture.

    Args:
        scenes: The episodes played.
        problem: Draws it.
        output: Path of the film.
        num_steps: The first steps, which are shown.
        fps: Steps a second.
        cell_size: Pixels of a cell; None: by the size of the maze.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    if output.suffix == ".png":
        from PIL import Image

        whole = [problem.whole(scene, scene.last(num_steps), cell_size) for scene in scenes]
        Image.fromarray(side_by_side(whole)).save(output)
    else:
        write_film(frames_of(scenes, problem, num_steps, cell_size), output, fps)


def write_finds(
    scenes: Sequence[Scene],
    problem: Filmed,
    output: Path,
    finds: Sequence[int],
    cell_size: int | None,
) -> None:
    """Write one picture of the ways to some finds, side by side: what an agent has learned.

    Args:
        scenes: The episodes played, one below the other.
        problem: Draws them.
        output: Path of the picture.
        finds: Numbers of finds, from 1.
        cell_size: Pixels of a cell; None: by the size of the maze.

    Raises:
        UserError: None of them was made.
    """
    from PIL import Image

    rows = []
    for scene in scenes:
        times = [0, *((scene.rewards > 0).nonzero()[0] + 1).tolist()]
        pictures = [
            problem.pictures(
                replace(scene, title=f"{scene.title}: find {n}, {times[n] - times[n - 1]} steps"),
                times[n],
                cell_size,
            )[0]
            for n in finds
            if n < len(times)
        ]
        if pictures:
            rows.append(side_by_side(pictures))
    if not rows:
        raise UserError(f"no find {finds[0]} was made in this trial; take another --seed")
    Image.fromarray(_below_one_another(rows)).save(output)


def _below_one_another(rows: Sequence[Frame]) -> Frame:
    """Pictures of any widths, white at the right of narrower ones."""
    width = max(row.shape[1] for row in rows)
    even = [
        np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255)
        for row in rows
    ]
    return np.concatenate(even)


def frames_of(
    scenes: Sequence[Scene], problem: Filmed, num_steps: int, cell_size: int | None
) -> list[Frame]:
    """Pictures of all scenes side by side, step by step, until the last one has ended."""
    frames = []
    for t in range(max(scene.last(num_steps) for scene in scenes) + 1):
        shown = [problem.pictures(scene, scene.last(t), cell_size) for scene in scenes]
        for n in range(max(map(len, shown))):  # who has less to show waits
            frames.append(side_by_side([one[min(n, len(one) - 1)] for one in shown]))
    return frames


def side_by_side(pictures: Sequence[Frame]) -> Frame:
    """Pictures of one height, with gaps."""
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
        import imageio.v3 as iio

        height, width, _ = frames[0].shape  # the codec takes even sizes
        to_even = (0, 0), (0, height % 2), (0, width % 2), (0, 0)
        padded = np.pad(np.stack(frames), to_even, constant_values=255)
        iio.imwrite(path, padded, fps=fps, macro_block_size=2)


def in_one_palette(frames: Sequence[Frame]) -> list[Any]:
    """Pillow images of frames in the same few colours: nothing changes its colour in a film.

    The octree keeps the colours that are drawn flat as they are, the small star's among them; a
    median cut of every frame would blend it with the floor.
    """
    from PIL import Image

    every = -(-len(frames) // MAX_SAMPLED)
    sheet = Image.fromarray(np.concatenate(frames[::every]))
    palette = sheet.quantize(COLOURS, method=Image.Quantize.FASTOCTREE)
    return [Image.fromarray(f).quantize(palette=palette, dither=Image.Dither.NONE) for f in frames]


def captioned(picture: Frame, caption: str) -> Frame:
    """A picture with words below it."""
    from PIL import Image, ImageDraw

    lines = caption.split("\n")
    image = Image.new("RGB", (max(picture.shape[1], 200), picture.shape[0] + 14 * len(lines) + 6))
    image.paste((255, 255, 255), (0, 0, *image.size))
    image.paste(Image.fromarray(picture), (0, 0))
    pen = ImageDraw.Draw(image)
    for n, line in enumerate(lines):
        pen.text((4, picture.shape[0] + 3 + 14 * n), line, fill=(38, 46, 62))
    return np.asarray(image, np.uint8)
