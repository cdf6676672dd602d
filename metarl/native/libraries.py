"""Libraries of kernels: those that came with the package, else built here, at first use.

A wheel carries them for kinds of processors, and the best that this one can run is taken. Where
there is none, as in a checkout, the system's compiler builds it for this very processor (`shelf`
keeps it); what was built is tried in a process of its own before it comes near this one.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

from metarl.native import compiler as cpp
from metarl.native import shelf
from metarl.native.compiler import LEVELS, SOURCES, NativeUnavailableError

BUILT = Path(__file__).parent / "built"
"""Where wheels carry their libraries: ``NAME-LEVEL.so``."""

FIRST = "selfcheck"
"""The library that says whether others can be built here."""

TRIAL = Path(__file__).with_name("trial.py")


def load_library(name: str) -> ctypes.CDLL:
    """Load the library of the source file ``src/NAME.cpp``.

    Raises:
        NativeUnavailableError: There is none, and it cannot be built or loaded.
    """
    found = _once(name)
    if isinstance(found, NativeUnavailableError):
        raise found
    return found[0]


def built_by(name: str) -> str:
    """Builder of a library, and its processor, in words.

    Raises:
        NativeUnavailableError: There is no such library.
    """
    load_library(name)
    found = _once(name)
    assert not isinstance(found, NativeUnavailableError)
    return found[1]


@cache
def _once(name: str) -> tuple[ctypes.CDLL, str] | NativeUnavailableError:
    """A library and who built it; why there is none is kept too: nothing is tried twice."""
    try:
        return _of_package(name) or _built_here(name)
    except NativeUnavailableError as reason:
        return reason


def _of_package(name: str) -> tuple[ctypes.CDLL, str] | None:
    """The best library that came with the package; None: there is none that runs here."""
    if os.environ.get(cpp.VARIABLE):  # asks for another build
        return None
    for level in levels():
        file = BUILT / f"{name}-{level}.so"
        if file.exists():
            try:
                return ctypes.CDLL(str(file)), f"the package, {level}"
            except OSError:  # made for a newer C library: one that is built here may do
                return None
    return None


def _built_here(name: str) -> tuple[ctypes.CDLL, str]:
    compiler, flags = cpp.found_compiler(), cpp.flags_for()
    if name != FIRST:
        load_library(FIRST)

    def make(file: Path) -> None:
        cpp.build(name, compiler, flags, file)
        _try(file)

    found = _loaded(f"{name}-{_key(name, compiler, flags)}", make)
    here = levels()
    said = [cpp.version(compiler).splitlines()[0], *here[:1]]
    return found, ", ".join([*said, *filter(None, [os.environ.get(cpp.VARIABLE)])])


def _loaded(name: str, make: Callable[[Path], None]) -> ctypes.CDLL:
    """A library from the shelf; one that cannot be loaded is built again, once.

    Raises:
        NativeUnavailableError: It cannot be built, or cannot be loaded as it was built again.
    """
    file = shelf.kept(name, make)
    try:
        return ctypes.CDLL(str(file))
    except OSError:
        shelf.discard(file)
    file = shelf.kept(name, make)
    try:
        return ctypes.CDLL(str(file))
    except OSError as error:
        raise NativeUnavailableError(f"{file} cannot be loaded: {error}") from error


def _key(name: str, compiler: tuple[str, ...], flags: tuple[str, ...]) -> str:
    """A digest of all that a library depends on."""
    digest = hashlib.sha256()
    for source in (SOURCES / f"{name}.cpp", *sorted(SOURCES.glob("*.h")), cpp.EXPORTED):
        digest.update(source.read_bytes())
    for text in (*compiler, cpp.version(compiler), *flags, *features()):
        digest.update(f"{text}\0".encode())
    return digest.hexdigest()[:24]


def _try(file: Path) -> None:
    """Try a library in another process.

    Raises:
        NativeUnavailableError: It cannot be loaded, is wrong, or the process dies of it.
    """
    if not sys.executable or getattr(sys, "frozen", False):
        raise NativeUnavailableError("there is no Python interpreter to try a fresh build in")
    try:
        ran = subprocess.run(
            (sys.executable, "-I", "-S", str(TRIAL), str(file)),
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=cpp.PATIENCE,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NativeUnavailableError(f"a fresh build cannot be tried: {error}") from error
    if ran.returncode:
        lines = ran.stderr.decode(errors="replace").strip().splitlines() or ["it crashes"]
        raise NativeUnavailableError(
            f"what the compiler builds does not work (status {ran.returncode}): {lines[-1][:200]}"
        )


# What the processor of this machine can do --------------------------------------------------------


NEEDED = {
    "x86-64-v3": frozenset({"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"}),
    "x86-64-v4": frozenset({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}),
}
"""What each level needs beside those below it, by the words of ``/proc/cpuinfo``."""


@cache
def features() -> tuple[str, ...]:
    """Features of the processor, as the system says them, sorted; empty where it does not."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return ()
    found = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return tuple(sorted(found.partition(":")[2].split()))


@cache
def levels() -> tuple[str, ...]:
    """Levels among `LEVELS` that run here, the best first."""
    there: frozenset[str] = frozenset(features())
    found: list[str] = []
    for level in reversed(LEVELS):
        if not there >= NEEDED[level]:
            break
        found.insert(0, level)
    return tuple(found)
