"""The command: where it listens, what it prints, how it ends."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from experiments.__main__ import CONSOLE
from metarl.errors import UserError
from metarl.explore import command
from metarl.explore.command import ExploreSettings, address_of, listening


def refused(capsys, *words):
    with pytest.raises(SystemExit) as end:
        CONSOLE.main(["explore", "--no-browser", *words])
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    return said


@pytest.mark.slow
def test_it_serves_until_it_is_interrupted():
    words = [sys.executable, "-m", "experiments", "explore", "mazes9", "--no-browser"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [*words, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )
    try:
        address = process.stdout.readline().decode().split()[-1]
        assert address.startswith("http://127.0.0.1:")
        assert address.endswith("/#agent=mazes9")
        with urllib.request.urlopen(address) as answer:
            assert b"metarl explore" in answer.read()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0
    assert said == b""


def test_mistakes_are_told_in_one_line(capsys):
    with listening("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        assert "--port 0 for any that is free" in refused(capsys, "--port", port)
    assert "--port must be from 0" in refused(capsys, "--port", "99999")
    assert "is no address of this machine" in refused(capsys, "--host", "no such host")
    assert "plays bandit, not mazes" in refused(capsys, "bandit-rl2")
    assert "did you mean mazes13" in refused(capsys, "mazes12")


def test_missing_packages_are_named(monkeypatch, arena):
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'metarl-maze\[explore\]'"):
        command.explore(ExploreSettings(), arena)


def test_who_listens_for_others_is_warned(capsys):
    command._tell(ExploreSettings(), "http://127.0.0.1:1/")
    assert capsys.readouterr().err == ""
    command._tell(ExploreSettings(host="0.0.0.0"), "http://127.0.0.1:1/")
    assert "everybody on the network" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("localhost", "")]
)
def test_the_address_that_is_printed(host, shown):
    with listening(host, 0) as listener:
        port = listener.getsockname()[1]
        found = address_of(listener, ExploreSettings(host=host, agents=("a b", "runs/c")))
        assert found == f"http://{shown or host}:{port}/#agent=a%20b&beside=runs%2Fc"
        with socket.create_connection(listener.getsockname()):
            pass


def test_six_is_written_in_brackets():
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    try:
        listener = listening("::1", 0)
    except UserError as error:
        pytest.skip(f"this machine has no IPv6: {error}")
    with listener:
        assert address_of(listener, ExploreSettings(host="::1")).startswith("http://[::1]:")
