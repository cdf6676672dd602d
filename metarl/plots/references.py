"""References that returns in a maze are judged by: one name each, in pictures and in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

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

_EXPLAINED: Mapping[str, str] = {
    "random": "random actions",
    "localising": "the best walk found with the agent's own view",
    "explorer": "searches without knowing the walls, then takes shortest paths (score 1)",
    "ceiling": "knows the walls and where it is, not the goal",
    "oracle": "knows the walls and the goal",
    "right_hand": "follows the wall on its right, learns nothing",
    "left_hand": "follows the wall on its left, learns nothing",
}


def explained(names: Iterable[str]) -> str:
    """Explain references, a line each, for the legend of a picture."""
    return "\n".join(f"{REFERENCES[n]}: {_EXPLAINED[n]}" for n in names if n in _EXPLAINED)
