import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from metarl.plots import Curves, learning_curves, running_mean, save_figure, within_trial_curve


def _curves(label: str = "warp", seeds: int = 3, n: int = 50) -> Curves:
    values = np.random.default_rng(0).normal(size=(seeds, n)) + np.arange(n)
    return Curves(label, np.arange(1, n + 1) * 1000, values)


def _texts(figure: Figure) -> list[str]:
    (axes,) = figure.axes
    legend = figure.legends[0]
    return [
        *(text.get_text() for text in axes.texts),
        *(text.get_text() for text in legend.get_texts()),
        legend.get_title().get_text(),
    ]


def test_running_mean_by_hand() -> None:
    values = np.array([[1.0, 3.0, 5.0, 7.0]])
    np.testing.assert_allclose(running_mean(values, 1), values)
    np.testing.assert_allclose(running_mean(values, 2), [[1.0, 2.0, 4.0, 6.0]])
    np.testing.assert_allclose(running_mean(values, 9), [[1.0, 2.0, 3.0, 4.0]])
    with pytest.raises(ValueError, match="at least 1, got 0"):
        running_mean(values, 0)


def test_the_line_is_the_mean_over_seeds_and_the_legend_says_how_it_was_made() -> None:
    method = _curves()
    figure = learning_curves([method, _curves("rnn", seeds=1)], smoothing=5, confidence=0.9)
    lines = figure.axes[0].get_lines()
    expected = running_mean(method.values, 5).mean(axis=0)
    np.testing.assert_allclose(np.asarray(lines[0].get_ydata()), expected)
    np.testing.assert_array_equal(np.asarray(lines[0].get_xdata()), method.x)
    assert len(figure.axes[0].collections) == 1, "one band: a single seed has none"
    assert _texts(figure) == [
        "warp (3 seeds)",
        "rnn",
        "mean and 90 % t interval over seeds, running mean of 5 points",
    ]
    assert "running mean" not in _texts(learning_curves([method]))[-1]


def test_a_logarithmic_picture_holds_all_lines_and_says_over_what_they_are_means() -> None:
    losses = Curves("maml", np.arange(3), np.array([[4.0, 0.4, 0.02], [4.0, 0.6, 0.04]]))
    figure = learning_curves([losses], over="functions", log=True)
    (axes,) = figure.axes
    assert axes.get_yscale() == "log"
    low, high = axes.get_ylim()
    assert 0.01 < low < 0.03 < 4.0 < high < 10.0
    figure.canvas.draw()
    assert "0.1" in [label.get_text() for label in axes.get_yticklabels()]
    assert _texts(figure) == ["maml (2 functions)", "mean and 95 % t interval over functions"]


def test_anchors_are_lines_with_labels_that_do_not_overlap() -> None:
    anchors = {"oracle": 60.0, "ceiling": 59.9, "random": 1.0}
    figure = learning_curves([_curves()], anchors=anchors)
    heights = [np.asarray(line.get_ydata())[0] for line in figure.axes[0].get_lines()[1:]]
    assert sorted(heights) == [1.0, 59.9, 60.0], "the lines stay where they belong"
    figure.canvas.draw()
    labels = figure.axes[0].texts
    assert [label.get_text() for label in labels] == ["random 1", "ceiling 59.9", "oracle 60"]
    boxes = [label.get_window_extent() for label in labels]
    assert not any(a.overlaps(b) for a, b in itertools.pairwise(boxes))
    picture = figure.bbox
    assert all(picture.x0 <= box.x0 and box.x1 <= picture.x1 for box in boxes), "none is cut off"


def test_the_axes_follow_the_curves_not_a_wide_band() -> None:
    values = np.array([[0.0, 1000.0, 10.0], [0.0, -1000.0, 10.0]])
    methods = [Curves("x", np.arange(3), values), Curves("y", np.arange(3), values[:1] * 0.01)]
    low, high = learning_curves(methods).axes[0].get_ylim()
    assert -5 < low < 0 < 10 < high < 15


def test_within_trial_points_sit_in_the_middle_of_their_windows() -> None:
    agent = Curves("trained", np.array([20, 40]), np.array([[1.0, 3.0], [3.0, 5.0]]))
    exact = Curves("random policy", agent.x, np.full((1, len(agent.x)), 3.0))
    figure = within_trial_curve(
        [agent], window=20, anchors={"oracle": 9.0}, references=[exact, exact]
    )
    grey = [line for line in figure.axes[0].get_lines() if line.get_label() == "random policy"]
    assert [line.get_linestyle() for line in grey] == ["--", ":"]
    assert grey[0].get_xdata()[0] == agent.x[0] - 10
    line = figure.axes[0].get_lines()[0]
    assert np.asarray(line.get_xdata()).tolist() == [10.0, 30.0]
    assert np.asarray(line.get_ydata()).tolist() == [2.0, 4.0]
    assert figure.axes[0].get_ylabel() == "return in 20 steps"
    assert "trained (2 trials)" in _texts(figure)


def test_curves_of_the_wrong_shape_are_refused() -> None:
    for x, values in [
        (np.arange(3), np.zeros((2, 4))),
        (np.arange(3), np.zeros(3)),
        (np.arange(0), np.zeros((2, 0))),
    ]:
        with pytest.raises(ValueError, match="curves 'a' need x"):
            Curves("a", x, values)


def test_a_picture_is_written_without_pyplot(tmp_path: Path) -> None:
    before = "matplotlib.pyplot" in sys.modules
    path = tmp_path / "new" / "curves.png"
    save_figure(learning_curves([_curves()], anchors={"random": 2.0}), path)
    with Image.open(path) as image:
        assert image.width > 1000
        assert len(set(image.convert("RGB").resize((60, 40)).get_flattened_data())) > 20
    assert ("matplotlib.pyplot" in sys.modules) == before


@pytest.mark.parametrize(("seeds", "spoken_of"), [(1, False), (2, True)])
def test_one_seed_has_no_interval_to_speak_of(seeds: int, spoken_of: bool) -> None:
    curves = [Curves("a", np.array([20, 40]), np.ones((seeds, 2)))]
    for figure in (learning_curves(curves), within_trial_curve(curves, window=20)):
        texts = [*_texts(figure), figure.legends[0].get_title().get_text()]
        assert any("interval" in text for text in texts) is spoken_of
