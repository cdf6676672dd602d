"""Report on runs in random mazes: what was validated on is no result."""

import json

from benchmarks.mazes.report import summaries
from metarl.runs.directory import RunDirectory


def test_results_are_of_the_test_alone(tmp_path):
    run = RunDirectory.create(tmp_path / "run", {"seed": 0})
    about = {"mazes": "mst", "size": "9"}
    earlier = {"mazes": "named", "size": "9"}  # of a version that did not say the split
    for place, summary in (
        (".", {**about, "split": "test"}),
        ("validation", {**about, "split": "validation"}),
        ("on-named", earlier),
    ):
        (run.path / place).mkdir(exist_ok=True)
        (run.path / place / "summary.json").write_text(json.dumps(summary))
    assert [tested for tested, _ in summaries(run)] == ["named", "mst 9"]
