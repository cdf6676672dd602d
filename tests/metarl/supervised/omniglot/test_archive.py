"""Archives and folders from anywhere: what is loaded is right, or one error names what is wrong."""

from __future__ import annotations

import io
import os
import random
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metarl.errors import UserError
from metarl.supervised.omniglot.archive import find_parts
from metarl.supervised.omniglot.cache import Table, decode
from tests.metarl.supervised.omniglot.tiny_omniglot import (
    drawing,
    png,
    write_archives,
    write_folders,
)

SMALL = {"images_background": {"Greek": 2}, "images_evaluation": {"Hebrew": 1}}
FIRST = "images_background/Greek/character01/0001_01.png"


def read(folder: Path) -> Table:
    return decode(find_parts(folder), 4, "nearest")


def same(a: Table, b: Table) -> bool:
    return bool((a.images == b.images).all()) and a[1:] == b[1:]


def refusal(folder: Path, expected: Table) -> str:
    """The one error, or nothing where what is read is right."""
    try:
        found = read(folder)
    except UserError as error:
        return str(error)
    assert same(found, expected)
    return ""


def damage(data: bytes, rng: random.Random) -> bytes:
    """Cut, pierced, with a few bytes changed anywhere, or in the directory at the end."""
    kind = rng.randrange(6)
    place = rng.randrange(len(data))
    if kind == 0:
        return data[:place]
    if kind == 1:
        return data[:place] + data[place + rng.randrange(1, 400) :]
    if kind == 2:
        return data[:place] + rng.randbytes(rng.randrange(1, 400)) + data[place:]
    changed = bytearray(data)
    first = data.find(b"PK\x01\x02") if kind < 5 else 0
    for _ in range(rng.randrange(1, 4)):
        changed[rng.randrange(max(first, 0), len(data))] ^= rng.randrange(1, 256)
    return bytes(changed)


@pytest.mark.parametrize("packed", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_random_damage_is_named_or_of_no_consequence(tmp_path: Path, packed: int) -> None:
    folder = write_archives(tmp_path, alphabets=SMALL, compression=packed)
    path, expected = folder / "images_background.zip", read(folder)
    whole, rng = path.read_bytes(), random.Random(packed)
    refused = 0
    for _ in range(400):
        path.write_bytes(damage(whole, rng))
        said = refusal(folder, expected)
        refused += bool(said)
        assert not said or (str(path) in said and "Delete" in said)
    assert refused > 200


def test_random_damage_of_a_file_is_named_or_of_no_consequence(tmp_path: Path) -> None:
    folder = write_folders(tmp_path)
    path, expected = folder / FIRST, read(folder)
    whole, rng = path.read_bytes(), random.Random(0)
    for _ in range(150):
        path.write_bytes(damage(whole, rng))
        said = refusal(folder, expected)
        assert not said or "0001_01.png" in said


# ---------------------------------------------------------------------------- what is no drawing


def eps() -> bytes:
    return b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 105 105\nshowpage\n"


def other_format(name: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(drawing(0)).save(buffer, name)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(side: int) -> bytes:
    """A white picture: few bytes, many pixels."""
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * (side * ((side + 7) // 8 + 1)), 9)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", rows), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def twice_headed() -> bytes:
    whole = bomb(105)
    return whole[:33] + bomb(20_000)[8:33] + whole[33:]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (eps(), "no PNG"),
        (other_format("BMP"), "no PNG"),
        (other_format("GIF"), "no PNG"),
        (bomb(12_000), "12000 x 12000 pixels"),
        (twice_headed(), "one header"),
        (bomb(105)[:-1], "too early"),
        (bomb(105).replace(b"IDAT", b"IDAU"), "wrong checksum"),
        (bomb(105)[:33] + chunk(b"IEND", b""), "not a readable image"),
        (bomb(105)[:33] + chunk(b"IDAT", b"nothing") + chunk(b"IEND", b""), "not a readable image"),
        (bomb(105) + bytes(2**18), "more than 262144 bytes"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_what_is_no_small_png_is_refused_unopened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, said: str, packed: bool
) -> None:
    monkeypatch.setattr(Image, "open", None)  # would choose a reader by the content
    if packed:
        write_archives(tmp_path, lambda found: [(found[0][0], data), *found[1:]])
    else:
        (write_folders(tmp_path) / FIRST).write_bytes(data)
    with pytest.raises(UserError, match=said):
        read(tmp_path)


def test_a_small_archive_of_large_members_is_refused(tmp_path: Path) -> None:
    names = [f"images_background/A/character01/{i:04}_01.png" for i in range(300)]
    folder = write_archives(
        tmp_path,
        lambda found: [(n, bytes(2**18)) for n in names],
        compression=zipfile.ZIP_DEFLATED,
    )
    assert (folder / "images_background.zip").stat().st_size < 2**18
    (part, _) = find_parts(folder)
    with pytest.raises(UserError, match="holds more than 67108864 bytes"):
        list(part.drawings())


# ------------------------------------------------------------------------------ what is no archive


def _flags(data: bytes, offset: int, value: int, place: int) -> bytes:
    """Every entry of the directory, and every member's own header, with a bit set."""
    changed = bytearray(data)
    for signature, at in ((b"PK\x01\x02", offset), (b"PK\x03\x04", place)):
        start = -1
        while (start := changed.find(signature, start + 1)) >= 0:
            changed[start + at] |= value
    return bytes(changed)


def _nested(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("images_background.zip", data)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: _flags(data, 8, 1, 6), "locked with a password"),
        (lambda data: _flags(data, 10, 12, 8), "packed by method 12"),
        (lambda data: b"", "is damaged"),
        (lambda data: b"<html>not found</html>", "is damaged"),
        (lambda data: b"\x1f\x8b" + bytes(100), "is damaged"),
        (_nested, "images_background.zip' of more than|no drawings"),
        (lambda data: b"PK\x05\x06" + bytes(18), "no drawings|has 0"),
    ],
)
def test_what_is_no_archive_of_drawings_is_named(
    tmp_path: Path, change: Callable[[bytes], bytes], said: str
) -> None:
    folder = write_archives(tmp_path, alphabets={"images_background": {"A": 1}})
    path = folder / "images_background.zip"
    path.write_bytes(change(path.read_bytes()))
    (folder / "images_evaluation").mkdir()
    with pytest.raises(UserError, match=said):
        read(folder)


def _member(folder: Path, name: str, mode: int = 0) -> None:
    with zipfile.ZipFile(folder / "images_background.zip", "a") as archive:
        member = zipfile.ZipInfo(name)
        member.external_attr = mode << 16
        archive.writestr(member, png(drawing(0)))


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK])
def test_links_and_devices_in_an_archive_are_refused(tmp_path: Path, mode: int) -> None:
    _member(write_archives(tmp_path), "images_background/x", mode | 0o644)
    with pytest.raises(UserError, match="a link or a device"):
        read(tmp_path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", [FIRST, FIRST.replace("Greek", "GREEK")])
def test_one_name_twice_is_refused(tmp_path: Path, name: str) -> None:
    _member(write_archives(tmp_path), name)
    with pytest.raises(UserError, match="which may be one file"):
        read(tmp_path)


def test_drawings_of_the_other_part_are_refused(tmp_path: Path) -> None:
    folder = write_archives(tmp_path)
    background, evaluation = (folder / f"images_{n}.zip" for n in ("background", "evaluation"))
    evaluation.write_bytes(background.read_bytes())
    with pytest.raises(UserError, match="belongs to images_background"):
        read(folder)


def test_an_archive_of_the_long_kind_is_read(tmp_path: Path) -> None:
    expected = read(write_archives(tmp_path / "a"))
    folder = write_archives(tmp_path / "b")
    path = folder / "images_background.zip"
    with zipfile.ZipFile(path) as archive:
        found = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in found:
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(data)
    assert same(read(folder), expected)


# ------------------------------------------------------------------------------- what is no folder


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("place", [FIRST, "images_background.zip"])
def test_a_pipe_is_not_waited_for(tmp_path: Path, place: str) -> None:
    folder = write_folders(tmp_path)
    (folder / place).unlink(missing_ok=True)
    os.mkfifo(folder / place)
    if place == FIRST:
        with pytest.raises(UserError, match="a pipe, device or folder"):
            read(folder)
    else:
        assert len(read(folder).characters) == 7  # from the folder of that name


@pytest.mark.parametrize("target", ["/dev/zero", "nowhere", "."])
def test_links_to_what_is_no_drawing_are_refused(tmp_path: Path, target: str) -> None:
    folder = write_folders(tmp_path)
    (folder / FIRST).unlink()
    (folder / FIRST).symlink_to(target)
    with pytest.raises(UserError, match=r"0001_01\.png"):
        read(folder)


def test_a_link_to_a_drawing_is_read(tmp_path: Path) -> None:
    folder = write_folders(tmp_path)
    expected = read(folder)
    (folder / FIRST).rename(tmp_path / "elsewhere.png")
    (folder / FIRST).symlink_to(tmp_path / "elsewhere.png")
    assert same(read(folder), expected)


def test_grey_and_coloured_drawings_are_read(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.full((30, 20, 3), 255, np.uint8)).save(buffer, "PNG")
    (write_folders(tmp_path) / FIRST).write_bytes(buffer.getvalue())
    assert read(tmp_path).images[0, 0].unique().tolist() == [255]
