"""Affine distortion: each draw does what it says, and nothing is invented but the fill."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from metarl.supervised.omniglot.distortion import Distortion, distort


def image(side: int = 8) -> Tensor:
    """Every pixel a number of its own, from 1: ``[1, 1, S, S]``."""
    return torch.arange(1.0, side * side + 1).view(1, 1, side, side)


def draws(degrees: float = 0, right: float = 0, down: float = 0, size: float = 1) -> Tensor:
    return torch.tensor([[math.radians(degrees), right, down, size]])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_nothing_is_moved_without_a_distortion() -> None:
    assert torch.equal(distort(image(), draws(), 0.0), image())


@pytest.mark.parametrize("quarters", [1, 2, 3, 4])
@pytest.mark.parametrize("side", [8, 9])
def test_quarter_turns_are_anticlockwise(quarters: int, side: int) -> None:
    turned = distort(image(side), draws(degrees=90 * quarters), 0.0)
    assert torch.equal(turned, image(side).rot90(quarters, (2, 3)))


def test_moves_are_parts_of_the_side_and_uncover_the_fill() -> None:
    moved = distort(image(), draws(right=0.25, down=-0.125), 255.0)
    expected = torch.full((1, 1, 8, 8), 255.0)
    expected[..., :-1, 2:] = image()[..., 1:, :-2]
    assert torch.equal(moved, expected)


def test_half_the_size_leaves_a_quarter() -> None:
    small = distort(image(), draws(size=0.5), -1.0)
    assert (small != -1).sum() == 16
    assert (small[..., 2:6, 2:6] != -1).all()
    assert (distort(image(), draws(size=2.0), -1.0) != -1).all()


def test_turning_comes_before_moving() -> None:
    """A quarter turn and then a move right, worked out by hand."""
    found = distort(image(), draws(degrees=90, right=0.125), 0.0)
    expected = torch.zeros(1, 1, 8, 8)
    expected[..., 1:] = image().rot90(1, (2, 3))[..., :-1]
    assert torch.equal(found, expected)


@settings(max_examples=40)
@given(st.integers(0, 1000), st.sampled_from(["paper", "black"]))
def test_only_original_values_and_the_fill_appear(seed: int, fill: str) -> None:
    """Nearest pixels in bytes, exactly: no value is mixed or rounded."""
    distortion = Distortion(fill=fill)
    images = torch.randint(1, 255, (5, 1, 28, 28), dtype=torch.uint8, generator=generator(seed))
    moved = distortion.apply(images, distortion.sample(5, generator(seed)))
    for original, new in zip(images, moved, strict=True):
        allowed = {*original.flatten().tolist(), 255 if fill == "paper" else 0}
        assert set(new.flatten().tolist()) <= allowed


def test_paper_stays_paper_and_black_shows() -> None:
    paper = torch.full((50, 1, 28, 28), 255, dtype=torch.uint8)
    drawn = Distortion().sample(50, generator())
    assert (Distortion().apply(paper, drawn) == 255).all()
    black = Distortion(fill="black").apply(paper, drawn)
    assert 0.05 < (black == 0).float().mean() < 0.5


def test_draws_fill_their_ranges() -> None:
    angle, right, down, size = Distortion().sample(5000, generator()).unbind(1)
    for values, low, high in (
        (angle, 0, 2 * math.pi),
        (right, -0.2, 0.2),
        (down, -0.2, 0.2),
        (size, 0.8, 1.2),
    ):
        width = high - low
        assert low <= values.min() < low + 0.01 * width
        assert high - 0.01 * width < values.max() <= high + 1e-6
        assert abs(values.mean() - (low + high) / 2) < 0.03 * width


def test_images_are_distorted_each_by_its_own_draw() -> None:
    images = image().repeat(3, 1, 1, 1)
    each = torch.cat([draws(), draws(degrees=90), draws(right=0.5)])
    together = distort(images, each, 0.0)
    for n in range(3):
        assert torch.equal(together[n : n + 1], distort(image(), each[n : n + 1], 0.0))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"scale": (0.0, 1.0)}, "scale must be above 0"),
        ({"scale": (1.2, 0.8)}, "scale must be .*in order"),
        ({"degrees": (0.0, math.inf)}, "degrees must be"),
        ({"translate": 1.5}, "translate must be a part of the side"),
        ({"fill": "white"}, "fill must be one of paper, black; got 'white'"),
    ],
)
def test_what_is_no_distortion_is_refused(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Distortion(**wrong)
