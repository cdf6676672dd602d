"""Random streams are reproducible, independent, and named."""

import numpy as np
import pytest
import torch

from metarl.seeding import spawn_generators, stream


def draw(seed, name, names=("init", "policy", "environment")):
    return torch.rand(4, generator=spawn_generators(seed, names)[name])


def test_streams_repeat_and_differ():
    assert torch.equal(draw(0, "policy"), draw(0, "policy"))
    streams = [draw(seed, name) for seed in (0, 1) for name in ("init", "policy", "environment")]
    for i, one in enumerate(streams):
        for other in streams[:i]:
            assert not torch.equal(one, other)


def test_streams_stay_the_same_over_versions():
    """A run that resumes after an update must find its streams again."""
    expected = torch.tensor([0.464006, 0.631201, 0.795796, 0.612988])
    torch.testing.assert_close(draw(0, "policy"), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("key", [(2**32,), (2**64 + 1,), (1, 0), (0, 1)])
def test_the_whole_of_a_key_counts(key):
    others = [(0,), (1,), (0, 0)]
    drawn = torch.rand(3, generator=stream(*key))
    assert all(not torch.equal(drawn, torch.rand(3, generator=stream(*k))) for k in others)
    assert torch.equal(drawn, torch.rand(3, generator=stream(*key)))


def test_seeds_of_numpy_are_seeds_and_others_are_named():
    same = [torch.rand(2, generator=stream(s)) for s in (3, np.int64(3), np.uint8(3))]
    assert torch.equal(same[0], same[1])
    assert torch.equal(same[0], same[2])
    with pytest.raises(ValueError, match="-1"):
        stream(-1)
    with pytest.raises(TypeError, match=r"1\.5"):
        stream(1.5)
