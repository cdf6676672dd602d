"""The command line around the scripts: options read early, streams that end or cannot write."""

import os
import subprocess
import sys

import pytest

from experiments.__main__ import RECIPES
from metarl.run.commands import option

HEAVY = {
    *("matplotlib", "scipy", "stable_baselines3", "tensorboard", "optuna", "pandas", "pygame"),
    *("onnx", "onnxruntime", "moviepy", "imageio", "safetensors", "wandb", "mlflow"),
}
"""Libraries that drawing, exporting, searching and the like are there for."""


@pytest.mark.parametrize("given", [["--run_dir", "x"], ["--run-dir=x"], ["--run_dir=x"]])
def test_options_are_read_early_as_the_parser_reads_them(given):
    assert option(["--size", "5", *given], "--run-dir", "usual") == "x"
    assert option(["--size", "5"], "--run-dir", "usual") == "usual"


def left_at_once(*words):
    """Standard error and exit status of a command whose reader is gone before it writes."""
    reads, writes = os.pipe()
    os.close(reads)
    command = [sys.executable, "-W", "ignore", "-m", *words]
    done = subprocess.run(command, stdout=writes, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writes)
    return done.stderr, done.returncode


@pytest.mark.skipif(sys.platform == "win32", reason="has no signal of a closed pipe")
@pytest.mark.parametrize(
    "words",
    [
        ("experiments.plot", "--help"),
        pytest.param(("experiments", "--help"), marks=pytest.mark.slow),
        pytest.param(("experiments", "evaluate", "--help"), marks=pytest.mark.slow),
        *(
            pytest.param((f"experiments.{name}", "train", "--help"), marks=pytest.mark.slow)
            for name in RECIPES
        ),
    ],
    ids=" ".join,
)
def test_a_reader_who_has_had_enough_is_no_error(words):
    assert left_at_once(*words) == ("", 141)


@pytest.mark.parametrize(
    ("module", "without"),
    [
        ("metarl", {"torch", "matplotlib", "tyro"}),
        ("envs", {"matplotlib", "scipy", "tyro"}),
        ("metarl.experiment", HEAVY),
        ("experiments.plot", {"torch", *HEAVY}),
        ("metarl.run.console", {"torch", *HEAVY}),
    ],
)
def test_what_is_heavy_is_imported_when_it_is_needed(module, without):
    code = f"import sys, {module}; print(*({set(without)} & sys.modules.keys()))"
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize(
    "words",
    [["--help"], ["list"], ["show", "mazes13"], ["train", "--help"], ["plot", "--help"]],
    ids=" ".join,
)
def test_what_computes_nothing_comes_without_torch(words):
    code = f"""
import sys
from experiments.__main__ import main
try:
    main({words})
except SystemExit:
    pass
assert "torch" not in sys.modules
"""
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout


def test_what_the_terminal_cannot_write_is_written_as_its_number():
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "experiments.plot", "runs/日本"]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert "Traceback" not in done.stderr
    assert "\\u65e5" in done.stderr
