r"""Formulas of pages as MathML, which browsers set themselves: no script, no font, no network.

A formula stands between `$` in a line, or between `$$` on lines of its own, in LaTeX, so that it
can be read in the repository too. Arithmatex finds them, and what it found is turned here.
"""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)
"""What `pymdownx.arithmatex` makes of a formula, with `generic: true`."""


def on_page_content(content: str, **_: Any) -> str:
    """Turn all formulas of a page."""
    return FORMULA.sub(_mathml, content)


def _mathml(found: re.Match[str]) -> str:
    tag, bracket, latex = found.groups()
    display = "block" if bracket == "[" else "inline"
    formula = convert(html.unescape(latex).strip(), display=display)
    return f'<{tag} class="formula">{formula}</{tag}>'
