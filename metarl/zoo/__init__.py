"""The model zoo: small trained agents that come with the package, each with its card.

    from metarl import zoo
    zoo.names()
    print(zoo.card("mazes13"))          # what it learned, for how long, and what it earns
    agent = metarl.load("mazes13")

A folder of `agents/` is a run directory as ``export`` makes it, small enough to give away, with a
`card.toml` beside the run's own files. Figures stand in `summary.json` alone: the card says which
one an agent is known by, and the command that measures it again.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from metarl.errors import RunDirectoryError, UserError, understood
from metarl.runs.files import read_json

RECIPE_COMMAND = re.compile(r"^python -m experiments\.(\w+) (\w+)")
"""A command in a checkout; ``metarl train maze`` is the same there and of a wheel."""

AGENTS = Path(__file__).parent / "agents"
"""Where the agents are."""


@dataclass(frozen=True)
class Card:
    """Facts about an agent.

    Attributes:
        name: Its folder, and what `metarl.load` calls it.
        title: A few words.
        tasks: Distribution of tasks that it was trained on.
        learner: Method and network.
        budget: What the training took.
        seeds: Which seeds were trained, and why this one is here.
        train: Command of the training, in one line.
        evaluate: Command that measures the result again, on fresh tasks of the same seed.
        result: What the figure is, and of what.
        figure: Its entry in `summary.json`: a number, or one per step of adaptation.
        interval: The entry of its 95 % interval: its ends, or half of it.
        after: Which step of adaptation the figure is of, where there are several; the one before
            adaptation is shown beside it.
        scale: What the figure is multiplied by, such as 100 for per cent.
        beside: Further entries of `summary.json` to judge it by, with their words.
    """

    name: str
    title: str
    tasks: str
    learner: str
    budget: str
    seeds: str
    train: str
    evaluate: str
    result: str
    figure: str
    interval: str
    after: int | None = None
    scale: float = 1.0
    beside: Mapping[str, str] | None = None

    @property
    def folder(self) -> Path:
        """The run directory of the agent."""
        return AGENTS / self.name

    @property
    def summary(self) -> dict[str, Any]:
        """Content of `summary.json`."""
        return read_json(self.folder / "summary.json")

    def measured(self, summary: Mapping[str, Any] | None = None) -> str:
        """The figure with its 95 % interval, such as ``22.50 [20.95, 24.13]``.

        Args:
            summary: Of another evaluation; None: the one that comes with the agent.
        """
        found = self.summary if summary is None else summary
        value, interval = found[self.figure], found[self.interval]
        first = None
        if self.after is not None:
            first, value, interval = value[0], value[self.after], interval[self.after]
        ends = interval if isinstance(interval, list) else (value - interval, value + interval)
        shown, low, high = (_number(self.scale * one, self.scale * value) for one in (value, *ends))
        before = (
            "" if first is None else f"{_number(self.scale * first, self.scale * value)} before, "
        )
        return f"{before}{shown} [{low}, {high}]"

    def judged_by(self) -> str:
        """Figures of others on the same tasks, in words; empty: none are known."""
        summary = self.summary
        return ", ".join(
            f"{words} {_number(self.scale * summary[name], self.scale * summary[name])}"
            for name, words in (self.beside or {}).items()
        )

    def __str__(self) -> str:
        """The card as lines of text."""
        beside = self.judged_by()
        lines = {
            "tasks": self.tasks,
            "learner": self.learner,
            "budget": self.budget,
            "seeds": self.seeds,
            "result": f"{self.measured()}: {self.result}",
            "beside": beside,
            "trained by": RECIPE_COMMAND.sub(r"metarl \2 \1", self.train),
            "measured by": self.evaluate,
            "folder": str(self.folder),
        }
        rows = [f"  {name:12} {text}" for name, text in lines.items() if text]
        return "\n".join((f"{self.name}: {self.title}", *rows))


def names() -> tuple[str, ...]:
    """Names of the agents in the package."""
    return tuple(sorted(path.parent.name for path in AGENTS.glob("*/card.toml")))


def card(name: str) -> Card:
    """The card of an agent.

    Raises:
        UserError: There is no such agent.
    """
    path = AGENTS / name / "card.toml"
    if name not in names():
        raise UserError(f"there is no agent {name!r} in the package; {_known(name)}")
    with understood(path, "is not a card", "install metarl again"):
        written = tomllib.loads(path.read_text("utf-8"))
        unknown = written.keys() - {f.name for f in fields(Card)}
        if unknown:
            raise ValueError(f"it says {', '.join(sorted(unknown))}")
        return Card(name=name, **written)


def find(name_or_path: Path | str) -> Path:
    """The run directory of an agent by name, or of a run by its path.

    A folder that there is comes first: an agent of the package hides no run of one's own.

    Raises:
        RunDirectoryError: There is neither.
    """
    path = Path(name_or_path)
    if path.is_dir():
        return path
    name = str(name_or_path)
    if name in names():
        return AGENTS / name
    if path.name != name:
        raise RunDirectoryError(f"there is no run directory {path}; check the path")
    raise RunDirectoryError(
        f"there is neither a run directory nor an agent of the package named {name}; {_known(name)}"
    )


def _number(value: float, size: float) -> str:
    """A number with as many decimals as suit another's size, and no more than tell anything."""
    decimals = 1 if abs(size) >= 10 else 2 if abs(size) >= 1 else 3
    return f"{value:.{decimals}f}"


def _known(name: str) -> str:
    """The agents that there are, the likely one first."""
    near = get_close_matches(name, names(), 1)
    return f"did you mean {near[0]}?" if near else f"the agents are {', '.join(names())}"
