"""One run's summary stands as it is; several get a mean and an interval over the runs."""

import json
from pathlib import Path

import numpy as np
import pytest

from metarl.evaluate.evaluation_result import evaluation_result

RUNS = {
    "seed-0": {"method": "maml", "loss": 1.0, "curve": [1.0, 2.0], "iteration": 7, "score": None},
    "seed-1": {"method": "maml", "loss": 2.0, "curve": [3.0, 2.0], "iteration": 8, "score": 1.0},
    "seed-2": {"method": "maml", "loss": 3.0, "curve": [5.0, 2.0], "iteration": 9, "score": 1.0},
}


def test_one_run_is_summed_up_by_its_own_summary():
    result = evaluation_result(Path("run"), {"run": RUNS["seed-0"]}, ("loss",))
    assert result.summary == RUNS["seed-0"]
    assert not result.several
    assert json.loads(result.as_line()) == RUNS["seed-0"]


def test_several_runs_have_a_mean_and_an_interval(tmp_path):
    result = evaluation_result(tmp_path, RUNS, ("loss", "curve", "score", "unknown"))
    assert result.several
    half = 4.302652729911275 / np.sqrt(3)  # t(0.975; 2) s / sqrt(n), s = 1
    summary = result.summary
    assert summary["method"] == "maml"
    assert summary["loss"] == 2.0
    assert summary["loss_over_runs_ci95"] == pytest.approx([2 - half, 2 + half])
    assert summary["curve"] == [3.0, 2.0]
    low, high = summary["curve_over_runs_ci95"]
    assert low == pytest.approx([3 - 2 * half, 2.0])
    assert high == pytest.approx([3 + 2 * half, 2.0])
    assert summary["num_runs"] == 3
    assert summary["runs"] == list(RUNS.values())
    assert not {"iteration", "score", "unknown"} & summary.keys()
    result.write(tmp_path)
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
