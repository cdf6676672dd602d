"""The compiler: which one is taken, and what is said where there is none or a broken one."""

import os
import platform
import sys
import time
from pathlib import Path

import pytest

from metarl.native import compiler as cpp
from metarl.native.compiler import NativeUnavailableError

PROGRAM = "#!/bin/sh\n"


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """A compiler is looked for afresh, and whatever is found here is forgotten."""
    for variable in ("CXX", cpp.VARIABLE):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    system = os.uname()
    monkeypatch.setattr(
        os, "uname", lambda: os.uname_result((*system[:4], "x86_64")), raising=False
    )
    yield
    cpp.found_compiler.cache_clear()
    cpp.version.cache_clear()


@pytest.fixture
def program(tmp_path):
    """Make an executable script of shell commands."""
    cpp.found_compiler.cache_clear()
    cpp.version.cache_clear()

    def make(name, *lines):
        path = tmp_path / name
        path.write_text(PROGRAM + "\n".join(lines) + "\n")
        path.chmod(0o755)
        return path

    return make


def test_compilers_are_taken_in_turn(program, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NativeUnavailableError, match=r"no C\+\+ compiler: install g\+\+"):
        cpp.found_compiler()
    clang = program("clang++")
    assert cpp.found_compiler() == (str(clang),)
    gcc = program("g++")
    cpp.found_compiler.cache_clear()
    assert cpp.found_compiler() == (str(gcc),)


def test_compiler_of_the_environment_may_be_several_words(program, monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", f"{program('wrapper')} g++ -m64")
    assert cpp.found_compiler() == (str(tmp_path / "wrapper"), "g++", "-m64")


def test_compiler_that_is_named_and_missing_is_not_replaced(program, monkeypatch):
    monkeypatch.setenv("CXX", "g++-99")
    with pytest.raises(NativeUnavailableError, match=r"CXX names g\+\+-99"):
        cpp.found_compiler()


@pytest.mark.parametrize(
    ("system", "machine"), [("win32", "AMD64"), ("darwin", "arm64"), ("linux", "aarch64")]
)
def test_systems_where_kernels_are_not_tried_are_named(program, monkeypatch, system, machine):
    monkeypatch.setattr(sys, "platform", system)
    name = os.uname_result((platform.system(), "host", "1", "1", machine))
    monkeypatch.setattr(os, "uname", lambda: name, raising=False)
    with pytest.raises(NativeUnavailableError, match=f"this is {system} on {machine}"):
        cpp.found_compiler()


def test_system_without_names_is_named(program, monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.delattr(os, "uname", raising=False)
    with pytest.raises(NativeUnavailableError, match="this is win32"):
        cpp.found_compiler()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["exit 1"], "status 1: no message"),
        (["echo 'x.cpp: In function' >&2", "echo 'x.cpp: error: odd' >&2", "exit 1"], "error: odd"),
        (["printf '\\377\\376 error \\200' >&2", "exit 3"], "status 3"),
        (["kill -9 $$"], "status -9"),
        (["exit 0"], "has built nothing"),
    ],
)
def test_build_that_fails_says_why(program, tmp_path, lines, message):
    broken = program("broken", *lines)
    with pytest.raises(NativeUnavailableError, match=message):
        cpp.build("selfcheck", (str(broken),), (), tmp_path / "out.so")


@pytest.mark.parametrize(
    ("lines", "message"), [(["exit 1"], "fails with status 1"), (["exit 0"], "says nothing")]
)
def test_compiler_that_does_not_say_what_it_is_is_none(program, lines, message):
    with pytest.raises(NativeUnavailableError, match=message):
        cpp.version((str(program("broken", *lines)),))


def test_version_may_be_any_bytes(program):
    odd = program("odd", "printf 'g++ \\377\\n'")
    assert cpp.version((str(odd),)).startswith("g++ ")


def test_compiler_that_is_no_program_says_so(tmp_path):
    with pytest.raises(NativeUnavailableError, match="does not run"):
        cpp.version((str(tmp_path / "nothing"),))


def test_compiler_that_hangs_is_given_up(program, monkeypatch):
    monkeypatch.setattr(cpp, "PATIENCE", 0.1)
    with pytest.raises(NativeUnavailableError, match="takes over"):
        cpp.version((str(program("slow", "exec sleep 5")),))


def test_compiler_that_is_given_up_leaves_nothing_running(program, monkeypatch, tmp_path):
    monkeypatch.setattr(cpp, "PATIENCE", 0.5)
    slow = program("slow", f"sleep 60 & echo $! > {tmp_path}/child; wait")
    with pytest.raises(NativeUnavailableError, match="takes over"):
        cpp.version((str(slow),))
    child = Path(f"/proc/{(tmp_path / 'child').read_text().strip()}/stat")

    def runs():
        try:
            return child.read_text().split()[2] != "Z"
        except (FileNotFoundError, ProcessLookupError):
            return False

    give_up = time.monotonic() + 30  # a process that is killed takes a while to be gone
    while runs() and time.monotonic() < give_up:
        time.sleep(0.01)
    assert not runs()


def test_compiler_runs_without_what_is_loaded_before_python(program, monkeypatch):
    monkeypatch.setenv("LD_PRELOAD", "")
    assert cpp.version((str(program("says", 'echo "${LD_PRELOAD-none}"')),)) == "none\n"


def test_compilers_are_told_to_keep_products_and_sums_together_if_they_know_how(program):
    knowing = (str(program("knowing", "exit 0")),)
    strange = (str(program("strange", 'case "$*" in *avoid-fma*) exit 1;; esac')),)
    assert cpp._takes(knowing, cpp.UNSPLIT)
    assert not cpp._takes(strange, cpp.UNSPLIT)
    if "g++" in cpp.found_compiler()[0]:
        assert cpp.UNSPLIT in cpp.flags_for()


def test_flags_say_how_products_and_sums_are_contracted(monkeypatch):
    assert "-ffp-contract=fast" in cpp.flags_for()
    assert cpp.flags_for("x86-64-v3")[-1] == "-march=x86-64-v3"
    monkeypatch.setenv(cpp.VARIABLE, "-march=x86-64-v3 -g")
    assert cpp.flags_for()[-2:] == ("-march=x86-64-v3", "-g")
