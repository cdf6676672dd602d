"""Tensors are found wherever they are nested, in order."""

import torch

from metarl.core import nested_tensors


def test_tensors_are_found_in_order_and_nothing_else_is():
    a, b, c, d = torch.arange(4)
    found = list(nested_tensors(({"x": a, "n": 3}, [b, ("word", c)], None, d)))
    assert [int(t) for t in found] == [0, 1, 2, 3]
    assert not list(nested_tensors({"n": (1, "word")}))
