"""`metrics.jsonl`: one JSON object a line, one line an iteration, readable while it grows.

Each line holds `iteration`, then `env_steps` (reinforcement learning) or `tasks_seen` (supervised),
`wall_seconds`, then the metrics. JSON has no NaN and no infinity: both are written as null, and
read back as NaN. A process killed while writing leaves half a last line; readers pass over it.
"""

import errno
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl.errors import understood
from metarl.runs.files import strict_json, sync_file, write_bytes

Row = dict[str, Any]

LARGEST = 2**63
"""Whole numbers stay below it: columns are arrays of int64."""


class MetricsLog:
    """The metrics of one run, appended line by line.

    Args:
        path: The file; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ready = False  # whether the end of the file is known and clean
        self._last_iteration: int | None = None

    def append(self, row: Mapping[str, float]) -> None:
        """Write one line; when this returns, the line survives the death of the process.

        Args:
            row: Starts with `iteration`, which must be greater than that of the line before.

        Raises:
            ValueError: The iteration is not new; after a resume, call `truncate` first.
            TypeError: A value is not a number.
        """
        if not self._ready:
            self._prepare()
        iteration = row["iteration"]
        if self._last_iteration is not None and iteration <= self._last_iteration:
            raise ValueError(
                f"iteration {iteration} comes after iteration {self._last_iteration} in "
                f"{self.path}; to go back, call truncate_metrics first"
            )
        text = json.dumps({k: _number(k, v) for k, v in row.items()}, allow_nan=False)
        line = text.encode() + b"\n"
        with open(self.path, "ab", buffering=0) as file:
            if file.write(line) != len(line):
                self._ready = False
                raise OSError(errno.ENOSPC, "only part of a line could be written", str(self.path))
        self._last_iteration = int(iteration)

    def truncate(self, after_iteration: int) -> None:
        """Drop every line after an iteration, and a half-written last line, atomically."""
        self._ready = False
        if self.path.exists():
            kept = [row for row in self.rows() if row["iteration"] <= after_iteration]
            text = "".join(json.dumps(row, allow_nan=False) + "\n" for row in kept)
            write_bytes(self.path, text.encode())

    def rows(self) -> list[Row]:
        """All lines, oldest first; nulls stay None, a half-written last line is passed over.

        Raises:
            RunDirectoryError: A line before the last is damaged.
        """
        if not self.path.exists():
            return []
        *lines, _half_written = self.path.read_bytes().split(b"\n")
        rows: list[Row] = []
        for number, line in enumerate(lines, start=1):
            where = f"{self.path}, line {number},"
            with understood(where, "is not a line of metrics", "delete that line"):
                rows.append(_row(strict_json(line)))
        return rows

    def columns(self) -> dict[str, NDArray[Any]]:
        """The lines as columns.

        Returns:
            For every key an array [number of lines], in the order of first appearance: int64 where
            all values are whole numbers, else float64 with NaN where a line has no value.
        """
        rows = self.rows()
        keys = dict.fromkeys(key for row in rows for key in row)
        columns: dict[str, NDArray[Any]] = {}
        for key in keys:
            values = [row.get(key) for row in rows]
            if all(type(value) is int for value in values):
                columns[key] = np.array(values, dtype=np.int64)
            else:
                columns[key] = np.array([math.nan if v is None else v for v in values], float)
        return columns

    def sync(self) -> None:
        """Bring what was appended onto the disk, to survive a loss of power as well."""
        if self.path.exists():
            with open(self.path, "rb+") as file:
                sync_file(file.fileno())

    def _prepare(self) -> None:
        """Find out where the file ends, and take half a last line off it."""
        rows = self.rows()
        self._last_iteration = rows[-1]["iteration"] if rows else None
        if self.path.exists() and not self.path.read_bytes().endswith(b"\n"):
            self.truncate(-1 if self._last_iteration is None else self._last_iteration)
        self._ready = True


def _row(line: Any) -> Row:
    """A line as it is read, if it is one: numbers and nulls by name, among them an iteration."""
    iteration = line["iteration"]
    if type(iteration) is not int or not 0 <= iteration < LARGEST:
        raise ValueError(f"iteration is {iteration!r}")
    for key, value in line.items():
        if type(value) not in (int, float, type(None)):
            raise TypeError(f"{key} is {value!r}")
        if type(value) is int and abs(value) >= LARGEST:
            raise OverflowError(f"{key} has {len(str(abs(value)))} digits")
    return {"iteration": iteration, **line}


def _number(key: str, value: object) -> int | float | None:
    """Turn a number of Python, numpy or torch (one element) into what JSON can hold."""
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, int | float):
        return value if math.isfinite(value) else None
    raise TypeError(f"metric {key!r} must be a number, got {value!r}")
