"""Code, links and headings of pages in Markdown."""

from __future__ import annotations

import re

FENCE = re.compile(r"^(```+)(\w*)[^\n]*\n(.*?)^\1\s*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} (.*)$", re.MULTILINE)


def code_blocks(text: str, language: str) -> list[str]:
    """The code in a language, in order."""
    return [body for _, name, body in FENCE.findall(text) if name == language]


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
