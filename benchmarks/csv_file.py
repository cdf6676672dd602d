"""Results as CSV files, which tables and pictures are made from."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any


def read_csv(path: Path) -> list[dict[str, str]]:
    """The lines by column, all words; none where there is no file yet."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def replace_rows(path: Path, fresh: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Write lines into a file, in place of those that say the same in some columns."""
    new = {_words(row, columns) for row in fresh}
    kept = [row for row in read_csv(path) if _words(row, columns) not in new]
    write_csv(path, [*kept, *fresh])


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one line a row, at least one; its columns are those of the first."""
    rows = list(rows)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def groups_of(
    rows: Iterable[Mapping[str, Any]], *columns: str
) -> dict[tuple[Any, ...], list[Mapping[str, Any]]]:
    """The lines that have the same in some columns, in their order."""
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in columns), []).append(row)
    return groups


def _words(row: Mapping[str, Any], columns: Sequence[str]) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in columns)
