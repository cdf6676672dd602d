"""Omniglot as one file: the drawings decoded and resized once, then loaded in one read."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pooch  # type: ignore[import-untyped]
import torch
from PIL import Image
from torch import Tensor

from metarl.foreign_bytes import understood
from metarl.supervised.omniglot.archive import DRAWING, PARTS, DataError, Part, find_parts, remedy
from metarl.supervised.omniglot.cache_file import read_cache, sweep_cache, write_cache
from metarl.supervised.omniglot.drawing_file import decode_png

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
