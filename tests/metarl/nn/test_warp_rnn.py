"""The Warp-RNN's two sides, and the published split beside the right one."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from metarl.core import num_parameters, partition
from metarl.nn import WarpRNN
from tests.metarl.nn.gradients import gradients, random_inputs, stacked_params


def side_sizes(core: WarpRNN) -> tuple[int, int]:
    """Numbers of fast and of slow parameters."""
    params = core.init(torch.Generator())
    fast, slow = partition(params, slow=core.slow).split(params)
    return num_parameters(fast), num_parameters(slow)


def test_parameter_counts_are_the_papers() -> None:
    assert side_sizes(WarpRNN(17, 100)) == (11_800, 129_300)
    assert side_sizes(WarpRNN(17, 100, published_split=True)) == (11_800, 139_300)


def live_columns(core: WarpRNN) -> torch.Tensor:
    """Which columns of P receive gradient, ``[P]``."""
    params, inputs = stacked_params(core, 1), random_inputs(core, (1, 3, 2))
    grads = gradients(core.sequence(params, inputs), params, inputs)
    return grads["warp_project"][0].ne(0).any(0)


def test_every_column_of_the_projection_learns() -> None:
    live = live_columns(WarpRNN(17, 100))
    assert live.shape == (417,)
    assert live.all()


def test_the_published_split_leaves_317_columns_dead() -> None:
    live = live_columns(WarpRNN(17, 100, published_split=True))
    assert live.shape == (517,)
    assert live[:200].all()
    assert not live[200:].any()


def test_the_gradient_of_a_column_that_is_read_thrice_is_added_up_in_one_order() -> None:
    """Not by an index, whose gradients a GPU adds up in any order."""

    class Seen(TorchDispatchMode):
        names: ClassVar[list[str]] = []

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            self.names.append(function.overloadpacket.__name__)
            return function(*args, **(kwargs or {}))

    core = WarpRNN(3, 4, published_split=True)
    params = stacked_params(core, 2)
    project = params["warp_project"].detach().requires_grad_()
    with Seen() as seen:
        read = core.fuse({**params, "warp_project": project})[-1]
        (gradient,) = torch.autograd.grad(read.sum(), project)
    assert not [name for name in seen.names if "index" in name or "scatter" in name]
    columns = [*range(7), *[*range(4, 8)] * 3]
    assert torch.equal(read, project[..., columns])
    counts = torch.tensor([columns.count(n) for n in range(project.shape[-1])])
    assert torch.equal(gradient, counts.expand_as(gradient).to(gradient))


def test_identity_warp_is_the_plain_network() -> None:
    """With p saturated at 1 the Warp-RNN is ``tanh(W_ih x + W_hh h + b)``."""
    core = WarpRNN(5, 4)
    params, inputs = stacked_params(core, 1), random_inputs(core, (1, 6, 3))
    with torch.no_grad():
        for name in ("warp_lstm_ih", "warp_lstm_hh"):
            params[name].zero_()
        params["warp_lstm_bias_ih"].fill_(50.0)  # gates 1, candidate 1: a = tanh(c), c = 1, 2, ...
        params["warp_project"].fill_(50.0)
        h = torch.zeros(1, 3, 4, dtype=torch.double)
        outputs = core.sequence(params, inputs)
        for t in range(6):
            h = torch.tanh(
                inputs[:, t] @ params["weight_ih"] + h @ params["weight_hh"] + params["bias"]
            )
            torch.testing.assert_close(outputs[:, t], h)
