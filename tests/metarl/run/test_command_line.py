"""The command line around the scripts: options read early, streams that end or cannot write."""

import os
import subprocess
import sys

import pytest

from metarl.run.command_line import option


@pytest.mark.parametrize("given", [["--run_dir", "x"], ["--run-dir=x"], ["--run_dir=x"]])
def test_options_are_read_early_as_the_parser_reads_them(given):
    assert option(["--size", "5", *given], "--run-dir", "usual", ()) == "x"
    assert option(["--size", "5"], "--run-dir", "usual", ()) == "usual"


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell with pipes")
def test_a_reader_who_has_had_enough_is_no_error():
    command = f"{sys.executable} -W ignore -m experiments.maze train --help | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert "Broken pipe" not in done.stderr
    assert "Traceback" not in done.stderr


def test_what_the_terminal_cannot_write_is_written_as_its_number():
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "experiments.plot", "runs/日本"]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert "Traceback" not in done.stderr
    assert "\\u65e5" in done.stderr
