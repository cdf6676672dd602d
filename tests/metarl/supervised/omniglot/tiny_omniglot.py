"""A tiny data set laid out like Omniglot, and where the real one is."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

REAL = Path(__file__).parents[5] / "shared" / "data" / "omniglot"

needs_real_images = pytest.mark.skipif(
    not (REAL / "images_background.zip").is_file(),
    reason=f"needs the real images, and they are not in {REAL}",
)

ALPHABETS = {
    "images_background": {"Greek": 3, "Korean": 2},
    "images_evaluation": {"Hebrew": 2},
}
NUM_DRAWINGS = 4


def drawing(seed: int, side: int = 105) -> np.ndarray:
    """Black strokes on white, bool, True is paper."""
    rng = np.random.default_rng(seed)
    image = np.ones((side, side), dtype=bool)
    for _ in range(3):
        row, column = rng.integers(5, side - 25, size=2)
        image[row : row + 5, column : column + 20] = False
        image[row : row + 20, column : column + 5] = False
    return image


def png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).convert("1").save(buffer, "PNG")
    return buffer.getvalue()


def members(alphabets: dict[str, dict[str, int]] = ALPHABETS) -> Iterator[tuple[str, bytes]]:
    """Names and PNGs of every drawing."""
    seed = 0
    for part, found in alphabets.items():
        for alphabet, count in found.items():
            for character in range(1, count + 1):
                for drawer in range(1, NUM_DRAWINGS + 1):
                    seed += 1
                    name = f"{part}/{alphabet}/character{character:02}/{seed:04}_{drawer:02}.png"
                    yield name, png(drawing(seed))


def write_archives(
    folder: Path,
    change: Callable[[list[tuple[str, bytes]]], list[tuple[str, bytes]]] = list,
    alphabets: dict[str, dict[str, int]] = ALPHABETS,
    compression: int = zipfile.ZIP_STORED,
) -> Path:
    """Write the two archives, with their members changed or in another order."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in alphabets:
        with zipfile.ZipFile(folder / f"{part}.zip", "w", compression) as archive:
            own = [(n, data) for n, data in members(alphabets) if n.startswith(part)]
            for name, data in change(own):
                archive.writestr(name, data)
    return folder


def write_folders(folder: Path) -> Path:
    """Write the same as files."""
    for name, data in members():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder
