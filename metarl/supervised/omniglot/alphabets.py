"""Multi-shot Omniglot: each alphabet is a task of 20 characters, learned from many minibatches.

Flennerhag et al. (2019, Leap; 2020, WarpGrad, section 5.1): of the 20 drawings of a character 15
are for training and 5 are held out; every image is distorted again whenever it is drawn. The "100
shots" in the papers' tables are 100 steps of adaptation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from metarl.supervised.examples import Examples
from metarl.supervised.omniglot.images import Omniglot


@dataclass(frozen=True, eq=False)
class AlphabetTasks:
    """The images of A alphabets, as bytes: 0 is ink and 255 paper.

    Attributes:
        names: The alphabets.
        train: Inputs uint8 ``[A, 300, 1, S, S]``, targets ``[A, 300]``, 15 of each class.
        held_out: Inputs uint8 ``[A, 100, 1, S, S]``, targets ``[A, 100]``, 5 of each class.
    """

    names: tuple[str, ...]
    train: Examples
    held_out: Examples

    def __len__(self) -> int:
        return len(self.names)

    def to(self, device: torch.device | str) -> AlphabetTasks:
        """The same images on a device."""
        return AlphabetTasks(self.names, self.train.to(device), self.held_out.to(device))


def alphabet_tasks(
    omniglot: Omniglot,
    alphabets: Mapping[str, Sequence[str]],
    num_held_out: int = 5,
    device: torch.device | str = "cpu",
) -> AlphabetTasks:
    """Make tasks of one side of an `AlphabetSplit`.

    Args:
        omniglot: All characters.
        alphabets: The characters of each, in the order of the classes.
        num_held_out: Drawings of each character that are held out: those of the first people.
            Which of the 20 people come first is the same for all characters of an alphabet.
        device: Device of the images.

    Raises:
        ValueError: There are no alphabets, they differ in their number of characters, or there is
            no drawing to train on or to hold out.
    """
    num_drawings = omniglot.images.shape[1]
    if not 0 < num_held_out < num_drawings:
        raise ValueError(
            f"{num_held_out} of {num_drawings} drawings held out: at least 1 must be, and at "
            f"least 1 must be left to train on"
        )
    ways = {len(characters) for characters in alphabets.values()}
    if len(ways) != 1:
        raise ValueError(
            f"alphabets of {sorted(ways)} characters: there must be at least one alphabet, and all "
            f"must have the same number"
        )
    stacked = torch.stack([omniglot.select(found).images for found in alphabets.values()])
    sides = stacked[:, :, num_held_out:], stacked[:, :, :num_held_out]  # [A, 20, D, S, S]
    train, held_out = (_side(images).to(device) for images in sides)
    return AlphabetTasks(tuple(alphabets), train, held_out)


def _side(images: Tensor) -> Examples:
    alphabets, ways, drawings = images.shape[:3]
    targets = torch.arange(ways).repeat_interleave(drawings).repeat(alphabets, 1)
    return Examples(images.flatten(1, 2).unsqueeze(2), targets)


def choose_alphabets(available: int, num_tasks: int, generator: torch.Generator) -> list[int]:
    """Choose a meta-batch: all alphabets in a random order, then again if there are too few."""
    if available < 1 or num_tasks < 1:
        raise ValueError(
            f"cannot choose {num_tasks} of {available} alphabets: both must be above 0"
        )
    chosen: list[int] = []
    while len(chosen) < num_tasks:
        chosen += torch.randperm(available, generator=generator).tolist()
    return chosen[:num_tasks]
