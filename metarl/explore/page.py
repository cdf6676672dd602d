"""The answers of the page, as functions from JSON values to JSON values: no network is needed.

Everything is asked for in full every time, and the same question has the same answer. Every value
of a request is looked at before anything is done with it (`Asked`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NoReturn

import numpy as np

from metarl import __version__
from metarl.errors import UserError
from metarl.evaluate.references import REFERENCES, Known
from metarl.explore.arena import OFFERED, Arena, Drawn, Rule
from metarl.explore.board import LEAST_SIDE, MOST_SIDE, Board
from metarl.explore.players import Players
from metarl.explore.trial import play, thoughts
from metarl.methods.recurrent import RecurrentAdapter, RecurrentLearning

MOST_SEED = 2**31 - 1
MOST_STEPS = 2000
"""Steps of an episode; a trial of several has at most twice as many."""

KEYS = "keys"
"""Name of who plays by keys."""

MOVES, TURNS = ("up", "down", "left", "right"), ("turn left", "turn right", "ahead")
"""Actions in words, of agents that do not turn and of those that do."""

TOLD = ("random", "explorer", "oracle")
"""Who stands beside an agent."""

LIMITS = {
    "least_side": LEAST_SIDE,
    "most_side": MOST_SIDE,
    "most_steps": MOST_STEPS,
    "most_seed": MOST_SEED,
}


class Page:
    """Answers to the requests of the page.

    Args:
        arena: Knows mazes.
        players: Who plays.
    """

    def __init__(self, arena: Arena, players: Players) -> None:
        self._arena, self._players = arena, players

    def setup(self, _: Any = None) -> dict[str, Any]:
        """Everything that can be chosen."""
        return {
            "version": __version__,
            "agents": [asdict(player) for player in self._players.listed()],
            "keys": KEYS,
            "sources": [asdict(source) for source in self._arena.sources],
            "rules": OFFERED,
            "limits": LIMITS,
        }

    def maze(self, fields: Any) -> dict[str, Any]:
        """A maze: as it was drawn or linked, from a source, or the one an agent is filmed in.

        The answer says in ``problem`` why it cannot be played, and in ``walled`` how many cells
        would be walled up because nobody reaches them.
        """
        asked = Asked(fields, ("maze", "source", "size", "agent", "seed"))
        if asked.any("maze") is not None:
            drawn = Drawn(Board.of_json(asked.any("maze")))
        elif asked.any("agent") is not None:
            trained = self._players.trained(asked.text("agent"))
            drawn = self._arena.own(trained, asked.whole("seed", 0, MOST_SEED, 0))
        else:
            size = asked.whole("size", LEAST_SIDE, MOST_SIDE, 13)
            seed = asked.whole("seed", 0, MOST_SEED, 0)
            drawn = self._arena.draw(asked.text("source"), size, seed)
        walled, problem = 0, None
        try:
            walled = drawn.board.num_free - drawn.board.playable().num_free
        except UserError as error:
            problem = str(error)
        return {
            "maze": drawn.board.to_json(),
            "note": drawn.note,
            "walled": walled,
            "problem": problem,
        }

    def trial(self, fields: Any) -> dict[str, Any]:
        """A trial of an agent, or of somebody's moves so far."""
        asked = Asked(fields, ("maze", "agent", "seed", "rule", "steps", "greedy", "moves"))
        learning, board, player = self._placed(asked)
        moves = asked.numbers("moves", 3, 2 * MOST_STEPS) if player is None else None
        facts = self._arena.facts(learning)
        task, seed = self._arena.task(board), asked.whole("seed", 0, MOST_SEED, 0)
        who: Any = moves if player is None else player
        trial, agent = play(learning, who, task, seed, facts, greedy=asked.flag("greedy"))
        found = {**trial.to_json(facts), "maze": board.to_json()}
        if agent is None:
            return found
        loss = learning.agent.loss
        scale = loss.reward_scale if loss.return_scaling == "fixed" else 1.0
        names = TURNS if facts.turning else MOVES
        return found | {"action_names": names} | thoughts(agent, trial, scale)

    def anchors(self, fields: Any) -> dict[str, Any]:
        """References for agents in a maze: returns, and what is earned up to each step."""
        asked = Asked(fields, ("maze", "agent", "rule", "steps"))
        learning, board, _ = self._placed(asked)
        known: Known = self._arena.known(learning, self._arena.task(board))
        reward, first = self._arena.facts(learning).reward, known.first_find
        return {
            "reward": reward,
            "num_steps": learning.trial_episodes * learning.problem.horizon,
            "returns": {
                REFERENCES[name]: round(value, 3)
                for name in TOLD
                if (value := known.returns.get(name)) is not None
            },
            "curves": {
                REFERENCES[name]: np.cumsum(curve).round(3).tolist()
                for name, curve in known.curves.items()
                if name in TOLD
            },
            "shortest": None if known.shortest is None else int(known.shortest[0]),
            "first_find": None if first is None else round(float(first[0]), 1),
        }

    def _placed(self, asked: Asked) -> tuple[RecurrentLearning, Board, RecurrentAdapter | None]:
        """Learning that plays in the maze that was asked for; no agent for keys.

        Raises:
            UserError: It cannot be.
        """
        board = Board.of_json(asked.any("maze")).playable()
        name, steps = asked.text("agent"), asked.whole_or_none("steps", 1, MOST_STEPS)
        rule: Rule | None = asked.choice("rule", OFFERED)
        keys = name == KEYS
        trained = None if keys else self._players.trained(name)
        learning = self._arena.placed(trained, board, rule, steps)
        total = learning.trial_episodes * learning.problem.horizon
        if total > 2 * MOST_STEPS:
            raise UserError(
                f"{learning.trial_episodes} episodes of {learning.problem.horizon} steps are more "
                f"than {2 * MOST_STEPS} steps: take fewer steps, or a smaller maze"
            )
        return learning, board, None if keys else self._players.load(name)


# What a request may ask for -----------------------------------------------------------------------


SHOWN = 60
"""Characters of a wrong value that are shown."""


class Asked:
    """The fields of a JSON object, each taken once.

    Args:
        fields: The object.
        known: Names of the fields that it may have.

    Raises:
        UserError: It is no object, or has others.
    """

    def __init__(self, fields: Any, known: Collection[str]) -> None:
        if not isinstance(fields, Mapping):
            raise UserError(f"send a JSON object with {', '.join(known)}, not {_shown(fields)}")
        unknown = [name for name in fields if name not in known]
        if unknown:
            raise UserError(f"{_shown(unknown[0])} is no field here: they are {', '.join(known)}")
        self._fields = fields

    def any(self, name: str) -> Any:
        """A field as it is; None where it is not given."""
        return self._fields.get(name)

    def text(self, name: str) -> str:
        """A text that must be given."""
        value = self._fields.get(name)
        if not isinstance(value, str):
            self._refuse(name, "a text")
        return value

    def whole(self, name: str, least: int, most: int, default: int | None = None) -> int:
        """A whole number; the default where it is not given."""
        found = self.whole_or_none(name, least, most)
        if found is not None:
            return found
        if default is None:
            self._refuse(name, f"a whole number from {least} to {most}")
        return default

    def whole_or_none(self, name: str, least: int, most: int) -> int | None:
        """A whole number, or None where it is not given."""
        value = self._fields.get(name)
        if value is None:
            return None
        if type(value) is not int or not least <= value <= most:
            self._refuse(name, f"a whole number from {least} to {most}")
        return value

    def flag(self, name: str) -> bool:
        """Whether something is asked for; False where it is not given."""
        value = self._fields.get(name, False)
        if not isinstance(value, bool):
            self._refuse(name, "true or false")
        return value

    def choice(self, name: str, choices: Sequence[str]) -> Any:
        """One of a few texts, or None where it is not given."""
        value = self._fields.get(name)
        if value is not None and value not in choices:
            self._refuse(name, f"one of {', '.join(choices)}, or left out")
        return value

    def numbers(self, name: str, most: int, count: int) -> list[int]:
        """A list of whole numbers from 0.

        Args:
            name: Of the field.
            most: The largest number.
            count: The most numbers.
        """
        value = self._fields.get(name)
        if (
            not isinstance(value, list)
            or len(value) > count
            or not all(type(one) is int and 0 <= one <= most for one in value)
        ):
            self._refuse(name, f"a list of at most {count} whole numbers from 0 to {most}")
        return value

    def _refuse(self, name: str, wanted: str) -> NoReturn:
        raise UserError(f"{name} must be {wanted}, got {_shown(self._fields.get(name))}")


def _shown(value: Any) -> str:
    """A value of JSON in few characters."""
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
