"""The kernel tests on other builds than that for this processor: ``make sanitize`` and tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[2]

ABOUT_THE_BACK_END = {"builds", "compiler", "libraries", "mode", "shelf"}
"""Tests beside those of kernels."""

OF_ENVIRONMENTS = ("tests/metarl/rl/test_look_up.py", "tests/metarl/rl/test_native_play.py")
"""Tests of kernels that play environments."""

SANITIZED = "-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all"


BUILD = """
from metarl.native import compiler, libraries

for source in sorted(compiler.SOURCES.glob("*.cpp")):
    libraries.load_library(source.stem)
"""


def kernel_tests() -> list[str]:
    """Return the files that test kernels."""
    own = [
        str(path)
        for path in sorted(HERE.glob("test_*.py"))
        if path.stem.removeprefix("test_") not in ABOUT_THE_BACK_END
    ]
    return [*own, *OF_ENVIRONMENTS]


def on_build(
    flags: str, *arguments: str, files: list[str] | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run tests with kernels of further compiler flags.

    Args:
        flags: Of the compiler.
        arguments: Of pytest.
        files: Tests; None: those of kernels, all of which have to be there.
        environment: Variables beside.
    """
    usual = ("-q", "-x", "-p", "no:cacheprovider", "-m", "not slow")
    tests = [sys.executable, "-m", "pytest", *usual, *arguments, *(files or kernel_tests())]
    own = {"METARL_NATIVE": "auto", "METARL_NATIVE_FLAGS": flags, "PYTHONPATH": str(ROOT)}
    builds = [sys.executable, "-c", BUILD]
    for command in [tests] if files else [builds, tests]:
        ran = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **own, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if ran.returncode:
            break
    return ran


def sanitizers() -> str | None:
    """Return what is loaded before Python so that it can load sanitized code; None: nothing.

    The C++ library comes with it: AddressSanitizer looks for its exceptions as it starts.
    """
    compiler = shutil.which("g++")
    if compiler is None:
        return None
    found = [
        subprocess.run(
            [compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True
        ).stdout.strip()
        for name in ("libasan.so", "libstdc++.so.6")
    ]
    return " ".join(found) if all(map(os.path.isabs, found)) else None


def sanitized(*arguments: str, files: list[str] | None = None) -> tuple[int, str]:
    """Run tests under AddressSanitizer and UndefinedBehaviorSanitizer.

    Returns:
        Exit status of pytest, and what it printed with what the sanitizers found.
    """
    preloaded = sanitizers()
    assert preloaded is not None
    with tempfile.TemporaryDirectory() as folder:
        report = f"log_path={folder}/report"
        ran = on_build(
            SANITIZED,
            *arguments,
            files=files,
            LD_PRELOAD=preloaded,
            # Python frees little at its end, which is no leak of kernels.
            ASAN_OPTIONS=f"detect_leaks=0:{report}",
            UBSAN_OPTIONS=f"print_stacktrace=1:{report}",
        )
        found = [path.read_text(errors="replace") for path in sorted(Path(folder).iterdir())]
    return ran.returncode, "\n".join([ran.stdout, *found])


if __name__ == "__main__":
    if sanitizers() is None:
        sys.exit("no sanitizers: they are those of g++, which is not installed here")
    status, said = sanitized(*sys.argv[1:])
    sys.stdout.write(said)
    sys.exit(status)
