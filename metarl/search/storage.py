"""Storage of trials: a journal file, or a data base by its URL."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from metarl.errors import UserError, understood

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import BaseStorage

JOURNAL = "journal.log"
"""Name of the journal in the folder of a search."""

QUESTION = "question"
"""Attribute of a study: what it searches for."""

HIDDEN = "***"
"""What stands for a password in what is kept."""

BUSY = 60.0
"""Seconds that a process waits for others that write to an SQLite file."""


def require_optuna() -> None:
    """Check that Optuna is installed, and keep it quiet.

    Raises:
        UserError: It is not.
    """
    try:
        import optuna
    except ModuleNotFoundError:
        raise UserError(
            "`search` needs another package: pip install 'metarl-maze[search]'"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def open_study(
    folder: Path,
    url: str | None,
    name: str,
    direction: Literal["minimize", "maximize"],
    question: Mapping[str, Any] | None,
) -> Study:
    """Open the study of a search; make it where it is not there and ``question`` says of what.

    Args:
        folder: Of the search.
        url: Of a data base; None: the folder's journal.
        name: Of the study.
        direction: Whether a larger value is better.
        question: What is searched for; None: a study that is not there is an error.

    Raises:
        UserError: The storage cannot be opened, or has no such study.
    """
    import optuna

    where = f"--storage {without_password(url)}" if url else str(folder / JOURNAL)
    if url is not None and HIDDEN in url:
        raise UserError(f"{where}: the password is not kept; give --storage again")
    with understood(where, "cannot be opened", "check that it is there, and its driver", UserError):
        storage = _storage(folder, url)
        names = [one.study_name for one in optuna.get_all_study_summaries(storage)]
    if question is None and name not in names:
        raise UserError(f"{where} has no search {name}; leave out --report")
    study = optuna.create_study(
        storage=storage, study_name=name, direction=direction, load_if_exists=True
    )
    if question is not None and QUESTION not in study.user_attrs:
        study.set_user_attr(QUESTION, dict(question))
    return study


def _storage(folder: Path, url: str | None) -> BaseStorage:
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend
    from sqlalchemy.pool import NullPool

    if url is None:
        path = folder / JOURNAL
        return JournalStorage(JournalFileBackend(str(path), journal_lock(path)))
    if not url.startswith("sqlite"):
        return RDBStorage(url)
    # A file is opened when it is asked and closed after it: nothing of it outlives the search.
    return RDBStorage(url, engine_kwargs={"connect_args": {"timeout": BUSY}, "poolclass": NullPool})


def journal_lock(path: Path) -> Any:
    """Return the lock of a journal, which ends with its owner, however that ends.

    What a process was writing when it was killed is half a line; who locks the journal next takes
    it away, as it would spoil the next line.
    """
    from filelock import FileLock
    from optuna.storages.journal import JournalFileOpenLock

    class JournalLock(JournalFileOpenLock):
        def __init__(self) -> None:
            super().__init__(str(path))
            self._lock = FileLock(path.with_name(f".{path.name}.lock"), mode=0o644)

        def acquire(self) -> bool:
            self._lock.acquire()
            _mend(path)
            return True

        def release(self) -> None:
            self._lock.release()

    return JournalLock()


def _mend(path: Path) -> None:
    """Take half a last line away."""
    with open(path, "rb+") as file:
        size = file.seek(0, os.SEEK_END)
        if size == 0:
            return
        file.seek(size - 1)
        if file.read(1) == b"\n":
            return
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)


def without_password(url: str | None) -> str | None:
    """Return a URL as it may be kept in a file."""
    if url is None:
        return None
    from sqlalchemy.engine import make_url

    with understood("--storage", "is no URL of SQLAlchemy", "see `search --help`", UserError):
        return make_url(url).render_as_string(hide_password=True)
