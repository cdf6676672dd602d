"""Pictures of the documentation: ``python -m docs.pictures [NAME ...]`` draws them.

They go into `docs/images/`. Each function of `PICTURES` makes one, always the same. Omniglot's
needs the images (``python -m experiments.omniglot download``) and is passed over without them.
Pictures of mazes stand in `docs.maze_pictures`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

import envs
from docs import maze_pictures
from docs.tiles import Frame, tiled
from envs.bandit.algorithms import gittins
from envs.grid_navi.tasks import EXPLORER_TOUR
from envs.minigrid.reading import make_minigrid
from metarl.plots.lines import COLOURS
from metarl.supervised import REGRESSION_FAMILIES, TwoDomainSine
from metarl.supervised.omniglot.download import default_folder
from metarl.supervised.omniglot.images import load_omniglot

IMAGES = Path(__file__).parent / "images"

MINIGRIDS = (
    *("MiniGrid-MultiRoom-N6-v0", "MiniGrid-FourRooms-v0", "MiniGrid-SimpleCrossingS9N1-v0"),
    *("MiniGrid-LavaGapS7-v0", "MiniGrid-DoorKey-8x8-v0", "MiniGrid-KeyCorridorS3R3-v0"),
)
"""Ids that are shown, out of those that the tensor twin plays."""


def minigrid() -> Frame:
    """A task of each of some ids."""
    shown = {}
    for env_id in MINIGRIDS:
        env = make_minigrid(env_id)
        env.reset(seed=3)
        shown[env_id.removeprefix("MiniGrid-").removesuffix("-v0")] = env.get_frame(True, 32)
    return tiled(shown, columns=3, width=208)


def point() -> Frame:
    """Walks of a policy before it adapts, and of the oracle, to three goals."""
    figure, (before, after) = _canvas(2, 7.0, 3.4)
    rng = np.random.default_rng(0)
    goals = [(0.35, 0.3), (-0.42, 0.12), (0.1, -0.4)]
    for axes, title in ((before, "before: no idea where"), (after, "the oracle")):
        for colour, goal in zip(COLOURS, goals, strict=False):
            env = gymnasium.make("metarl/PointNavigation-v0", horizon=60)
            place, _ = env.reset(seed=1, options={"task": envs.PointTask(goal)})
            walk, ended = [place], False
            while not ended:
                left = np.asarray(goal, np.float32) - place
                move = rng.normal(0, 0.05, 2) if axes is before else np.clip(left, -0.1, 0.1)
                place, _, terminated, truncated, _ = env.step(np.float32(move).clip(-0.1, 0.1))
                walk.append(place)
                ended = terminated or truncated
            axes.plot(*np.array(walk).T, color=colour, lw=1.2)
            axes.plot(*goal, "*", color=colour, ms=13, mec="white")
        axes.plot(0, 0, "o", color="#333333", ms=5)
        axes.set(xlim=(-0.75, 0.75), ylim=(-0.62, 0.62), title=title, aspect="equal")
    return _drawn(figure)


def grid_navi() -> Frame:
    """The tour that sees all goals in two episodes, and the straight way of the third."""
    figure, panels = _canvas(3, 7.0, 2.7)
    steps = {"U": (0, 1), "R": (1, 0), "D": (0, -1), "L": (-1, 0)}
    tour = [EXPLORER_TOUR[0], EXPLORER_TOUR[1], "RRRUU"]
    titles = ("first episode: search", "second: search the rest", "third: straight to it")
    for axes, walk, title in zip(panels, tour, titles, strict=True):
        cells = np.cumsum([(0, 0), *(steps[letter] for letter in walk)], axis=0)
        axes.plot(*cells.T, color=COLOURS[0], lw=2)
        axes.plot(0, 0, "o", color="#333333", ms=6)
        axes.plot(3, 2, "*", color=COLOURS[4], ms=15, mec="white")
        axes.set(xlim=(-0.5, 4.5), ylim=(-0.5, 4.5), aspect="equal", xticks=range(5))
        axes.set(yticks=range(5))
        axes.set_title(title, fontsize=9)
        axes.grid(color="#dddddd")
    return _drawn(figure)


def dark_room() -> Frame:
    """A sweep of a dark room until the goal, the straight way to it, and a key with its door."""
    figure, panels = _canvas(3, 7.0, 2.7)
    sweep = [
        (row, column) for row in range(4, 7) for column in (range(9), range(8, -1, -1))[row % 2]
    ]
    sweep = sweep[4 : sweep.index((6, 6)) + 1]
    straight = [(4, 4), (5, 4), (6, 4), (6, 5), (6, 6)]
    to_door = [(1, 1), (1, 7), (7, 7), (7, 2)]
    titles = ("first episode: search", "second: straight to it", "a key, then its door")
    for axes, walk, title in zip(panels, (sweep, straight, to_door), titles, strict=True):
        rows, columns = zip(*walk, strict=True)
        axes.plot(columns, rows, color=COLOURS[0], lw=2)
        axes.plot(columns[0], rows[0], "o", color="#333333", ms=6)
        axes.plot(columns[-1], rows[-1], "*", color=COLOURS[4], ms=15, mec="white")
        axes.set(xlim=(-0.5, 8.5), ylim=(8.5, -0.5), aspect="equal", xticks=range(9))
        axes.set(yticks=range(9))
        axes.set_title(title, fontsize=9)
        axes.grid(color="#dddddd")
    panels[2].plot(7, 1, "P", color=COLOURS[1], ms=11, mec="white")
    return _drawn(figure)


def bandit() -> Frame:
    """A bandit's arms, and how often Gittins' index pulls each of them."""
    figure, (arms, pulls) = _canvas(2, 7.0, 2.7)
    chances = torch.tensor([[0.31, 0.62, 0.18, 0.83, 0.45]])
    names = [str(arm) for arm in range(5)]
    arms.bar(names, chances[0].tolist(), color=COLOURS[5])
    arms.set(title="what nobody sees: probabilities", ylim=(0, 1), xlabel="arm")
    generator, counts = torch.Generator().manual_seed(8), torch.zeros(5)
    successes, failures = torch.zeros(1, 5), torch.zeros(1, 5)
    chosen = []
    for _ in range(60):
        (arm,) = gittins(60)(successes, failures, generator).tolist()
        paid = float(torch.rand((), generator=generator) < chances[0, arm])
        successes[0, arm] += paid
        failures[0, arm] += 1 - paid
        counts[arm] += 1
        chosen.append((arm, paid))
    for number, (arm, paid) in enumerate(chosen, start=1):
        colour = COLOURS[2] if paid else "#cccccc"
        pulls.plot(number, arm, "s", color=colour, ms=4)
    pulls.set(title="60 pulls by Gittins' index (green: paid)", xlabel="pull", ylabel="arm")
    pulls.set_yticks(range(5))
    return _drawn(figure)


def mdp() -> Frame:
    """Means of the rewards, and the next states of one action, in one decision process."""
    figure, (rewards, moves) = _canvas(2, 7.0, 3.4)
    task = envs.MDPTasks(10, 5).sample(1, np.random.default_rng(0))[0]
    transitions, means = task.arrays()
    shown = rewards.imshow(means.T, cmap="PuOr", vmin=-3, vmax=4)
    rewards.set(title="mean rewards", xlabel="state", ylabel="action")
    figure.colorbar(shown, ax=rewards, shrink=0.6)
    shown = moves.imshow(transitions[:, 0], cmap="Blues", vmin=0)
    moves.set(title="next states under action 0", xlabel="next state", ylabel="state")
    figure.colorbar(shown, ax=moves, shrink=0.8)
    return _drawn(figure)


def regression() -> Frame:
    """Functions of each family, and what is given of one of them: points, or signals."""
    figure, panels = _canvas(4, 9.0, 2.5)
    for axes, (name, family) in zip(panels, REGRESSION_FAMILIES.items(), strict=True):
        generator = torch.Generator().manual_seed(4)
        params = family.sample(5, generator)
        x = torch.linspace(*family.inputs, 200).reshape(1, -1, 1).expand(5, -1, -1)
        values = family.function(params, x)
        for number in reversed(range(5)):
            axes.plot(x[number, :, 0], values[number, :, 0], color=COLOURS[number], lw=1.2)
        if isinstance(family, TwoDomainSine):  # unlabelled, on the same axis
            signal = family.sample_source(params, family.num_points, generator)[0, :, 0]
            axes.plot(signal, torch.zeros_like(signal), "|", color=COLOURS[0], ms=12, mew=2)
        else:
            given = family.sample_examples(params, family.num_points, generator)
            axes.plot(given.inputs[0, :, 0], given.targets[0, :, 0], "o", color=COLOURS[0], ms=4)
        axes.set_title(name, fontsize=10)
    return _drawn(figure)


def omniglot() -> Frame | None:
    """A task of five characters, one drawing of each to learn from; None without the images."""
    if not (default_folder() / "images_background.zip").is_file():
        return None
    images = load_omniglot(default_folder()).images
    classes = [12, 260, 431, 720, 610]
    figure, panels = _canvas(2, 7.0, 2.9, ratios=(1, 4))
    support = torch.cat([images[c, 0] for c in classes], 0)
    query = torch.cat([torch.cat([images[c, d] for d in range(1, 6)], 1) for c in classes], 0)
    titles = ("support: one of each", "query: to be named")
    for axes, picture, title in zip(panels, (support, query), titles, strict=True):
        axes.imshow(picture, cmap="gray", vmin=0, vmax=255)
        axes.set_title(title, fontsize=10)
        axes.axis("off")
    return _drawn(figure)


def _canvas(columns: int, width: float, height: float, ratios: Any = None) -> tuple[Figure, Any]:
    """A figure with panels side by side."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, columns, width_ratios=ratios)
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
        axes.title.set_fontsize(10)
    return figure, panels


def _drawn(figure: Figure) -> Frame:
    """Pixels of a figure, uint8 [height, width, 3]."""
    figure.set_dpi(110)
    canvas: Any = figure.canvas
    canvas.draw()
    frame: Frame = np.asarray(canvas.buffer_rgba())[..., :3].copy()
    return frame


PICTURES: dict[str, Callable[[], Frame | None]] = {
    "anchors": maze_pictures.anchors,
    "bandit": bandit,
    "generators": maze_pictures.generators,
    "dark_room": dark_room,
    "grid_navi": grid_navi,
    "maze": maze_pictures.maze,
    "mdp": mdp,
    "minigrid": minigrid,
    "named": maze_pictures.named,
    "omniglot": omniglot,
    "point": point,
    "regression": regression,
    "views": maze_pictures.seen,
}
"""Pictures by name, which is that of the file."""


def save(picture: Frame, path: Path) -> None:
    """Write a picture in few colours, so that the file is small."""
    image = Image.fromarray(picture).quantize(colors=256, dither=Image.Dither.NONE)
    image.save(path, optimize=True)


def main(names: list[str]) -> None:
    """Draw the pictures of these names, or all."""
    IMAGES.mkdir(exist_ok=True)
    for name in names or PICTURES:
        picture = PICTURES[name]()
        if picture is None:
            print(f"{name}.png: passed over, its images are not there")
            continue
        save(picture, IMAGES / f"{name}.png")
        size = math.ceil((IMAGES / f"{name}.png").stat().st_size / 1024)
        print(f"{name}.png: {picture.shape[1]} x {picture.shape[0]}, {size} KiB")


if __name__ == "__main__":
    main(sys.argv[1:])
