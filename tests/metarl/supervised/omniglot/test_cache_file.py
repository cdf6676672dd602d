"""A cache file: whole or of no use, and nothing left of those who died while they wrote."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from metarl.supervised.omniglot.cache import read_cache, sweep_cache, write_cache

CONTENT = bytes(range(256)) * 40


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.images"
    assert read_cache(path, 10**6) is None
    write_cache(path, CONTENT)
    assert read_cache(path, len(CONTENT)) == CONTENT
    assert names(path.parent) == ["x.images"]
    with pytest.raises(ValueError, match="too large"):
        read_cache(path, len(CONTENT) - 1)


def test_any_changed_byte_and_any_cut_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.images"
    write_cache(path, b"content")
    whole = path.read_bytes()
    for place in range(len(whole)):
        for damaged in (
            whole[:place],
            whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :],
        ):
            path.write_bytes(damaged)
            with pytest.raises(ValueError, match=r"wrong checksum|too large"):
                read_cache(path, 7)


HOLD = """
import os, sys, time
from pathlib import Path
from metarl.supervised.omniglot import cache
def wait(descriptor):
    print("writing", flush=True)
    time.sleep(60)
cache.os.fsync = wait
cache.write_cache(Path(sys.argv[1]), b"half" * 1000)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs file locks")
def test_a_living_writer_is_left_alone_and_a_dead_one_swept_away(tmp_path: Path) -> None:
    path = tmp_path / "x.images"
    (tmp_path / ".x-77.tmp.tmp").write_bytes(b"of an earlier version")
    writer = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writing\n"
        sweep_cache(tmp_path, "x*")
        assert names(tmp_path) == [".x.images.tmp"]
        write_cache(path, CONTENT)  # another is about to
        assert names(tmp_path) == [".x.images.tmp"]
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
    sweep_cache(tmp_path, "y*")
    assert names(tmp_path) == [".x.images.tmp"]
    sweep_cache(tmp_path, "x*")
    assert names(tmp_path) == []


def test_what_cannot_be_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_cache(tmp_path / "x.images", CONTENT)
    assert names(tmp_path) == []
