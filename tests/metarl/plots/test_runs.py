"""Which runs are one line, what it is drawn over, and what they are judged by."""

from pathlib import Path

import numpy as np
import pytest

from metarl.evaluate.references import explained
from metarl.plots.runs import common_anchors, curves, group_runs
from metarl.runs.directory import RunDirectory
from metarl.runs.seeds import find_runs
from tests.metarl.plots.runs_on_disk import trained


def test_runs_are_grouped_by_method_and_preset_over_seeds(tmp_path: Path) -> None:
    paths = [
        trained(tmp_path / "a", (0, 1)),
        trained(tmp_path / "b", (2,), iterations=7, run_dir="elsewhere"),
        trained(tmp_path / "c", method="rnn"),
        trained(tmp_path / "d", preset="paper"),
    ]
    groups = group_runs([run for path in paths for run in find_runs(path)])
    assert {label: [r.config["seed"] for r in runs] for label, runs in groups.items()} == {
        "warp": [0, 1, 2],
        "rnn": [0],
        "warp (paper)": [0],
    }


def test_runs_with_other_settings_are_never_averaged(tmp_path: Path) -> None:
    paths = [
        trained(tmp_path / str(lr), size=13, learner={"fast": {"lr": lr}}) for lr in (0.001, 0.003)
    ]
    groups = group_runs([run for path in paths for run in find_runs(path)])
    assert list(groups) == ["warp, learner.fast.lr=0.001", "warp, learner.fast.lr=0.003"]


def test_how_tasks_were_stacked_makes_no_other_line(tmp_path: Path) -> None:
    paths = [
        trained(tmp_path / str(size), (seed,), learner={"execution": {"chunk_size": size}})
        for seed, size in enumerate(("auto", 8, None))
    ]
    groups = group_runs([run for path in paths for run in find_runs(path)])
    assert {label: len(runs) for label, runs in groups.items()} == {"warp": 3}


@pytest.mark.parametrize(("decay", "num_lines"), [("constant", 1), ("linear", 2)])
def test_under_a_schedule_longer_runs_are_another_method(
    tmp_path: Path, decay: str, num_lines: int
) -> None:
    paths = [
        trained(tmp_path / str(n), (n,), iterations=n, schedule={"decay": decay}) for n in (7, 99)
    ]
    groups = group_runs([run for path in paths for run in find_runs(path)])
    assert len(groups) == num_lines
    assert ("warp, iterations=99" in groups) is (num_lines == 2)


def test_curves_are_cut_to_the_iterations_that_all_seeds_have(tmp_path: Path) -> None:
    runs = [
        RunDirectory.open(trained(tmp_path / "a", (0,), num_lines=5)),
        RunDirectory.open(trained(tmp_path / "b", (1,), num_lines=3)),
    ]
    line = curves("warp", runs, "env_steps", "return")
    assert line.x.tolist() == [60_000, 120_000, 180_000]
    np.testing.assert_array_equal(line.values, [[10, 20, 30], [11, 21, 31]])


def test_anchors_come_from_the_runs(tmp_path: Path) -> None:
    run = RunDirectory.open(trained(tmp_path / "a"))
    assert common_anchors([run]) == {"floor": 2.0, "explore then exploit": 30.0}
    other = RunDirectory.create(tmp_path / "b", {}, anchors={"random": 3.0})
    maze = RunDirectory.create(tmp_path / "d", {}, anchors={"ceiling": 3.0, "localising": 2.0})
    names = ["ceiling", "best known with these inputs"]
    assert list(common_anchors([maze])) == names
    assert all(name in explained(("random", "localising", "ceiling")) for name in names)
    without = RunDirectory.create(tmp_path / "c", {})
    assert common_anchors([without]) == {}
    assert common_anchors([without, run]) == common_anchors([run])
    assert common_anchors([run, other]) is None
