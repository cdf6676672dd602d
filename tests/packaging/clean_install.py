"""Wheel and source distribution, each in an environment of its own: ``make wheel-test``.

Both are built from the checkout and installed, with the pinned packages and nothing else, outside
of it, on every Python that is found. There a newcomer's first commands are run.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.packaging.pythons import CLEAN, ROOT, environment, found, words

PROGRAM = Path(__file__).with_name("user_program.py")

SMALL = ("--size", "7", "--horizon", "20", "--batch-size", "8", "--hidden-size", "8")

OWN = """\
#############
#S..#.......#
#.#.#.#####.#
#.#...#...#.#
#.#####.#.#.#
#.......#..G#
#############
"""
"""A maze that somebody drew."""

FILMED = ("--method", "gru", "--film-every", "5")

FEW = ("--env", "point", "--seeds", "0", "--iterations", "2", "--meta-batch", "2")
FEW += ("--episodes", "2", "--evaluate.tasks", "3")

COMMANDS: tuple[tuple[str, ...], ...] = (
    ("metarl", "--help"),
    ("metarl", "list"),
    ("metarl", "show", "mazes13"),
    ("metarl", "evaluate", "mazes13", "--tasks", "20"),
    ("metarl", "render", "mazes13", "--steps", "30", "--output", "trial.gif"),
    ("metarl", "render", "mazes13", "--mazes", "own.txt", "--output", "own.gif"),
    ("metarl", "evaluate", "mazes13", "--mazes", "own.txt", "--tasks", "20"),
    ("metarl", "train", "maze", *SMALL, "--iterations", "5", "--run-dir", "runs/room"),
    ("metarl", "evaluate", "runs/room", "--tasks", "10"),
    ("metarl", "train", "--resume", "runs/room", "--iterations", "7"),
    ("metarl", "train", "maze", "--config", "runs/room", *FILMED, "--run-dir", "runs/gru"),
    ("metarl", "plot", "runs/room", "runs/gru", "--output", "curves.png"),
    ("metarl", "compare", "--methods", "maml", "none", *FEW, "--run-dir", "runs/compare"),
    ("metarl", "train", "regression", "--iterations", "5", "--run-dir", "runs/sine"),
    ("metarl", "evaluate", "runs/sine", "--tasks", "10"),
    ("metarl", "explore", "--help"),
    ("metarl", "export", "mazes13", "--output", "copy"),
)
"""A newcomer's first half hour: an agent in one's own maze, one trained, two compared."""

MADE = ("trial.gif", "own.gif", "runs/gru/films/000005.gif", "curves.png")
MADE += ("runs/compare/comparison.md", "runs/compare/comparison.png", "copy/checkpoint.pt")


def build(place: Path) -> list[Path]:
    """Build both from a copy of the checkout's tracked files, and return them."""
    source = place / "source"
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, source / name, follow_symlinks=False)
    made = place / "dist"
    pinned = {**CLEAN, "PIP_CONSTRAINT": str(ROOT / "constraints.txt")}
    command = [sys.executable, "-m", "build", "--outdir", made, source]
    subprocess.run(command, check=True, env=pinned, stdout=subprocess.DEVNULL)
    return sorted(made.glob("*.whl")) + sorted(made.glob("*.tar.gz"))


def try_out(python: Path, place: Path) -> None:
    """Run the first commands of a newcomer in an empty folder.

    Raises:
        CalledProcessError: One failed.
        FileNotFoundError: One did not make what it should.
    """
    place.mkdir()
    shutil.copy(PROGRAM, place)
    (place / "own.txt").write_text(OWN)
    own = {**CLEAN, "OMP_NUM_THREADS": "1"}
    for name, *rest in COMMANDS:
        print("   ", name, *rest, flush=True)
        run = [python.parent / name, *rest]
        subprocess.run(run, check=True, cwd=place, env=own, stdout=subprocess.DEVNULL)
    for name in MADE:
        if not (place / name).stat().st_size:
            raise FileNotFoundError(f"{name} is empty")
    program = [python, "-W", "error", PROGRAM.name, "."]
    subprocess.run(program, check=True, cwd=place, env=own)


def main(arguments: Sequence[str]) -> int:
    """Install and try out everywhere; the exit status says whether all went well."""
    only = set(arguments)
    done: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        distributions = build(place)
        for file in distributions:
            print(f"built: {file.name} ({file.stat().st_size / 1e6:.1f} MB)")
        for version, python in found().items():
            if only and ".".join(map(str, version[:2])) not in only:
                continue
            for file in distributions:
                print(f"==> {file.name} on Python {words(version)}", flush=True)
                here = place / f"{words(version)}-{file.suffix.lstrip('.')}"
                own = environment(python, here, str(file))
                try_out(own, here / "empty")
                done.append(f"{file.name} on Python {words(version)}")
                shutil.rmtree(here)
    print(f"works: {'; '.join(done) or 'nothing was tried'}")
    return not done


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
