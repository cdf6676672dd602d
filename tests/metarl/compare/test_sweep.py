"""Runs of a sweep: which are seeds of one line, and what is drawn and written of them."""

import csv

import numpy as np
import pytest

from metarl.compare.sweep import (
    curve_across,
    curve_within,
    over_seeds,
    read_summaries,
    seeds_of_lines,
)
from metarl.compare.tables import csv_of
from metarl.errors import UserError
from metarl.runs.directory import RunDirectory


def run(method="leap", seed=0, size=1, score=0.5, judged=4):
    return {"method": method, "run_seed": seed, "size": size, "score": score, "judged": judged}


def test_lines_are_methods_and_what_tells_their_judgement_apart():
    runs = [run(seed=0), run(seed=1), run(seed=2, judged=8), run("ft"), run(size=2)]
    lines = seeds_of_lines(runs, {"judged": "judged by"}, "size")
    assert {name: len(found) for name, found in lines.items()} == {
        (1, "leap, judged by 4"): 2,
        (1, "leap, judged by 8"): 1,
        (1, "ft"): 1,
        (2, "leap, judged by 4"): 1,
    }


def test_curves_have_what_all_runs_have():
    within = curve_within(
        "leap", [{"x": [0, 2, 4], "y": [1, 2, 3]}, {"x": [0, 4], "y": [5, 6]}], "x", "y"
    )
    assert within.x.tolist() == [0, 4]
    np.testing.assert_array_equal(within.values, [[1, 3], [5, 6]])
    runs = [run(seed=s, size=n, score=s + n) for s, n in ((0, 1), (0, 2), (1, 1), (2, 2), (2, 1))]
    across = curve_across("leap", runs, "size", "score")
    assert across.x.tolist() == [1, 2]
    np.testing.assert_array_equal(across.values, [[1, 2], [3, 4]])  # seed 1 lacks a run
    assert curve_across("leap", [run(seed=0, size=1), run(seed=1, size=2)], "size", "score") is None


def test_numbers_over_seeds():
    assert over_seeds([run(score=0.25)], "score", 100, 1) == "25.0"
    assert over_seeds([run(score=0.0), run(score=0.02)], "score", 100, 1) == "1.0 ± 12.7"


def test_a_table_for_programs_has_empty_cells_and_no_strangers():
    lines = csv_of(("method", "score"), [{"method": "leap", "other": 1}, run()]).decode()
    assert list(csv.reader(lines.splitlines())) == [
        ["method", "score"],
        ["leap", ""],
        ["leap", "0.5"],
    ]


def test_rows_are_of_evaluated_runs_and_damage_names_the_file(tmp_path):
    for name, summary in (("a", {"score": "0.5"}), ("b", {"other": 1})):
        RunDirectory.create(tmp_path / name, {}).write_summary(summary)
    assert read_summaries(tmp_path, lambda s: s if "score" in s else None) == [{"score": "0.5"}]
    with pytest.raises(UserError, match=r"b/summary\.json is not a summary .*; evaluate"):
        read_summaries(tmp_path, lambda s: {"score": float(s["score"])})
    with pytest.raises(UserError, match="no evaluated run in"):
        read_summaries(tmp_path, lambda s: None)
