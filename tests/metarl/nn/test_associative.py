"""The associative memory: its equations, both forms, and a table that it reads without learning."""

from __future__ import annotations

import pytest
import torch

from metarl.core import stack
from metarl.nn import AssociativeMemory

CORE = AssociativeMemory(5, 4, key_size=3, value_size=2)
COMPRESSED = AssociativeMemory(5, 4, key_size=3, value_size=2, compress_read=True)


def params_of(core: AssociativeMemory, num: int = 1) -> dict[str, torch.Tensor]:
    drawn = [core.init(torch.Generator().manual_seed(n)) for n in range(num)]
    params = {n: p.double() for n, p in stack(drawn).items()}
    g = torch.Generator().manual_seed(9)
    # Biases begin at 0: moved, so that a bias that is not read is seen.
    return {n: p + 0.1 * torch.randn(p.shape, generator=g).double() for n, p in params.items()}


def inputs_of(core: AssociativeMemory, num: int, steps: int, batch: int) -> torch.Tensor:
    g = torch.Generator().manual_seed(1)
    return torch.randn(num, steps, batch, core.input_size, generator=g, dtype=torch.float64)


@pytest.mark.parametrize("core", [CORE, COMPRESSED])
def test_the_equations_by_hand(core: AssociativeMemory) -> None:
    params, inputs = params_of(CORE), inputs_of(CORE, 1, 6, 1)
    p = {n: value[0] for n, value in params.items()}
    memory, key = torch.zeros(3, 2).double(), torch.zeros(3).double()
    for t, x in enumerate(inputs[0, :, 0]):
        query = torch.tanh(x @ p["query"] + p["query_bias"]) / 3**0.5
        memory = memory + torch.outer(key, (x @ p["value"]) * (x @ p["gate"]))
        read = query @ memory
        read = read.asinh() if core.compress_read else read
        z = read @ p["weight_mh"] + x @ p["weight_ih"] + p["bias"]
        torch.testing.assert_close(core.sequence(params, inputs)[0, t, 0], z.tanh())
        key = query


@pytest.mark.parametrize(("num", "steps", "batch"), [(2, 7, 3), (1, 1, 1), (3, 2, 2)])
def test_all_steps_at_once_are_one_after_another(num: int, steps: int, batch: int) -> None:
    params, inputs = params_of(CORE, num), inputs_of(CORE, num, steps, batch)
    for core in (COMPRESSED, CORE):
        expected = core.unrolled(params, inputs)
        torch.testing.assert_close(core.sequence(params, inputs), expected)
    assert not torch.allclose(CORE.sequence(params, inputs.flip(1)).flip(1), expected) or steps == 1


def test_gradients_by_finite_differences_and_nothing_from_the_future_or_a_neighbour() -> None:
    params, inputs = params_of(CORE), inputs_of(CORE, 1, 4, 2).requires_grad_()
    names = list(params)

    def run(x: torch.Tensor, *leaves: torch.Tensor) -> torch.Tensor:
        return CORE.sequence(dict(zip(names, leaves, strict=True)), x)

    leaves = [p.requires_grad_() for p in params.values()]
    assert torch.autograd.gradcheck(run, (inputs, *leaves), fast_mode=True)
    (grad,) = torch.autograd.grad(CORE.sequence(params, inputs)[:, 2, 0].sum(), inputs)
    assert grad[:, :3, 0].abs().amax((0, 2)).min() > 0
    assert not grad[:, 3:].any()
    assert not grad[:, :, 1].any()


def test_what_followed_a_state_is_read_when_it_comes_again() -> None:
    """States one-hot, then what the last one paid; queries ask for the state, values keep the pay.

    The rewards 5 and 7 followed state 0, and 2 followed state 1.
    """
    core = AssociativeMemory(4, 1, key_size=3, value_size=1)
    pay = torch.tensor([[0.0], [0.0], [0.0], [1.0]])
    params = {
        "query": 50 * torch.eye(4)[:, :3],
        "query_bias": torch.zeros(3),
        "value": pay,
        "gate": torch.tensor([[1.0], [1.0], [1.0], [0.0]]),  # of any state: 1
        "weight_mh": torch.full((1, 1), 0.01),
        "weight_ih": torch.zeros(4, 1),
        "bias": torch.zeros(1),
    }
    seen = [[1, 0, 0, 0], [0, 1, 0, 5], [1, 0, 0, 2], [0, 0, 1, 7], [1, 0, 0, 0], [0, 1, 0, 0]]
    inputs = torch.tensor(seen).float().view(1, 6, 1, 4)
    output = core.sequence(stack([params]), inputs).flatten()
    read = output.atanh() / 0.01 * core.key_size  # the key and the query share 1 / K
    torch.testing.assert_close(read, torch.tensor([0.0, 0, 5, 0, 12, 2]), atol=1e-3, rtol=0)
