"""Players: the agents of the package and of runs, found, read and loaded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from metarl import zoo
from metarl.errors import RunDirectoryError, UserError
from metarl.explore.arena import Arena
from metarl.invocation import typed
from metarl.methods.recurrent import RecurrentAdapter
from metarl.run.trials import Trained, adapter
from metarl.runs.directory import RunDirectory

MOST_RUNS = 60
"""Runs that are found by themselves; the newest."""

MOST_LOADED = 8
"""Agents that are kept in memory."""

DEPTH = 3
"""Folders between the folder of runs and a run, and one more."""


@dataclass(frozen=True)
class Player:
    """An agent that can be asked for.

    Attributes:
        name: What a request calls it: that of an agent of the package, or the path of a run.
        title: A few words.
        reason: Why it cannot play; None: it can.
        packaged: Whether it comes with the package.
    """

    name: str
    title: str
    reason: str | None
    packaged: bool


class Players:
    """The agents that can be asked for; no request names another file.

    Args:
        arena: Reads what runs have learned.
        runs: Where runs are looked for.
        given: Agents and runs that were named by who started the page; these come first.

    Raises:
        UserError: One of those is none, cannot play mazes, or is damaged.
    """

    def __init__(self, arena: Arena, runs: Path, given: Sequence[str] = ()) -> None:
        self._arena, self._runs = arena, runs
        self._given: dict[str, Path] = {}
        self._read: dict[tuple[Path, int], Trained | UserError] = {}
        self._loaded: OrderedDict[tuple[Path, int], RecurrentAdapter] = OrderedDict()
        for name in given:
            path = zoo.find(name)
            seeds = sorted(config.parent for config in path.glob("seed-*/config.json"))
            found = {str(seed): seed for seed in seeds} or {name: path}
            self._given |= found
            for one in found:
                self.load(one)

    @property
    def places(self) -> dict[str, Path]:
        """The run directories by name, those that were given first."""
        packaged = {name: zoo.find(name) for name in zoo.names()}
        return {**self._given, **packaged, **self._found()}

    def listed(self) -> list[Player]:
        """All of them, with the reason why one cannot play."""
        players = []
        for name, path in self.places.items():
            packaged = path.parent == zoo.AGENTS
            try:
                trained: Trained | None = self._trained(path)
                reason = None
            except UserError as error:
                trained, reason = None, str(error)
            title = zoo.card(path.name).title if packaged else _title(trained)
            players.append(Player(name, title, reason, packaged))
        return players

    def trained(self, name: str) -> Trained:
        """Learning of an agent, and where it is measured.

        Raises:
            UserError: There is no such agent, or it cannot play mazes.
        """
        return self._trained(self._place(name))

    def load(self, name: str) -> RecurrentAdapter:
        """An agent.

        Raises:
            UserError: There is no such agent, it cannot play mazes, or its file is damaged.
        """
        path = self._place(name)
        learning, key = self._trained(path).learning, _key(path, "checkpoint.pt")
        if key not in self._loaded:
            run = RunDirectory.open(path)
            self._loaded[key] = adapter(learning.load(run, torch.device("cpu")).trained)
            while len(self._loaded) > MOST_LOADED:
                self._loaded.popitem(last=False)
        self._loaded.move_to_end(key)
        return self._loaded[key]

    def _place(self, name: str) -> Path:
        places = self.places
        if name not in places:
            raise UserError(
                f"there is no agent {name[:80]!r} on this page: it is one of "
                f"{', '.join(list(places)[:12])}; `{typed('explore', 'maze', of_run=True)} RUN` "
                "adds a run"
            )
        return places[name]

    def _trained(self, path: Path) -> Trained:
        key = _key(path, "config.json")
        if key not in self._read:
            try:
                self._read[key] = self._arena.trained(RunDirectory.open(path).config)
            except UserError as error:
                self._read[key] = error
            except OSError as error:  # not ours to read
                self._read[key] = RunDirectoryError(str(error))
        found = self._read[key]
        if isinstance(found, UserError):
            raise UserError(f"{path.name}: {found}")
        return found

    def _found(self) -> dict[str, Path]:
        """Runs with a checkpoint, the newest first."""
        patterns = ("*/" * depth + "checkpoint.pt" for depth in range(1, DEPTH + 1))
        files = [file for pattern in patterns for file in self._runs.glob(pattern)]
        files = [file for file in files if file.with_name("config.json").is_file()]
        files.sort(key=_changed, reverse=True)
        return {str(file.parent): file.parent for file in files[:MOST_RUNS]}


def _key(path: Path, name: str) -> tuple[Path, int]:
    """A file as it is now: a run that goes on is read again."""
    return path, _changed(path / name)


def _changed(file: Path) -> int:
    """Time when a file was written last; 0: it is gone, or not ours to look at."""
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0


def _title(trained: Trained | None) -> str:
    if trained is None:
        return ""
    return f"{trained.name}, {trained.question.get('protocol', trained.learning.problem.name)}"
