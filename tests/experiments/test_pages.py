"""The commands on the README, in the documentation and on pages of results are taken by scripts."""

from __future__ import annotations

import os
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import tyro

from tests.markdown import code_blocks

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "benchmarks").glob("*/*.md"))
DOCS = [
    page
    for page in sorted((ROOT / "docs").rglob("*.md"))
    if page.name != "guide.md" and "```sh" in page.read_text("utf-8")
]
PRINTED = 'python() { for word in "$@"; do printf "%q " "$word"; done; printf "\\n"; }\n'
"""What the shell does for ``python ARGUMENTS``: one line, quoted."""

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")


class Taken(Exception):
    """The command line was read, and nothing has been done yet."""


def commands(page: Path, nowhere: Path) -> list[tuple[str, ...]]:
    """``python -m experiments...`` of a page: words, loops and variables as the shell has them.

    Args:
        page: To be read.
        nowhere: An empty folder to be in, so that nothing else on the page is found and run.
    """
    blocks = code_blocks(page.read_text("utf-8"), "sh")
    command = [shutil.which("bash") or "bash", "-c", "\n".join([PRINTED, *blocks])]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=nowhere, env={"PATH": ""}, check=False
    )
    found = dict.fromkeys(tuple(shlex.split(line)) for line in done.stdout.splitlines())
    return [words for words in found if words[1].startswith("experiments.")]


def take(words: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Read one command line with the script that it names, up to where the work begins."""
    read = tyro.cli

    def stop(kind: Any, *args: Any, **options: Any) -> Any:
        settings = read(kind, *args, **options)
        if options.get("return_unknown_args"):  # a single option, read before the others
            return settings
        raise Taken

    _, name, *arguments = words
    with monkeypatch.context() as patch, pytest.raises(Taken):
        patch.setattr(tyro, "cli", stop)
        patch.setattr(sys, "argv", [name, *arguments])
        # Run afresh, as by `python -m`, with what the script has in modules of its own beside it.
        for module in [m for m in sys.modules if m.startswith(name)]:
            patch.delitem(sys.modules, module, raising=False)
        runpy.run_module(name, run_name="__main__", alter_sys=True)


@pytest.mark.parametrize(("page", "least"), [("README.md", 6), ("docs/guide.md", 18)])
def test_the_commands_of_the_front_pages_are_taken(
    page: str, least: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = commands(ROOT / page, tmp_path)
    assert len(found) >= least  # nothing went missing on the way
    for words in found:
        take(words, monkeypatch)


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_documentation_s_commands_are_taken(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the files that the pages' Python has written before, as if there were SLURM here."""
    found = commands(page, tmp_path)
    (tmp_path / "mine.txt").write_text("#####\n#S.G#\n#####\n")
    (tmp_path / "sbatch").write_text("#!/bin/sh\n")
    (tmp_path / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    monkeypatch.chdir(tmp_path)
    for words in found:
        take(words, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_the_pages_commands_are_taken(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for words in commands(page, tmp_path):
        take(words, monkeypatch)
