"""What a core is for: what was seen once is said much later; an emptied memory cannot."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from metarl.core import stack
from metarl.nn import CORES

STEPS, BATCH, WIDTH = 24, 64, 16


def error_after_training(name: str, *, forgets: bool, num_steps: int = 120) -> float:
    """Error of saying the first input at the last step, its square 1; guessing errs by 1."""
    core = CORES[name](2, WIDTH)
    g = torch.Generator().manual_seed(0)
    params = stack([core.init(g) | {"read": torch.randn(WIDTH, 1, generator=g) / WIDTH**0.5}])
    leaves = [p.requires_grad_() for p in params.values()]
    optimiser = torch.optim.Adam(leaves, 5e-3)
    starts = torch.ones(1, STEPS, BATCH, dtype=torch.bool) if forgets else None
    loss = torch.zeros(())
    for _ in range(num_steps):
        first = torch.randint(2, (1, BATCH), generator=g).float() * 2 - 1
        inputs = torch.randn(1, STEPS, BATCH, 2, generator=g)
        inputs[:, :, :, 1] = 0
        inputs[:, 0, :, 0], inputs[:, 0, :, 1] = first, 1.0
        said: Tensor = core.sequence(params, inputs, None, starts)[:, -1] @ params["read"]
        loss = (said.squeeze(-1) - first).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return float(loss.detach())


@pytest.mark.parametrize("name", ["transformer", "linear-attention"])
def test_the_first_input_is_recalled_at_the_last_step(name: str) -> None:
    assert error_after_training(name, forgets=False) < 0.1
    assert error_after_training(name, forgets=True, num_steps=60) > 0.7
