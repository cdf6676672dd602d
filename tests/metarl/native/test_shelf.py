"""Built libraries are kept whole, in private, once."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import namedtuple
from pathlib import Path

import pytest

from metarl.native import shelf
from metarl.native.compiler import NativeUnavailableError

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """The two folders for libraries."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path / "home/metarl/native", tmp_path / f"temporary/metarl-native-{os.getuid()}"


def write(text="whole"):
    return lambda file: file.write_text(text)


def refuse(file):
    raise AssertionError("it is there")


def test_what_was_built_is_not_built_again(places):
    file = shelf.kept("tiny-1", write())
    assert file == places[0] / "tiny-1.so"
    assert shelf.kept("tiny-1", refuse).read_text() == "whole"
    assert places[0].stat().st_mode & 0o777 == 0o700


def test_build_that_is_cut_short_leaves_nothing_that_is_taken_for_whole(places):
    def cut(file):
        file.write_text("ha")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shelf.kept("tiny-1", cut)
    assert shelf.kept("tiny-1", write()).read_text() == "whole"


DAMAGES = {
    "emptied": lambda whole: b"",
    "cut": lambda whole: whole[: len(whole) // 2],
    "zeroed": lambda whole: whole[:1] + bytes(len(whole) - 2) + whole[-1:],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_what_the_disk_has_damaged_is_built_again(places, damage):
    file = shelf.kept("tiny-1", write())
    file.write_bytes(damage(file.read_bytes()))
    assert shelf.kept("tiny-1", write()).read_text() == "whole"
    assert shelf.kept("tiny-1", refuse) == file


def test_library_without_its_digest_is_built_again(places):
    digest = shelf.kept("tiny-1", write()).with_suffix(shelf.DIGEST)
    digest.unlink()
    assert shelf.kept("tiny-1", write("again")).read_text() == "again"
    digest.write_bytes(b"\xff")
    assert shelf.kept("tiny-1", write("thrice")).read_text() == "thrice"


def test_damaged_library_that_cannot_be_replaced_is_left_for_the_other_place(places, monkeypatch):
    shelf.kept("tiny-1", write()).write_text("")

    def refused(*_, dir, **__):
        if dir == places[0]:
            raise OSError(30, "Read-only file system")
        return scratch(dir=dir)

    scratch = tempfile.TemporaryDirectory
    monkeypatch.setattr(shelf.tempfile, "TemporaryDirectory", refused)
    again = shelf.kept("tiny-1", write())
    assert (again.parent, again.read_text()) == (places[1], "whole")


def test_library_is_on_the_disk_before_its_name_is(places, monkeypatch):
    done = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(
            shelf.os, name, lambda *a, real=real, name=name: (done.append(name), real(*a))[1]
        )
    shelf.kept("tiny-1", write())
    assert done == ["fsync", "replace"] * 2 + ["fsync"]  # digest, library, the folder's names


def test_what_was_discarded_is_built_again(places):
    file = shelf.kept("tiny-1", write())
    shelf.discard(file)
    shelf.discard(file)
    assert shelf.kept("tiny-1", write("again")).read_text() == "again"


def test_lock_and_scratch_of_a_process_that_was_killed_hinder_nobody(places):
    places[0].mkdir(parents=True, mode=0o700)
    (places[0] / "tiny-1.lock").touch()
    (places[0] / "building-x").mkdir()
    assert shelf.kept("tiny-1", write()).read_text() == "whole"


def as_user(number, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: number)


def test_folder_of_another_user_is_not_used(places, monkeypatch, tmp_path):
    places[0].mkdir(parents=True, mode=0o700)
    other = os.getuid() + 1
    as_user(other, monkeypatch)
    theirs = tmp_path / f"temporary/metarl-native-{other}"
    with pytest.raises(NativeUnavailableError, match=f"belongs to user {other - 1}"):
        shelf.kept("tiny-1", refuse)  # the folder that it makes is, in this test, not theirs either
    assert theirs.exists()


@pytest.mark.parametrize("damage", ["open", "file", "link"])
def test_folder_that_is_not_private_is_left_for_the_other(places, tmp_path, damage):
    places[0].parent.mkdir(parents=True)
    if damage == "open":
        places[0].mkdir()
        places[0].chmod(0o777)
    elif damage == "file":
        places[0].touch()
    else:
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        places[0].symlink_to(tmp_path / "elsewhere")
    assert shelf.kept("tiny-1", write()).parent == places[1]


@pytest.mark.skipif(os.getuid() == 0, reason="root writes everywhere")
def test_home_that_is_read_only_is_left_for_the_other(places):
    places[0].parent.mkdir(parents=True)
    places[0].parent.chmod(0o500)
    assert shelf.kept("tiny-1", write()).parent == places[1]


def test_folder_in_which_nothing_can_be_written_is_left_for_the_other(places):
    def make(file):
        if file.is_relative_to(places[0]):
            raise OSError(30, "Read-only file system")
        file.write_text("whole")

    assert shelf.kept("tiny-1", make).parent == places[1]


def test_disk_that_is_full_is_left_for_the_other(places, monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(
        shelf.shutil,
        "disk_usage",
        lambda path: usage(0 if path == places[0] else 2**40),
    )

    def make(file):
        if file.is_relative_to(places[0]):
            raise NativeUnavailableError("No space left on device")
        file.write_text("whole")

    assert shelf.kept("tiny-1", make).parent == places[1]


def test_nowhere_to_write_is_said_with_both_places(places):
    def make(file):
        raise OSError(30, "Read-only file system")

    with pytest.raises(NativeUnavailableError) as error:
        shelf.kept("tiny-1", make)
    for place in places:
        assert f"{place}: Read-only file system" in str(error.value)


def test_compiler_that_fails_is_not_tried_in_the_other_place(places):
    tried = []

    def make(file):
        tried.append(file)
        raise NativeUnavailableError("broken")

    with pytest.raises(NativeUnavailableError, match="broken"):
        shelf.kept("tiny-1", make)
    assert len(tried) == 1


@pytest.mark.parametrize("error", [NotImplementedError, OSError])
def test_file_system_without_locks_is_good_enough(places, monkeypatch, error):
    def acquire(self, timeout):
        raise error

    monkeypatch.setattr(shelf.FileLock, "acquire", acquire)
    assert shelf.kept("tiny-1", write()).read_text() == "whole"


def test_one_that_waits_too_long_builds_for_itself(places, monkeypatch):
    monkeypatch.setattr(shelf, "PATIENCE", 0.05)
    begun, over = threading.Event(), threading.Event()

    def slow(file):
        begun.set()
        over.wait(10)
        file.write_text("slow")

    thread = threading.Thread(target=shelf.kept, args=("tiny-1", slow))
    thread.start()
    begun.wait(10)
    assert shelf.kept("tiny-1", write()).read_text() == "whole"
    over.set()
    thread.join()


def test_what_was_not_used_for_long_goes_when_something_is_built(places):
    old, used = shelf.kept("old-1", write()), shelf.kept("used-1", write())
    (places[0] / "building-left").mkdir()
    long_ago = time.time() - 31 * 86_400
    digest = used.with_suffix(shelf.DIGEST)
    for path in (old, used, digest, places[0] / "building-left"):
        os.utime(path, (long_ago, long_ago))
    shelf.kept("used-1", refuse)
    shelf.kept("tiny-1", write())
    assert not old.exists()
    assert not (places[0] / "building-left").exists()
    assert used.exists()
    shelf.kept("used-1", refuse)  # its digest too


PROCESS = """
import sys, time
from pathlib import Path
from metarl.native import shelf

def make(file):
    with open(sys.argv[1], "a") as log:
        log.write("built\\n")
    time.sleep(0.5)
    file.write_text("whole")

Path(sys.argv[2]).touch()
while not all(Path(p).exists() for p in sys.argv[2:]):
    time.sleep(0.005)
print(shelf.kept("tiny-1", make).read_text())
"""


def test_of_two_processes_one_builds_and_both_load(tmp_path):
    log, ready = tmp_path / "log", [tmp_path / "one", tmp_path / "two"]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, log, *order],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        for order in (ready, ready[::-1])
    ]
    assert [process.communicate(timeout=60)[0] for process in processes] == ["whole\n"] * 2
    assert log.read_text() == "built\n"
