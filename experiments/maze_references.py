"""What agents are judged by in mazes, and what is kept of their trials layout by layout."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from envs import MazeTask, layout_hash
from envs.maze import anchors as oracle
from envs.maze.ladder import (
    ANCHORS,
    LADDER,
    LayoutAnchors,
    layout_anchors,
    layout_curves,
)
from envs.problems import HiddenGoals, RandomMazes
from experiments.maze_problems import Grids, known_returns
from metarl.evaluate.finds import (
    RISKS,
    FindStatistics,
    by_layout,
    find_statistics,
    steps_between_finds,
    worst,
)
from metarl.evaluate.trials import Array
from metarl.plots.finds import draw_finds
from metarl.plots.references import REFERENCES, explained

SHOWN = ("ceiling", "explorer", "right_hand", "random")
"""Whose curves are drawn beside an agent's in mazes of any layouts."""


@dataclass(frozen=True)
class RoomReferences:
    """What agents are judged by in the published maze (`metarl.run.trials.References`).

    Attributes:
        maze: Says horizon and reward.
        tasks: Goals.
    """

    LADDER: ClassVar[tuple[str, ...]] = ("random", "localising", "ceiling", "oracle")

    maze: HiddenGoals
    tasks: Any

    @cached_property
    def returns(self) -> oracle.ReferenceReturns:
        """Expected returns of a trial."""
        return oracle.reference_returns(self.tasks, **self._trial)

    def figures(self, rewards: Array) -> dict[str, Any]:
        """Entries of a summary; where the maze is known, exploring is what the ceiling does."""
        mean = float(rewards.sum(0).mean())
        score = oracle.normalised_score(mean, self.tasks, **self._trial)
        known = {f"{name}_return": value for name, value in asdict(self.returns).items()}
        return {"normalised_score": score, **known, "explorer_return": known["ceiling_return"]}

    def beside(self, summary: Mapping[str, Any]) -> str:
        """The returns in words."""
        return in_words(self.LADDER, summary)

    def write(self, place: Path, rewards: Mapping[str, Array]) -> list[Path]:
        """Nothing: what there is to say is in the summary."""
        return []

    def curves(self) -> dict[str, Any]:
        """Expected rewards ``[T, 1]`` of the explorers and of random actions, by name."""
        curves = oracle.reference_curves(self.tasks, **self._trial)
        return {
            REFERENCES[name]: getattr(curves, name)[:, None]
            for name in ("ceiling", "localising", "random")
        }

    @property
    def note(self) -> str:
        """Words for what stands behind the curves."""
        return explained(n for n in self.LADDER if n != "oracle")

    @property
    def _trial(self) -> dict[str, Any]:
        return {"horizon": self.maze.horizon, "reward": self.maze.reward}


@dataclass(frozen=True)
class LayoutReferences:
    """What agents are judged by in mazes of any layouts (`metarl.run.trials.References`).

    Attributes:
        maze: Says what an episode is like.
        tasks: The tasks that are played, B.
        num_trained_on: How many of their layouts training may have drawn.
        num_episodes: Episodes of a trial.
    """

    maze: RandomMazes
    tasks: Sequence[MazeTask]
    num_trained_on: int = 0
    num_episodes: int = 1

    @cached_property
    def anchors(self) -> LayoutAnchors:
        """Expected returns of each task's trial.

        In the episodes after the first, an explorer that has found the goal is an oracle. (One that
        has not, in a short episode, goes on searching, which is left out.)
        """
        found = layout_anchors(self.tasks, **self.maze.episode)
        if self.num_episodes == 1:
            return found
        ends = layout_anchors(self.tasks, **{**self.maze.episode, "respawn": "end", "reward": 1.0})
        more = self.num_episodes - 1
        return replace(
            found,
            random=found.random * self.num_episodes,
            explorer=found.explorer + more * ends.explorer * found.oracle,
            ceiling=found.ceiling + more * ends.ceiling * found.oracle,
            oracle=found.oracle * self.num_episodes,
        )

    @cached_property
    def hashes(self) -> Any:
        """Identity of the layout of each trial, int64 ``[B]``."""
        known = {task.layout: layout_hash(task.layout) for task in self.tasks}
        return np.array([known[task.layout] for task in self.tasks])

    def figures(self, rewards: Array) -> dict[str, Any]:
        """Entries of a summary."""
        anchors, returns = self.anchors, rewards.sum(0)
        layouts = self._by_layout(rewards)
        finds = self._finds(rewards)
        means = anchors.means()
        return {
            "normalised_score": anchors.normalised_score(float(returns.mean())),
            **{f"{name}_return": means[name] for name in ANCHORS},
            "num_layouts": len(layouts["return"]),
            "layouts_trained_on": self.num_trained_on,
            **asdict(finds),
            "explorer_first_find": means["first_find"],
            "shortest_to_goal": means["shortest"],
            "explorer_gap_over_shortest": [means["first_find"] / means["shortest"], 1.0],
            **{f"cvar_success_{p}": worst(layouts["success"], p) for p in RISKS},
            **{f"cvar_share_of_explorer_{p}": worst(layouts["share"], p) for p in RISKS},
        }

    def beside(self, summary: Mapping[str, Any]) -> str:
        """The returns in words."""
        return in_words(ANCHORS, summary)

    def curves(self) -> dict[str, Any]:
        """Expected rewards ``[T, 1]`` by name, of trials of one episode."""
        if self.num_episodes > 1:
            return {}
        curves = layout_curves(self.tasks, **self.maze.episode)
        return {REFERENCES[name]: getattr(curves, name)[:, None] for name in SHOWN}

    @property
    def note(self) -> str:
        """Words for what stands behind the curves."""
        return explained(SHOWN)

    def write(self, place: Path, rewards: Mapping[str, Array]) -> list[Path]:
        """Write the values of every layout, and the picture of learning find by find."""
        table, picture = place / "layouts.csv", place / "finds.png"
        (played,) = rewards.values()
        columns = self._by_layout(played)
        first = dict(zip(self.hashes.tolist()[::-1], self.tasks[::-1], strict=True))
        names = dict.fromkeys(self.hashes.tolist())
        with table.open("w", newline="") as file:
            lines = csv.writer(file)
            lines.writerow(("layout", "height", "width", *columns))
            for n, name in enumerate(names):
                layout = first[name].layout
                shape = f"{name & (2**64 - 1):016x}", layout.height, layout.width
                lines.writerow((*shape, *(f"{column[n]:.6g}" for column in columns.values())))
        draw_finds(
            picture,
            {name: self._finds(each) for name, each in rewards.items()},
            explorer=float(self.anchors.first_find.sum() / self.anchors.shortest.sum()),
        )
        return [table, picture]

    def _finds(self, rewards: Array) -> FindStatistics:
        """Statistics find by find."""
        ends = self.maze.horizon if self.maze.respawn == "end" else None
        return find_statistics(rewards, self.anchors.shortest, ends_at=ends)

    def _by_layout(self, rewards: Array) -> dict[str, Array]:
        """Means over the trials of each layout, ``[L]`` by name."""
        returns, anchors = rewards.sum(0), self.anchors
        gaps = steps_between_finds(rewards)
        firsts = np.where(np.isnan(gaps[:, 0]), len(rewards) + 1.0, gaps[:, 0])
        found = by_layout(
            self.hashes,
            {
                "return": returns,
                **{f"{name}_return": getattr(anchors, name) for name in ANCHORS},
                "success": (rewards > 0).any(0).astype(float),
                "finds": (rewards > 0).sum(0).astype(float),
                "first_find": firsts,
                "explorer_first_find": anchors.first_find,
                "shortest": anchors.shortest,
            },
        )
        share = np.full(len(found["return"]), np.nan)  # of nothing, where the explorer has none
        np.divide(found["return"], explorer := found["explorer_return"], share, where=explorer > 0)
        return {**found, "share": share}


@dataclass(frozen=True)
class GridReferences:
    """What agents are judged by in grids of Minigrid (`metarl.run.trials.References`).

    Attributes:
        grids: Where the tasks are from.
        tasks: The tasks that are played, B.
        num_trained_on: How many of them training may have drawn.
        num_episodes: Episodes of a trial.
    """

    grids: Grids
    tasks: Sequence[Any]
    num_trained_on: int
    num_episodes: int

    @cached_property
    def returns(self) -> dict[str, float | None]:
        """Mean returns of a trial, as far as they are known."""
        one = known_returns(self.grids, self.tasks)
        return {name: value and self.num_episodes * value for name, value in one.items()}

    def figures(self, rewards: Array) -> dict[str, Any]:
        """Entries of a summary; no explorer of grids with doors and keys is known."""
        episodes = rewards.reshape(self.num_episodes, -1, rewards.shape[1])  # [E, H, B]
        success = (episodes > 0).any(1)  # [E, B]
        grids = self._by_grid(rewards)
        return {
            "normalised_score": None,
            **{f"{name}_return": self.returns.get(name) for name in LADDER},
            "num_layouts": len({task.walls_id for task in self.tasks}),
            "layouts_trained_on": self.num_trained_on,
            "success": float(success.any(0).mean()),
            "success_by_episode": success.mean(1).tolist(),
            "return_by_episode": episodes.sum(1).mean(1).tolist(),
            **{f"cvar_success_{p}": worst(grids["success"], p) for p in RISKS},
        }

    def beside(self, summary: Mapping[str, Any]) -> str:
        """The returns in words."""
        return in_words([name for name in LADDER if self.returns.get(name) is not None], summary)

    def curves(self) -> dict[str, Any]:
        """Nothing is known step by step."""
        return {}

    note = ""

    def write(self, place: Path, rewards: Mapping[str, Array]) -> list[Path]:
        """Write the values of every grid."""
        (played,) = rewards.values()
        columns = self._by_grid(played)
        table = place / "layouts.csv"
        with table.open("w", newline="") as file:
            lines = csv.writer(file)
            lines.writerow(("layout", *columns))
            for n, name in enumerate(dict.fromkeys(task.task_id for task in self.tasks)):
                lines.writerow((name, *(f"{column[n]:.6g}" for column in columns.values())))
        return [table]

    def _by_grid(self, rewards: Array) -> dict[str, Array]:
        """Means over the trials of each grid."""
        success = (rewards > 0).any(0).astype(float)
        names = np.array([task.task_id for task in self.tasks])
        return by_layout(names, {"return": rewards.sum(0), "success": success})


def in_words(names: Iterable[str], summary: Mapping[str, Any]) -> str:
    """Returns to judge by, of a summary, in words."""
    return "; ".join(f"{REFERENCES[n]} {summary[f'{n}_return']:.1f}" for n in names)
