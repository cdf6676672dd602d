"""Contract between the page and whoever knows mazes: this package knows no environments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from metarl.evaluate.references import Known
from metarl.explore.board import Board
from metarl.methods.recurrent import RecurrentLearning
from metarl.run.trials import Trained

Rule = Literal["start", "random", "end"]
"""What a find does: it sends an agent back to the start or to a random cell, or ends the episode.
"""

OFFERED: tuple[Rule, ...] = ("start", "random")
"""Rules that one may choose in place of the one that an agent was trained by."""


@dataclass(frozen=True)
class Source:
    """Mazes that can be asked for.

    Attributes:
        name: What a request calls them.
        words: What the page calls them.
        group: What they are listed under.
        sized: Whether they come in any size.
    """

    name: str
    words: str
    group: str
    sized: bool = True


@dataclass(frozen=True)
class Facts:
    """Facts that the page tells of an agent's environments.

    Attributes:
        rule: What a find does.
        reward: Paid for a find.
        view: Rows and columns of the square that the agent sees, with which an observation begins.
        turning: Whether the agent turns, and sees what is ahead.
    """

    rule: Rule
    reward: float
    view: int
    turning: bool


@dataclass(frozen=True)
class Drawn:
    """A maze that was drawn from a source.

    Attributes:
        board: The maze.
        note: What is to be known of it; empty: nothing.
    """

    board: Board
    note: str = ""


class Arena(Protocol):
    """The mazes, and how agents play in them."""

    @property
    def sources(self) -> Sequence[Source]:
        """The mazes that can be asked for."""

    def draw(self, source: str, size: int, seed: int) -> Drawn:
        """Draw a maze.

        Raises:
            UserError: There is no such source, or not of this size.
        """

    def own(self, trained: Trained, seed: int) -> Drawn:
        """Draw the maze that a run is shown in by its ``render`` with this seed."""

    def task(self, board: Board) -> Any:
        """Return the task of a maze that can be played."""

    def trained(self, config: Mapping[str, Any]) -> Trained:
        """Read what a run has learned.

        Raises:
            UserError: It is not about mazes, or no agent that learns within one trial; the message
                says what it is.
        """

    def placed(
        self, trained: Trained | None, board: Board, rule: Rule | None, steps: int | None
    ) -> RecurrentLearning:
        """Return what was learned, on a problem whose environments play in this maze.

        Args:
            trained: What a run has learned, and where it is measured; None: of whoever plays by
                keys.
            board: The maze.
            rule: What a find does; None: as it was trained.
            steps: Steps of an episode; None: as it was trained, or in a maze of another size in
                proportion.
        """

    def facts(self, learning: RecurrentLearning) -> Facts:
        """Return what is to be known of an agent's environments."""

    def known(self, learning: RecurrentLearning, task: Any) -> Known:
        """Return what agents are judged by in this maze."""
