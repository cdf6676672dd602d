"""The kernel tests on other builds than that for this processor: ``make sanitize`` and tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[2]

ABOUT_THE_BACK_END = {"builds", "compiler", "libraries", "mode", "shelf"}
"""Tests beside those of kernels."""

OF_ENVIRONMENTS = ("tests/metarl/rl/test_look_up.py", "tests/metarl/rl/test_native_play.py")
"""Tests of kernels that play environments."""

OF_THREADS = (str(HERE / "test_threads.py"),)
"""Tests in which kernels share agents between threads."""


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
    flags: str,
    *arguments: str,
    files: Sequence[str] | None = None,
    before: Sequence[str] = (),
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    """Run tests with kernels of further compiler flags.

    Args:
        flags: Of the compiler.
        arguments: Of pytest.
        files: Tests; None: those of kernels, all of which have to be there.
        before: Words of a command that runs the tests.
        environment: Variables beside.
    """
    usual = ("-q", "-x", "-p", "no:cacheprovider", "-m", "not slow")
    tests = [sys.executable, "-m", "pytest", *usual, *arguments, *(files or kernel_tests())]
    own = {"METARL_NATIVE": "auto", "METARL_NATIVE_FLAGS": flags, "PYTHONPATH": str(ROOT)}
    builds = [sys.executable, "-c", BUILD]
    for command in [tests] if files else [builds, tests]:
        ran = subprocess.run(
            [*before, *command],
            cwd=ROOT,
            env={**os.environ, **own, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if ran.returncode:
            break
    return ran


@dataclass(frozen=True)
class Sanitizer:
    """A sanitizer of g++.

    Attributes:
        checks: What ``-fsanitize`` is given.
        runtime: What is loaded before Python, so that it can load sanitized code.
        options: Variables of the environment, and what they hold beside the place of reports.
        files: Tests to run; None: those of kernels.
        before: Words of a command that runs them.
    """

    checks: str
    runtime: str
    options: Mapping[str, str]
    files: Sequence[str] | None = None
    before: Sequence[str] = ()

    @property
    def loaded(self) -> str | None:
        """Words of ``LD_PRELOAD``; None: there is no such sanitizer here.

        The C++ library comes with it: a sanitizer looks for its exceptions as it starts.
        """
        compiler = shutil.which("g++")
        if compiler is None or not all(map(shutil.which, self.before[:1])):
            return None
        found = [
            subprocess.run(
                [compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True
            ).stdout.strip()
            for name in (self.runtime, "libstdc++.so.6")
        ]
        return " ".join(found) if all(map(os.path.isabs, found)) else None

    def run(self, *arguments: str, files: Sequence[str] | None = None) -> tuple[int, str]:
        """Run tests under it.

        Args:
            arguments: Of pytest.
            files: Tests; None: its own.

        Returns:
            Exit status, 1 too where it has found something; and what pytest printed, with that.
        """
        preloaded = self.loaded
        assert preloaded is not None
        flags = f"-O1 -g -fno-omit-frame-pointer -fsanitize={self.checks} -fno-sanitize-recover=all"
        with tempfile.TemporaryDirectory() as folder:
            ran = on_build(
                flags,
                *arguments,
                files=files or self.files,
                before=self.before,
                LD_PRELOAD=preloaded,
                **{n: f"{value}:log_path={folder}/report" for n, value in self.options.items()},
            )
            found = [path.read_text(errors="replace") for path in sorted(Path(folder).iterdir())]
        return ran.returncode or bool(found), "\n".join([ran.stdout, *found])


ADDRESSES = Sanitizer(
    "address,undefined",
    "libasan.so",
    # Python frees little at its end, which is no leak of kernels.
    {"ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=1"},
)
"""AddressSanitizer and UndefinedBehaviorSanitizer, on all tests of kernels."""

THREADS = Sanitizer(
    "thread",
    "libtsan.so",
    {"TSAN_OPTIONS": "halt_on_error=0"},
    OF_THREADS,
    ("setarch", "-R"),  # memory where it always is, which the sanitizer needs
)
"""ThreadSanitizer, where agents are shared between threads."""


if __name__ == "__main__":
    if ADDRESSES.loaded is None or THREADS.loaded is None:
        sys.exit("no sanitizers: they are those of g++, which is not installed here")
    worst = 0
    for sanitizer in (ADDRESSES, THREADS):
        status, said = sanitizer.run(*sys.argv[1:])
        sys.stdout.write(f"-fsanitize={sanitizer.checks}\n{said}\n")
        worst = max(worst, status)
    sys.exit(worst)
