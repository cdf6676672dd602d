"""Size of the house: files and functions, and the files that one iteration of training crosses.

    python -m benchmarks.house

A file is crossed where one of its functions runs between the begin and the end of an iteration, as
Python's profiler sees it; the longest list is not the longest way, since a property counts as much
as a trainer.
"""

from __future__ import annotations

import ast
import contextlib
import io
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from metarl.run import main

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("metarl", "envs", "experiments")
LONGEST_FILE, LONGEST_FUNCTION = 400, 60
"""Lines at most."""

SMALL = ("--size", "7", "--horizon", "5", "--log-every", "10", "--device", "cpu")
WALKS = {
    "Warp-RNN in mazes (experiments.maze train)": ("maze", SMALL),
    "MAML in mazes (experiments.maze_adapt train)": (
        "maze_adapt",
        ("--env", "maze", "--meta-batch", "2", "--episodes", "2", *SMALL),
    ),
}


def files() -> list[Path]:
    """Return the production files."""
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def functions(tree: ast.Module) -> Iterator[tuple[str, int, int]]:
    """Yield the name, the lines and the statements of every function; a docstring is none."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            documented = ast.get_docstring(node) is not None
            yield (
                node.name,
                (node.end_lineno or node.lineno) - node.lineno + 1,
                len(node.body) - documented,
            )


def one_caller() -> tuple[list[str], int]:
    """Return functions of one statement that are named in one place alone; and how many there are.

    Names of several functions are left out, as those of Python's own protocols.
    """
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in files()]
    named = Counter(
        node.id if isinstance(node, ast.Name) else node.attr
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Name | ast.Attribute)
    )
    every = [one for tree in trees for one in functions(tree)]
    times = Counter(name for name, _, _ in every)
    short = [name for name, _, statements in every if statements == 1 and times[name] == 1]
    return [n for n in short if named[n] == 1 and not n.startswith("__")], len(every)


def too_long() -> list[str]:
    """Return the files and the functions that are longer than they should be."""
    found = []
    for path in files():
        name, text = path.relative_to(ROOT), path.read_text(encoding="utf-8")
        if (lines := len(text.splitlines())) > LONGEST_FILE:
            found.append(f"{name} has {lines} lines")
        found += [
            f"{name}: {function} has {lines} lines"
            for function, lines, _ in functions(ast.parse(text))
            if lines > LONGEST_FUNCTION
        ]
    return found


def crossed(script: str, arguments: tuple[str, ...]) -> list[str]:
    """Return the files that the second iteration of a training crosses, in the order of the way."""
    from importlib import import_module

    from metarl.train.loop import MetaTraining

    found: dict[str, None] = {}
    iterate: Any = MetaTraining._iterate
    calls = iter(range(10**9))

    def see(frame: Any, event: str, _: object) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(ROOT):
            parts = path.relative_to(ROOT)
            if parts.parts[0] in PACKAGES:
                found.setdefault(str(parts))

    def seen(self: Any) -> Any:
        if next(calls) != 1:
            return iterate(self)
        sys.setprofile(see)
        try:
            return iterate(self)
        finally:
            sys.setprofile(None)

    training: Any = MetaTraining
    training._iterate = seen
    try:
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
            recipe = import_module(f"experiments.{script}").RECIPE
            place = ("--run-dir", f"{folder}/run", "--iterations", "3")
            main(recipe, ["train", *arguments, *place])
    finally:
        training._iterate = iterate
    return list(found)


def report() -> None:
    """Print the figures."""
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in files()}
    few, every = one_caller()
    print(f"{len(lengths)} files, {sum(lengths.values())} lines")
    print(f"{every} functions, {len(few)} of one statement and one caller ({len(few) / every:.1%})")
    for words in too_long():
        print(f"  {words}")
    for words, (script, arguments) in WALKS.items():
        way = crossed(script, arguments)
        print(f"{words}: {len(way)} files")
        for crossing in way:
            print(f"  {crossing}")


if __name__ == "__main__":
    report()
