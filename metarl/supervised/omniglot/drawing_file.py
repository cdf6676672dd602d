"""A drawing from bytes of unknown origin: one small PNG, whole, or an error that says what is not.

Pillow chooses a reader by the content of a file, and some readers start other programs (PostScript)
or trust any size. Here the bytes must be a PNG whose chunks are all whole by their own checksums,
and no larger than a drawing has a reason to be, before Pillow's PNG reader alone sees them.
"""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

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
