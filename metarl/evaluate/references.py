"""References that the returns of trials are judged by: one name each, in words and in pictures.

What is known of some tasks is the problem's affair (`Known`): of every problem what random actions
and the oracle earn, of mazes a ladder of explorers, the shortest way to each goal and the layouts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from metarl.evaluate.finds import (
    RISKS,
    Array,
    FindStatistics,
    by_layout,
    find_statistics,
    steps_between_finds,
    worst,
)
from metarl.rl.problem import Problem
from metarl.stats import normalised_score

REFERENCES: Mapping[str, str] = {
    "random": "floor",
    "localising": "best known with these inputs",
    "explorer": "explorer",
    "ceiling": "ceiling",
    "oracle": "oracle",
    "right_hand": "right hand",
    "left_hand": "left hand",
}
"""Names of returns that are kept as ``NAME_return`` in `summary.json`, and in `config.json`.

A ladder of what is known: each knows more than the one before. ``localising``, in the published
maze alone, is the best walk found for the agent's own observations; it bounds nothing. Wall
followers stand beside the ladder.
"""

LADDER = ("random", "localising", "explorer", "ceiling", "oracle")
"""Names of the ladder."""

_EXPLAINED: Mapping[str, str] = {
    "random": "random actions",
    "localising": "the best walk found with the agent's own view",
    "explorer": "searches without knowing the walls, then takes shortest paths (score 1)",
    "ceiling": "knows the walls and where it is, not the goal",
    "oracle": "knows the walls and the goal",
    "right_hand": "follows the wall on its right, learns nothing",
    "left_hand": "follows the wall on its left, learns nothing",
}


def in_digits(value: float) -> str:
    """Return a return with one decimal, and small ones with three."""
    return f"{value:.1f}" if abs(value) >= 3 else f"{value:.3f}"


def or_dash(value: float | None, form: str) -> str:
    """Return a number in some form; a dash where there is none."""
    return "–" if value is None else format(value, form)


def explained(names: Iterable[str]) -> str:
    """Explain references, a line each, for the legend of a picture."""
    return "\n".join(f"{REFERENCES[n]}: {_EXPLAINED[n]}" for n in names if n in _EXPLAINED)


@dataclass(frozen=True, eq=False)
class Known:
    """Known returns of trials on some tasks; a problem's ``known`` returns this or its like.

    Attributes:
        returns: Mean return of a trial, by who earns it (`REFERENCES`); None: not known.
        told: Who of them is named beside an agent.
        curves: Expected rewards of a trial, ``[T]`` each, likewise.
        layouts: Name of the layout of each trial; None where all have the same.
        num_layouts: How many different ones these are.
        facts: Numbers of each trial's layout, such as its height, by name.
        each: Returns of each trial, ``[B]`` each, by who earns them.
        first_find: Expected step of the explorer's first find in each trial, ``[B]``.
        shortest: Steps of the shortest way to each trial's goal, ``[B]``.
        ends_at: Steps of an episode, where a find ends it.
        more: Further entries of a summary.
        mazes: Family and name of the maze of each trial, where mazes have names.
    """

    returns: Mapping[str, float | None]
    told: tuple[str, ...]
    curves: Mapping[str, Array] = field(default_factory=dict)
    layouts: Sequence[str] | None = None
    num_layouts: int = 0
    facts: Mapping[str, Sequence[int]] = field(default_factory=dict)
    each: Mapping[str, Array] = field(default_factory=dict)
    first_find: Array | None = None
    shortest: Array | None = None
    ends_at: int | None = None
    more: Mapping[str, Any] = field(default_factory=dict)
    mazes: Sequence[tuple[str, str]] | None = None


SCALE = ("return", "random_return", "explorer_return")
"""Whose returns a score is made of, as `metarl.stats.normalised_score` takes them."""

AVERAGED = ("normalised_score", "success")
"""What is averaged over the mazes of a family."""


def known_of(problem: Problem, tasks: Sequence[Any], num_episodes: int) -> Known:
    """Return a problem's known returns of trials on some tasks; at least its anchors."""
    if hasattr(problem, "known"):
        known: Known = problem.known(tasks, num_episodes)
        return known
    ends = problem.anchors(tasks)
    one = {"random": ends.floor, "oracle": ends.oracle} if ends else {}
    return Known({name: num_episodes * value for name, value in one.items()}, tuple(one))


@dataclass(frozen=True, eq=False)
class References:
    """Returns to judge others by, on the tasks that were played.

    Attributes:
        known: What is known of these tasks.
        num_trained_on: How many of their layouts training may have drawn.
        num_episodes: Episodes of a trial.
    """

    known: Known
    num_trained_on: int = 0
    num_episodes: int = 1

    def figures(self, rewards: Array) -> dict[str, Any]:
        """Entries of a summary: ``NAME_return``, ``normalised_score`` and what else is known.

        Args:
            rewards: Of trials on these tasks, ``[T, B]``.
        """
        known = self.known
        found = {
            "normalised_score": self.normalised_score(float(rewards.sum(0).mean())),
            **{f"{name}_return": value for name, value in known.returns.items()},
            **known.more,
        }
        if known.layouts is None:
            return found
        layouts = self.by_layout(rewards)
        found |= {"num_layouts": known.num_layouts, "layouts_trained_on": self.num_trained_on}
        found |= {f"cvar_success_{p}": worst(layouts["success"], p) for p in RISKS}
        found |= self._by_maze(rewards)
        if known.shortest is None or known.first_find is None:
            return found | self._by_episode(rewards)
        first, shortest = float(known.first_find.mean()), float(known.shortest.mean())
        return {
            **found,
            **asdict(self.finds(rewards)),
            "explorer_first_find": first,
            "shortest_to_goal": shortest,
            "explorer_gap_over_shortest": [first / shortest, 1.0],
            **{f"cvar_share_of_explorer_{p}": worst(layouts["share"], p) for p in RISKS},
        }

    def normalised_score(self, mean: float) -> float | None:
        """Score of a mean return: 0 is the random policy, 1 the explorer; not clipped.

        None where the explorer earns no more than random actions, or is not known.
        """
        random, explorer = (self.known.returns.get(name) for name in ("random", "explorer"))
        if random is None or explorer is None:
            return None
        return normalised_score(mean, random, explorer)

    def beside(self, summary: Mapping[str, Any]) -> str:
        """The returns, in words."""
        told = self.known.told
        return "; ".join(f"{REFERENCES[n]} {in_digits(summary[f'{n}_return'])}" for n in told)

    @cached_property
    def curves(self) -> Mapping[str, Array]:
        """Expected rewards ``[T, 1]`` by name, for the picture."""
        return {REFERENCES[name]: curve[:, None] for name, curve in self.known.curves.items()}

    @property
    def note(self) -> str:
        """Words for what stands behind the names of the curves."""
        return explained(name for name in self.known.told if name in self.known.curves)

    def finds(self, rewards: Array) -> FindStatistics:
        """Statistics find by find, where the shortest ways are known."""
        assert self.known.shortest is not None
        return find_statistics(rewards, self.known.shortest, ends_at=self.known.ends_at)

    def by_layout(self, rewards: Array) -> dict[str, Array]:
        """Means over the trials of each layout, ``[L]`` by name, in the order of their coming."""
        known, found = self.known, rewards > 0
        values = {
            "return": rewards.sum(0),
            **{f"{name}_return": returns for name, returns in known.each.items()},
            "success": found.any(0).astype(float),
        }
        if known.shortest is not None and known.first_find is not None:
            first = steps_between_finds(rewards, 1)[:, 0]
            values |= {
                "finds": found.sum(0).astype(float),
                "first_find": np.where(np.isnan(first), len(rewards) + 1.0, first),
                "explorer_first_find": known.first_find,
                "shortest": known.shortest,
            }
        means = by_layout(np.array(known.layouts), values)
        if "explorer" not in known.each:
            return means
        share = np.full(len(means["return"]), np.nan)  # of nothing, where the explorer has none
        explorer = means["explorer_return"]
        np.divide(means["return"], explorer, share, where=explorer > 0)
        return {**means, "share": share}

    def _by_maze(self, rewards: Array) -> dict[str, Any]:
        """Means over the trials in each named maze, over the mazes of each family, over families.

        In the last of them each family counts alike, however many goals its mazes have.
        """
        if self.known.mazes is None:
            return {}
        family = {maze: name for name, maze in self.known.mazes}
        columns = {"return": rewards.sum(0), "success": (rewards > 0).any(0).astype(float)}
        columns |= {f"{name}_return": values for name, values in self.known.each.items()}
        means = by_layout(np.array([maze for _, maze in self.known.mazes]), columns)
        order = dict.fromkeys(maze for _, maze in self.known.mazes)
        mazes: dict[str, dict[str, Any]] = {
            maze: {
                "family": family[maze],
                "num_trials": int(means["trials"][n]),
                "mean_return": float(means["return"][n]),
                **{name: float(means[name][n]) for name in columns if name != "return"},
                "normalised_score": normalised_score(*(float(means[name][n]) for name in SCALE)),
            }
            for n, maze in enumerate(order)
        }
        families = {
            name: {
                key: _mean_of_known(m[key] for m in mazes.values() if m["family"] == name)
                for key in AVERAGED
            }
            for name in dict.fromkeys(family.values())
        }
        over = {
            f"{key}_over_families": _mean_of_known(each[key] for each in families.values())
            for key in AVERAGED
        }
        return {"per_maze": mazes, "per_family": families, **over}

    def _by_episode(self, rewards: Array) -> dict[str, Any]:
        """Success and return of each episode of a trial."""
        episodes = rewards.reshape(self.num_episodes, -1, rewards.shape[1])  # [E, H, B]
        success = (episodes > 0).any(1)  # [E, B]
        return {
            "success": float(success.any(0).mean()),
            "success_by_episode": success.mean(1).tolist(),
            "return_by_episode": episodes.sum(1).mean(1).tolist(),
        }


def _mean_of_known(values: Iterable[float | None]) -> float | None:
    """Mean of values that there are; None if there are none."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
