"""References that returns in a maze are judged by: one name each, in pictures and in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

REFERENCES: Mapping[str, str] = {
    "random": "random actions",
    "localising": "best known with these inputs",
    "ceiling": "explore, then exploit",
    "oracle": "oracle",
}
"""Fields of `envs.maze.anchors.ReferenceReturns`, kept in `config.json` and `summary.json`.

``localising`` is the best walk found for the agent's own observations; it bounds nothing.
"""

_EXPLAINED: Mapping[str, str] = {
    "localising": "the best walk found with the agent's own view",
    "ceiling": "is told where it is",
    "oracle": "is told the goal",
}


def explained(names: Iterable[str]) -> str:
    """Explain references, a line each, for the legend of a picture."""
    return "\n".join(f"{REFERENCES[n]}: {_EXPLAINED[n]}" for n in names if n in _EXPLAINED)
