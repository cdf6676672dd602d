"""The wheel alone, outside of the checkout: it trains, evaluates, compares, films and plays.

Its dependencies are those of this environment; `make wheel-test` installs fresh ones.
"""

import os
import shutil
import site
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

import pytest

from metarl import zoo
from metarl.native import libraries

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("user_program.py")
CLEAN = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
"""No way to the checkout."""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel, and its dependencies from ours."""
    place = tmp_path_factory.mktemp("wheel")
    source = place / "source"
    for package in ("metarl", "envs", "experiments"):
        shutil.copytree(ROOT / package, source / package)
    for file in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", place, source]
    quick = {**CLEAN, "METARL_NATIVE_FLAGS": "-O0"}  # kernels are not timed here
    subprocess.run([*pip, *build], check=True, env=quick)
    venv.create(place / "env")
    python = place / "env" / "bin" / "python"
    (wheel,) = place.glob("*.whl")
    subprocess.run(
        [*pip, "--python", python, "install", "--no-deps", "--no-index", wheel],
        check=True,
        env=CLEAN,
    )
    # A path file lists folders; it does not follow path files in them, such as that of an
    # editable installation of the checkout.
    packages = place / "env" / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    return python


def said(command: Sequence[Path | str], folder: Path) -> str:
    """Return what a command prints that runs in a folder, away from the checkout."""
    ran = subprocess.run(
        command, cwd=folder, env=CLEAN, capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    return ran.stdout


def test_the_wheel_alone_trains_evaluates_compares_films_and_plays(
    python: Path, tmp_path: Path
) -> None:
    program = shutil.copy(PROGRAM, tmp_path)
    said([python, "-W", "error", program, tmp_path], tmp_path)


def test_the_console_command_trains_evaluates_and_knows_the_agents(
    python: Path, tmp_path: Path
) -> None:
    def metarl(*words: str) -> str:
        return said([python.parent / "metarl", *words], tmp_path)

    assert [line.split()[0] for line in metarl("list").splitlines()] == list(zoo.names())
    tiny = ("--size", "5", "--horizon", "9", "--batch-size", "2", "--iterations", "2")
    metarl("train", "maze", *tiny, "--run-dir", "runs/own")
    assert "after 2 iterations" in metarl("evaluate", "runs/own", "--tasks", "3")
    assert "copied: runs/mazes13" in metarl("evaluate", "mazes13", "--tasks", "3")
    (tmp_path / "own.txt").write_text("#####\n#S.G#\n#####\n")
    assert "drawn: own.png" in metarl(
        "render", "mazes13", "--mazes", "own.txt", "--output", "own.png"
    )


def test_the_wheel_has_no_package_of_a_common_name(python: Path, tmp_path: Path) -> None:
    code = """if True:
        from importlib.util import find_spec
        assert find_spec("experiments") is None and find_spec("metarl_recipes") is not None
    """
    subprocess.run([python, "-c", code], cwd=tmp_path, check=True, env=CLEAN)


def test_native_kernels_are_in_the_wheel_and_need_no_compiler(python: Path, tmp_path: Path) -> None:
    if shutil.which("g++") is None:
        pytest.skip("no compiler here to build them with")
    code = """if True:
        from metarl.native import kernels, recorded
        with recorded() as ran:
            kernels("selfcheck")
        print(*ran.kernels.values())
    """
    # An environment without a compiler, and without a folder to build into.
    bare = {**CLEAN, "PATH": str(tmp_path), "XDG_CACHE_HOME": "/dev/null"}
    ran = subprocess.run(
        [python, "-W", "error", "-c", code],
        cwd=tmp_path,
        env=bare,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("the package, x86-64-v") == ("x86-64-v3" in libraries.levels())


def test_a_kernel_that_cannot_be_built_is_left_out_of_the_wheel(tmp_path: Path) -> None:
    if not libraries.levels():
        pytest.skip("no kernels on this kind of machine")
    compiler = tmp_path / "compiler"
    compiler.write_text(
        '#!/bin/sh\ncase "$*" in *lstm.cpp*) exit 1 ;; esac\nfor last; do :; done\n: > "$last"\n'
    )
    compiler.chmod(0o755)
    ran = subprocess.run(
        [sys.executable, "setup.py", "build_kernels", "--build-lib", tmp_path],
        cwd=ROOT,
        env={**CLEAN, "CXX": str(compiler)},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    built = {file.name for file in tmp_path.rglob("*.so")}
    assert "conv-x86-64-v3.so" in built
    assert not any(name.startswith("lstm") for name in built)
    assert "lstm-x86-64-v3.so is not in this wheel" in ran.stderr
