"""The switch, and the record of what ran."""

import logging
from contextvars import copy_context
from threading import Thread

import pytest

from metarl.core import Execution
from metarl.errors import UserError
from metarl.native import (
    NativeUnavailableError,
    eagerly,
    kernels,
    mode,
    native_mode,
    recorded,
    unavailable,
    using,
)


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    monkeypatch.delenv("METARL_NATIVE", raising=False)
    mode._say_once.cache_clear()


@pytest.fixture
def library(monkeypatch):
    """One library that is there and one that is not."""

    def found(name):
        if name == "missing":
            raise NativeUnavailableError("no compiler here")
        return "the library"

    monkeypatch.setattr(mode, "load_library", found)
    monkeypatch.setattr(mode, "built_by", lambda name: "g++ 1.0")


def test_auto_takes_what_there_is(library):
    with recorded() as ran:
        assert kernels("there") == "the library"
        assert kernels("missing") is None
    assert ran.to_json() == {"kernels": {"there": "g++ 1.0"}, "eager": ["no compiler here"]}
    assert unavailable("there") is None
    assert unavailable("missing") == "no compiler here"


def test_off_takes_nothing(library):
    with using("off"), recorded() as ran:
        assert kernels("there") is None
    assert ran.to_json() == {"kernels": {}, "eager": ["native is off"]}


def test_off_holds_whatever_is_asked_for_within(library):
    with using("off"), using("auto"):
        assert native_mode() == "off"
    assert native_mode() == "auto"


def test_environment_switches_off_too(library, monkeypatch):
    monkeypatch.setenv("METARL_NATIVE", "off")
    with using("auto"), recorded() as ran:
        assert kernels("there") is None
    assert ran.to_json() == {"kernels": {}, "eager": ["METARL_NATIVE=off"]}
    assert unavailable("there") == "METARL_NATIVE=off"


@pytest.mark.parametrize("value", ["auto", ""])
def test_environment_that_says_nothing_new(library, monkeypatch, value):
    monkeypatch.setenv("METARL_NATIVE", value)
    assert native_mode() == "auto"
    with using("off"):
        assert native_mode() == "off"


def test_mode_that_is_none_is_named(monkeypatch):
    with pytest.raises(ValueError, match="'fast'"), using("fast"):
        pass
    with pytest.raises(ValueError, match="native must be one of auto, off; got 'fast'"):
        Execution(native="fast")
    monkeypatch.setenv("METARL_NATIVE", "fast")
    with pytest.raises(UserError, match="METARL_NATIVE=fast; it must be auto or off"):
        kernels("selfcheck")


def test_log_says_a_reason_once(library, caplog):
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            kernels("missing")
            eagerly("cuda has no kernels")
    assert [r.message for r in caplog.records] == [
        "no native kernels, running eagerly: no compiler here",
        "no native kernels, running eagerly: cuda has no kernels",
    ]


def test_log_says_nothing_where_it_is_off(library, caplog):
    with using("off"), caplog.at_level(logging.WARNING):
        eagerly("cuda has no kernels")
    assert not caplog.records


def test_threads_inherit_mode_and_record(library):
    seen = []

    def look():
        kernels("there")
        seen.append(native_mode())

    with recorded() as ran, using("off"):
        thread = Thread(target=copy_context().run, args=(look,))
        thread.start()
        thread.join()
    assert seen == ["off"]
    assert ran.eager
