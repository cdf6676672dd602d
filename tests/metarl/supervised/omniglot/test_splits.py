"""Splits follow from names and numbers: disjoint, complete, the same on every machine."""

from __future__ import annotations

import hashlib
import json
import random

import pytest
import torch

from metarl.supervised.omniglot.images import Omniglot
from metarl.supervised.omniglot.splits import split_alphabets, split_characters
from tests.metarl.supervised.omniglot.tiny_omniglot import needs_real_images

NAMES = [f"Alphabet{a:02}/character{c:02}" for a in range(12) for c in range(1, 4 + a)]


def omniglot(names: list[str]) -> Omniglot:
    images = torch.zeros(len(names), 20, 1, 1, dtype=torch.uint8)
    return Omniglot(images, tuple(names), ("images_background",) * len(names))


def shuffled(names: list[str]) -> list[str]:
    return random.Random(1).sample(names, len(names))


def test_characters_are_on_one_side_each() -> None:
    split = split_characters(NAMES, num_train=60, num_validation=10)
    assert [len(side) for side in split] == [60, 10, len(NAMES) - 70]
    assert sorted(name for side in split for name in side) == sorted(NAMES)


def test_the_split_of_characters_has_a_name_and_no_order() -> None:
    split = split_characters(NAMES, num_train=60, num_validation=10)
    assert split_characters(shuffled(NAMES), num_train=60, num_validation=10) == split
    assert split_characters(NAMES, "other", num_train=60, num_validation=10) != split


@pytest.mark.parametrize(("train", "validation"), [(100, 2), (200, 0), (-1, 3), (3, -1)])
def test_an_empty_side_is_refused(train: int, validation: int) -> None:
    assert len(NAMES) == 102
    with pytest.raises(ValueError, match="choose fewer"):
        split_characters(NAMES, num_train=train, num_validation=validation)


def split(names: list[str] = NAMES, seed: int = 3, num_pretrain: int = 4):
    return split_alphabets(omniglot(names), seed, num_pretrain, num_test=2, num_characters=6)


def test_small_alphabets_are_left_out_and_the_others_are_on_one_side_each() -> None:
    sides = split()
    assert (len(sides.pretrain), len(sides.validation), len(sides.test)) == (4, 3, 2)
    found = [*sides.pretrain, *sides.validation, *sides.test]
    assert sorted(found) == [f"Alphabet{a:02}" for a in range(3, 12)]
    for side in (sides.pretrain, sides.validation, sides.test):
        for alphabet, names in side.items():
            assert len(set(names)) == 6
            assert all(name.startswith(f"{alphabet}/") and name in NAMES for name in names)


def test_the_split_of_alphabets_does_not_depend_on_any_order_or_other_generator() -> None:
    expected = split().manifest()
    random.seed(99)
    torch.manual_seed(99)
    state = random.getstate()
    assert split(shuffled(NAMES)).manifest() == expected
    assert random.getstate() == state
    assert split(seed=4).manifest() != expected


def test_test_alphabets_stay_and_training_sets_are_nested() -> None:
    small, large = split(num_pretrain=2), split(num_pretrain=6)
    assert small.test == large.test
    assert small.pretrain.items() <= large.pretrain.items()


def test_the_manifest_is_json() -> None:
    manifest = split().manifest()
    assert set(manifest) == {"seed", "pretrain", "validation", "test"}
    assert json.loads(json.dumps(manifest))["pretrain"].keys() == split().pretrain.keys()


@pytest.mark.parametrize("num_pretrain", [0, 8])
def test_more_alphabets_than_there_are_are_refused(num_pretrain: int) -> None:
    with pytest.raises(ValueError, match=r"there are 9 of at least 6 characters"):
        split(num_pretrain=num_pretrain)


@needs_real_images
def test_the_real_splits(real: Omniglot) -> None:
    assert [len(side) for side in split_characters(real.characters)] == [1100, 100, 423]
    sides = split_alphabets(real, seed=8879)
    assert (len(sides.pretrain), len(sides.validation), len(sides.test)) == (30, 6, 10)
    kept = {*sides.pretrain, *sides.validation, *sides.test}
    small = {"Blackfoot_(Canadian_Aboriginal_Syllabics)", "Ojibwe_(Canadian_Aboriginal_Syllabics)"}
    assert set(real.alphabets) - kept == small | {
        "Inuktitut_(Canadian_Aboriginal_Syllabics)",
        "Tagalog",
    }
    assert len(split_alphabets(real, seed=0, num_pretrain=1).validation) == 35


@needs_real_images
def test_the_real_splits_never_change(real: Omniglot) -> None:
    """Published results name them."""

    def digest(value: object) -> str:
        return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:12]

    assert digest(split_characters(real.characters)) == "90481cafbbdd"
    assert digest(split_alphabets(real, seed=0).manifest()) == "18b08039cadb"
