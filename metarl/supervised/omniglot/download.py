"""Get the Omniglot archives from their authors, checked, with a report of how far it has got."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pooch  # type: ignore[import-untyped]

from metarl.supervised.omniglot.archive import DataError

Report: TypeAlias = Callable[[str, int, int], None]
"""Called with a file's name, the bytes that are there and the bytes of the whole (0: unknown)."""


@dataclass(frozen=True)
class Remote:
    """A file to download."""

    name: str
    url: str
    md5: str


_AUTHORS = "https://github.com/brendenlake/omniglot/raw/master/python"
ARCHIVES = (
    Remote(
        "images_background.zip",
        f"{_AUTHORS}/images_background.zip",
        "68d2efa1b9178cc56df9314c21c6e718",
    ),
    Remote(
        "images_evaluation.zip",
        f"{_AUTHORS}/images_evaluation.zip",
        "6b91aef0f799c5bb55b94e3f2daec811",
    ),
)


def default_folder() -> Path:
    """Default folder of the images: ``$METARL_DATA/omniglot``, else ``data/omniglot``."""
    return Path(os.environ.get("METARL_DATA") or "data") / "omniglot"


def download(
    folder: Path, report: Report | None = None, files: Sequence[Remote] = ARCHIVES
) -> None:
    """Download the two archives (about 15 MB); what is there already is checked and kept.

    Args:
        folder: Made where it does not exist.
        report: Told of the progress; lines on standard error if None.
        files: Files to get.

    Raises:
        DataError: The folder cannot be made, a file could not be had, or is not the authors'; the
            message says what to do.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"the folder {folder} cannot be made ({error}): choose another (--data)"
        ) from error
    for file in files:
        progress = _Progress(file.name, report or _report_lines())
        try:
            pooch.retrieve(
                file.url,
                f"md5:{file.md5}",
                fname=file.name,
                path=folder,
                downloader=pooch.HTTPDownloader(progressbar=progress, timeout=60),
            )
        except (OSError, ValueError) as error:
            raise DataError(
                f"could not download {file.url} ({error}). Try again, or get the file in another "
                f"way, put it into {folder} as {file.name}, and check that its MD5 is {file.md5}."
            ) from error


class _Progress:
    """The progress bar that pooch drives."""

    def __init__(self, name: str, report: Report) -> None:
        self._name, self._report = name, report
        self.total, self._done = 0, 0

    def update(self, amount: int) -> None:
        self._done += amount
        # The last piece is counted as if it were full.
        self._report(self._name, min(self._done, self.total or self._done), self.total)

    def reset(self) -> None:
        self._done = 0

    def close(self) -> None:
        pass


def _report_lines() -> Report:
    """Write a line to standard error whenever another tenth is there."""
    written = -1

    def report(name: str, done: int, total: int) -> None:
        nonlocal written
        tenth = 10 * done // total if total else done // 2**20
        if tenth != written:
            written = tenth
            share = f"{10 * tenth} % of {total / 2**20:.1f} MiB" if total else f"{tenth} MiB"
            sys.stderr.write(f"{name}: {share}\n")

    return report
