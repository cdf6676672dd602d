"""Write a file whole or not at all, whatever happens in between: a crash, kill -9, a full disk.

The bytes go to a temporary file in the same folder, reach the disk (`fsync`), and take the name in
one step (`os.replace`). A reader sees the old file or the new one, never a part of one.
"""

import os
from pathlib import Path


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` atomically and durably.

    Args:
        path: The file; its folder must exist. What stood there before stays until the last step.
        data: All its bytes.

    Raises:
        OSError: The data could not be written (a full disk, no permission). `path` is as before.
    """
    write_temporary(path, data)
    commit_temporary(path)


def write_temporary(path: Path, data: bytes) -> None:
    """Bring `data` onto the disk beside `path`, under a temporary name; first half of the work."""
    temporary = temporary_path(path)
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            sync_file(file.fileno())
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def commit_temporary(path: Path) -> None:
    """Give the temporary file the name `path`, and make that durable; second half of the work."""
    os.replace(temporary_path(path), path)
    sync_folder(path.parent)


def temporary_path(path: Path) -> Path:
    """Where the bytes of `path` wait. One name for each file, so that leftovers do not pile up."""
    return path.with_name(f".{path.name}.tmp")


def sync_file(descriptor: int) -> None:
    """Wait until what was written to an open file has reached the disk."""
    os.fsync(descriptor)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable. Windows has no such call and needs none."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
