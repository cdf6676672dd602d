"""Encoders of views: every number one-hot, the same filters everywhere, the rest as it is."""

import pytest
import torch
from torch.nn.functional import conv2d, one_hot

from metarl.core import stack
from metarl.nn import ViewEncoder, ViewLayout

MINIGRID = ViewLayout(7, 7, 3, (11, 6, 3))
BINARY = ViewLayout(3, 3, 2, (2, 4), 1)
SHADOWED = ViewLayout(5, 5, 1, (3,), -1)
N, B, REST = 2, 4, 6


def observations(view, seed=0):
    g = torch.Generator().manual_seed(seed)
    size = N, B, view.rows, view.columns
    parts = [torch.randint(count, size, generator=g) + view.low for count in view.values]
    cells = torch.stack(parts, -1)
    return cells, torch.cat((cells.flatten(2).float(), torch.randn(N, B, REST, generator=g)), -1)


def expected_cells(view, cells):
    parts = [one_hot(cells[..., c] - view.low, count) for c, count in enumerate(view.values)]
    parts = [part[..., 1:] if part.shape[-1] == 2 else part for part in parts]
    return torch.cat(parts, -1).float()


@pytest.mark.parametrize("view", [MINIGRID, SHADOWED, BINARY])
def test_every_number_is_one_hot_and_the_rest_passes_by(view):
    encoder = ViewEncoder(view, REST)
    cells, inputs = observations(view)
    found = encoder({}, inputs)
    assert found.shape == (N, B, encoder.num_outputs)
    assert torch.equal(found[..., :-REST], expected_cells(view, cells).flatten(2))
    assert torch.equal(found[..., -REST:], inputs[..., -REST:])
    assert encoder.init(torch.Generator()) == {}
    assert encoder.num_inputs == inputs.shape[-1]


@pytest.mark.parametrize("view", [MINIGRID, SHADOWED, BINARY])
def test_every_agent_has_filters_of_its_own(view):
    encoder = ViewEncoder(view, REST, filters=8)
    params = stack([encoder.init(torch.Generator().manual_seed(n)) for n in range(N)])
    cells, inputs = observations(view)
    found = encoder(params, inputs)
    assert found.shape == (N, B, encoder.num_outputs)
    for n in range(N):
        pictures = expected_cells(view, cells)[n].permute(0, 3, 1, 2)
        expected = conv2d(pictures, params["weight"][n], params["bias"][n]).relu().flatten(1)
        torch.testing.assert_close(found[n, :, :-REST], expected)
    assert torch.equal(found[..., -REST:], inputs[..., -REST:])


def test_numbers_that_are_not_whole_go_into_a_convolution_as_they_are():
    encoder = ViewEncoder(ViewLayout(5, 5, 2), REST, filters=3)
    params = stack([encoder.init(torch.Generator().manual_seed(n)) for n in range(N)])
    inputs = torch.randn(N, B, 50 + REST)
    found = encoder(params, inputs)
    pictures = inputs[0, :, :50].view(B, 5, 5, 2).permute(0, 3, 1, 2)
    expected = conv2d(pictures, params["weight"][0], params["bias"][0]).relu().flatten(1)
    torch.testing.assert_close(found[0, :, :-REST], expected)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ViewEncoder(ViewLayout(2, 2, 1, (2,)), 0, 4), "needs a view of 3 x 3 cells"),
        (lambda: ViewEncoder(ViewLayout(5, 5), 0), "say how many values"),
        (lambda: ViewLayout(0, 3), "rows, columns and channels"),
        (lambda: ViewLayout(3, 3, 2, (2,)), "2 channels has a positive number of values for each"),
    ],
)
def test_what_cannot_be_encoded_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
