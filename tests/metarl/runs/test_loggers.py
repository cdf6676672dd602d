"""Loggers beside `metrics.jsonl`: what they are told, what they come back to, what they survive."""

from __future__ import annotations

import math
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from metarl.errors import UserError
from metarl.meta.maml import MAMLSettings
from metarl.runs import loggers
from metarl.runs.directory import RunDirectory
from metarl.runs.files import read_json
from metarl.runs.loggers import Known, Line, check_loggers


def log(run: RunDirectory, iteration: int, **metrics: float) -> None:
    run.write_metrics(iteration, metrics, wall_seconds=iteration * 0.5, env_steps=iteration * 100)


def shown(run: RunDirectory, name: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(run.path))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


class Book:
    """A logger that keeps everything in a list."""

    def __init__(self, known: Known, book: list[Any], fails_at: int) -> None:
        self.identity = {"id": known.identity.get("id", "first")}
        self.done, self.book, self.fails_at = known.done, book, fails_at
        book.append(("begun", known.done, dict(known.identity)))

    def write(self, line: Line) -> None:
        if line.iteration == self.fails_at:
            raise ConnectionError("no route to the server")
        self.book.append((line.iteration, line.count, dict(line.values)))
        self.done = line.iteration

    def show(self, name: str, file: Path, line: Line) -> None:
        self.book.append((name, file.name, line.count))

    def flush(self) -> None:
        self.book.append("flushed")

    def close(self, *, whole: bool) -> None:
        self.book.append(("closed", whole))


@pytest.fixture
def book(monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    """Stands in for a service: what it is told, and the iteration at which it fails."""
    here = types.SimpleNamespace(lines=[], fails_at=-1)
    module: Any = types.ModuleType("metarl.runs.loggers.book")
    module.check = lambda: None
    module.begun = lambda known: Book(known, here.lines, here.fails_at)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(
        loggers, "KINDS", {**loggers.KINDS, "book": loggers.KINDS["wandb"]._replace(module="book")}
    )
    return here


def lines_of(book: types.SimpleNamespace) -> list[int]:
    return [entry[0] for entry in book.lines if isinstance(entry[0], int)]


def test_a_logger_is_told_every_line_and_how_fast_it_goes(
    tmp_path: Path, book: types.SimpleNamespace
) -> None:
    with RunDirectory.create(tmp_path / "x", {"log": ["book"]}) as run:
        log(run, 1, loss=math.nan)
        log(run, 3, loss=math.inf)
        run.save_checkpoint({"iteration": 3})
    begun, first, second, flushed, closed = book.lines
    assert begun == ("begun", 0, {})
    assert first[:2] == (1, 100)
    assert math.isnan(first[2]["loss"])
    assert second == (3, 300, {"loss": math.inf, "steps_per_second": 200.0})
    assert (flushed, closed) == ("flushed", ("closed", True))
    assert read_json(run.path / "loggers.json") == {"book": {"id": "first", "iteration": 3}}
    assert not list(run.path.glob("events.*"))


def test_a_resume_goes_on_with_the_same_run_and_brings_it_up_to_date(
    tmp_path: Path, book: types.SimpleNamespace
) -> None:
    with RunDirectory.create(tmp_path / "x", {"log": ["book"]}) as run:
        for iteration in (1, 2, 3):
            log(run, iteration, loss=1.0)
    with RunDirectory.open(run.path) as again:
        again.truncate_metrics(after_iteration=2)
        book.lines.clear()
        log(again, 3, loss=2.0)
    assert book.lines[0] == ("begun", 2, {"id": "first"})
    assert lines_of(book) == [3]


def test_a_logger_that_fails_is_left_out_with_a_word_and_caught_up_by_a_resume(
    tmp_path: Path, book: types.SimpleNamespace
) -> None:
    book.fails_at = 2
    with RunDirectory.create(tmp_path / "x", {"log": ["book", "tensorboard"]}) as run:
        log(run, 1, loss=1.0)
        with pytest.warns(RuntimeWarning, match=r"--log book has failed .*no route") as said:
            log(run, 2, loss=2.0)
        log(run, 3, loss=3.0)
    assert len(said) == 1
    assert run.read_metrics()["loss"].tolist() == [1, 2, 3]
    assert shown(run, "loss") == [(100, 1.0), (200, 2.0), (300, 3.0)]
    book.fails_at = -1
    with RunDirectory.open(run.path) as run:
        run.truncate_metrics(after_iteration=3)
        log(run, 4, loss=4.0)
    assert lines_of(book) == [1, 2, 3, 4]


def test_a_logger_that_is_added_later_gets_the_lines_of_before(
    tmp_path: Path, book: types.SimpleNamespace
) -> None:
    with RunDirectory.create(tmp_path / "x", {}) as run:
        log(run, 1, loss=1.0)
        log(run, 2, loss=math.nan)
    with RunDirectory.open(run.path) as run:
        run.note_resume(2, changes={"log": ["book"]})
        log(run, 3, loss=3.0)
    assert lines_of(book) == [1, 2, 3]
    assert math.isnan(book.lines[2][2]["loss"])


def test_without_loggers_there_is_the_file_alone(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "x", {"log": []}) as run:
        log(run, 1, loss=1.0)
    kept = sorted(p.name for p in run.path.iterdir() if not p.name.startswith("."))
    assert kept == ["config.json", "metrics.jsonl"]


def test_a_logger_that_cannot_be_begun_is_named_with_how_to_go_on(
    tmp_path: Path, book: types.SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(known: Known) -> None:
        raise TimeoutError("no answer")

    monkeypatch.setattr(sys.modules["metarl.runs.loggers.book"], "begun", refuse)
    with (
        RunDirectory.create(tmp_path / "x", {"log": ["book"]}) as run,
        pytest.raises(UserError, match=r"--log book cannot be begun \(TimeoutError.*--resume"),
    ):
        run.begin_loggers()


@pytest.mark.parametrize("damage", [3, "wandb", [1], {"a": 1}])
def test_a_damaged_setting_is_named(tmp_path: Path, damage: object) -> None:
    RunDirectory.create(tmp_path / "x", {"log": damage}).close()
    with pytest.raises(UserError, match="log is"):
        RunDirectory.open(tmp_path / "x")


def test_a_damaged_note_is_named(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "x", {}) as run:
        log(run, 1)
    (run.path / "loggers.json").write_text('{"tensorboard": 3}')
    with (
        RunDirectory.open(run.path) as again,
        pytest.raises(UserError, match=r"loggers.json .* delete it"),
    ):
        log(again, 2)


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_what_is_not_installed_is_refused_with_its_remedy(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loggers, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=rf"pip install 'metarl-maze\[{name}\]', or leave {name}"):
        check_loggers([name])


def test_a_folder_of_runs_is_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mlflow").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "mlflow", raising=False)
    with pytest.raises(UserError, match="is not installed"):
        check_loggers(["mlflow"])


def test_an_unknown_logger_is_named() -> None:
    with pytest.raises(UserError, match="--log 'csv' is not one of tensorboard, wandb, mlflow"):
        check_loggers(["csv"])


def test_no_service_is_imported_unasked() -> None:
    code = (
        "import sys, experiments.maze, metarl.experiment; "
        "print({*sys.modules} & {'wandb', 'mlflow'})"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"


def test_tensorboard_shows_hyper_parameters_and_films(tmp_path: Path) -> None:
    from PIL import Image
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    config = {"learner": MAMLSettings(inner_lr=0.25), "seed": 3, "horizon": None, "sides": [1, 2]}
    film = tmp_path / "film.gif"
    frames = [Image.new("RGB", (6, 4), colour) for colour in ("red", "blue")]
    frames[0].save(film, save_all=True, append_images=frames[1:])
    with RunDirectory.create(tmp_path / "x", config) as run:
        log(run, 1, loss=1.0)
        run.show("film", film)
    events = EventAccumulator(str(run.path))
    events.Reload()
    (image,) = events.Images("film")
    assert (image.step, image.width, image.height) == (100, 6, 4)
    assert image.encoded_image_string == film.read_bytes()
    found = events.summary_metadata[metadata.SESSION_START_INFO_TAG].plugin_data.content
    started = plugin_data_pb2.HParamsPluginData.FromString(found).session_start_info
    assert started.hparams["learner.inner_lr"].number_value == 0.25
    assert started.hparams["seed"].number_value == 3
    assert started.hparams["horizon"].string_value == "None"
    assert not any(name.startswith("provenance") for name in started.hparams)


def test_events_of_before_that_went_by_iterations_are_replaced(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "x", {}) as run:
        log(run, 1, loss=1.0)
        log(run, 2, loss=2.0)
    for left in (run.path / "loggers.json", *run.path.glob("events.*")):
        left.unlink()
    from torch.utils.tensorboard.writer import SummaryWriter

    with SummaryWriter(str(run.path)) as writer:
        for iteration in (1, 2):
            writer.add_scalar("loss", float(iteration), iteration)
    for file in run.path.glob("events.out.tfevents.*"):
        file.rename(file.with_name("events.out.tfevents.1000000000.long.ago"))
    with RunDirectory.open(run.path) as run:
        run.truncate_metrics(after_iteration=2)
        log(run, 3, loss=3.0)
    assert shown(run, "loss") == [(100, 1.0), (200, 2.0), (300, 3.0)]
