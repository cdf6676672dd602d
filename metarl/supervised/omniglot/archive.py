"""The Omniglot drawings in the authors' two zip archives, or in folders laid out alike.

    images_background/<Alphabet>/characterNN/XXXX_YY.png      964 characters of 30 alphabets
    images_evaluation/<Alphabet>/characterNN/XXXX_YY.png      659 characters of 20 alphabets

YY is one of the 20 people who drew. Archives are read where they lie, nothing is unpacked. Names
are sorted, so that nothing depends on the order in which a file system lists them.

Archives and folders may come from anywhere: whatever is wrong with them is a `DataError`, plain
files alone are read, nothing is waited for, and no more is read than `MAX_TOTAL`.

So may a drawing: it is one small PNG, whole, or an error that says what is not. Pillow chooses a
reader by the content of a file, and some readers start other programs (PostScript) or trust any
size. Here the bytes must be a PNG whose chunks are all whole by their own checksums, and no larger
than a drawing has a reason to be, before Pillow's PNG reader alone sees them.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
import struct
import unicodedata
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from metarl.errors import UserError, understood
from metarl.invocation import typed

MAX_BYTES = 2**18
"""The largest file in bytes; the authors' largest has 522."""

MAX_SIDE = 512
"""The longest side of a drawing, pixels; the authors' have 105."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def decode_png(data: bytes, size: int, method: Image.Resampling) -> NDArray[np.uint8]:
    """Decode a PNG and resize it.

    Args:
        data: The file.
        size: Side of the result, pixels.
        method: Method of resizing.

    Returns:
        Grey values uint8 ``[size, size]``.

    Raises:
        ValueError: It is no PNG, damaged, or too large. What is wrong with a picture inside of
            whole chunks is whatever Pillow raises.
    """
    _check_chunks(data)
    with PngImageFile(io.BytesIO(data)) as image:
        # One bit a pixel would be resized to the nearest whatever was asked for: grey first.
        grey = image.convert("L")
    return np.asarray(grey.resize((size, size), method))


def _check_chunks(data: bytes) -> None:
    """Checks that every chunk from the header to the end is whole, and the picture small."""
    if len(data) > MAX_BYTES:
        raise ValueError(f"it has {len(data)} bytes, at most {MAX_BYTES} are read")
    if not data.startswith(_SIGNATURE):
        raise ValueError("it is no PNG")
    place, kind = len(_SIGNATURE), b""
    while kind != b"IEND":
        if place + 12 > len(data):
            raise ValueError("it ends too early")
        (length,) = struct.unpack_from(">I", data, place)
        first, kind = not kind, data[place + 4 : place + 8]
        end = place + 8 + length
        if data[end : end + 4] != struct.pack(">I", zlib.crc32(data[place + 4 : end])):
            raise ValueError(f"its part {kind!r} has a wrong checksum")
        if (kind == b"IHDR") != first:  # a second header would change the size
            raise ValueError("it does not have one header, at the beginning")
        if first:
            _check_header(data[place + 8 : end])
        place = end + 4


def _check_header(header: bytes) -> None:
    if len(header) != 13:
        raise ValueError("its header has a wrong length")
    width, height = struct.unpack_from(">II", header)
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise ValueError(f"it has {width} x {height} pixels, 1 to {MAX_SIDE} each are read")


PARTS = {"images_background": 964, "images_evaluation": 659}
"""The two parts, and how many characters each has."""

DRAWING = re.compile(r"(?P<part>\w+)/(?P<character>[^/]+/character\d+)/\d+_\d+\.png")

MAX_ARCHIVE = 2**26
"""The largest archive in bytes; the authors' larger one has 9.5 million."""

MAX_TOTAL = 2**26
"""The largest sum of all files in a part, bytes; the authors' larger one has 4.8 million."""


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
        """Every drawing: its name from the part's own down, and its PNG; sorted by name.

        Raises:
            DataError: Something in the part is damaged, too large, or no plain file.
        """

    def error(self, what: str) -> DataError:
        """An error that names the part, what is wrong, and what to do."""
        return DataError(f"{self.path} {what}. {remedy(self.path)}")

    def _check_names(self, names: Iterable[str]) -> None:
        """Checks that names differ, on file systems that ignore case and ways to encode too."""
        seen: dict[str, str] = {}
        for name in names:
            key = unicodedata.normalize("NFC", name).casefold()
            if key in seen:
                raise self.error(f"has both {seen[key]!r} and {name!r}, which may be one file")
            seen[key] = name

    def _check_total(self, total: int) -> None:
        if total > MAX_TOTAL:
            raise self.error(f"holds more than {MAX_TOTAL} bytes, which Omniglot does not")


class ArchivePart(Part):
    """A zip archive."""

    def fingerprint(self) -> str:
        """Fingerprint of the archive's size and time of change."""
        status = self.path.stat()
        return f"{self.path.name} {status.st_size} {status.st_mtime_ns}"

    def drawings(self) -> Iterator[tuple[str, bytes]]:
        """The members, read one by one; nothing is written to the disk."""
        with self._open() as archive:
            members = archive.infolist()
            for member in members:
                self._check_member(member)
            self._check_names(member.filename for member in members)
            total = 0
            for member in sorted(members, key=lambda found: found.filename):
                # Other files than drawings too: the name of a drawing may be what is damaged.
                data = self._read(archive, member)
                total += len(data)
                self._check_total(total)
                if DRAWING.fullmatch(member.filename):
                    yield member.filename, data

    @contextmanager
    def _open(self) -> Iterator[zipfile.ZipFile]:
        with understood(self.path, "is damaged", remedy(self.path), DataError):
            size = self.path.stat().st_size
            if size > MAX_ARCHIVE:
                raise self.error(f"has {size} bytes, which is too large for Omniglot")
            with zipfile.ZipFile(self.path) as archive:
                yield archive

    def _read(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
        with archive.open(member) as file:
            data = file.read(MAX_BYTES + 1)  # to its end, where the checksum is compared
        if len(data) > MAX_BYTES:
            raise self.error(f"has a member {member.filename!r} of more than {MAX_BYTES} bytes")
        return data

    def _check_member(self, member: zipfile.ZipInfo) -> None:
        name, kind = member.filename, stat.S_IFMT(member.external_attr >> 16)
        if name.startswith("/") or "\\" in name or ":" in name or ".." in PurePosixPath(name).parts:
            raise self.error(
                f"has a member {name!r}, which points outside the folder it is unpacked in: this "
                "is not the authors' archive"
            )
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise self.error(f"has a member {name!r}, which is a link or a device, no plain file")
        if member.flag_bits & 0x1:
            raise self.error(f"has a member {name!r}, which is locked with a password")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise self.error(
                f"has a member {name!r}, packed by method {member.compress_type}: only plain "
                "(0) and deflated (8) are read"
            )


class FolderPart(Part):
    """A part of the data set in a folder."""

    def fingerprint(self) -> str:
        """Fingerprint of the names, sizes and times of change of all files."""
        digest = hashlib.sha256()
        for name, path in self._files().items():
            with self._readable(path):
                status = path.stat()
            digest.update(os.fsencode(f"{name} {status.st_size} {status.st_mtime_ns}\n"))
        return digest.hexdigest()

    def drawings(self) -> Iterator[tuple[str, bytes]]:
        """The files, read one by one."""
        files, total = self._files(), 0
        self._check_names(files)
        for name, path in files.items():
            data = self._read(path)
            total += len(data)
            self._check_total(total)
            yield name, data

    def _files(self) -> dict[str, Path]:
        found = {
            f"{self.name}/{path.relative_to(self.path).as_posix()}": path
            for alphabet in self._folders(self.path)
            for character in self._folders(alphabet)
            for path in self._entries(character)
        }
        return {name: found[name] for name in sorted(found) if DRAWING.fullmatch(name)}

    def _folders(self, folder: Path) -> Iterator[Path]:
        for path in self._entries(folder):
            with self._readable(path):
                if path.is_dir():
                    yield path

    def _entries(self, folder: Path) -> list[Path]:
        with self._readable(folder):
            return list(folder.iterdir())

    def _read(self, path: Path) -> bytes:
        """The bytes of a plain file, or one that a link leads to."""
        with self._readable(path):
            # Opening a pipe would wait for who writes to it.
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _BINARY)
            with open(descriptor, "rb") as file:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise self.error(f"holds {str(path)!r}, which is a pipe, device or folder")
                data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise self.error(f"holds {str(path)!r}, which has more than {MAX_BYTES} bytes")
        return data

    @contextmanager
    def _readable(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self.error(f"holds {str(path)!r}, which cannot be read ({error})") from error


_BINARY = getattr(os, "O_BINARY", 0)


def find_parts(folder: Path) -> list[Part]:
    """The two parts in a folder, each an archive or, where there is none, a folder.

    Raises:
        DataError: A part is not there.
    """
    parts: list[Part] = []
    for name in PARTS:
        archive, unpacked = folder / f"{name}.zip", folder / name
        try:
            packed, there = archive.is_file(), unpacked.is_dir()
        except OSError as error:
            raise DataError(
                f"{folder} cannot be read ({error}): name another folder with --data DIR"
            ) from error
        if packed:
            parts.append(ArchivePart(archive, name))
        elif there:
            parts.append(FolderPart(unpacked, name))
        else:
            raise DataError(
                f"no Omniglot images in {folder}: there is neither {archive.name} nor a folder "
                f"{name}. Run `{typed('download', 'omniglot')} --data {folder}`, or name the "
                "folder that has them with --data DIR."
            )
    return parts


def remedy(path: Path) -> str:
    """The remedy for a damaged file."""
    return (
        f"Delete {path} and run `{typed('download', 'omniglot')} --data {path.parent}`, or "
        f"name another folder with --data DIR."
    )
