"""Alphabets as tasks: what is trained on, what is held out, and how minibatches are drawn."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from metarl.supervised.omniglot.alphabets import (
    AlphabetBatches,
    AlphabetSettings,
    AlphabetTasks,
    alphabet_tasks,
    choose_alphabets,
)
from metarl.supervised.omniglot.images import Omniglot
from metarl.supervised.omniglot.splits import split_alphabets
from tests.metarl.supervised.omniglot.tiny_omniglot import needs_real_images

WAYS, DRAWINGS = 3, 5
SIDES = {
    "B": ("B/character04", "B/character01", "B/character02"),
    "A": ("A/character02", "A/character03", "A/character01"),
}
PLAIN = AlphabetSettings(batch_size=4, distortion=None)


def omniglot() -> Omniglot:
    """Two alphabets of four characters; a pixel tells the alphabet, character and drawing."""
    names = tuple(f"{a}/character{c:02}" for a in "AB" for c in range(1, 5))
    values = torch.arange(8).unsqueeze(1) * DRAWINGS + torch.arange(DRAWINGS)
    images = values.to(torch.uint8).view(8, DRAWINGS, 1, 1).expand(-1, -1, 6, 6).contiguous()
    return Omniglot(images, names, ("images_background",) * 8)


def value(name: str, drawing: int) -> int:
    return omniglot().characters.index(name) * DRAWINGS + drawing


@pytest.fixture
def tasks() -> AlphabetTasks:
    return alphabet_tasks(omniglot(), SIDES, num_held_out=2)


def drawn(inputs: Tensor) -> Tensor:
    """Which drawings these are: their bytes ``[N, B]``."""
    return (inputs[:, :, 0, 0, 0] * 255).round().long()


def batches(tasks: AlphabetTasks, settings=PLAIN, chosen=(0, 1), key=(0,)) -> AlphabetBatches:
    return AlphabetBatches.start(tasks, chosen, settings, key)


def test_classes_are_characters_in_order_and_the_first_drawings_are_held_out(tasks) -> None:
    assert tasks.names == ("B", "A")
    assert len(tasks) == 2
    assert tasks.train.inputs.shape == (2, WAYS * 3, 1, 6, 6)
    assert tasks.held_out.inputs.shape == (2, WAYS * 2, 1, 6, 6)
    for row, characters in enumerate(SIDES.values()):
        for side, drawings in ((tasks.train, range(2, 5)), (tasks.held_out, range(2))):
            expected = [value(name, d) for name in characters for d in drawings]
            assert side.inputs[row, :, 0, 0, 0].tolist() == expected
            assert side.targets[row].tolist() == [c for c in range(WAYS) for _ in drawings]


@pytest.mark.parametrize("num", [0, 5])
def test_drawings_are_left_on_both_sides(num: int) -> None:
    with pytest.raises(ValueError, match=f"{num} of 5 drawings held out"):
        alphabet_tasks(omniglot(), SIDES, num_held_out=num)


@pytest.mark.parametrize("alphabets", [{}, {**SIDES, "A": SIDES["A"][:2]}])
def test_alphabets_have_the_same_number_of_characters(alphabets: dict) -> None:
    with pytest.raises(ValueError, match="all must have the same number"):
        alphabet_tasks(omniglot(), alphabets, num_held_out=2)


def test_minibatches_pass_over_the_training_images(tasks) -> None:
    """Nine images in fours: after nine minibatches each has been seen exactly four times."""
    source = batches(tasks)
    seen = [source.draw("support") for _ in range(9)]
    for row in range(2):
        values = torch.cat([drawn(batch.inputs)[row] for batch in seen])
        assert values.bincount(minlength=64).unique().tolist() == [0, 4]
        assert sorted(values[:9].tolist()) == sorted(tasks.train.inputs[row, :, 0, 0, 0].tolist())
        assert values[:9].tolist() != values[9:18].tolist()
        images, classes = (part[row] for part in tasks.train)
        known = dict(zip(images[:, 0, 0, 0].tolist(), classes.tolist(), strict=True))
        targets = torch.cat([batch.targets[row] for batch in seen])
        assert [known[v] for v in values.tolist()] == targets.tolist()


def test_the_query_is_all_that_was_held_out(tasks) -> None:
    query = batches(tasks, chosen=(1, 0, 1)).draw("query")
    assert torch.equal(drawn(query.inputs), tasks.held_out.inputs[[1, 0, 1], :, 0, 0, 0].long())
    assert torch.equal(query.targets, tasks.held_out.targets[[1, 0, 1]])


def test_one_alphabet_twice_draws_differently(tasks) -> None:
    first, second = drawn(batches(tasks, chosen=(0, 0)).minibatch().inputs)
    assert first.tolist() != second.tolist()


@pytest.mark.parametrize("size", [1, 2, 3])
def test_draws_do_not_depend_on_chunks_or_on_their_order(tasks, size: int) -> None:
    chosen = (0, 1, 1)
    settings = AlphabetSettings(batch_size=4)
    whole = batches(tasks, settings, chosen)
    expected = [whole.minibatch() for _ in range(4)]
    source = batches(tasks, settings, chosen)
    for half in (expected[:2], expected[2:]):  # taken apart twice
        for start in (s for s in (2, 1, 0) if s % size == 0):
            where = slice(start, start + size)
            part = source.select(where)
            for batch in half:
                found = part.minibatch()
                assert torch.equal(found.inputs, batch.inputs[where])
                assert torch.equal(found.targets, batch.targets[where])


def test_looking_at_held_out_images_changes_no_minibatch(tasks) -> None:
    settings = AlphabetSettings(batch_size=4)
    plain, watched = batches(tasks, settings), batches(tasks, settings)
    for _ in range(3):
        watched.held_out()
        assert torch.equal(plain.minibatch().inputs, watched.minibatch().inputs)


def test_the_key_decides(tasks) -> None:
    settings = AlphabetSettings(batch_size=4)
    first, again, other = (
        batches(tasks, settings, key=key).minibatch().inputs for key in ((1, 2), (1, 2), (1, 3))
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def striped() -> AlphabetTasks:
    """Images that a distortion changes: black on the left half."""
    tiny = omniglot()
    tiny.images.fill_(255)
    tiny.images[..., :3] = 0
    return alphabet_tasks(tiny, SIDES, num_held_out=2)


def test_images_are_distorted_anew_and_held_out_ones_if_asked() -> None:
    tasks = striped()
    plain = batches(tasks).held_out().inputs
    assert torch.equal(plain, tasks.held_out.inputs.float() / 255)
    settings = AlphabetSettings(batch_size=9, distort_held_out=False)
    source = batches(tasks, settings)
    assert not torch.equal(source.minibatch().inputs, source.minibatch().inputs)
    assert torch.equal(source.held_out().inputs, plain)
    published = batches(tasks, AlphabetSettings())
    assert not torch.equal(published.held_out().inputs, plain)


def test_ink_and_paper_can_be_exchanged() -> None:
    tasks = striped()
    dark, light = (
        batches(tasks, AlphabetSettings(batch_size=4, ink=ink)).minibatch().inputs for ink in (0, 1)
    )
    torch.testing.assert_close(dark, 1 - light)
    assert batches(tasks, AlphabetSettings(distortion=None, ink=0)).held_out().inputs[
        0, 0, 0, 0, 0
    ] == pytest.approx(0.0)


def test_empty_minibatches_are_refused() -> None:
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        AlphabetSettings(batch_size=0)


def test_a_meta_batch_repeats_alphabets_only_when_there_are_too_few() -> None:
    generator = torch.Generator().manual_seed(0)
    assert len(set(choose_alphabets(30, 20, generator))) == 20
    chosen = choose_alphabets(3, 8, generator)
    assert len(chosen) == 8
    assert sorted(chosen[:3]) == sorted(chosen[3:6]) == [0, 1, 2]
    assert choose_alphabets(1, 4, generator) == [0, 0, 0, 0]
    first, again = (choose_alphabets(30, 5, torch.Generator().manual_seed(1)) for _ in range(2))
    assert first == again
    for available, num in ((0, 3), (3, 0)):
        with pytest.raises(ValueError, match="both must be above 0"):
            choose_alphabets(available, num, generator)


@needs_real_images
def test_the_real_alphabets(real: Omniglot) -> None:
    tasks = alphabet_tasks(real, split_alphabets(real, seed=0).pretrain)
    assert tasks.train.inputs.shape == (30, 300, 1, 28, 28)
    assert tasks.held_out.inputs.shape == (30, 100, 1, 28, 28)
    batch = batches(tasks, AlphabetSettings(), chosen=range(20)).minibatch()
    assert batch.inputs.shape == (20, 20, 1, 28, 28)
    assert batch.inputs.mean() > 0.7  # paper is 1


@pytest.mark.gpu
def test_a_gpu_draws_the_same(tasks) -> None:
    settings = AlphabetSettings(batch_size=4)
    here, there = batches(tasks, settings), batches(tasks.to("cuda"), settings)
    assert torch.equal(there.minibatch().targets.cpu(), here.minibatch().targets)
    assert there.held_out().inputs.device.type == "cuda"
