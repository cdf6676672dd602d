"""Where the Omniglot drawings are: in the authors' two zip archives, or in folders laid out alike.

    images_background/<Alphabet>/characterNN/XXXX_YY.png      964 characters of 30 alphabets
    images_evaluation/<Alphabet>/characterNN/XXXX_YY.png      659 characters of 20 alphabets

YY is one of the 20 people who drew. Archives are read where they lie, nothing is unpacked. Names
are sorted, so that nothing depends on the order in which a file system lists them.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from metarl.errors import UserError

PARTS = {"images_background": 964, "images_evaluation": 659}
"""The two parts, and how many characters each has."""

DRAWING = re.compile(r"(?P<part>\w+)/(?P<character>[^/]+/character\d+)/\d+_\d+\.png")


class DataError(UserError):
    """A data set is missing, incomplete or damaged."""


class Part(ABC):
    """One of the two parts of the data set, in an archive or a folder."""

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name

    @abstractmethod
    def fingerprint(self) -> str:
        """Changes when the files do; found without reading them."""

    @abstractmethod
    def drawings(self) -> Iterator[tuple[str, bytes]]:
        """Every drawing: its name from the part's own down, and its PNG; sorted by name."""


class ArchivePart(Part):
    """A zip archive."""

    def fingerprint(self) -> str:
        """From the archive's size and time of change."""
        status = self.path.stat()
        return f"{self.path.name} {status.st_size} {status.st_mtime_ns}"

    def drawings(self) -> Iterator[tuple[str, bytes]]:
        """The members, read one by one; nothing is written to the disk."""
        with _open_archive(self.path) as archive:
            names = archive.namelist()
            for name in names:
                _refuse_unsafe(name, self.path)
            for name in sorted(filter(DRAWING.fullmatch, names)):
                yield name, archive.read(name)


class FolderPart(Part):
    """A folder."""

    def _files(self) -> dict[str, Path]:
        found = {f"{self.name}/{p.relative_to(self.path).as_posix()}": p for p in self._pngs()}
        return {name: found[name] for name in sorted(found) if DRAWING.fullmatch(name)}

    def _pngs(self) -> Iterator[Path]:
        return self.path.glob("*/character*/*.png")

    def fingerprint(self) -> str:
        """From the names, sizes and times of change of all files."""
        digest = hashlib.sha256()
        for name, path in self._files().items():
            status = path.stat()
            digest.update(f"{name} {status.st_size} {status.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def drawings(self) -> Iterator[tuple[str, bytes]]:
        """The files, read one by one."""
        for name, path in self._files().items():
            yield name, path.read_bytes()


def find_parts(folder: Path) -> list[Part]:
    """The two parts in a folder, each an archive or, where there is none, a folder.

    Raises:
        DataError: A part is not there.
    """
    parts: list[Part] = []
    for name in PARTS:
        archive, unpacked = folder / f"{name}.zip", folder / name
        if archive.is_file():
            parts.append(ArchivePart(archive, name))
        elif unpacked.is_dir():
            parts.append(FolderPart(unpacked, name))
        else:
            raise DataError(
                f"no Omniglot images in {folder}: there is neither {archive.name} nor a folder "
                f"{name}. Run `python -m experiments.omniglot download --data {folder}`, or name "
                f"the folder that has them with --data DIR."
            )
    return parts


def remedy(path: Path) -> str:
    """What to do about a damaged file."""
    return (
        f"Delete {path} and run `python -m experiments.omniglot download --data {path.parent}`, or "
        f"name another folder with --data DIR."
    )


@contextmanager
def _open_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise DataError(f"{path} is damaged: {error}. {remedy(path)}") from error


def _refuse_unsafe(name: str, path: Path) -> None:
    parts = PurePosixPath(name).parts
    if name.startswith("/") or "\\" in name or ":" in name or ".." in parts:
        raise DataError(
            f"{path} has a member {name!r}, which points outside the folder it is unpacked in: "
            f"this is not the authors' archive. {remedy(path)}"
        )
