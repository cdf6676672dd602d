"""What `pyproject.toml` cannot say: where the recipes go, and the native kernels.

The files of `experiments/` are the package `metarl_recipes` of a wheel, for the console command
``metarl``. A top-level package named `experiments` would collide with other people's.

A wheel carries the native kernels, built for kinds of processors. Where there is no C++ compiler,
or no system that kernels are for, it is pure Python, and kernels are built where it is used.
"""

import logging
import runpy
import tempfile
from functools import cache
from pathlib import Path
from typing import ClassVar

from setuptools import Command, Distribution, find_packages, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build import build

compiler = runpy.run_path("metarl/native/compiler.py")
build.sub_commands.append(("build_kernels", lambda _: with_kernels()))


@cache
def with_kernels() -> bool:
    """Whether kernels can be built here; where not, why is said."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            flags = compiler["flags_for"](compiler["LEVELS"][0])
            found = compiler["found_compiler"]()
            compiler["build"]("selfcheck", found, flags, Path(folder) / "selfcheck.so")
        except compiler["NativeUnavailableError"] as error:
            logging.getLogger(__name__).warning("no native kernels in this wheel: %s", error)
            return False
    return True


class BuildKernels(Command):
    """Every library for every level of processors, built into the package."""

    description = "build native kernels"
    user_options: ClassVar = [("build-lib=", "b", "folder of the package that is built")]
    editable_mode = False
    """Set by setuptools: a checkout builds for its own processor, at first use."""

    def initialize_options(self) -> None:
        """Begin without a folder."""
        self.build_lib = None

    def finalize_options(self) -> None:
        """Build where the rest of the package is built."""
        self.set_undefined_options("build", ("build_lib", "build_lib"))

    def run(self) -> None:
        """Build; what cannot be built here is left out, and built where it is used."""
        for file in map(Path, self.get_outputs()):
            name, _, level = file.stem.partition("-")
            file.parent.mkdir(parents=True, exist_ok=True)
            flags = (*compiler["flags_for"](level), "-s")
            try:
                compiler["build"](name, compiler["found_compiler"](), flags, file)
            except compiler["NativeUnavailableError"] as error:
                file.unlink(missing_ok=True)
                logging.getLogger(__name__).warning("%s is not in this wheel: %s", file.name, error)

    def get_outputs(self) -> list[str]:
        """Return the files of libraries, as `metarl.native.libraries` looks for them."""
        if self.editable_mode:
            return []
        names = sorted(source.stem for source in compiler["SOURCES"].glob("*.cpp"))
        folder = Path(self.build_lib, "metarl/native/built")
        return [str(folder / f"{n}-{level}.so") for n in names for level in compiler["LEVELS"]]

    def get_output_mapping(self) -> dict[str, str]:
        """Return what an editable installation links to: nothing."""
        return {}

    def get_source_files(self) -> list[str]:
        """Return what a source distribution needs beside the package's data: nothing."""
        return []


class Platform(Distribution):
    """A package that is of one platform where it carries kernels."""

    def has_ext_modules(self) -> bool:
        """Return whether it does."""
        return with_kernels()


class Wheel(bdist_wheel):
    """A wheel for every Python: kernels are called through ctypes."""

    def get_tag(self) -> tuple[str, str, str]:
        """Return the platform beside any Python."""
        return ("py3", "none", super().get_tag()[2])


setup(
    packages=[*find_packages(include=["metarl", "metarl.*", "envs", "envs.*"]), "metarl_recipes"],
    package_dir={"metarl_recipes": "experiments"},
    distclass=Platform,
    cmdclass={"build_kernels": BuildKernels, "bdist_wheel": Wheel},
)
