"""Settings and results as JSON files: strict JSON, written atomically, read with a clear error."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from metarl.errors import RunDirectoryError
from metarl.foreign_bytes import understood
from metarl.runs import atomic


def to_json(value: object, where: str) -> Any:
    """Turn settings and results into what JSON can hold; NaN and infinity become None.

    Args:
        value: Numbers, strings, arrays of numpy or torch, paths, devices, dataclasses, and mappings
            and sequences of them.
        where: What to call the value in an error.

    Raises:
        TypeError: The value, or something in it, is nothing of the above.
    """
    if hasattr(value, "tolist"):  # arrays and scalars of numpy and torch
        value = value.tolist()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    if isinstance(value, Mapping):
        return {str(key): to_json(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [to_json(item, where) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Path | torch.device | torch.dtype):
        return str(value)
    raise TypeError(f"{where} is a {type(value).__name__}, which JSON cannot hold")


def write_json(path: Path, content: object) -> None:
    """Write JSON values to a file, atomically, indented."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    atomic.write_bytes(path, text.encode() + b"\n")


def strict_json(data: bytes) -> Any:
    """The value that JSON text holds; JSON has no NaN and no infinity, whatever others write.

    Raises:
        ValueError: It is no JSON (`RecursionError`, `UnicodeError`, ...: call it in `understood`).
    """
    return json.loads(data, parse_constant=_finite, parse_float=_finite)


def _finite(word: str) -> float:
    if not math.isfinite(value := float(word)):
        raise ValueError(f"{word[:20]} is no number of JSON")
    return value


def read_json(path: Path) -> dict[str, Any]:
    """Read the object that a file holds.

    Raises:
        RunDirectoryError: The file holds no JSON object.
        OSError: It cannot be read.
    """
    data = path.read_bytes()
    with understood(path, "is not valid JSON", "restore it"):
        content = strict_json(data)
    if not isinstance(content, dict):
        raise RunDirectoryError(f"{path} does not hold a JSON object; restore it")
    return content
