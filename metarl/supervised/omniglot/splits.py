"""Splits of characters, and of alphabets: for training, for choosing settings, for the test.

A split is a fact, not a matter of luck: it follows from names and numbers alone, the same on every
machine, whatever order a file system lists things in.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

from metarl.supervised.omniglot.images import Omniglot


class CharacterSplit(NamedTuple):
    """Disjoint characters; together they are all."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]


def split_characters(
    characters: Iterable[str],
    name: str = "usual",
    num_train: int = 1100,
    num_validation: int = 100,
) -> CharacterSplit:
    """Split characters, whatever their alphabet, for few-shot tasks.

    The usual numbers are 1,200 and 423; of the 1,200, the last 100 are for validation. Published
    code draws the characters at random, another split in every run; here the order is that of a
    hash of each name, so that the split has a name and can be quoted. Rotate afterwards: the four
    rotations of a character are on one side.

    Args:
        characters: All names, in any order.
        name: Another name gives another split.
        num_train: Characters to train on.
        num_validation: Characters to choose settings by; the rest is for the test.

    Raises:
        ValueError: Nothing would be left for the test, or a count is negative.
    """
    order = sorted(characters, key=lambda c: hashlib.sha256(f"{name}/{c}".encode()).digest())
    end = num_train + num_validation
    if min(num_train, num_validation) < 0 or end >= len(order):
        raise ValueError(
            f"{num_train} characters to train on and {num_validation} for validation leave none of "
            f"{len(order)} for the test: choose fewer"
        )
    sides = order[:num_train], order[num_train:end], order[end:]
    return CharacterSplit(*(tuple(sorted(side)) for side in sides))


@dataclass(frozen=True)
class AlphabetSplit:
    """Alphabets as tasks: each with the characters that are its classes, in the order of classes.

    Attributes:
        seed: Seed of the split.
        pretrain: Alphabets to meta-train on.
        validation: Alphabets to choose settings by.
        test: Alphabets to report on.
    """

    seed: int
    pretrain: dict[str, tuple[str, ...]]
    validation: dict[str, tuple[str, ...]]
    test: dict[str, tuple[str, ...]]

    def manifest(self) -> dict[str, object]:
        """Everything as plain values for a JSON file."""
        return asdict(self)


def split_alphabets(
    omniglot: Omniglot,
    seed: int,
    num_pretrain: int = 30,
    num_test: int = 10,
    num_characters: int = 20,
) -> AlphabetSplit:
    """Split the alphabets for multi-shot tasks (Flennerhag et al. 2020, section 5.1).

    Alphabets of too few characters are left out (4 of 50 have less than 20). The others are
    shuffled; of each, `num_characters` are drawn, by a generator of its own.

    Args:
        omniglot: All characters.
        seed: Seed of the split.
        num_pretrain: Alphabets to meta-train on.
        num_test: Alphabets to report on; the rest is for validation.
        num_characters: Characters of each.

    Raises:
        ValueError: There are not that many alphabets.
    """
    large = [a for a, found in omniglot.alphabets.items() if len(found) >= num_characters]
    if num_pretrain < 1 or num_test < 1 or num_pretrain + num_test > len(large):
        raise ValueError(
            f"{num_pretrain} alphabets to meta-train on and {num_test} to test on, but there are "
            f"{len(large)} of at least {num_characters} characters: each needs at least 1, and "
            f"together they must not be more"
        )
    random.Random(f"alphabets {seed}").shuffle(large)

    def drawn(alphabets: Sequence[str]) -> dict[str, tuple[str, ...]]:
        return {
            a: tuple(random.Random(f"{a} {seed}").sample(omniglot.alphabets[a], num_characters))
            for a in alphabets
        }

    # Deviation: the published code takes the test alphabets after those to train on. Taken first,
    # they stay the same, and training sets are nested, whatever num_pretrain is.
    end = num_test + num_pretrain
    return AlphabetSplit(
        seed, drawn(large[num_test:end]), drawn(large[end:]), drawn(large[:num_test])
    )
