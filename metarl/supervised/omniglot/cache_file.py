"""A file that can be made again: whole or of no use, written by one process at a time.

It begins with the SHA-256 of the rest, so that nothing of a damaged file is looked at. What a
killed process leaves behind is removed the next time: it wrote under a temporary name, which it
held locked, and the system drops a lock when its owner dies.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_DIGEST = hashlib.sha256().digest_size


def read_cache(path: Path, most: int) -> bytes | None:
    """The content of a cache file; None if there is none.

    Args:
        path: The file.
        most: Bytes that the content can have at most; larger files are not read.

    Raises:
        ValueError: It is not as it was written.
        OSError: It cannot be read.
    """
    if not path.is_file():
        return None
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size > _DIGEST + most:
            raise ValueError("it is too large")
        digest, content = file.read(_DIGEST), file.read()
    if hashlib.sha256(content).digest() != digest:
        raise ValueError("wrong checksum")
    return content


def write_cache(path: Path, content: bytes) -> None:
    """Write a cache file; whoever reads at the same time sees a whole file or none.

    Nothing is done where another process is about to write the same file.

    Raises:
        OSError: It cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("ab") as file, _locked(file, temporary) as ours:
        if not ours:
            return
        try:
            file.truncate(0)
            file.write(hashlib.sha256(content).digest() + content)
            file.flush()
            os.fsync(file.fileno())
            if sys.platform != "win32":  # there an open file cannot be renamed
                os.replace(temporary, path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
    if sys.platform == "win32":
        os.replace(temporary, path)


def sweep_cache(folder: Path, pattern: str) -> None:
    """Remove what killed processes left of files whose names match `pattern`; not what is in work.

    Raises:
        OSError: It cannot be removed.
    """
    if sys.platform == "win32":  # where nothing says whether the writer lives
        return
    for temporary in [*folder.glob(f".{pattern}.tmp"), *folder.glob(f".{pattern}.tmp.tmp")]:
        if not temporary.is_file():
            continue
        with temporary.open("ab") as file, _locked(file, temporary) as ours:
            if ours:
                temporary.unlink(missing_ok=True)


@contextmanager
def _locked(file: BinaryIO, path: Path) -> Iterator[bool]:
    """Whether the file is locked for us until it is closed, and still the one of that name."""
    ours = True
    if sys.platform != "win32":
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ours = os.path.samestat(os.fstat(file.fileno()), path.stat())
        except (BlockingIOError, FileNotFoundError):  # in work, or finished just now
            ours = False
        except OSError:  # a file system without locks: checksums tell what was mixed up
            pass
    yield ours
