"""The tests on every Python that is found: ``python -m tests.packaging.pythons [PYTEST OPTIONS]``.

Each version gets a fresh environment with the pinned packages, outside the checkout. At the end the
versions are named that the tests have passed on, and no others are claimed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
OLDEST = (3, 11)
NEWEST_TRIED = 20

Version = tuple[int, int, int]

CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
"""No way to the checkout."""


def candidates() -> Iterator[Path]:
    """Interpreters by their usual names: this one, those on the path, those of pyenv."""
    yield Path(sys.executable)
    for minor in range(OLDEST[1], NEWEST_TRIED):
        if name := shutil.which(f"python3.{minor}"):
            yield Path(name)
    yield from sorted(Path.home().glob(".pyenv/versions/*/bin/python3"))


def found() -> dict[Version, Path]:
    """One interpreter of every version 3.x from 3.11 on, the latest of each, in their order."""
    ask = "import sys, venv, ensurepip; print(*sys.version_info[:3])"
    every: dict[Version, Path] = {}
    for path in candidates():
        said = subprocess.run([path, "-c", ask], capture_output=True, text=True, env=CLEAN)
        if said.returncode:  # a name that leads nowhere, or no environments can be made
            continue
        major, minor, micro = map(int, said.stdout.split())
        every.setdefault((major, minor, micro), path)
    latest = {version[:2]: version for version in sorted(every) if version[:2] >= OLDEST}
    return {version: every[version] for version in latest.values()}


def environment(python: Path, place: Path, *what: str) -> Path:
    """Make a fresh environment, install into it under `constraints.txt`; returns its interpreter.

    Raises:
        CalledProcessError: It cannot be made, or something cannot be installed.
    """
    subprocess.run([python, "-m", "venv", place], check=True, env=CLEAN)
    own = place / "bin" / "python"
    pip = [own, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    constraints = ["--constraint", ROOT / "constraints.txt"]
    subprocess.run([*pip, *constraints, *what], check=True, env=CLEAN, cwd=place)
    return own


def words(version: Version) -> str:
    """A version as one writes it."""
    return ".".join(map(str, version))


def main(options: Sequence[str]) -> int:
    """Run the tests everywhere; the exit status says whether all have passed."""
    passed, failed = [], []
    for version, python in found().items():
        print(f"==> Python {words(version)} ({python})", flush=True)
        with tempfile.TemporaryDirectory() as place:
            try:
                own = environment(python, Path(place) / "env", f"{ROOT}[dev]")
                tests = [own, "-m", "pytest", *(options or ("-n", "2", "-q", "-m", "not slow"))]
                subprocess.run(tests, check=True, cwd=ROOT, env=CLEAN)
                passed.append(words(version))
            except subprocess.CalledProcessError as error:
                print(f"Python {words(version)}: {error}", file=sys.stderr)
                failed.append(words(version))
    print(f"tests passed on Python: {', '.join(passed) or 'none'}")
    if failed:
        print(f"tests failed on Python: {', '.join(failed)}")
    return bool(failed) or not passed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
