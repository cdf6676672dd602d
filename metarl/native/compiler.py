"""The C++ compiler: which one, with which flags, and what it says where it fails.

The standard library suffices here: wheels are built by this file too, where nothing is installed.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

SOURCES = Path(__file__).parent / "src"

EXPORTED = SOURCES / "exported.map"
"""For the linker: what a library shows."""

LEVELS = ("x86-64-v4", "x86-64-v3")
"""Kinds of processors that wheels carry libraries for, the better first."""

FLAGS = (
    *("-std=c++17", "-O3", "-mprefer-vector-width=512"),
    # Said, since compilers differ: a product and a sum are one instruction, rounded once.
    "-ffp-contract=fast",
    *("-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC", "-pthread"),
)
"""Flags of every build; a processor is named beside (``-march``)."""

UNSPLIT = "--param=avoid-fma-max-bits=0"
"""For g++, which on some processors (AMD's Zen 2 and 3) takes product and sum apart again where the
sum runs through a loop by itself: a row would have other last bits beside other rows."""

VARIABLE = "METARL_NATIVE_FLAGS"
"""Variable of the environment that gives further flags, of which the last word counts."""

PATIENCE = 300.0
"""Seconds that a compiler, or another process that builds the same, is waited for."""


class NativeUnavailableError(Exception):
    """Error that says why there are no native kernels here."""


def flags_for(processor: str = "native") -> tuple[str, ...]:
    """The flags of a build.

    Args:
        processor: native: this one; or one of `LEVELS`.

    Raises:
        NativeUnavailableError: There is no compiler.
    """
    unsplit = (UNSPLIT,) if _takes(found_compiler(), UNSPLIT) else ()
    own = shlex.split(os.environ.get(VARIABLE, ""))
    return (*FLAGS, *unsplit, f"-march={processor}", *own)


@cache
def _takes(compiler: tuple[str, ...], flag: str) -> bool:
    try:
        _run((*compiler, flag, "-E", "-x", "c++", os.devnull))
    except NativeUnavailableError:
        return False
    return True


@cache
def found_compiler() -> tuple[str, ...]:
    """The C++ compiler as words of a command: that of ``CXX``, or g++, clang++ or c++.

    Raises:
        NativeUnavailableError: There is none, or the system is one where kernels are not tried.
    """
    system = f"{sys.platform} on {os.uname().machine}" if hasattr(os, "uname") else sys.platform
    if system != "linux on x86_64":
        raise NativeUnavailableError(f"kernels are for Linux on x86-64, this is {system}")
    asked = shlex.split(os.environ.get("CXX", ""))
    if asked:
        if shutil.which(asked[0]) is None:
            raise NativeUnavailableError(f"CXX names {asked[0]}, and there is no such program")
        return tuple(asked)
    for candidate in ("g++", "clang++", "c++"):
        path = shutil.which(candidate)
        if path is not None:
            return (path,)
    raise NativeUnavailableError(
        "there is no C++ compiler: install g++ or clang++, or name one in CXX"
    )


@cache
def version(compiler: tuple[str, ...]) -> str:
    """All that a compiler says of itself.

    Raises:
        NativeUnavailableError: It does not run.
    """
    said = _run((*compiler, "--version"))
    if not said.strip():
        raise NativeUnavailableError(f"{shlex.join(compiler)} --version says nothing")
    return said


def build(name: str, compiler: tuple[str, ...], flags: Sequence[str], to: Path) -> None:
    """Build the library of ``src/NAME.cpp``.

    Args:
        name: Of the library.
        compiler: As `found_compiler` has it.
        flags: All of them.
        to: The file to write.

    Raises:
        NativeUnavailableError: It cannot be built.
    """
    exported = f"-Wl,--version-script={EXPORTED}"
    command = (*compiler, *flags, exported, str(SOURCES / f"{name}.cpp"), "-o", str(to))
    _run(command, TMPDIR=str(to.parent))  # for what it writes on the way
    if not to.is_file():
        raise NativeUnavailableError(f"{shlex.join(compiler)} has built nothing of {name}.cpp")


def _run(command: Sequence[str], **environment: str) -> str:
    """Output of a command.

    Args:
        command: Its words.
        environment: Variables beside those of this process.

    Raises:
        NativeUnavailableError: It fails; the message has the line in which it says why.
    """
    # In English, for what is passed on of it. What is loaded before Python is none of its business.
    own = {**os.environ, "LC_ALL": "C", **environment}
    own.pop("LD_PRELOAD", None)
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=own,
            start_new_session=True,
        )
    except OSError as error:
        raise NativeUnavailableError(f"{command[0]} does not run: {error}") from error
    with process:
        try:
            said, errors = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            raise NativeUnavailableError(f"{command[0]} takes over {PATIENCE:.0f} s") from None
        finally:
            if process.poll() is None:  # with those that it has started
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode != 0:
        lines = errors.decode(errors="replace").strip().splitlines()
        telling = [line for line in lines if "error" in line.lower()] or lines or ["no message"]
        raise NativeUnavailableError(
            f"{command[0]} fails with status {process.returncode}: {telling[0][:200]}"
        )
    return said.decode(errors="replace")
