"""Threads that a call of a kernel shares its agents between; which one does what changes no number.

What is shared are agents that train side by side in one call, never a product: one agent is worked
on in one thread. The number belongs to the context of the caller, like the mode.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_num_threads: ContextVar[int] = ContextVar("metarl_native_threads", default=1)


def num_threads() -> int:
    """The number of threads at most, 1 where nothing else was said."""
    return _num_threads.get()


def check_num_threads(count: int) -> None:
    """Check a number of threads.

    Raises:
        ValueError: There is not one.
    """
    if count < 1:
        raise ValueError(f"num_threads must be at least 1, got {count}")


@contextmanager
def sharing(count: int) -> Iterator[None]:
    """Share the agents of every call within between so many threads at most.

    Args:
        count: Threads, the caller's among them.

    Raises:
        ValueError: There is not one.
    """
    check_num_threads(count)
    token = _num_threads.set(count)
    try:
        yield
    finally:
        _num_threads.reset(token)
