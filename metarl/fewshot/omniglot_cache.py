"""Omniglot as one tensor file: the drawings decoded and resized once, then loaded in one read."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import struct
import warnings
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pooch  # type: ignore[import-untyped]
import torch
from PIL import Image
from torch import Tensor

from metarl.atomic import write_bytes
from metarl.fewshot.omniglot_archive import DRAWING, PARTS, DataError, Part, find_parts, remedy

Resize = Literal["lanczos", "nearest"]

FORMAT = 1
"""Raise it when the file's contents or the way they are made change."""

DAMAGE = (
    pickle.UnpicklingError,
    struct.error,
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What reading a damaged file may raise."""


class Table(NamedTuple):
    """What the file holds: images uint8 ``[C, 20, S, S]``, and C characters and parts."""

    images: Tensor
    characters: tuple[str, ...]
    parts: tuple[str, ...]


def load_cached(
    folder: Path, size: int, resize: Resize, cache: Path | None, complete: bool
) -> Table:
    """Load the tensor file that belongs to these images, or make it; see `load_omniglot`."""
    if size < 1:
        raise ValueError(f"size must be at least 1 pixel, got {size}")
    if resize not in ("lanczos", "nearest"):
        raise ValueError(f"resize must be lanczos or nearest, got {resize!r}")
    parts = find_parts(folder)
    identity = f"{FORMAT} {[part.fingerprint() for part in parts]}"
    key = hashlib.sha256(identity.encode()).hexdigest()[:16]
    path = cache_folder(folder, cache) / f"omniglot-{size}-{resize}-{key}.pt"
    table = _read(path)
    if table is None:
        table = decode(parts, size, resize)
        _write(path, table)
    if complete:
        _check_complete(table, parts)
    return table


def cache_folder(folder: Path, cache: Path | None) -> Path:
    """Where the tensor file goes: `cache`, else beside the data, else the user's cache folder."""
    if cache is not None:
        return cache
    return folder if os.access(folder, os.W_OK) else Path(pooch.os_cache("metarl"))


def decode(parts: Sequence[Part], size: int, resize: Resize) -> Table:
    """Decode and resize every drawing.

    Raises:
        DataError: A drawing is damaged, or a character has more or fewer drawings than others.
    """
    drawings: dict[str, list[np.ndarray]] = {}
    part_of: dict[str, str] = {}
    for part in parts:
        for name, data in part.drawings():
            match = DRAWING.fullmatch(name)
            assert match is not None  # a part lists nothing else
            character = match["character"]
            if part_of.setdefault(character, part.name) != part.name:
                raise DataError(f"{character} is in both parts. {remedy(part.path)}")
            image = _decode_drawing(data, size, resize, f"{part.path}: {name}", part)
            drawings.setdefault(character, []).append(image)
    _check_drawings(drawings, parts)
    names = tuple(sorted(drawings))
    images = torch.from_numpy(np.array([drawings[name] for name in names]))
    return Table(images, names, tuple(part_of[name] for name in names))


def _decode_drawing(
    data: bytes, size: int, resize: Resize, where: str, part: Part
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """A drawing as uint8 ``[size, size]``."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            # One bit a pixel would be resized to the nearest whatever was asked for: grey first.
            grey = image.convert("L")
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{where} is not a readable image: {error}. {remedy(part.path)}") from error
    method = Image.Resampling.LANCZOS if resize == "lanczos" else Image.Resampling.NEAREST
    return np.asarray(grey.resize((size, size), method))


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


def _read(path: Path) -> Table | None:
    """The tensor file, or None where there is none or it is damaged: it can always be remade."""
    if not path.is_file():
        return None
    try:
        stored = torch.load(path, weights_only=True)
        images, checksum = stored["images"], stored["checksum"]
        table = Table(images, tuple(stored["characters"]), tuple(stored["parts"]))
        intact = checksum == _checksum(table)
    except DAMAGE as error:
        cause = type(error).__name__
        warnings.warn(f"{path} is damaged ({cause}); making it again", stacklevel=2)
        return None
    if not intact:
        warnings.warn(f"{path} is damaged (wrong checksum); making it again", stacklevel=2)
        return None
    return table


def _write(path: Path, table: Table) -> None:
    """Write the tensor file; whoever reads at the same time sees a whole file or none."""
    buffer = io.BytesIO()
    stored = {**table._asdict(), "checksum": _checksum(table)}
    torch.save(stored | {"characters": list(table.characters), "parts": list(table.parts)}, buffer)
    # Several processes may get here at once, each with a file of its own until the last step.
    own = path.with_name(f"{path.stem}-{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(own, buffer.getvalue())
        os.replace(own, path)
    except OSError as error:
        warnings.warn(f"the resized images are not kept: {error}", stacklevel=2)


def _checksum(table: Table) -> int:
    names = "\n".join((*table.characters, *table.parts)).encode()
    return zlib.crc32(table.images.contiguous().numpy().data, zlib.crc32(names))
