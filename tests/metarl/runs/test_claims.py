"""Claims on a folder: by locks on one machine, by signs of life between several."""

import subprocess
import sys
import threading
import time

import pytest

from metarl.errors import LockedError
from metarl.runs import claims
from metarl.runs.claims import OWNER, Claim
from metarl.runs.files import held, read_json, write_json
from metarl.runs.place import is_vacant

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no file locks")

HOLDER = """
import sys
from pathlib import Path
from metarl.runs.claims import Claim
claim = Claim(Path(sys.argv[1]))
print("holds", flush=True)
sys.stdin.readline()
"""


def holder(folder):
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", HOLDER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_it_says_who_holds_a_folder_and_leaves_nothing_behind(tmp_path):
    with holder(tmp_path) as process:
        assert process.stdout.readline() == "holds\n"
        who = f"process {process.pid} on {claims.machine()['machine']}"
        with pytest.raises(LockedError, match=who):
            Claim(tmp_path)
        process.kill()
    assert (tmp_path / OWNER).exists()  # of a dead owner
    assert is_vacant(tmp_path)
    began = time.monotonic()
    with Claim(tmp_path):
        assert read_json(tmp_path / OWNER)["beats"] == 1
        with held(tmp_path):
            pass
    assert time.monotonic() - began < claims.SILENCE / 2  # its lock would have been seen
    assert not (tmp_path / OWNER).exists()


def test_an_owner_of_another_machine_is_watched_and_taken_for_dead_when_it_is_silent(tmp_path):
    dead = {"machine": "elsewhere", "process": 7, "beats": 3}
    write_json(tmp_path / OWNER, dead)
    with Claim(tmp_path, silence=0.2):
        assert read_json(tmp_path / OWNER)["machine"] == claims.machine()["machine"]


@pytest.mark.parametrize("locks", [True, False])
@pytest.mark.parametrize("other", ["machine", "boot"])
def test_whose_lock_would_have_been_seen(tmp_path, monkeypatch, locks, other):
    waited = []
    monkeypatch.setattr(claims.time, "sleep", waited.append)
    if not locks:
        monkeypatch.setattr(claims, "Lock", Unlocked)
    write_json(tmp_path / OWNER, {**claims.machine(), "process": 7, "beats": 3})
    with Claim(tmp_path, silence=0.01):
        assert bool(waited) != locks
    waited.clear()
    write_json(tmp_path / OWNER, {**claims.machine(), other: "x", "process": 7, "beats": 3})
    with Claim(tmp_path, silence=0.01):
        assert waited


class Unlocked:
    """A lock on a file system that has none."""

    real = False

    def __init__(self, folder):
        pass

    def release(self):
        pass


def test_one_that_gives_signs_of_life_keeps_its_folder(tmp_path):
    stop = threading.Event()

    def live():
        beats = 0
        while not stop.wait(0.02):
            beats += 1
            owner = {"machine": "elsewhere", "process": 7, "beats": beats}
            write_json(tmp_path / OWNER, owner)

    thread = threading.Thread(target=live)
    thread.start()
    try:
        while not (tmp_path / OWNER).exists():
            time.sleep(0.01)
        with pytest.raises(LockedError, match="process 7 on elsewhere"):
            Claim(tmp_path, silence=30.0)
    finally:
        stop.set()
        thread.join()
    with held(tmp_path):  # what was refused holds nothing
        pass


def test_one_that_ends_meanwhile_gives_it_free(tmp_path):
    owner = {"machine": "elsewhere", "process": 7, "beats": 1}
    write_json(tmp_path / OWNER, owner)
    timer = threading.Timer(0.1, (tmp_path / OWNER).unlink)
    timer.start()
    with Claim(tmp_path, silence=30.0):
        timer.join()


def test_words_that_are_damaged_are_nobodys(tmp_path):
    (tmp_path / OWNER).write_text("{")
    with Claim(tmp_path):
        pass


def test_it_lives_as_long_as_its_owner(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "BEAT", 0.01)
    with Claim(tmp_path):
        until = time.monotonic() + 30
        while read_json(tmp_path / OWNER)["beats"] < 3:
            assert time.monotonic() < until
            time.sleep(0.01)
    assert list(tmp_path.iterdir()) in ([], [tmp_path / ".lock"])
