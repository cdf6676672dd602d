"""The report on Omniglot takes seeds that come one by one."""

import numpy as np

from benchmarks.omniglot import report


def test_curves_are_means_over_seeds_read_from_the_file_and_seeds_just_evaluated(monkeypatch):
    """Those of the file are words, those of a run numbers."""
    drawn = []
    monkeypatch.setattr(report, "learning_curves", lambda curves, **_: drawn.extend(curves))
    monkeypatch.setattr(report, "save_figure", lambda *_: None)
    same = {"protocol": "multishot", "run": "a", "method": "leap"}
    report.draw_multishot(
        [
            {**same, "seed": seed, "step": step, "non_transductive_accuracy": 0.1 * step + offset}
            for seed, offset in (("0", 0.0), (1, 0.2))
            for step in (0, 1)
        ]
    )
    np.testing.assert_allclose(drawn[0].values, [[0.0, 0.1], [0.2, 0.3]])
