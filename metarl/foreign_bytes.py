"""The border where bytes of a file become values: whatever is wrong with them is one named error.

A file may have been cut short, damaged, edited by hand or made by somebody else. What a reader of
JSON, zip, pickle or pixels raises then is anything: `ValueError`, `KeyError`, `OverflowError`,
`RecursionError`, `struct.error`, `zlib.error`, `MemoryError`. No list of them is ever complete, so
everything is caught, and the border stands around the reading alone:

    data = path.read_bytes()                  # outside: what the disk says is an OSError
    with understood(path, "is not valid JSON", "restore it"):
        content = json.loads(data)            # inside: what the bytes say
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metarl.errors import RunDirectoryError, UserError

LONGEST_REASON = 160
"""Characters of a reader's own message that are passed on."""


@contextmanager
def understood(
    path: Path | str, problem: str, remedy: str, error: type[UserError] = RunDirectoryError
) -> Iterator[None]:
    """Name the file where its bytes cannot be understood.

    Args:
        path: The file, or the part of it.
        problem: What is wrong with it then: ``is not valid JSON``.
        remedy: What the user can do.
        error: What is raised.

    Raises:
        UserError: Of the given kind, in place of any exception inside; one that is a `UserError`
            already passes, as do interrupts.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as reason:
        raise error(f"{path} {problem} ({first_line(reason)}); {remedy}") from reason


def first_line(reason: Exception) -> str:
    """The kind of an exception and the first line of its message, shortened."""
    text = str(reason).strip()
    line = text.splitlines()[0] if text else ""
    short = line if len(line) <= LONGEST_REASON else f"{line[:LONGEST_REASON]}…"
    return f"{type(reason).__name__}: {short}" if short else type(reason).__name__
