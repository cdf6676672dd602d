import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from metarl.errors import RunDirectoryError
from metarl.runs.metrics import MetricsLog


@pytest.fixture
def log(tmp_path: Path) -> MetricsLog:
    return MetricsLog(tmp_path / "metrics.jsonl")


def _strict(text: str) -> object:
    """JSON as the standard has it: Python's own parser lets NaN pass."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    return json.loads(text, parse_constant=refuse)


def test_a_line_is_there_as_soon_as_it_is_appended(log: MetricsLog) -> None:
    log.append({"iteration": 1, "env_steps": 6000, "return": 2.5})
    assert _strict(log.path.read_text()) == {"iteration": 1, "env_steps": 6000, "return": 2.5}


def test_numbers_of_numpy_and_torch_are_numbers(log: MetricsLog) -> None:
    log.append({"iteration": 1, "a": np.float32(0.5), "b": torch.tensor(2)})
    assert log.rows() == [{"iteration": 1, "a": 0.5, "b": 2}]
    with pytest.raises(TypeError, match="metric 'c' must be a number"):
        log.append({"iteration": 2, "c": "x"})  # type: ignore[dict-item]


def test_nan_and_infinity_are_null_in_the_file_and_nan_when_read(log: MetricsLog) -> None:
    log.append({"iteration": 1, "loss": math.nan, "grad": math.inf})
    log.append({"iteration": 2, "loss": 1.0, "grad": -math.inf})
    for line in log.path.read_text().splitlines():
        _strict(line)
    assert log.rows()[0] == {"iteration": 1, "loss": None, "grad": None}
    np.testing.assert_array_equal(log.columns()["loss"], [math.nan, 1.0])


def test_columns_have_the_types_and_gaps_of_the_rows(log: MetricsLog) -> None:
    log.append({"iteration": 1, "loss": 1})
    log.append({"iteration": 2, "loss": 0.5, "validation": 3.0})
    columns = log.columns()
    assert columns["iteration"].dtype == np.int64
    assert columns["loss"].tolist() == [1.0, 0.5]
    np.testing.assert_array_equal(columns["validation"], [math.nan, 3.0])


def test_iterations_only_grow(log: MetricsLog) -> None:
    log.append({"iteration": 5})
    for iteration in (5, 4):
        with pytest.raises(ValueError, match="truncate_metrics first"):
            log.append({"iteration": iteration})
    with pytest.raises(ValueError, match="truncate_metrics first"):
        MetricsLog(log.path).append({"iteration": 5})
    assert len(log.rows()) == 1


def test_truncate_goes_back_to_an_iteration(log: MetricsLog) -> None:
    for iteration in range(1, 6):
        log.append({"iteration": iteration, "x": iteration / 3})
    before = log.path.read_bytes().splitlines()
    log.truncate(3)
    assert log.path.read_bytes().splitlines() == before[:3], "what stays is as it was, byte by byte"
    log.append({"iteration": 4, "x": 4 / 3})
    assert log.path.read_bytes().splitlines() == before[:4]


@pytest.mark.parametrize("half", [b'{"iter', b'{"iteration": 3, "x": 1.0}', b"\xff"])
def test_half_a_last_line_is_no_obstacle(log: MetricsLog, half: bytes) -> None:
    for iteration in (1, 2):
        log.append({"iteration": iteration})
    whole = log.path.read_bytes()
    log.path.write_bytes(whole + half)

    assert [row["iteration"] for row in log.rows()] == [1, 2]
    resumed = MetricsLog(log.path)
    resumed.append({"iteration": 3})
    assert log.path.read_bytes() == whole + b'{"iteration": 3}\n'

    log.path.write_bytes(whole + half)
    MetricsLog(log.path).truncate(2)
    assert log.path.read_bytes() == whole


def test_half_a_first_line_is_no_obstacle(log: MetricsLog) -> None:
    log.path.write_bytes(b'{"it')
    log.append({"iteration": 1})
    assert log.rows() == [{"iteration": 1}]


@pytest.mark.parametrize("line", ["nonsense", "{}", "[1]", "3"])
def test_a_damaged_line_in_the_middle_is_named(log: MetricsLog, line: str) -> None:
    log.path.write_text(f'{{"iteration": 1}}\n{line}\n{{"iteration": 2}}\n')
    with pytest.raises(RunDirectoryError, match=r"metrics\.jsonl, line 2, is not a line"):
        log.rows()


def test_a_log_without_a_file_is_empty(log: MetricsLog) -> None:
    log.truncate(0)
    assert log.rows() == []
    assert log.columns() == {}
