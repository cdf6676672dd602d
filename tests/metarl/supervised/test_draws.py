"""Streams of one seed, and draws without replacement."""

from __future__ import annotations

from collections import Counter

import torch
from hypothesis import given
from hypothesis import strategies as st

from metarl.seeding import stream
from metarl.supervised.task_dataset import draw_distinct


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.data())
def test_draws_are_distinct_and_within_their_population(
    sizes: list[int], data: st.DataObject
) -> None:
    num = data.draw(st.integers(1, min(sizes)))
    population = torch.tensor(sizes)
    drawn = draw_distinct(population, num, stream(data.draw(st.integers(0, 99))))
    assert drawn.shape == (len(sizes), num)
    for size, row in zip(sizes, drawn.tolist(), strict=True):
        assert len(set(row)) == num
        assert all(0 <= x < size for x in row)


def test_every_ordered_draw_is_equally_likely() -> None:
    """Chi-squared over the 12 ordered pairs of 4: the order matters, it becomes class numbers."""
    trials = 24_000
    drawn = draw_distinct(torch.full((trials,), 4), 2, stream(0))
    counts = Counter(map(tuple, drawn.tolist()))
    assert len(counts) == 12
    expected = trials / 12
    statistic = sum((n - expected) ** 2 / expected for n in counts.values())
    assert statistic < 31.3  # 11 degrees of freedom, p = 0.001


def test_a_whole_population_is_a_permutation() -> None:
    drawn = draw_distinct(torch.full((50,), 20), 20, stream(1))
    assert torch.equal(drawn.sort(-1).values, torch.arange(20).expand(50, -1))


def test_a_stream_belongs_to_its_key() -> None:
    keys = [(0,), (1,), (0, 0), (0, 1), (1, 0)]
    first = [torch.rand(4, generator=stream(*key)) for key in keys]
    again = [torch.rand(4, generator=stream(*key)) for key in keys]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert len({tuple(draw.tolist()) for draw in first}) == len(keys)
