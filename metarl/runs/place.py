"""State of the place where runs go: nothing yet, runs, or something else."""

from __future__ import annotations

import os
from pathlib import Path

from metarl.errors import RunDirectoryError


def holds_runs(path: Path) -> bool:
    """Whether a folder is a run, or has runs of seeds in it."""
    return (path / "config.json").exists() or any(path.glob("seed-*/config.json"))


def refuse_occupied(path: Path) -> None:
    """Check that nothing is in a place.

    Raises:
        RunDirectoryError: There is; the message says what can be done.
    """
    if path.is_dir() and not is_vacant(path):
        is_run = holds_runs(path)
        remedy = (
            f"name another --run-dir, continue it with --resume {path}, or delete it"
            if is_run
            else "name another --run-dir, or empty it"
        )
        what = "already holds a run" if is_run else "is not empty"
        raise RunDirectoryError(f"{path} {what}; {remedy}")
    check_folder(path)


def check_folder(path: Path, remedy: str = "name another --run-dir") -> None:
    """Check that a folder is there and can be written into, or can be made; nothing is made.

    Args:
        path: The folder.
        remedy: What the user can do.

    Raises:
        RunDirectoryError: It cannot; the message says what is in the way.
    """
    there = next(place for place in (path, *path.absolute().parents) if os.path.lexists(place))
    what = f"{path}" if there == path else f"{path} cannot be made: {there}"
    if not there.is_dir():
        raise RunDirectoryError(f"{what} is a file, not a folder; {remedy}")
    if not os.access(there, os.W_OK | os.X_OK):
        raise RunDirectoryError(f"{what} cannot be written into; {remedy}")


def check_file(path: Path, option: str = "--output") -> None:
    """Check that a file can be written, before there is anything to write.

    Args:
        path: The file; one that is there will be replaced.
        option: Where the user names another one.

    Raises:
        RunDirectoryError: It cannot; the message says what is in the way.
    """
    if path.is_dir():
        raise RunDirectoryError(f"{option} {path} is a folder; name a file in it")
    check_folder(path.parent, f"name another {option}")


def is_vacant(path: Path) -> bool:
    """Whether a folder is empty, but for what a kill in the first moment leaves in it."""
    return all(
        p.name in (".lock", ".owner")
        or (p.name.startswith(".") and p.name.endswith(".tmp"))
        or (p.name.startswith("seed-") and p.is_dir() and is_vacant(p))
        for p in path.iterdir()
    )
