"""The answers of the page, as functions from JSON values to JSON values: no network is needed.

Everything is asked for in full every time, and the same question has the same answer.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from metarl import __version__
from metarl.errors import UserError
from metarl.evaluate.references import REFERENCES, Known
from metarl.explore.arena import OFFERED, Arena, Drawn, Rule
from metarl.explore.asked import Asked
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
    """The answers.

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
        """What agents are judged by in a maze: returns, and what is earned up to each step."""
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
        """What plays in the maze that was asked for; no agent for keys.

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
