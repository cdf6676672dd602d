"""Omniglot as one file: the drawings decoded and resized once, then loaded in one read.

The file can be made again: it is whole or of no use, and written by one process at a time. It
begins with the SHA-256 of the rest, so that nothing of a damaged file is looked at. What a
killed process leaves behind is removed the next time: it wrote under a temporary name, which it
held locked, and the system drops a lock when its owner dies.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

import numpy as np
import pooch  # type: ignore[import-untyped]
import torch
from PIL import Image
from torch import Tensor

from metarl.errors import understood
from metarl.supervised.omniglot.archive import (
    DRAWING,
    PARTS,
    DataError,
    Part,
    decode_png,
    find_parts,
    remedy,
)

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


Resize = Literal["lanczos", "nearest"]

FORMAT = 2
"""Raise it when the file's contents or the way they are made change."""

MAX_DRAWINGS = 100_000
"""The largest number of drawings in both parts; the authors have 32,460."""

_MAX_HEADER = 2**24  # names of characters


class Table(NamedTuple):
    """Contents of the file: images uint8 ``[C, 20, S, S]``, and C characters and parts."""

    images: Tensor
    characters: tuple[str, ...]
    parts: tuple[str, ...]


def load_cached(
    folder: Path, size: int, resize: Resize, cache: Path | None, complete: bool
) -> Table:
    """Load the file that belongs to these images, or make it; see `load_omniglot`."""
    if size < 1:
        raise ValueError(f"size must be at least 1 pixel, got {size}")
    if resize not in ("lanczos", "nearest"):
        raise ValueError(f"resize must be lanczos or nearest, got {resize!r}")
    parts = find_parts(folder)
    identity = f"{FORMAT} {[part.fingerprint() for part in parts]}"
    key = hashlib.sha256(identity.encode()).hexdigest()[:16]
    store = cache_folder(folder, cache)
    if store is None:
        warnings.warn(
            f"the resized images are not kept: {folder} cannot be written to, and there is no home "
            "folder; name a folder for them with cache (or set XDG_CACHE_HOME)",
            stacklevel=3,
        )
        table = decode(parts, size, resize)
    else:
        table = _kept(store / f"omniglot-{size}-{resize}-{key}.images", parts, size, resize)
    if complete:
        _check_complete(table, parts)
    return table


def cache_folder(folder: Path, cache: Path | None) -> Path | None:
    """Folder of the resized images: `cache`, else beside the data, else the user's cache.

    None where the data cannot be written to and the user has no home.
    """
    if cache is not None:
        return cache
    if os.access(folder, os.W_OK):
        return folder
    try:
        user = Path(pooch.os_cache("metarl"))
    except (RuntimeError, KeyError):  # no entry in passwd
        return None
    return user if user.is_absolute() else None  # a "~" that stands for nothing


def decode(parts: Sequence[Part], size: int, resize: Resize) -> Table:
    """Decode and resize every drawing.

    Raises:
        DataError: A drawing is damaged, or a character has more or fewer drawings than others.
    """
    drawings: dict[str, list[np.ndarray]] = {}
    part_of: dict[str, str] = {}
    count = 0
    method = Image.Resampling.LANCZOS if resize == "lanczos" else Image.Resampling.NEAREST
    for part in parts:
        for name, data in part.drawings():
            match = DRAWING.fullmatch(name)
            assert match is not None  # a part lists nothing else
            character = match["character"]
            if match["part"] in PARTS and match["part"] != part.name:
                raise part.error(f"holds {name!r}, which belongs to {match['part']}")
            if part_of.setdefault(character, part.name) != part.name:
                raise DataError(f"{character} is in both parts. {remedy(part.path)}")
            where = f"{part.path}: {name}"
            with understood(where, "is not a readable image", remedy(part.path), DataError):
                image = decode_png(data, size, method)
            drawings.setdefault(character, []).append(image)
            count += 1
            if count > MAX_DRAWINGS:
                raise part.error(f"holds more than {MAX_DRAWINGS} drawings: it is not Omniglot")
    _check_drawings(drawings, parts)
    names = tuple(sorted(drawings))
    images = torch.from_numpy(np.array([drawings[name] for name in names]))
    return Table(images, names, tuple(part_of[name] for name in names))


def _check_drawings(drawings: dict[str, list[np.ndarray]], parts: Sequence[Part]) -> None:
    paths = " and ".join(str(part.path) for part in parts)
    if not drawings:
        raise DataError(f"no drawings in {paths}. {remedy(parts[0].path)}")
    usual = Counter(len(d) for d in drawings.values()).most_common(1)[0][0]
    for name, found in drawings.items():
        if len(found) != usual:
            raise DataError(
                f"{name} has {len(found)} drawings and the others {usual}: {paths} are incomplete. "
                f"{remedy(parts[0].path)}"
            )


def _check_complete(table: Table, parts: Sequence[Part]) -> None:
    counts = Counter(table.parts)
    for part in parts:
        if counts[part.name] != PARTS[part.name]:
            raise DataError(
                f"{part.path} has {counts[part.name]} characters, the authors' data have "
                f"{PARTS[part.name]}. {remedy(part.path)}"
            )


def _kept(path: Path, parts: Sequence[Part], size: int, resize: Resize) -> Table:
    """The table of a cache file, which is made, or made again, where need be."""
    try:
        sweep_cache(path.parent, "omniglot-*")
        content = read_cache(path, MAX_DRAWINGS * size * size + _MAX_HEADER)
        if content is not None:
            return _unpack(content)
    except (OSError, ValueError) as error:
        warnings.warn(f"{path} is damaged ({error}); making it again", stacklevel=4)
    table = decode(parts, size, resize)
    try:
        write_cache(path, _pack(table))
    except OSError as error:
        warnings.warn(f"the resized images are not kept: {error}", stacklevel=4)
    return table


def _pack(table: Table) -> bytes:
    """A line of JSON, then the images."""
    header = {"shape": table.images.shape, "characters": table.characters, "parts": table.parts}
    return json.dumps(header).encode() + b"\n" + table.images.contiguous().numpy().tobytes()


def _unpack(content: bytes) -> Table:
    end = content.index(b"\n")
    header = json.loads(content[:end])
    images = np.frombuffer(content, np.uint8, offset=end + 1).reshape(header["shape"])
    # A copy: what comes from bytes cannot be written to.
    return Table(
        torch.from_numpy(images.copy()), tuple(header["characters"]), tuple(header["parts"])
    )
