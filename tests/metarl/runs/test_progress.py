import io
import re

import pytest

from metarl.runs import progress as module
from metarl.runs.progress import Progress, format_seconds


class _Clock:
    """A clock that the test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(module.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    return _Clock(monkeypatch)


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_file_gets_a_line_at_intervals_and_at_both_ends(clock: _Clock) -> None:
    stream = io.StringIO()
    with Progress(100, "warp", interval=10.0, stream=stream) as progress:
        for iteration in range(1, 101):
            clock.now += 1.0
            progress.update(iteration, {"return": 12.3456789, "loss": 0.5})
    lines = stream.getvalue().splitlines()
    iterations = [int(line.split("/")[0].split()[-1]) for line in lines]
    assert iterations == [1, 11, 21, 31, 41, 51, 61, 71, 81, 91, 100]
    assert lines[1] == (
        "warp: 11/100 (11 %), return 12.35, loss 0.5, 11 s elapsed, about 1 min 29 s left"
    )
    assert lines[-1] == "warp: 100/100 (100 %), return 12.35, loss 0.5, 1 min 40 s elapsed"


def test_the_estimate_leaves_out_what_was_done_before_a_resume(clock: _Clock) -> None:
    stream = io.StringIO()
    with Progress(100, "warp", start=80, interval=0.0, stream=stream) as progress:
        clock.now += 10.0
        progress.update(90)
    assert "about 10 s left" in stream.getvalue()


def test_an_interrupted_piece_of_work_says_where_it_stopped(clock: _Clock) -> None:
    stream = io.StringIO()

    def work() -> None:
        with Progress(100, "warp", stream=stream) as progress:
            for iteration in range(1, 8):
                progress.update(iteration)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert stream.getvalue().splitlines()[-1].startswith("warp: 7/100")


def test_nothing_done_writes_nothing() -> None:
    stream = io.StringIO()
    with Progress(0, "warp", stream=stream):
        pass
    assert stream.getvalue() == ""


def test_plain_lines_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(1, "warp") as progress:
        progress.update(1)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "warp: 1/1" in captured.err


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("CI", raising=False)
    stream = _Terminal()
    with Progress(10, "warp", start=4, stream=stream) as progress:
        progress.update(5, {"return": 12.3456})
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    assert "━" in text
    assert "5/10" in text
    assert "return 12.35" in text
    assert "left" in text


@pytest.mark.parametrize("setting", [("CI", "true"), ("TERM", "dumb")])
def test_ci_and_dumb_terminals_get_lines(
    monkeypatch: pytest.MonkeyPatch, setting: tuple[str, str]
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv(*setting)
    stream = _Terminal()
    with Progress(1, "warp", stream=stream) as progress:
        progress.update(1)
    assert stream.getvalue().startswith("warp: 1/1 (100 %)")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (3599, "59 min 59 s"),
        (7620, "2 h 07 min"),
    ],
)
def test_durations_read_naturally(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
