"""Drawings and archives of unknown origin: one named error, or the right images; nothing else."""

import os
import random
import struct
import warnings
import zlib
from pathlib import Path

import pytest
import torch
from PIL import Image

from metarl.errors import UserError
from metarl.fewshot.drawing_file import MAX_SIDE, decode_png
from metarl.fewshot.omniglot import load_omniglot
from metarl.fewshot.omniglot_cache import cache_folder
from tests.metarl.fewshot.tiny_omniglot import members, write_archives, write_folders

NEAREST = Image.Resampling.NEAREST


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, pixels: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(pixels)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_a_small_picture_is_read() -> None:
    grey = decode_png(png(2, 2, b"\0\x00\xff" * 2), 2, NEAREST)
    assert grey.tolist() == [[0, 255], [0, 255]]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no PNG"),  # would start a program
        (b"GIF89a" + bytes(64), "no PNG"),
        (png(MAX_SIDE + 1, 1, bytes(MAX_SIDE + 2)), "pixels"),
        (png(2**31 - 1, 2**31 - 1, b""), "pixels"),  # a decompression bomb
        (png(2, 2, b""), "truncated"),
        (png(2, 2, b"\0\x00\xff" * 2)[:-13], "checksum"),
        (png(2, 2, b"\0\x00\xff" * 2)[:-12], "ends too early"),
        (bytes(2**19), "bytes"),
    ],
)
def test_other_files_are_not_read(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode_png(data, 2, NEAREST)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are made on POSIX alone")
def test_a_pipe_among_the_drawings_is_not_waited_for(tmp_path: Path) -> None:
    write_folders(tmp_path)
    path = tmp_path / next(members())[0]
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UserError, match="pipe"):
        load_omniglot(tmp_path, size=4, complete=False)


def test_archives_that_were_damaged_are_named_or_read_rightly(tmp_path: Path) -> None:
    folder = write_archives(tmp_path)
    expected = load_omniglot(folder, size=4, complete=False, cache=tmp_path / "cache")
    archive = folder / "images_background.zip"
    whole, draw = archive.read_bytes(), random.Random(0)
    refused = 0
    for number in range(150):
        damaged = bytearray(whole)
        if number % 3 == 0:
            damaged = damaged[: draw.randrange(len(whole))]
        for _ in range(draw.randrange(1, 4)):
            if damaged:
                damaged[draw.randrange(len(damaged))] ^= draw.randrange(1, 256)
        archive.write_bytes(bytes(damaged))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # zipfile's, of names that are there twice
            try:
                found = load_omniglot(folder, size=4, complete=False, cache=tmp_path / "cache")
            except UserError:
                refused += 1
                continue
        assert torch.equal(found.images, expected.images)
        assert found.characters == expected.characters
    assert refused > 100


def test_without_a_home_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setattr("pooch.os_cache", lambda name: Path("~/.cache") / name)
    folder = write_archives(tmp_path)
    assert cache_folder(folder, None) is None
    with pytest.warns(UserWarning, match="are not kept"):
        found = load_omniglot(folder, size=4, complete=False)
    assert len(found.images)
