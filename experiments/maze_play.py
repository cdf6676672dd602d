"""`play` and `watch` of `experiments.maze`: mazes in a window, for keys or for a trained agent."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import torch
import tyro

from envs.base.pictures import Window
from envs.maze import draw
from envs.problems import RandomMazes
from experiments.maze_evaluation import Elsewhere
from metarl.evaluate.film import Frame, frames_of, require_filmed
from metarl.run import at_least
from metarl.run.showing import ShowSettings
from metarl.run.trials import Read, adapter, played
from metarl.runs.directory import RunDirectory

MOVES = {"up": 0, "w": 0, "down": 1, "s": 1, "left": 2, "a": 2, "right": 3, "d": 3}
"""Actions by key."""

TURNS = {"left": 0, "a": 0, "right": 1, "d": 1, "up": 2, "w": 2}
"""Actions of an agent that turns by key."""

LEAVE, NEXT = ("escape", "q"), ("n", "return")
"""Keys that close the window, and that go on to another maze."""

FRAMES_PER_SECOND = 30


@dataclass(frozen=True)
class PlaySettings:
    """Look for the hidden goal yourself: arrows or wasd move, n is another maze, q leaves."""

    environment: Annotated[RandomMazes, tyro.conf.arg(name="")] = field(default_factory=RandomMazes)
    """The mazes."""
    seed: int = 0
    """Seed of the mazes."""
    show_goal: bool = False
    """Show the goal from the beginning, not from the first find on."""
    cell_size: int | None = None
    """Pixels a cell. Default: by the size of the maze."""

    def __post_init__(self) -> None:
        at_least(0, self, "seed")
        at_least(4, self, "cell_size")


class Play:
    """A maze that keys are played in.

    Attributes:
        returns: What each trial has earned so far, the one at hand last.
    """

    def __init__(self, settings: PlaySettings) -> None:
        """Begin in a maze that nobody has trained on."""
        self.settings = settings
        maze = replace(settings.environment, exploration_bonus=0.0)
        self._random = torch.Generator().manual_seed(settings.seed)
        self._env: Any = maze.make_env(1, [self._random], torch.device("cpu"))
        self._mazes, self._horizon = maze.test, maze.horizon
        self._keys = TURNS if maze.actions == replace(maze, view="egocentric-5").actions else MOVES
        self.returns: list[float] = []
        self.begin()

    def begin(self) -> None:
        """Go on to another maze."""
        (self.task,) = self._mazes.sample(1, self._random)
        self._env.reset_tensors(options={"tasks": [self.task]})
        self.step, self.over, self._found = 0, False, self.settings.show_goal
        self._trail = [self._cell]
        self.returns.append(0.0)

    def press(self, key: str) -> None:
        """Act on a key; at the end of a trial every move begins another one."""
        if key in NEXT or (self.over and key in self._keys):
            self.begin()
        elif key in self._keys:
            action = torch.tensor([self._keys[key]])
            _, reward, terminated, truncated, _ = self._env.step_tensors(action)
            self.step += 1
            self.returns[-1] += float(reward)
            if float(reward) > 0:
                self._found, self._trail = True, []
            self._trail.append(self._cell)
            self.over = bool(terminated | truncated)

    def picture(self) -> Frame:
        """The maze as it is."""
        task, what = self.task, "over: any move for another" if self.over else "n: another maze"
        return draw(
            task.layout,
            agent=self._trail[-1],
            goal=task.goal if self._found else None,
            trail=self._trail,
            caption=f"{what}, q: leave\nstep {self.step}/{self._horizon}  "
            f"reward {self.returns[-1]:g}",
            cell_size=self.settings.cell_size,
        )

    @property
    def _cell(self) -> tuple[int, int]:
        row, column = self._env.unwrapped.agent_positions[0].tolist()
        return row, column


def play(settings: PlaySettings) -> None:
    """Play until the window is closed, and say what was earned."""
    game, window = Play(settings), Window("Find the hidden goal", FRAMES_PER_SECOND)
    try:
        while True:
            window.show(game.picture())
            for key in window.pressed():
                if key in LEAVE:
                    return
                game.press(key)
    finally:
        window.close()
        print(f"returns: {', '.join(f'{value:g}' for value in game.returns)}")


@dataclass(frozen=True)
class WatchSettings(Elsewhere, ShowSettings):
    """Watch a trained agent in a window, in one maze after the other; q or Esc leaves."""

    trials: int | None = None
    """Leave after so many trials, each of the next seed. Default: when the window is closed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, self, "trials")


def watch(settings: WatchSettings, read: Read) -> None:
    """Play trial after trial, and show each.

    Args:
        settings: Which run, and what to show.
        read: Reads its settings.
    """
    run = RunDirectory.open(settings.run)
    trained = read(run.config)
    learning = trained.measured()
    problem = require_filmed(learning.problem)
    player = adapter(learning.load(run, torch.device("cpu")).trained)
    window = Window(str(settings.run), settings.fps)
    try:
        seed = settings.seed
        while settings.trials is None or seed < settings.seed + settings.trials:
            title = f"trial {seed - settings.seed + 1}"
            scenes = played(trained, player, title, seed, greedy=settings.greedy)
            for frame in frames_of(scenes, problem, learning.problem.horizon, settings.cell_size):
                window.show(frame)
                if any(key in LEAVE for key in window.pressed()):
                    return
            seed += 1
    finally:
        window.close()
