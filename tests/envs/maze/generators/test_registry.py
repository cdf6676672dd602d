"""What every generator promises."""

import pytest
import torch

from envs import pillar_maze
from envs.maze.bits import pack_rows
from envs.maze.generators import GENERATORS, make_layout

CPU = torch.device("cpu")
SIDE = 15
FIXED = {"pillars", "empty"}
"""Generators that leave nothing to chance."""
every_generator = pytest.mark.parametrize("name", GENERATORS)


def draw(name: str, n: int, side: int = SIDE, seed: int = 0) -> torch.Tensor:
    return GENERATORS[name](n, side, torch.Generator().manual_seed(seed), CPU)


@every_generator
def test_shape_and_border(name: str) -> None:
    for n in (0, 1, 7):
        walls = draw(name, n)
        assert (walls.shape, walls.dtype) == ((n, SIDE, SIDE), torch.bool)
        assert walls[:, [0, -1]].all()
        assert walls[:, :, [0, -1]].all()


@every_generator
def test_all_comes_from_the_generator(name: str) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first, again, other = draw(name, 50), draw(name, 50), draw(name, 50, seed=1)
    assert torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), before)
    if name in FIXED:
        assert torch.equal(first, other)
    else:
        assert not torch.equal(first, other)
        assert len(pack_rows(first).unique(dim=0)) == 50


@every_generator
def test_single_layouts(name: str) -> None:
    layout = make_layout(name, SIDE)
    assert layout == make_layout(name, SIDE)
    assert layout.num_free >= 2
    assert (layout == make_layout(name, SIDE, seed=1)) == (name in FIXED)


@every_generator
def test_bad_sides_are_refused(name: str) -> None:
    for side, message in (
        (3, "at least 5, got 3"),
        (-9, "at least 5"),
        (64, "at most|must be odd"),
    ):
        with pytest.raises(ValueError, match=f"size must be .*{message}|size {message}"):
            draw(name, 1, side)
    for side in ("13", 13.5, None, True):
        with pytest.raises((ValueError, TypeError), match="size must be a whole number"):
            draw(name, 1, side)  # type: ignore[arg-type]


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match=r"one of \['pillars', 'dfs'.*got 'spirals'"):
        make_layout("spirals", 13)


def test_pillars_are_as_they_were() -> None:
    assert make_layout("pillars", 13) == pillar_maze(13)
    assert torch.equal(draw("pillars", 2, 13)[1], torch.tensor(pillar_maze(13).walls))
