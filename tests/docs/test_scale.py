"""The tables on the page about scale are those that its script prints, and its bounds hold."""

from pathlib import Path

import pytest

from benchmarks.scale import __main__ as scale

PAGE = Path(scale.__file__).parent / "README.md"


def test_the_tables_on_the_page_are_those_that_the_script_prints(capsys, monkeypatch):
    monkeypatch.setattr(scale, "_arguments", list)
    scale.main()
    tables = [part for part in capsys.readouterr().out.split("\n\n") if part.startswith("|")]
    assert len(tables) == 4
    for table in tables:
        assert table.strip() in PAGE.read_text("utf-8")


def test_the_bandwidth_makes_exchange_the_share_that_it_may_take():
    asked = scale.Settings(processes=(8,), overhead=0.1)
    heads, lines = scale.exchanges(asked)
    row = dict(zip(heads, next(line for line in lines if "warp" in line[0]), strict=True))
    size = 4 * int(row["parameters"].replace(",", ""))
    bandwidth = float(row["Mbit/s, P = 8"].replace(",", "")) * 1e6 / 8  # bytes a second
    exchange = 2 * 7 / 8 * size / bandwidth
    assert exchange == pytest.approx(0.1 * 66.8e-3 / 8, rel=1e-3)


def test_latency_alone_bounds_the_processes():
    asked = scale.Settings(overhead=0.1, latency=1e-3)
    assert scale.largest(asked, 0.1, 1) == 2  # 2 * 1 * 1 ms <= 10 ms / 2, 2 * 2 * 1 ms > 10 ms / 3
    assert scale.largest(asked, 1e-6, 1) == 1
