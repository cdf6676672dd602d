import json
import math
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import metarl
from metarl.errors import RunDirectoryError
from metarl.runs.directory import RunDirectory
from metarl.runs.provenance import provenance
from metarl.runs.seeds import create_runs, find_runs


@dataclass(frozen=True)
class _Settings:
    method: str = "warp"
    size: int = 13
    seeds: tuple[int, ...] = (0,)
    run_dir: Path = Path("runs/x")
    fast_lr: float = 3e-3


def _log(run: RunDirectory, iteration: int, **metrics: float) -> None:
    run.write_metrics(iteration, metrics, wall_seconds=iteration * 0.5, env_steps=iteration * 6000)


def test_config_holds_every_setting_and_where_the_run_comes_from(tmp_path: Path) -> None:
    run = RunDirectory.create(
        tmp_path / "a" / "b", _Settings(), device=torch.device("cpu"), anchors={"random": 2.24}
    )
    config = json.loads((run.path / "config.json").read_text())
    origin = config.pop("provenance")
    assert config == {
        "method": "warp",
        "size": 13,
        "seeds": [0],
        "run_dir": "runs/x",
        "fast_lr": 3e-3,
        "anchors": {"random": 2.24},
    }
    assert origin["metarl"] == metarl.__version__
    assert origin["packages"]["torch"] == torch.__version__
    assert origin["device"] == "cpu"
    assert origin["command_line"] == shlex.join(sys.orig_argv)
    assert origin["created_at"].endswith("+00:00")
    assert RunDirectory.open(run.path).config == run.config == {**config, "provenance": origin}


def test_provenance_names_the_commit_of_the_checkout() -> None:
    root = Path(metarl.__file__).parent.parent
    git = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False
    )
    if git.returncode != 0:
        pytest.skip("not a git checkout")
    origin = provenance()
    assert origin["git_commit"] == git.stdout.strip()
    assert isinstance(origin["git_dirty"], bool)


def test_provenance_does_without_git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert provenance()["git_commit"] is None
    assert provenance()["git_dirty"] is None


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        (3, TypeError, "dataclass or a mapping, got int"),
        ({"provenance": 1}, ValueError, "rename it"),
        ({"a": {"b": object()}}, TypeError, r"a\.b is a object"),
    ],
)
def test_settings_that_cannot_be_written_are_refused(
    tmp_path: Path, config: object, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        RunDirectory.create(tmp_path / "x", config)
    assert not (tmp_path / "x").exists()


def test_an_existing_run_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "x"
    RunDirectory.create(path, {})
    with pytest.raises(
        RunDirectoryError, match=r"already holds a run; name another --run-dir.*--resume.*delete"
    ):
        RunDirectory.create(path, {})
    with pytest.raises(RunDirectoryError, match="already holds a run"):
        create_runs(path, [0, 1], {})
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "todo.txt").write_text("")
    with pytest.raises(RunDirectoryError, match="is not empty; name another"):
        RunDirectory.create(tmp_path / "notes", {})
    with pytest.raises(RunDirectoryError, match="is a file"):
        RunDirectory.create(tmp_path / "notes" / "todo.txt", {})
    (tmp_path / "empty").mkdir()
    RunDirectory.create(tmp_path / "empty", {})


def test_what_is_not_a_run_is_not_opened(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="there is no run directory"):
        RunDirectory.open(tmp_path / "nowhere")
    with pytest.raises(RunDirectoryError, match=r"has no config\.json"):
        RunDirectory.open(tmp_path)
    config = tmp_path / "config.json"
    for content, message in [
        ("{", "not valid JSON"),
        ("[]", "JSON object"),
        ("{}", "not a run of metarl"),
        ('{"provenance": 3}', "not a run of metarl"),
    ]:
        config.write_text(content)
        with pytest.raises(RunDirectoryError, match=message):
            RunDirectory.open(tmp_path)


def test_metrics_come_back_as_columns(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "x", {}) as run:
        _log(run, 1, loss=0.5)
        _log(run, 2, loss=math.nan)
    lines = (run.path / "metrics.jsonl").read_text().splitlines()
    assert lines[0] == '{"iteration": 1, "env_steps": 6000, "wall_seconds": 0.5, "loss": 0.5}'
    metrics = RunDirectory.open(run.path).read_metrics()
    assert list(metrics) == ["iteration", "env_steps", "wall_seconds", "loss"]
    np.testing.assert_array_equal(metrics["loss"], [0.5, math.nan])


def test_metrics_count_steps_or_tasks(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "x", {}) as run:
        run.write_metrics(1, {"accuracy": 0.2}, wall_seconds=1.0, tasks_seen=32)
        assert run.read_metrics()["tasks_seen"].tolist() == [32]
        counts: list[dict[str, Any]] = [{}, {"env_steps": 1, "tasks_seen": 1}]
        for count in counts:
            with pytest.raises(ValueError, match="exactly one"):
                run.write_metrics(2, {}, wall_seconds=1.0, **count)
        with pytest.raises(ValueError, match=r"\['wall_seconds'\]"):
            run.write_metrics(2, {"wall_seconds": 3}, wall_seconds=1.0, env_steps=1)


def test_tensorboard_shows_what_the_file_holds_also_after_a_resume(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with RunDirectory.create(tmp_path / "x", {}) as run:
        for iteration in (1, 2, 3, 4):
            _log(run, iteration, loss=float(iteration))
    with RunDirectory.open(run.path) as run:
        run.truncate_metrics(after_iteration=2)
        for iteration in (3, 4):
            _log(run, iteration, loss=10.0 * iteration)
    events = EventAccumulator(str(run.path))
    events.Reload()
    shown = [(event.step, event.value) for event in events.Scalars("loss")]
    assert shown == [(6000, 1.0), (12000, 2.0), (18000, 30.0), (24000, 40.0)]
    assert [event.value for event in events.Scalars("iteration")] == [1, 2, 3, 4]
    assert run.read_metrics()["loss"].tolist() == [value for _, value in shown]


def test_truncating_in_the_middle_of_a_process_goes_on_from_there(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "x", {}) as run:
        for iteration in (1, 2, 3):
            _log(run, iteration)
        run.truncate_metrics(after_iteration=1)
        _log(run, 2)
    assert run.read_metrics()["iteration"].tolist() == [1, 2]


def test_checkpoint_and_summary_come_back(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "x", {}) as run:
        _log(run, 3)
        run.save_checkpoint({"iteration": 3, "w": torch.ones(2)})
        with pytest.raises(RunDirectoryError, match="run `evaluate`"):
            run.read_summary()
        run.write_summary({"mean_return": np.float64(1.5), "ci95": (1, np.inf), "x": np.arange(2)})
    assert torch.equal(run.load_checkpoint()["w"], torch.ones(2))
    assert run.read_summary() == {"mean_return": 1.5, "ci95": [1, None], "x": [0, 1]}


def test_one_seed_is_the_folder_itself(tmp_path: Path) -> None:
    (run,) = create_runs(tmp_path / "x", [7], _Settings())
    assert run.path == tmp_path / "x"
    assert run.config["seed"] == 7
    assert [found.path for found in find_runs(tmp_path / "x")] == [run.path]


def test_several_seeds_have_a_run_each(tmp_path: Path) -> None:
    runs = create_runs(tmp_path / "x", [10, 2], {"method": "rnn"}, device="cpu", anchors={"a": 1})
    assert [run.path.name for run in runs] == ["seed-10", "seed-2"]
    assert [run.config["seed"] for run in find_runs(tmp_path / "x")] == [2, 10]
    assert [run.config["seed"] for run in find_runs(tmp_path / "x" / "seed-2")] == [2]
    with pytest.raises(RunDirectoryError, match="already holds a run"):
        create_runs(tmp_path / "x", [3], {})
    with pytest.raises(RunDirectoryError, match=r"name one of its runs, such as .*seed-"):
        RunDirectory.open(tmp_path / "x")


@pytest.mark.parametrize(
    ("seeds", "message"),
    [([], "needs at"), ([0, 0], "must be different"), ([-1], "not be negative")],
)
def test_seeds_are_different_counts(tmp_path: Path, seeds: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=f"seeds .*{message}"):
        create_runs(tmp_path / "x", seeds, {})


def test_finding_runs_where_there_are_none(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(RunDirectoryError):
            find_runs(path)


def test_opening_a_run_does_not_import_tensorboard(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "x", {})
    program = (
        "import sys; from metarl.runs.directory import RunDirectory; "
        f"RunDirectory.open({str(run.path)!r}).read_metrics(); "
        "sys.exit('tensorboard' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


LOCKED = """
import sys
from metarl.errors import RunDirectoryError
from metarl.runs.directory import RunDirectory
try:
    RunDirectory.open(sys.argv[1]).lock()
except RunDirectoryError as error:
    sys.exit(str(error))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no file locks")
def test_one_process_trains_a_run_at_a_time(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run", _Settings())
    run.lock()
    run.lock()
    command = [sys.executable, "-c", LOCKED, str(run.path)]
    second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "another process is training" in second.stderr
    assert second.returncode == 1
    run.close()
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_a_resume_is_noted_with_its_versions(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run", _Settings())
    run.note_resume(20)
    run.note_resume(40)
    again = RunDirectory.open(run.path)
    assert [entry["iteration"] for entry in again.config["resumed"]] == [20, 40]
    assert again.config["resumed"][0]["provenance"]["metarl"] == metarl.__version__
