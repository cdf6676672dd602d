"""Libraries are found, built and tried; what they compute is right."""

import ctypes
import logging
import shutil
import subprocess
import tempfile

import pytest
import torch

from metarl.native import compiler as cpp
from metarl.native import kernels, libraries, mode
from metarl.native.compiler import NativeUnavailableError

SIZE, POINTER = ctypes.c_int64, ctypes.c_void_p
ANSWER = 'extern "C" int metarl_answer() { return 42; }\n'


@pytest.mark.parametrize(("dtype", "suffix"), [(torch.float32, "f"), (torch.float64, "d")])
def test_product_of_odd_sizes_is_that_of_torch(dtype, suffix):
    library = kernels("selfcheck")
    if library is None:
        pytest.skip("no kernels here")
    a, b = torch.randn(31, 17, dtype=dtype), torch.randn(17, 48, dtype=dtype)
    c = torch.full((31, 48), torch.nan, dtype=dtype)
    getattr(library, f"metarl_product_{suffix}")(
        SIZE(31), SIZE(48), SIZE(17), *(POINTER(x.data_ptr()) for x in (a, b, c))
    )
    torch.testing.assert_close(c, a @ b)


@pytest.mark.skipif(shutil.which("nm") is None, reason="nothing here lists symbols")
@pytest.mark.parametrize("name", sorted(source.stem for source in cpp.SOURCES.glob("*.cpp")))
def test_library_shows_its_functions_alone(name):
    """What it showed beside could be taken for that of another library, or be shared with it."""
    library = kernels(name)
    if library is None:
        pytest.skip("no kernels here")
    command = "nm", "-D", "--defined-only", library._name
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    symbols = [line.split()[-1] for line in listed.splitlines()]
    assert symbols
    assert [symbol for symbol in symbols if not symbol.startswith("metarl_")] == []


def forget():
    libraries._once.cache_clear()
    cpp.found_compiler.cache_clear()
    cpp.version.cache_clear()
    mode._say_once.cache_clear()


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """Two tiny sources, an empty shelf, and nothing remembered."""
    if shutil.which("g++") is None:
        pytest.skip("no g++ here")
    for variable in ("CXX", cpp.VARIABLE, mode.VARIABLE):
        monkeypatch.delenv(variable, raising=False)
    folder = tmp_path / "src"
    folder.mkdir()
    for name in ("selfcheck", "tiny"):
        (folder / f"{name}.cpp").write_text(ANSWER)
    for module in (cpp, libraries):
        monkeypatch.setattr(module, "SOURCES", folder)
    monkeypatch.setattr(libraries, "BUILT", tmp_path / "built")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    forget()
    yield folder
    forget()


def on_shelf(tmp_path):
    return {path.name.partition("-")[0] for path in (tmp_path / "home").rglob("*.so")}


def test_library_is_built_after_the_one_that_checks(sources, tmp_path):
    assert libraries.load_library("tiny").metarl_answer() == 42
    assert on_shelf(tmp_path) == {"selfcheck", "tiny"}
    assert "g++" in libraries.built_by("tiny")


@pytest.mark.parametrize("left", [0, 6000, None], ids=["emptied", "cut", "zeroed"])
def test_library_that_the_disk_has_damaged_is_built_again(sources, tmp_path, left):
    libraries.load_library("tiny")
    (file,) = (tmp_path / "home").rglob("tiny-*.so")
    whole = file.read_bytes()
    file.unlink()  # this process has it in its memory
    file.write_bytes(whole[:left] if left is not None else whole[:4096] + bytes(len(whole) - 4096))
    forget()
    assert libraries.load_library("tiny").metarl_answer() == 42
    assert file.read_bytes() == whole


@pytest.mark.parametrize("failures", [1, 2])
def test_library_that_cannot_be_loaded_is_built_again_once(sources, monkeypatch, failures):
    libraries.load_library("selfcheck")
    built, load, tried = cpp.build, ctypes.CDLL, []
    log = []
    monkeypatch.setattr(cpp, "build", lambda *a: (log.append(a[0]), built(*a)))

    def loaded(path):
        tried.append(path)
        if len(tried) <= failures:
            raise OSError("it is not what it was")
        return load(path)

    monkeypatch.setattr(libraries.ctypes, "CDLL", loaded)
    if failures == 1:
        assert libraries.load_library("tiny").metarl_answer() == 42
    else:
        with pytest.raises(NativeUnavailableError, match="cannot be loaded: it is not what"):
            libraries.load_library("tiny")
    assert log == ["tiny", "tiny"]


def compiler_of(tmp_path, monkeypatch, *lines):
    """A compiler that says what it is, knows few flags, and otherwise does what it is told."""
    path = tmp_path / "compiler"
    says = 'if [ "$1" = --version ]; then echo "toy 1.0"; exit 0; fi'
    knows = 'case "$*" in *" -E "*) exit 1;; esac'
    path.write_text("\n".join(("#!/bin/sh", says, knows, *lines)) + "\n")
    path.chmod(0o755)
    monkeypatch.setenv("CXX", str(path))


TO = "for last; do :; done  # the file to write is the last word\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("exit 1", "fails with status 1"),
        (f"{TO} echo garbage > $last", "does not work"),
        (f"{TO} : > $last", "does not work"),
        (f"{TO} mkdir $last", "has built nothing"),
    ],
)
def test_broken_compiler_is_said_and_tried_once(
    sources, tmp_path, monkeypatch, caplog, line, message
):
    compiler_of(tmp_path, monkeypatch, f"echo tried >> {tmp_path}/log", line)
    with caplog.at_level(logging.WARNING):
        assert [kernels("tiny") for _ in range(3)] == [None] * 3
    (record,) = caplog.records
    assert message in record.message
    assert (tmp_path / "log").read_text() == "tried\n"
    assert on_shelf(tmp_path) == set()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        # Dies as it is loaded, of an instruction that this processor is told not to know.
        ("__attribute__((constructor)) void f() { __builtin_trap(); }", "it crashes"),
        # Multiplies, but wrongly.
        (
            'extern "C" void metarl_product_f(long, long, long, float*, float*, float* c)'
            "{ c[0] = 1; }"
            'extern "C" void metarl_product_d(long, long, long, double*, double*, double* c)'
            "{ c[0] = 1; }",
            "its products are wrong",
        ),
        ('extern "C" void metarl_product_d() {}', "undefined symbol"),
    ],
)
def test_what_crashes_or_computes_wrongly_never_comes_near_this_process(sources, code, message):
    (sources / "selfcheck.cpp").write_text(code)
    with pytest.raises(NativeUnavailableError, match=message):
        libraries.load_library("tiny")


def test_without_a_compiler_the_log_says_so_once(sources, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("PATH", str(tmp_path))
    with caplog.at_level(logging.WARNING):
        assert kernels("tiny") is None
        assert kernels("selfcheck") is None
    (record,) = caplog.records
    assert "no native kernels, running eagerly: there is no C++ compiler" in record.message


def test_another_source_header_flag_or_processor_is_another_library(sources, tmp_path, monkeypatch):
    names = set()

    def note():
        forget()
        libraries.load_library("selfcheck")
        names.update(path.name for path in (tmp_path / "home").rglob("*.so"))
        return len(names)

    assert (note(), note()) == (1, 1)
    (sources / "more.h").write_text("// something")
    assert note() == 2
    (sources / "selfcheck.cpp").write_text(ANSWER + "// more\n")
    assert note() == 3
    monkeypatch.setenv(cpp.VARIABLE, "-g")
    assert note() == 4
    monkeypatch.setattr(libraries, "features", lambda: ("abacus",))
    assert note() == 5


def test_frozen_program_builds_nothing(sources, monkeypatch):
    monkeypatch.setattr(libraries.sys, "frozen", True, raising=False)
    with pytest.raises(NativeUnavailableError, match="no Python interpreter"):
        libraries.load_library("tiny")


def carried(tmp_path, sources, level, answer):
    """A library that came with the package."""
    (tmp_path / "built").mkdir(exist_ok=True)
    (sources / "other.cpp").write_text(ANSWER.replace("42", str(answer)))
    file = tmp_path / f"built/tiny-{level}.so"
    cpp.build("other", ("g++",), ("-shared", "-fPIC"), file)
    return file


@pytest.mark.parametrize(
    ("can", "answer"),
    [(("x86-64-v4", "x86-64-v3"), 4), (("x86-64-v3",), 3), ((), 42)],
)
def test_best_library_of_the_package_that_runs_here_is_taken(
    sources, tmp_path, monkeypatch, can, answer
):
    carried(tmp_path, sources, "x86-64-v3", 3)
    carried(tmp_path, sources, "x86-64-v4", 4)
    monkeypatch.setattr(libraries, "levels", lambda: can)
    assert libraries.load_library("tiny").metarl_answer() == answer
    if can:
        assert libraries.built_by("tiny") == f"the package, {can[0]}"
        assert on_shelf(tmp_path) == set()


def test_library_of_the_package_needs_no_compiler(sources, tmp_path, monkeypatch):
    carried(tmp_path, sources, "x86-64-v3", 3)
    monkeypatch.setattr(libraries, "levels", lambda: ("x86-64-v4", "x86-64-v3"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert libraries.load_library("tiny").metarl_answer() == 3


def test_library_of_the_package_that_does_not_load_here_is_built_here(
    sources, tmp_path, monkeypatch
):
    carried(tmp_path, sources, "x86-64-v3", 3).write_bytes(b"for another C library")
    monkeypatch.setattr(libraries, "levels", lambda: ("x86-64-v3",))
    assert libraries.load_library("tiny").metarl_answer() == 42


def test_further_flags_ask_for_a_build_of_ones_own(sources, tmp_path, monkeypatch):
    carried(tmp_path, sources, "x86-64-v3", 3)
    monkeypatch.setattr(libraries, "levels", lambda: ("x86-64-v3",))
    monkeypatch.setenv(cpp.VARIABLE, "-O0")
    assert libraries.load_library("tiny").metarl_answer() == 42
    assert libraries.built_by("tiny").endswith("-O0")


@pytest.mark.parametrize(
    ("words", "levels"),
    [
        ("", ()),
        ("avx avx2 bmi1 bmi2 f16c fma abm movbe", ()),
        ("avx avx2 bmi1 bmi2 f16c fma abm movbe xsave", ("x86-64-v3",)),
        ("avx512f avx512bw avx512cd avx512dq avx512vl", ()),
        (
            "avx avx2 bmi1 bmi2 f16c fma abm movbe xsave avx512f avx512bw avx512cd avx512dq "
            "avx512vl more",
            ("x86-64-v4", "x86-64-v3"),
        ),
    ],
)
def test_levels_are_those_whose_words_are_all_there(monkeypatch, words, levels):
    monkeypatch.setattr(libraries, "features", lambda: tuple(words.split()))
    libraries.levels.cache_clear()
    assert libraries.levels() == levels
    libraries.levels.cache_clear()
