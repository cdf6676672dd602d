"""Weights & Biases and MLflow themselves, without a network: what they were told is read back."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from metarl.errors import UserError
from metarl.runs.directory import RunDirectory
from metarl.runs.files import read_json
from metarl.runs.loggers import check_loggers
from metarl.runs.seeds import create_runs, find_runs

CONFIG = {"method": "maml", "learner": {"lr": 0.25}, "iterations": 3}


def log(run: RunDirectory, iteration: int, **metrics: float) -> None:
    run.write_metrics(iteration, metrics, wall_seconds=iteration * 0.5, env_steps=iteration * 100)


def film_in(folder: Path) -> Path:
    from PIL import Image

    frames = [Image.new("RGB", (6, 4), colour) for colour in ("red", "blue")]
    frames[0].save(folder / "film.gif", save_all=True, append_images=frames[1:])
    return folder / "film.gif"


# ------------------------------------------------------------------------- Weights & Biases


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    pytest.importorskip("wandb", reason="wandb is not installed")
    import wandb

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    yield
    wandb.teardown()


def records(run: RunDirectory) -> list[Any]:
    """What lies in the files of a run of W&B, oldest first."""
    from wandb.proto import wandb_internal_pb2

    files = sorted(run.path.glob("wandb/offline-run-*/*.wandb"))
    return [
        wandb_internal_pb2.Record.FromString(data)
        for file in files
        for data in entries(file.read_bytes())
    ]


def entries(data: bytes) -> Iterator[bytes]:
    """Entries of a log of LevelDB: blocks of 32 KiB, in which no header of 7 bytes is cut."""
    place, entry = 7, b""  # after the file's own header
    while place + 7 <= len(data):
        left = -place % 32768 or 32768
        if left < 7:
            place += left
            continue
        length, kind = struct.unpack("<HB", data[place + 4 : place + 7])
        entry += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield entry
            entry = b""


def history(run: RunDirectory) -> list[dict[str, str]]:
    rows = [r.history for r in records(run) if r.WhichOneof("record_type") == "history"]
    return [{"".join(i.nested_key) or i.key: i.value_json for i in row.item} for row in rows]


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_wandb_has_every_line_and_a_resume_is_the_same_run(tmp_path: Path, offline: None) -> None:
    runs = create_runs(tmp_path / "runs", (0, 1), {**CONFIG, "log": ["wandb"]})
    for run in runs:  # at the same time, as seeds that train together
        run.begin_loggers()
        log(run, 1, loss=math.nan)
    for run in runs:
        log(run, 2, loss=math.inf)
        run.show("film", film_in(tmp_path))
        run.close(whole=False)
    ids = [read_json(run.path / "loggers.json")["wandb"]["id"] for run in runs]
    assert ids[0] != ids[1]
    with find_runs(tmp_path / "runs")[0] as again:
        again.truncate_metrics(2)
        log(again, 3, loss=1.5)
    about = [r.run for r in records(runs[0]) if r.WhichOneof("record_type") == "run"]
    assert {(r.run_id, r.run_group) for r in about} == {(ids[0], (tmp_path / "runs").as_posix())}
    rows = history(runs[0])
    losses = [float(row["loss"].replace("Infinity", "inf")) for row in rows if "loss" in row]
    assert math.isnan(losses[0])
    assert losses[1:] == [math.inf, 1.5]
    assert [row["env_steps"] for row in rows if "loss" in row] == ["100", "200", "300"]
    assert any("film" in name for row in rows for name in row)


def test_wandb_without_a_login_is_refused_before_anything_starts(
    tmp_path: Path, offline: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb

    monkeypatch.setattr(wandb, "login", lambda **_: False)
    wandb.teardown()
    monkeypatch.setenv("WANDB_MODE", "online")
    with pytest.raises(UserError, match=r"wandb login.*WANDB_MODE=offline"):
        check_loggers(["wandb"])


# ------------------------------------------------------------------------------------ MLflow


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """MLflow over files, and what reads them."""
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = (tmp_path / "mlflow").as_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    yield mlflow.tracking.MlflowClient(uri)
    mlflow.set_tracking_uri(before)


def told(client: Any, run: RunDirectory) -> Any:
    return client.get_run(read_json(run.path / "loggers.json")["mlflow"]["id"])


def steps(client: Any, run: RunDirectory, name: str) -> list[tuple[int, float]]:
    found = client.get_metric_history(told(client, run).info.run_id, name)
    return [(metric.step, metric.value) for metric in found]


def test_mlflow_has_every_line_and_a_resume_is_the_same_run(tmp_path: Path, store: Any) -> None:
    check_loggers(["mlflow"])
    runs = create_runs(tmp_path / "runs", (0, 1), {**CONFIG, "log": ["mlflow"]})
    for run in runs:
        log(run, 1, loss=math.nan)
        log(run, 2, loss=math.inf)
        run.show("film", film_in(tmp_path))
        run.close(whole=False)
    assert told(store, runs[0]).info.status == "KILLED"
    with find_runs(tmp_path / "runs")[0] as again:
        again.truncate_metrics(1)  # and what it has already is not told again
        log(again, 2, loss=math.inf)
        log(again, 3, loss=1.5)
    kept = told(store, runs[0])
    assert kept.info.status == "FINISHED"
    assert kept.info.run_id != told(store, runs[1]).info.run_id
    assert kept.data.tags["group"] == (tmp_path / "runs").as_posix()
    assert kept.data.params["learner.lr"] == "0.25"
    first, *later = steps(store, runs[0], "loss")
    assert first[0] == 100
    assert math.isnan(first[1])
    assert later == [(200, math.inf), (300, 1.5)]
    (picture,) = store.list_artifacts(kept.info.run_id, "film/200")
    assert picture.path == "film/200/film.gif"


def test_a_run_of_mlflow_that_is_gone_is_made_again_with_every_line(
    tmp_path: Path, store: Any
) -> None:
    with RunDirectory.create(tmp_path / "x", {**CONFIG, "log": ["mlflow"]}) as run:
        log(run, 1, loss=1.0)
    gone = told(store, run).info.run_id
    store.delete_run(gone)
    with RunDirectory.open(run.path) as run:
        log(run, 2, loss=2.0)
    assert told(store, run).info.run_id != gone
    assert steps(store, run, "loss") == [(100, 1.0), (200, 2.0)]


def test_a_server_of_mlflow_that_is_not_there_is_named_before_anything_starts(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    with pytest.raises(UserError, match="--log mlflow cannot be begun"):
        check_loggers(["mlflow"])
