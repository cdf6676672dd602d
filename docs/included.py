"""What pages take from elsewhere, so that it is said once: docstrings, and tables from CSV files.

A comment on a line of its own is replaced:

    <!-- docstring: envs.maze.env.GridMazeEnv -->
    <!-- table: benchmarks.maze.report.table of benchmarks/maze/results.csv -->

A docstring comes without its first line, and its headings go down a level. A table is what a
function makes of the lines of a CSV file: one that prints the tables of a page of results, or one
of `docs.tables`.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DOCSTRING = re.compile(r"^<!-- docstring: ([\w.]+)\.(\w+) -->$", re.MULTILINE)
TABLE = re.compile(r"^<!-- table: ([\w.]+)\.(\w+) of ([\w./-]+\.csv) -->$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the comments of a page."""
    return included(markdown)


def included(markdown: str) -> str:
    """The page with what it takes from elsewhere."""
    with_docstrings = DOCSTRING.sub(lambda m: _docstring(m[1], m[2]), markdown)
    return TABLE.sub(lambda m: _table(m[1], m[2], ROOT / m[3]), with_docstrings)


def _docstring(module: str, name: str) -> str:
    """Docstring of a class, read from its file, which is not run."""
    path = (ROOT / module.replace(".", "/")).with_suffix(".py")
    (found,) = (
        node
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.ClassDef) and node.name == name
    )
    text = inspect.cleandoc(ast.get_docstring(found) or "").partition("\n")[2]
    text = re.sub(r"(?<!`)``(?!`)", "`", text)
    text = re.sub(r"^```\n\* ", "```\n\n* ", text, flags=re.MULTILINE)  # a list after code
    return re.sub(r"^## ", "### ", text, flags=re.MULTILINE).strip()


def _table(module: str, name: str, path: Path) -> str:
    """Markdown that a function makes of the lines of a file."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    read_csv = import_module("benchmarks.csv_file").read_csv
    rows = read_csv(path)
    if not rows:
        raise FileNotFoundError(f"{path.relative_to(ROOT)} holds no lines")
    table: str = getattr(import_module(module), name)(rows)
    return table
