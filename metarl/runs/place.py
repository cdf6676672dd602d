"""State of the place where runs go: nothing yet, runs, or something else."""

from __future__ import annotations

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
    if path.exists() and not path.is_dir():
        raise RunDirectoryError(f"{path} is a file, not a folder; name another --run-dir")


def is_vacant(path: Path) -> bool:
    """Whether a folder is empty, but for what a kill in the first moment leaves in it."""
    return all(
        p.name in (".lock", ".owner")
        or (p.name.startswith(".") and p.name.endswith(".tmp"))
        or (p.name.startswith("seed-") and p.is_dir() and is_vacant(p))
        for p in path.iterdir()
    )
