"""Parameters as data: partition by patterns, stacking, scoping."""

from __future__ import annotations

import pytest
import torch

from metarl.core import nested_tensors, num_parameters, partition, scope, stack, unstack

NAMES = ("core.weight", "core.warp_in", "core.warp_out", "head.weight", "head.bias")


def test_every_name_is_on_one_side_in_the_models_order() -> None:
    sides = partition(NAMES, slow=("core.warp_*",))
    assert sides.fast == ("core.weight", "head.weight", "head.bias")
    assert sides.slow == ("core.warp_in", "core.warp_out")


def test_without_patterns_everything_is_fast() -> None:
    sides = partition(iter(NAMES), slow=())
    assert sides.fast == NAMES
    assert sides.slow == ()


def test_overlapping_patterns_name_a_parameter_once() -> None:
    sides = partition(NAMES, slow=("core.*", "core.warp_in", "*.bias"))
    assert sides.slow == ("core.weight", "core.warp_in", "core.warp_out", "head.bias")


def test_a_misspelt_pattern_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"'core\.wrap_\*' matches no parameter.*core\.warp_in"):
        partition(NAMES, slow=("core.warp_*", "core.wrap_*"))


def test_patterns_respect_case() -> None:
    with pytest.raises(ValueError, match="matches no parameter"):
        partition(NAMES, slow=("CORE.*",))


def test_split_shares_the_tensors() -> None:
    params = {n: torch.randn(2) for n in NAMES}
    fast, slow = partition(NAMES, slow=("head.*",)).split(params)
    assert list(fast) == list(NAMES[:3])
    assert all({**fast, **slow}[n] is params[n] for n in NAMES)


def test_unstack_undoes_stack() -> None:
    agents = [{"a": torch.randn(3, 2), "b": torch.randn(())} for _ in range(4)]
    stacked = stack(agents)
    assert stacked["a"].shape == (4, 3, 2)
    assert stacked["b"].shape == (4,)
    for n, agent in enumerate(agents):
        own = unstack(stacked, n)
        assert own.keys() == agent.keys()
        assert all(torch.equal(own[name], agent[name]) for name in agent)


def test_unstack_is_a_view() -> None:
    stacked = {"a": torch.zeros(2, 3)}
    unstack(stacked, 1)["a"].fill_(1.0)
    assert stacked["a"].tolist() == [[0.0] * 3, [1.0] * 3]


def test_scope_takes_the_prefix_off_and_leaves_its_namesakes() -> None:
    params = {"core.w": torch.ones(1), "core.a.w": torch.ones(2), "core2.w": torch.ones(3)}
    assert list(scope(params, "core")) == ["w", "a.w"]
    assert scope(params, "core")["w"] is params["core.w"]
    assert scope(params, "cor") == {}


def test_num_parameters_counts_scalars() -> None:
    assert num_parameters({"a": torch.zeros(3, 4), "b": torch.zeros(())}) == 13


def test_tensors_are_found_in_order_and_nothing_else_is():
    a, b, c, d = torch.arange(4)
    found = list(nested_tensors(({"x": a, "n": 3}, [b, ("word", c)], None, d)))
    assert [int(t) for t in found] == [0, 1, 2, 3]
    assert not list(nested_tensors({"n": (1, "word")}))
