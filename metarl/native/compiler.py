"""Libraries built from the sources beside this file, once for each compiler and processor.

A library is kept in a private folder under a name that says all it depends on: the sources, the
compiler, the flags, the features of the processor. It is written beside and moved into place, so
that a reader never sees half of one; of several processes that need the same library at once, one
builds it while the others wait.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from filelock import FileLock, Timeout

SOURCES = Path(__file__).parent / "src"

FLAGS = (
    *("-std=c++17", "-O3", "-march=native", "-mprefer-vector-width=512"),
    *("-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC"),
)

PATIENCE = 120.0
"""Seconds that a compiler, or another process that builds the same, is waited for."""


class NativeUnavailableError(Exception):
    """There are no native kernels here; the message says why."""


def library(name: str) -> ctypes.CDLL:
    """The library of the source file ``src/NAME.cpp``, built if it is not there yet.

    Raises:
        NativeUnavailableError: It cannot be built or loaded.
    """
    found = _library(name)
    if isinstance(found, NativeUnavailableError):
        raise found
    return found


def built_by(name: str) -> str:
    """Who built a library that is there, and for what, in words."""
    return _version(found_compiler()).partition("\n")[0]


@cache
def _library(name: str) -> ctypes.CDLL | NativeUnavailableError:
    """The same; why there is none is kept too: nothing is tried twice in one process."""
    try:
        return _loaded(name)
    except NativeUnavailableError as reason:
        return reason


def _loaded(name: str) -> ctypes.CDLL:
    compiler = found_compiler()
    built = cache_folder() / f"{name}-{_key(name, compiler)}.so"
    if not built.exists():
        try:
            with FileLock(built.with_suffix(".lock"), timeout=PATIENCE):
                if not built.exists():
                    _build(name, compiler, built)
        except (OSError, Timeout) as error:
            raise NativeUnavailableError(f"{built} cannot be written: {error}") from error
    try:
        return ctypes.CDLL(str(built))
    except OSError as error:
        raise NativeUnavailableError(f"{built} cannot be loaded: {error}") from error


@cache
def found_compiler() -> str:
    """The path of the C++ compiler: that of ``CXX``, or g++, or clang++.

    Raises:
        NativeUnavailableError: There is none.
    """
    for candidate in (os.environ.get("CXX"), "g++", "clang++"):
        path = shutil.which(candidate) if candidate else None
        if path:
            return path
    raise NativeUnavailableError(
        "there is no C++ compiler: install g++ or clang++, or name one in CXX"
    )


def cache_folder() -> Path:
    """A folder that is this user's alone.

    Raises:
        NativeUnavailableError: There is no place to write to.
    """
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    user = os.getuid() if hasattr(os, "getuid") else 0
    for folder in (
        Path(home) / "metarl" / "native",
        Path(tempfile.gettempdir()) / f"metarl-native-{user}",
    ):
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            status = folder.stat()
        except OSError:
            continue
        ours = not hasattr(os, "getuid") or status.st_uid == user
        if ours and not status.st_mode & 0o022 and os.access(folder, os.W_OK):
            return folder
    raise NativeUnavailableError(
        f"no folder for built libraries can be written: tried {home} and the temporary one"
    )


def _key(name: str, compiler: str) -> str:
    digest = hashlib.sha256()
    for source in (SOURCES / f"{name}.cpp", *sorted(SOURCES.glob("*.h"))):
        digest.update(source.read_bytes())
    for text in (compiler, _version(compiler), *FLAGS, platform.machine(), cpu_features()):
        digest.update(text.encode())
    return digest.hexdigest()[:24]


@cache
def _version(compiler: str) -> str:
    try:
        said = subprocess.run(
            (compiler, "--version"), capture_output=True, text=True, timeout=PATIENCE, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise NativeUnavailableError(f"the compiler {compiler} does not run: {error}") from error
    return said.stdout


@cache
def cpu_features() -> str:
    """What the processor can do, as the system says it; empty where it does not."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def _build(name: str, compiler: str, built: Path) -> None:
    with tempfile.TemporaryDirectory(dir=built.parent) as scratch:
        fresh = Path(scratch) / built.name
        command = (compiler, *FLAGS, str(SOURCES / f"{name}.cpp"), "-o", str(fresh))
        try:
            subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
        except subprocess.CalledProcessError as error:
            last = (error.stderr.strip().splitlines() or ["no message"])[-1]
            raise NativeUnavailableError(f"{compiler} cannot build {name}.cpp: {last}") from error
        except subprocess.TimeoutExpired as error:
            raise NativeUnavailableError(
                f"{compiler} took over {PATIENCE:.0f} s for {name}.cpp"
            ) from error
        os.replace(fresh, built)
