"""The wheel alone, outside of the checkout: it trains, evaluates, compares, films and plays."""

import os
import shutil
import site
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("user_program.py")
CLEAN = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
"""No way to the checkout."""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel, and its dependencies from ours."""
    place = tmp_path_factory.mktemp("wheel")
    source = place / "source"
    for package in ("metarl", "envs"):
        shutil.copytree(ROOT / package, source / package)
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", place, source]
    subprocess.run([*pip, *build], check=True, env=CLEAN)
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


def test_the_wheel_alone_trains_evaluates_compares_films_and_plays(
    python: Path, tmp_path: Path
) -> None:
    pretrained = shutil.copytree(ROOT / "experiments/pretrained/maze13-warp", tmp_path / "agent")
    program = shutil.copy(PROGRAM, tmp_path)
    ran = subprocess.run(
        [python, "-W", "error", program, tmp_path, pretrained],
        cwd=tmp_path,
        env=CLEAN,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]


def test_scripts_are_not_in_the_wheel(python: Path, tmp_path: Path) -> None:
    code = "import importlib.util as u; assert u.find_spec('experiments') is None"
    subprocess.run([python, "-c", code], cwd=tmp_path, check=True, env=CLEAN)
