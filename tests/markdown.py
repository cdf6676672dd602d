"""Code, links and headings of pages in Markdown, and how their code is run."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

FENCE = re.compile(r"^(```+)(\w*)[^\n]*\n(.*?)^\1\s*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} (.*)$", re.MULTILINE)


def code_blocks(text: str, language: str) -> list[str]:
    """The code in a language, in order."""
    return [body for _, name, body in FENCE.findall(text) if name == language]


def run_blocks(blocks: Iterable[str], page: str, names: dict[str, Any] | None = None) -> Any:
    """Run blocks of Python, one after the other, each with the names of those before it.

    Args:
        blocks: The code.
        page: Name of the page, for tracebacks.
        names: Names to begin with, which grow.

    Returns:
        The names.
    """
    found = {"__name__": "page"} if names is None else names
    for number, block in enumerate(blocks, start=1):
        exec(compile(block, f"{page}, block {number}", "exec", dont_inherit=True), found)
    return found


def links(text: str) -> list[str]:
    """Where links and pictures point to, code apart."""
    return LINK.findall(FENCE.sub("", text))


def anchors(text: str) -> set[str]:
    """Names of the headings, as MkDocs makes them."""
    plain = (
        re.sub(r"[^\w\s-]", "", heading).strip().lower()
        for heading in HEADING.findall(FENCE.sub("", text))
    )
    return {re.sub(r"[-\s]+", "-", heading) for heading in plain}
