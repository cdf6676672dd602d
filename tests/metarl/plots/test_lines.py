import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from metarl.plots.lines import (
    Curves,
    learning_curves,
    running_mean,
    save_figure,
    within_trial_curve,
)
from metarl.stats import mean_and_interval


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
    # The lower end of an interval may have no logarithm.
    note = "mean and 95 % t interval over functions, intervals reach beyond the picture"
    assert _texts(figure) == ["maml (2 functions)", note]


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


def test_bands_are_whole_where_they_are_not_much_higher_than_the_lines() -> None:
    values = np.array([[0.0, 4.0, 10.0], [0.0, 6.0, 10.0], [0.0, 5.0, 13.0]])
    figure = learning_curves([Curves("x", np.arange(3), values)])
    _, low, high = mean_and_interval(values)
    bottom, top = figure.axes[0].get_ylim()
    assert bottom < low.min()
    assert high.max() < top
    assert "beyond" not in _texts(figure)[-1]


@pytest.mark.parametrize("log", [False, True])
def test_the_axes_follow_the_curves_not_a_very_wide_band(log: bool) -> None:
    values = np.array([[1.0, 1000.0, 10.0], [1.0, 1e-3, 10.0]])
    methods = [Curves("x", np.arange(3), values), Curves("y", np.arange(3), values[:1] * 0.01)]
    figure = learning_curves(methods, log=log)
    low, high = figure.axes[0].get_ylim()
    assert (0 if log else -800) < low < 0.01
    assert 500 < high < 1e6
    assert "intervals reach beyond the picture" in _texts(figure)[-1]


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("seeds", [1, 3])
def test_one_point_is_seen(seeds: int, log: bool) -> None:
    method = Curves("x", np.array([20]), np.linspace(0.4, 0.6, seeds)[:, None])
    for figure in (learning_curves([method], log=log), within_trial_curve([method], window=20)):
        (line,) = figure.axes[0].get_lines()
        assert line.get_marker() == "o"
        assert line.get_xdata()[0] < figure.axes[0].get_xlim()[1]
        low, high = figure.axes[0].get_ylim()
        assert low < 0.4
        assert high > 0.6 - 1e-9 * seeds if seeds > 1 else high > 0.4
        assert len(figure.axes[0].collections) == (2 if seeds > 1 else 0)


@pytest.mark.parametrize("last", [1, 2, 3, 5, 10, 2000, 3_000_000])
def test_what_is_counted_has_whole_ticks(last: int) -> None:
    for method in (Curves("x", np.arange(2) * last, np.ones((1, 2))),):
        for figure in (learning_curves([method]), within_trial_curve([method], window=1)):
            figure.canvas.draw()
            (axes,) = figure.axes
            shown = [label.get_text() for label in axes.get_xticklabels()]
            assert all(float(place).is_integer() for place in axes.get_xticks())
            assert not any(text.endswith("m") for text in shown), shown


def test_a_far_anchor_is_named_at_the_edge_and_presses_nothing_flat() -> None:
    method = Curves("x", np.arange(3), np.array([[5.0, 6.0, 8.0]]))
    anchors = {"random": 5.4, "best": 178.0, "ceiling": 208.0, "oracle": 230.0, "worst": -90.0}
    figure = learning_curves([method], anchors=anchors)
    (axes,) = figure.axes
    assert axes.get_ylim()[1] < 10
    assert [np.asarray(line.get_ydata())[0] for line in axes.get_lines()[1:]] == [5.4]
    figure.canvas.draw()
    words = [label.get_text() for label in axes.texts]
    assert words == ["worst -90 ↓", "random 5.4", "best 178 ↑", "ceiling 208 ↑", "oracle 230 ↑"]
    boxes = [label.get_window_extent() for label in axes.texts]
    assert not any(a.overlaps(b) for a, b in itertools.pairwise(boxes))
    assert all(figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1 for box in boxes)


def test_anchors_of_a_logarithmic_picture() -> None:
    losses = Curves("maml", np.arange(3), np.array([[4.0, 0.4, 0.02]]))
    figure = learning_curves([losses], anchors={"zero": 0.0, "a": 0.01, "b": 1e9}, log=True)
    assert [t.get_text() for t in figure.axes[0].texts] == ["zero 0 ↓", "a 0.01", "b 1e+09 ↑"]
    assert figure.axes[0].get_ylim()[1] < 100
    figure.canvas.draw()


def test_a_note_is_a_line_of_the_legend() -> None:
    for draw in (learning_curves, lambda *a, **k: within_trial_curve(*a, window=1, **k)):
        figure = draw([_curves()], note="oracle: knows the goal")
        assert _texts(figure)[-1].endswith("\noracle: knows the goal")


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


def test_no_two_of_many_lines_look_alike() -> None:
    """More lines than colours: they are broken where colours begin again, and none is left out."""
    many = [_curves(f"agent {n}", seeds=1, n=3) for n in range(15)]
    for figure in (learning_curves(many), within_trial_curve(many, window=10)):
        (axes,) = figure.axes
        looks = {(line.get_color(), line.get_linestyle()) for line in axes.lines}
        assert len(looks) == len(axes.lines) == len(many)
