"""What environments hand over is checked: nothing beyond it is read or written."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from metarl.native import kernels
from metarl.native.world import Stretch, WorldView
from metarl.nn import LSTM
from metarl.nn.native_core import NativeTrace

pytestmark = pytest.mark.skipif(kernels("lstm") is None, reason="no native kernels here")

PLACES, ACTIONS = 4, 2


def tables(**changes: Any) -> Any:
    """Two steps in one world of four cells: an action leads one cell on, or two."""
    place = torch.arange(PLACES).unsqueeze(1)
    usual: dict[str, Any] = {
        "num_steps": 2,
        "next_place": ((place + torch.tensor([1, 2])) % PLACES).flatten(),
        "num_actions": ACTIONS,
        "poses": 1,
        "places": torch.zeros(1, dtype=torch.int64),
        "goals": torch.tensor([9]),
        "targets": torch.zeros(1, 1, dtype=torch.int64),
        "views": torch.eye(PLACES),
        "reward": 1.0,
        "penalty": 0.0,
        "tells_end": False,
        "reward_column": 0,
        "tells_bonus": False,
    }
    absent = ("rows", "bumped", "bonus", "entered", "entered_at", "found", "ended", "told")
    return SimpleNamespace(**dict.fromkeys(absent) | usual | changes)


def played(handed_over: Any, num_actions: int = ACTIONS) -> torch.Tensor:
    """Bonuses of two steps of a policy that takes the last action."""
    core, shape = LSTM(PLACES, 3), (1, 2, 1)
    params = {n: p.unsqueeze(0) for n, p in core.init(torch.Generator().manual_seed(0)).items()}
    trace = core.new_trace(shape, torch.zeros(1), num_actions + 1)
    assert isinstance(trace, NativeTrace)
    heads = torch.zeros(1, 3, num_actions + 1), torch.zeros(1, num_actions + 1)
    trace.begin((*core.fuse(params), *heads))
    noise = torch.zeros(*shape, num_actions)
    noise[..., -1] = 9.0
    stretch = Stretch((*shape, PLACES), torch.float32)
    stretch.observations[:, 0] = 0.0
    trace.run.play(0, 2, WorldView(handed_over, stretch, None), trace.run.choice(noise))
    return stretch.bonuses.flatten()


def explored(num_cells: int, first: int) -> Any:
    """Tables that tell of cells that were entered."""
    return tables(
        bonus=0.5,
        entered=torch.zeros(num_cells, dtype=torch.bool),
        entered_at=torch.tensor([first]),
        found=torch.zeros(1, dtype=torch.bool),
    )


@pytest.mark.parametrize("num_actions", [1, 5])
def test_a_policy_of_other_actions_than_the_tables_is_refused(num_actions: int) -> None:
    with pytest.raises(ValueError, match=f"policy of {num_actions} actions .* tables of {ACTIONS}"):
        played(tables(), num_actions)


@pytest.mark.parametrize("first", [-1, 3, 4, 2**40])
def test_an_agent_whose_cell_has_no_place_is_refused(first: int) -> None:
    with pytest.raises(ValueError, match="entered_at"):
        played(explored(3, first))


def test_a_cell_that_is_reached_and_has_no_place_is_refused() -> None:
    """Cell 2 is reached, of which there is no room behind the two first."""
    handed_over = explored(2, 0)
    beyond = torch.zeros(8, dtype=torch.bool)
    handed_over.entered = beyond[:2]
    with pytest.raises(ValueError, match="entered_at"):
        played(handed_over)
    assert not beyond[2:].any()


def test_cells_that_are_never_reached_need_no_place() -> None:
    """Tables of several boards name more cells than one board has."""
    handed_over = explored(3, 0)  # cells 0 and 2 are reached, 3 is named
    assert played(handed_over).tolist() == [0.5, 0.5]
    assert handed_over.entered.tolist() == [True, False, True]
