"""Which back end a run ran on is written down, and a resume keeps to it."""

import json
import os

import pytest

from metarl import native
from metarl.errors import RunDirectoryError, UserError
from metarl.native import NativeUnavailableError, eagerly, kernels, libraries, mode
from metarl.native.mode import stays_eager
from metarl.runs import resume
from metarl.runs.directory import RunDirectory
from metarl.runs.seeds import create_runs, find_runs
from metarl.train.loop import LoopSettings, MetaTraining
from tests.metarl.runs.test_resume import Momentum


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    monkeypatch.delenv("METARL_NATIVE", raising=False)
    there(monkeypatch)


def there(monkeypatch):
    monkeypatch.setattr(mode, "load_library", lambda name: "the library")
    monkeypatch.setattr(mode, "built_by", lambda name: "g++ 1.0")


def gone(monkeypatch):
    def library(name):
        raise NativeUnavailableError("there is no C++ compiler")

    monkeypatch.setattr(mode, "load_library", library)


def loop_of(runs, total, native=None, asks="toy"):
    learner = Momentum([{"noise": native_stream(run)} for run in runs])
    seen = []

    def iterate():
        seen.append(asks() if callable(asks) else kernels(asks) is not None)
        return learner.iterate()

    settings = LoopSettings(total, 2, 2, native=native)
    loop = MetaTraining(learner, iterate, runs, learner.generators, 10, settings)
    loop.seen = seen
    return loop


def native_stream(run):
    import torch

    return torch.Generator().manual_seed(run.seed)


def made(path, total=2, native="auto", **how):
    runs = create_runs(path, (0,), {"iterations": total, "native": native})
    loop = loop_of(runs, total, native, **how)
    loop.run()
    return loop


def resumed(path, total=4, native=None):
    loop = loop_of(find_runs(path), total, native)
    loop.resume()
    loop.run()
    return loop


def config_of(path):
    return json.loads((path / "config.json").read_text())


def test_config_says_what_ran(tmp_path):
    assert made(tmp_path).seen == [True, True]
    config = config_of(tmp_path)
    assert config["native"] == "auto"
    assert config["native_ran"] == {"kernels": {"toy": "g++ 1.0"}, "eager": []}


def test_config_says_why_nothing_ran(tmp_path, monkeypatch):
    gone(monkeypatch)
    assert made(tmp_path).seen == [False, False]
    assert config_of(tmp_path)["native_ran"] == {
        "kernels": {},
        "eager": ["there is no C++ compiler"],
    }


def test_what_was_switched_off_stays_off(tmp_path):
    made(tmp_path, native="off")
    assert resumed(tmp_path).seen == [False, False]
    assert config_of(tmp_path)["native_ran"] == {"kernels": {}, "eager": ["native is off"]}


def test_what_ran_natively_goes_on_so(tmp_path):
    made(tmp_path)
    assert resumed(tmp_path).seen == [True, True]
    (entry,) = config_of(tmp_path)["resumed"]
    assert entry["changed_from"] == {"iterations": 2}


def test_what_ran_eagerly_for_want_of_a_compiler_goes_on_eagerly_with_one(tmp_path, monkeypatch):
    gone(monkeypatch)
    made(tmp_path)
    there(monkeypatch)
    assert resumed(tmp_path).seen == [False, False]
    assert config_of(tmp_path)["native"] == "auto"


def test_what_ran_before_there_were_kernels_goes_on_eagerly(tmp_path):
    made(tmp_path)
    config = config_of(tmp_path)
    del config["native"], config["native_ran"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert resumed(tmp_path).seen == [False, False]


def test_what_was_killed_before_anything_ran_may_still_run_natively(tmp_path):
    (run,) = create_runs(tmp_path, (0,), {"iterations": 4, "native": "auto"})
    run.close()
    assert resume.kept_mode(find_runs(tmp_path)) == "auto"


@pytest.mark.parametrize(("before", "after"), [("auto", "off"), ("off", "auto")])
def test_another_back_end_is_taken_when_asked_for_and_noted(tmp_path, before, after):
    made(tmp_path, native=before)
    assert resumed(tmp_path, native=after).seen == [after == "auto"] * 2
    config = config_of(tmp_path)
    assert config["native"] == after
    assert config["resumed"][0]["changed_from"] == {"iterations": 2, "native": before}
    assert bool(config["native_ran"]["kernels"]) == (after == "auto")


def test_kernels_that_are_gone_are_named_with_the_remedy(tmp_path, monkeypatch):
    made(tmp_path)
    (run,) = find_runs(tmp_path)
    resume.check_kernels(run, "auto")
    gone(monkeypatch)
    resume.check_kernels(run, "off")
    what = r"toy: g\+\+ 1\.0.*there is no C\+\+ compiler.*--native off"
    with pytest.raises(UserError, match=what):
        resume.check_kernels(run, "auto")
    there(monkeypatch)
    monkeypatch.setenv("METARL_NATIVE", "off")
    with pytest.raises(UserError, match=r"METARL_NATIVE=off.*--native off"):
        resume.check_kernels(run, "auto")


def test_a_run_of_kernels_that_were_one_library_once_goes_on(tmp_path, monkeypatch):
    made(tmp_path)
    config = config_of(tmp_path)
    config["native_ran"]["kernels"] = {"recurrent": "g++ 1.0"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (run,) = find_runs(tmp_path)
    asked: list[str] = []
    monkeypatch.setattr(resume, "unavailable", asked.append)
    resume.check_kernels(run, "auto")
    assert [(libraries.SOURCES / f"{name}.cpp").is_file() for name in asked] == [True]


def test_seeds_that_ran_differently_are_not_resumed_as_one(tmp_path):
    made(tmp_path / "seed-0")
    made(tmp_path / "seed-1", native="off")
    with pytest.raises(UserError, match=r"seed-0 ran with native kernels.*seed-1 without"):
        resume.kept_mode(find_runs(tmp_path))


@pytest.mark.parametrize(
    "damage",
    [[], "g++", {}, {"kernels": ["toy"]}, *({"kernels": {}, "eager": e} for e in ("off", 3, [3]))],
)
def test_damaged_record_is_named(tmp_path, damage):
    made(tmp_path)
    config = {**config_of(tmp_path), "native_ran": damage}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(RunDirectoryError, match="native_ran"):
        RunDirectory.open(tmp_path)


def test_native_and_eager_runs_of_one_method_are_one_line_in_a_picture(tmp_path):
    from metarl.plots.runs import group_runs

    made(tmp_path / "seed-0")
    made(tmp_path / "seed-1", native="off")
    assert len(group_runs(find_runs(tmp_path))) == 1


def test_resumed_bits_are_those_of_a_whole_run(tmp_path):
    made(tmp_path / "parts")
    resumed(tmp_path / "parts")
    made(tmp_path / "whole", 4)
    parts, whole = (find_runs(tmp_path / n)[0].load_checkpoint() for n in ("parts", "whole"))
    assert parts["learner"]["position"].equal(whole["learner"]["position"])
    assert os.path.exists(tmp_path / "parts" / "config.json")
    assert native.native_mode() == "auto"


def test_what_ran_eagerly_before_it_had_a_kernel_goes_on_eagerly(tmp_path):
    """The kernel would give it other last bits."""
    lack = "the core Toy has no kernel"
    made(tmp_path, asks=lambda: (kernels("toy"), eagerly(lack)))  # other parts have one
    for total in (4, 6):  # it is written down each time
        loop = loop_of(
            find_runs(tmp_path), total, asks=lambda: kernels("toy") and stays_eager(lack)
        )
        loop.resume()
        loop.run()
        assert loop.seen == [True, True]
        assert config_of(tmp_path)["native_ran"]["eager"] == [lack]
    assert not stays_eager(lack)  # what is begun anew takes the kernel
