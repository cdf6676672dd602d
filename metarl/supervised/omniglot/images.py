"""Omniglot (Lake, Salakhutdinov, Tenenbaum 2015): 1,623 characters, each drawn by 20 people.

Images are kept as bytes, grey as in the files: paper 255, ink 0. `pixels` makes floats of them,
for a meta-batch at a time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from metarl.supervised.omniglot.cache import Resize, load_cached
from metarl.supervised.task_dataset import TaskDataset

Ink = Literal[0, 1]


@dataclass(frozen=True, eq=False)
class Omniglot:
    """Characters and their drawings.

    Attributes:
        images: uint8 ``[C, 20, S, S]``; paper 255, ink 0. The 20 people are in the same order for
            every character of an alphabet.
        characters: The C names, ``Alphabet/characterNN``, sorted.
        parts: ``images_background`` or ``images_evaluation``, for each character.
    """

    images: Tensor
    characters: tuple[str, ...]
    parts: tuple[str, ...]

    @cached_property
    def alphabets(self) -> dict[str, tuple[str, ...]]:
        """The characters of each alphabet, both sorted."""
        found: dict[str, list[str]] = {}
        for name in sorted(self.characters):
            found.setdefault(name.split("/")[0], []).append(name)
        return {alphabet: tuple(names) for alphabet, names in found.items()}

    def select(self, characters: Iterable[str]) -> Omniglot:
        """Return the images of these characters alone, in this order.

        Raises:
            ValueError: There is no such character.
        """
        place = {name: i for i, name in enumerate(self.characters)}
        names = tuple(characters)
        missing = [name for name in names if name not in place]
        if missing:
            raise ValueError(f"there is no character {missing[0]!r}; they are {_some(place)}")
        rows = [place[name] for name in names]
        images = self.images[torch.tensor(rows, dtype=torch.int64)]
        return Omniglot(images, names, tuple(self.parts[row] for row in rows))

    def part(self, name: Literal["images_background", "images_evaluation"]) -> Omniglot:
        """The authors' own split: 30 alphabets to learn from, 20 others to be judged by."""
        chosen = (c for c, p in zip(self.characters, self.parts, strict=True) if p == name)
        return self.select(chosen)

    def rotated(self) -> Omniglot:
        """Four characters of each: turned by 0, 90, 180 and 270 degrees, ``[4 C, 20, S, S]``.

        Split the characters first, so that the rotations of one stay on one side.
        """
        turned = torch.stack([self.images.rot90(k, (2, 3)) for k in range(4)], dim=1)
        return Omniglot(
            turned.flatten(0, 1),
            tuple(f"{name}@{90 * k}" for name in self.characters for k in range(4)),
            tuple(part for part in self.parts for _ in range(4)),
        )

    def examples(self) -> tuple[Tensor, Tensor]:
        """All drawings: images uint8 ``[C * 20, 1, S, S]``, character numbers ``[C * 20]``."""
        count, drawings = self.images.shape[:2]
        labels = torch.arange(count).repeat_interleave(drawings)
        return self.images.flatten(0, 1).unsqueeze(1), labels


def load_omniglot(
    folder: Path,
    *,
    size: int = 28,
    resize: Resize = "lanczos",
    cache: Path | None = None,
    complete: bool = True,
) -> Omniglot:
    """Load the images; the first time takes seconds, later a small part of one.

    Args:
        folder: Holds ``images_background`` and ``images_evaluation``, each a zip archive as the
            authors publish it or a folder of the same layout.
        size: Side of the square images, pixels.
        resize: ``lanczos`` on the grey image, or ``nearest``, which keeps two colours. Published
            code asks for Lanczos and gets nearest, since the files have one bit a pixel.
        cache: Folder for the resized images; if None, `folder`, or where that cannot be
            written to, the user's cache folder.
        complete: Refuse data of fewer or more characters than the authors publish.

    Returns:
        All characters, sorted by alphabet and number.

    Raises:
        DataError: The data are missing, incomplete or damaged; the message says what to do.
    """
    images, characters, parts = load_cached(folder, size, resize, cache, complete)
    return Omniglot(images, characters, parts)


def pixels(images: Tensor, ink: Ink = 1) -> Tensor:
    """Grey values to floats in [0, 1].

    Args:
        images: Bytes, or floats from 0 to 255; paper 255 and ink 0.
        ink: Value of ink; paper has the other. 1 is usual in few-shot learning; published code
            for the alphabets leaves ink at 0.

    Returns:
        float32 of the same shape.
    """
    grey = 255 - images if ink == 1 else images
    return grey.to(torch.float32) / 255


def omniglot_tasks(
    omniglot: Omniglot,
    ways: int,
    shots: int,
    query_shots: int,
    *,
    rotations: bool = True,
    ink: Ink = 1,
    num_tasks: int | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> TaskDataset:
    """Few-shot tasks of some characters.

    Args:
        omniglot: The characters of one side of a split.
        ways: Characters in a task.
        shots: Drawings of each to adapt with.
        query_shots: Other drawings of each to be judged by.
        rotations: Count each character turned by 90, 180 and 270 degrees as one more.
        ink: Value of ink, see `pixels`.
        num_tasks: Number of tasks; endless if None.
        seed: Seed of the tasks, where they are numbered.
        device: Device of images and tasks.
    """
    images, labels = (omniglot.rotated() if rotations else omniglot).examples()
    return TaskDataset(
        (images, labels),
        ways,
        shots,
        query_shots,
        num_tasks=num_tasks,
        seed=seed,
        device=device,
        transform=partial(pixels, ink=ink),
    )


def _some(names: Iterable[str]) -> str:
    known = list(names)
    return ", ".join(known[:3]) + (f", ... ({len(known)})" if len(known) > 3 else "")
