"""The images, and the characters that each side of the few-shot split has."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from metarl.errors import UserError
from metarl.supervised import Omniglot, TaskDataset, load_omniglot, omniglot_tasks, split_characters
from metarl.supervised.omniglot.cache import Resize
from metarl.supervised.omniglot.download import default_folder

Side = Literal["train", "validation", "test"]


def load_images(folder: Path | None, resize: Resize = "lanczos", *, complete: bool) -> Omniglot:
    """The images of a folder; of the usual one if None.

    Raises:
        DataError: They are missing or damaged; the message says what to do.
    """
    place = default_folder() if folder is None else folder
    return load_omniglot(place, resize=resize, complete=complete)


def character_tasks(
    omniglot: Omniglot,
    side: Side,
    numbers: tuple[int, int],
    counts: tuple[int, int, int],
    *,
    rotations: bool,
    device: torch.device,
    num_tasks: int | None = None,
    seed: int = 0,
) -> TaskDataset:
    """Few-shot tasks of the characters of one side.

    Args:
        omniglot: All characters.
        side: Which.
        numbers: Characters to train on, and for validation; the rest is for the test.
        counts: Ways, shots, query shots.
        rotations: Count turned characters as further ones.
        device: Where the tasks live.
        num_tasks: How many there are; endless if None.
        seed: Which, where they are numbered.

    Raises:
        UserError: There are not that many characters, or drawings of one.
    """
    try:
        split = split_characters(omniglot.characters, "usual", *numbers)
        chosen = omniglot.select(getattr(split, side))
        ways, shots, query_shots = counts
        return omniglot_tasks(
            chosen,
            ways,
            shots,
            query_shots,
            rotations=rotations,
            num_tasks=num_tasks,
            seed=seed,
            device=device,
        )
    except ValueError as error:
        raise UserError(f"{side} tasks cannot be made: {error}") from error
