"""Numbers, tables and picture of a comparison, on results made by hand."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from metarl.compare.picture import apart, draw
from metarl.compare.results import Compared, Run, method_summary, read_run
from metarl.compare.tables import as_csv, as_markdown
from metarl.evaluate.measures import ERROR
from metarl.evaluate.returns import AdaptationResult
from metarl.runs.directory import RunDirectory


def run_of(method, seed, curve):
    """A run by hand: returns ``[N, K + 1]``, two episodes each."""
    returns = np.repeat(np.asarray(curve, np.float64)[..., None], 2, -1)
    result = AdaptationResult(returns, np.ones_like(returns), None, (0, 20))
    ids = tuple(str(n) for n in range(len(curve)))
    summary = {"axis": "gradient steps", "iteration": 1, "best": "oracle"}
    return Run(Path(method) / f"seed-{seed}", seed, result, ids, summary, 100 * (seed + 1), 2.0)


def by_hand():
    """Hard and easy tasks; better is always 1 above plain, and noisy sometimes."""
    easy = np.linspace(0, 100, 12)
    plain = [run_of("plain", s, np.stack([easy, easy], 1)) for s in (0, 1)]
    better = [run_of("better", s, np.stack([easy, easy + 1], 1)) for s in (0, 1, 2)]
    noise = np.where(np.arange(12) % 2, 30, -29.0)
    noisy = [run_of("noisy", 0, np.stack([easy, easy + noise], 1))]
    anchors = {"floor": 0.0, "oracle": 200.0}
    every = [
        method_summary(r[0].path.parts[0], r, plain, anchors, 0) for r in (plain, better, noisy)
    ]
    return Compared(every, ["better/seed-3"], "plain", "random actions", 0.0, 200.0)


def test_differences_are_paired_by_task():
    plain, better, noisy = by_hand().methods
    assert plain["above_reference"] is None
    for difference in (better["above_start"][1], better["above_reference"][1]):
        assert [difference[n] for n in ("estimate", "low", "high")] == pytest.approx([1, 1, 1])
        assert difference["marked"]
    assert not better["above_reference"][0]["marked"]
    assert noisy["above_start"][1]["low"] < 0 < noisy["above_start"][1]["high"]
    assert not noisy["above_reference"][1]["marked"]
    assert better["env_steps"] == 200
    assert better["percent_improved"] == [0, 100]
    # Unpaired, tasks from 0 to 100 would hide a difference of 1.
    low, high = better["return_mean_ci95"][1]
    assert high - low > 10


def one_task(oracle=2.0):
    """Ten seeds on one task, all better after adaptation."""
    runs = [run_of("a", s, [[s, s + 1.0]]) for s in range(10)]
    found = method_summary("a", runs, [], {"floor": 0.0, "oracle": oracle}, 0)
    return Compared([found], [], None, "random actions", 0.0, oracle)


def test_one_task_has_no_interval_and_no_mark():
    compared = one_task()
    (found,) = compared.methods
    assert found["above_start"][1] == {"estimate": 1.0, "low": None, "high": None, "marked": False}
    text = as_markdown(compared, "One task")
    assert "| 5.50 [–] |" in text
    assert "| +1.00 [–] |" in text
    assert "No intervals: one task is no sample of tasks." in text
    assert "No intervals" not in as_markdown(by_hand(), "By hand")
    last = list(csv.DictReader(as_csv(compared).decode().splitlines()))[-1]
    assert (last["return_mean"], last["return_mean_low"], last["above_start_high"]) == (
        *("5.5", "", ""),
    )
    draw(compared, "One task")


def test_no_score_is_a_dash():
    compared = one_task(oracle=0.0)
    assert compared.methods[0]["normalised_score"] is None
    assert next(csv.DictReader(as_csv(compared).decode().splitlines()))["normalised_score"] == ""
    text = as_markdown(compared, "No score")
    assert "| – | +1.00" in text
    assert "Random actions and oracle earn the same, 0: there is no score." in text


def test_two_equal_tasks_stay_two_rows(tmp_path):
    """A peer keyed its evaluation by the task's name, so that equal tasks became one."""
    run = RunDirectory.create(tmp_path / "run", {"method": "none", "seed": 0})
    anchors = {"floor": "random", "floor_return": 0.0, "oracle_return": 9.0}
    run.write_summary({"axis": "gradient steps", "iteration": 1, **anchors})
    (run.path / "metrics.jsonl").write_text('{"iteration": 1, "env_steps": 6}\n')
    returns = [[[5.0], [6.0]], [[1.0], [2.0]], [[3.0], [4.0]]]
    content = {
        "task_ids": ["b", "a", "a"],
        "experience": [0, 1],
        "returns": returns,
        "lengths": np.ones((3, 2, 1)).tolist(),
        "successes": None,
    }
    (run.path / "adaptation.json").write_text(json.dumps(content))
    found = read_run(run.path, 0)
    assert found.task_ids == ("a", "a", "b")
    assert found.result.curve.tolist() == [[1, 2], [3, 4], [5, 6]]
    summary = method_summary("none", [found], [], {"floor": 0.0, "oracle": 9.0}, 0)
    assert summary["num_tasks"] == 3
    assert summary["return_mean"] == [3.0, 4.0]


def test_nothing_is_marked_on_a_handful_of_values():
    runs = [run_of("a", 0, [[0, 1.0], [0, 1.0]])]
    found = method_summary("a", runs, [], {"floor": 0.0, "oracle": 2.0}, 0)
    assert found["above_start"][1]["low"] == 1
    assert not found["above_start"][1]["marked"]


def test_tables_say_who_is_above_whom():
    compared = by_hand()
    text = as_markdown(replace(compared, failures={"noisy/seed-1": "it blew up"}), "By hand")
    best, *_ = [line for line in text.splitlines() if line.startswith("| better")]
    assert "| better | 3 | 1 | 20 | 51.00 [" in best
    assert best.count("**+1.00 [1.00, 1.00]**") == 2
    assert "| 200 | 2 |" in best
    assert "Not there: better/seed-3." in text
    assert "Failed: noisy/seed-1: it blew up." in text
    lines = list(csv.DictReader(as_csv(compared).decode().splitlines()))
    assert len(lines) == 6
    heads = text.splitlines()[6].split(" | ")
    cells = best.split(" | ")
    assert cells[heads.index("P20")] == "21.00"  # of 1, 10.09, 19.18, 28.27, ..., 101
    assert cells[heads.index("length")] == "1.0"
    csv_line = next(r for r in lines if (r["method"], r["k"]) == ("better", "1"))
    assert float(csv_line["percentile20"]) == pytest.approx(21)
    assert (csv_line["length_mean"], csv_line["length_ratio"]) == ("1.0", "1.0")
    assert lines[3]["above_reference_marked"] == "True"
    assert lines[0]["above_reference"] == lines[0]["above_start"] == ""


def test_a_run_that_is_always_better_is_better_for_certain_and_above_in_its_profile():
    plain, better, noisy = by_hand().methods
    assert plain["better_than_reference"] is None
    found = better["better_than_reference"]
    assert (found["estimate"], found["marked"]) == (1.0, True)
    assert noisy["better_than_reference"]["estimate"] == 0.5
    assert not noisy["better_than_reference"]["marked"]
    assert plain["profile"]["at"][0] == 0
    assert plain["profile"]["share"][0] == pytest.approx(11 / 12)
    assert plain["profile"]["share"][-1] == 0
    text = as_markdown(by_hand(), "By hand")
    assert "| **1.00 [1.00, 1.00]** |" in text
    assert "how likely a run does better on a task than one of plain" in text


def test_of_errors_less_is_better():
    """The same numbers as returns, of which more is better, and as errors."""
    runs = [run_of("a", 0, np.stack([np.linspace(1, 2, 11), np.linspace(0.5, 1, 11)], 1))]
    worse = [run_of("b", 0, np.stack([np.linspace(1, 2, 11), np.linspace(1, 2, 11)], 1))]
    of_a, of_b = (
        method_summary(name, these, beside, {"floor": None, "oracle": None}, 0, ERROR)
        for name, these, beside in (("a", runs, worse), ("b", worse, []))
    )
    assert of_a["percent_improved"] == [0, 100]
    assert of_a["percentile80"] == pytest.approx([1.8, 0.9])
    assert of_a["better_than_reference"]["estimate"] > 0.9
    assert of_a["above_reference"][1]["estimate"] == pytest.approx(-0.75)
    compared = Compared([of_b, of_a], [], "b", None, None, None, measure=ERROR)
    text = as_markdown(compared, "Errors")
    assert text.index("| a | 1 | 1 |") < text.index("| b | 1 | 1 |")  # the best first
    assert "an error that is lower than at k = 0" in text
    assert "success" not in text
    assert next(csv.DictReader(as_csv(compared).decode().splitlines()))["error_mean"] == "1.5"
    *_, ends = draw(compared, "Errors").axes
    assert [text.get_text() for text in ends.get_yticklabels()] == ["b", "a"]


def test_every_method_has_one_place_and_a_name_in_the_picture():
    base = by_hand().methods[1]
    families = {"by gradient": ("maml", "anil", "reptile"), "others": ("rl2", "ppo", "none")}
    names = [*(name for members in families.values() for name in members), "of-tomorrow"]
    methods = [{**base, "method": name} for name in names]
    figure = draw(Compared(methods, [], "none", "floor", 0.0, 200.0), "All", families)
    *panels, shares, ends = figure.axes
    said = [text.get_text() for axes in panels for text in axes.texts]
    assert set(names) <= set(said)
    assert all(said.count(name) == 1 for name in names if name != "none")
    words = [
        t for axes in panels for t in axes.texts if t.get_text().startswith(("floor", "oracle"))
    ]
    assert len(words) == 2 * len(panels)
    assert all(t.get_bbox_patch() is None and t.get_ha() == "right" for t in words)  # hide nothing
    assert said.count("none") == len(panels)  # the reference is in each
    assert sorted(t.get_text() for t in ends.get_yticklabels()) == sorted(names)


def test_labels_are_moved_apart_and_no_further():
    assert apart([0.0, 10.0], 2.0) == [0.0, 10.0]
    assert apart([1.0, 1.0, 1.0], 2.0) == [-1.0, 1.0, 3.0]
    assert apart([0.0, 1.0, 2.5], 2.0) == pytest.approx([-0.833, 1.167, 3.167], abs=1e-3)
