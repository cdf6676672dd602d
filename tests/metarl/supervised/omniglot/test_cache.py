"""The tensor file: made once, made again when it must be, never half written."""

from __future__ import annotations

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metarl.supervised.omniglot import cache as omniglot_cache
from metarl.supervised.omniglot.images import Omniglot, load_omniglot
from tests.metarl.supervised.omniglot.tiny_omniglot import write_archives, write_folders


def load(folder: Path, **settings) -> Omniglot:
    return load_omniglot(folder, complete=False, **settings)


@pytest.fixture
def archives(tmp_path: Path) -> Path:
    return write_archives(tmp_path / "archives")


@pytest.fixture
def num_decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one number for each time the drawings are decoded."""
    calls: list[int] = []
    decode = omniglot_cache.decode

    def counted(*args):
        calls.append(len(calls))
        return decode(*args)

    monkeypatch.setattr(omniglot_cache, "decode", counted)
    return calls


def files(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.suffix != ".zip")


def test_drawings_are_decoded_once(archives: Path, num_decoded: list[int]) -> None:
    first, again = load(archives), load(archives)
    assert len(num_decoded) == 1
    assert torch.equal(first.images, again.images)
    assert (first.characters, first.parts) == (again.characters, again.parts)
    assert len(files(archives)) == 1
    again.images[0] = 0  # may be written to


def test_every_size_and_method_has_a_file_of_its_own(archives: Path) -> None:
    shapes = [load(archives, **s).images.shape[-1] for s in ({}, {"size": 14}, {"size": 14})]
    load(archives, resize="nearest")
    assert shapes == [28, 14, 14]
    assert len(files(archives)) == 3


@pytest.mark.parametrize("write", [write_archives, write_folders])
def test_other_images_make_another_file(tmp_path: Path, num_decoded: list[int], write) -> None:
    folder, cache = write(tmp_path / "data"), tmp_path / "cache"
    load(folder, cache=cache)
    changed = next(p for p in sorted(folder.rglob("*")) if p.suffix in (".zip", ".png"))
    os.utime(changed, ns=(1, 1))
    load(folder, cache=cache)
    assert len(num_decoded) == 2


def test_data_that_cannot_be_written_to_are_cached_elsewhere(
    archives: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setattr(omniglot_cache.pooch, "os_cache", lambda name: tmp_path / name)
    load(archives)
    assert files(archives) == []
    assert len(files(tmp_path / "metarl")) == 1


def test_without_a_home_the_images_are_made_every_time(
    archives: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)

    def none(name: str) -> str:
        raise RuntimeError("Could not determine home directory.")

    for homeless in (none, lambda name: f"~/.cache/{name}"):
        monkeypatch.setattr(omniglot_cache.pooch, "os_cache", homeless)
        with pytest.warns(UserWarning, match="are not kept: .*archives cannot be written to.*home"):
            assert len(load(archives).characters) == 7
    assert files(archives) == []


def test_a_killed_writer_leaves_nothing_for_ever(archives: Path) -> None:
    (archives / ".omniglot-28-lanczos-0-77.tmp.tmp").write_bytes(b"half")
    load(archives)
    (archives / ".omniglot-14-lanczos-0.images.tmp").write_bytes(b"half")
    load(archives)
    assert [name for name in files(archives) if name.endswith(".tmp")] == []


def test_several_first_users_at_once_get_the_same(archives: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: load(archives), range(8)))
    assert all(torch.equal(one.images, found[0].images) for one in found)
    assert len(files(archives)) == 1


def test_a_cache_that_cannot_be_written_is_a_warning(archives: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.warns(UserWarning, match="the resized images are not kept"):
        assert len(load(archives, cache=tmp_path / "file").characters) == 7


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_a_damaged_file_is_made_again(archives: Path, data: st.DataObject) -> None:
    """Cut anywhere, or with any byte changed: what is loaded is right."""
    expected = load(archives, size=4)
    (name,) = files(archives)
    path = archives / name
    whole = path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        damaged = whole[:place]
    else:
        flip = data.draw(st.integers(1, 255))
        damaged = whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :]
    path.write_bytes(damaged)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = load(archives, size=4)
    assert torch.equal(found.images, expected.images)
    assert (found.characters, found.parts) == (expected.characters, expected.parts)
    assert all("making it again" in str(w.message) for w in caught)
    # Whatever was damaged has been replaced, or was of no consequence.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(archives, size=4)


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04" + b"\0" * 100])
def test_a_file_that_is_something_else_is_made_again(archives: Path, content: bytes) -> None:
    load(archives)
    (name,) = files(archives)
    (archives / name).write_bytes(content)
    with pytest.warns(UserWarning, match="is damaged .*; making it again"):
        assert len(load(archives).characters) == 7
    assert len((archives / name).read_bytes()) > 1000
