"""Each core beside an implementation that shares no line with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from metarl.core import Params, unstack
from metarl.nn import GRU, LSTM, RNN, ModulatedRNN, PlasticRNN, WarpRNN
from tests.metarl.nn.gradients import random_inputs, stacked_params

NUM_IN, H, T, B = 5, 4, 9, 3


def torch_module(kind: type[nn.RNNBase], params: Params, order: list[int]) -> nn.RNNBase:
    """A PyTorch layer with these weights; ``order[k]`` is our position of its k-th gate."""
    module = kind(NUM_IN, H).double()

    def rows(p: Tensor) -> Tensor:
        """From ``[in, gates * H]`` to PyTorch's ``[gates * H, in]`` and gate order."""
        return torch.cat(
            [p.mT[k * H : (k + 1) * H] if p.dim() == 2 else p[k * H : (k + 1) * H] for k in order]
        )

    bias = params.get("bias_ih", params.get("bias"))
    with torch.no_grad():
        module.weight_ih_l0.copy_(rows(params["weight_ih"]))
        module.weight_hh_l0.copy_(rows(params["weight_hh"]))
        module.bias_ih_l0.copy_(rows(bias))
        module.bias_hh_l0.copy_(rows(params["bias_hh"]) if "bias_hh" in params else torch.zeros(H))
    return module


@pytest.mark.parametrize(
    ("core", "kind", "order"),
    [
        (RNN(NUM_IN, H), nn.RNN, [0]),
        (GRU(NUM_IN, H), nn.GRU, [0, 1, 2]),
        (LSTM(NUM_IN, H), nn.LSTM, [1, 2, 3, 0]),  # ours: o, i, f, g
    ],
    ids=["rnn", "gru", "lstm"],
)
def test_pytorch_has_the_same_cell(core: RNN, kind: type[nn.RNNBase], order: list[int]) -> None:
    params, inputs = stacked_params(core, 2), random_inputs(core, (2, T, B))
    outputs = core.sequence(params, inputs)
    for n in range(2):
        expected, _ = torch_module(kind, unstack(params, n), order)(inputs[n])
        torch.testing.assert_close(outputs[n], expected, rtol=1e-12, atol=1e-13)


def warp_rnn(params: Params, inputs: Tensor) -> Tensor:
    """The paper's equations for one agent and one maze, ``[T, I] -> [T, H]``."""
    slow = nn.LSTMCell(NUM_IN + H, H).double()
    ours = {"o": 0, "i": 1, "f": 2, "g": 3}
    rows = [ours[k] * H + j for k in "ifgo" for j in range(H)]  # PyTorch's order
    with torch.no_grad():
        slow.weight_ih.copy_(params["warp_lstm_ih"].T[rows])
        slow.weight_hh.copy_(params["warp_lstm_hh"].T[rows])
        slow.bias_ih.copy_(params["warp_lstm_bias_ih"][rows])
        slow.bias_hh.copy_(params["warp_lstm_bias_hh"][rows])
    w_ih, w_hh = params["weight_ih"].T, params["weight_hh"].T
    h, a, c = torch.zeros(3, H, dtype=torch.double)
    outputs = []
    for x in inputs:
        a, c = (s[0] for s in slow(torch.cat((x, h))[None], (a[None], c[None])))
        p = torch.tanh(params["warp_project"].T @ a)
        p1, p2, p3, p4, p5 = (
            p[:NUM_IN],
            p[NUM_IN : -3 * H],
            p[-3 * H : -2 * H],
            p[-2 * H : -H],
            p[-H:],
        )
        h = torch.tanh(w_ih @ (x * p1) * p3 + w_hh @ (h * p2) * p4 + params["bias"] * p5)
        outputs.append(h)
    return torch.stack(outputs)


def test_warp_rnn_follows_the_paper() -> None:
    core = WarpRNN(NUM_IN, H)
    params, inputs = stacked_params(core, 2), random_inputs(core, (2, T, B))
    outputs = core.sequence(params, inputs)
    with torch.no_grad():
        for n in range(2):
            for b in range(B):
                expected = warp_rnn(unstack(params, n), inputs[n, :, b])
                torch.testing.assert_close(outputs[n, :, b], expected, rtol=1e-12, atol=1e-13)


def hebbian_rnn(params: dict[str, np.ndarray], inputs: np.ndarray) -> np.ndarray:
    """Both Hebbian cores for one agent and one maze, neuron by neuron, ``[T, I] -> [T, H]``."""
    h, hebb = np.zeros(H), np.zeros((H, H))
    outputs = []
    for x in inputs:
        new = np.empty(H)
        for j in range(H):
            drive = params["bias"][j] + sum(params["weight_ih"][i, j] * x[i] for i in range(NUM_IN))
            for i in range(H):
                w, alpha = params["weight_hh"][i, j], params["alpha"][i, j]
                drive += (w + alpha * hebb[i, j]) * h[i]
            new[j] = np.tanh(drive)
        for i in range(H):
            for j in range(H):
                if "eta" in params:
                    eta = float(params["eta"])
                    hebb[i, j] = (1 - eta) * hebb[i, j] + eta * h[i] * new[j]
                else:
                    m = np.tanh(params["weight_m"][:, 0] @ new + params["bias_m"][0])
                    rate = params["fan_out"][j] * m + params["fan_bias"][j]
                    hebb[i, j] = min(1.0, max(-1.0, hebb[i, j] + rate * h[i] * new[j]))
        h = new
        outputs.append(h)
    return np.stack(outputs)


@pytest.mark.parametrize(
    "core", [PlasticRNN(NUM_IN, H), ModulatedRNN(NUM_IN, H)], ids=["plastic", "modulated"]
)
def test_hebbian_cores_follow_the_papers(core: PlasticRNN) -> None:
    params, inputs = stacked_params(core, 2), random_inputs(core, (2, T, B))
    outputs = core.sequence(params, inputs).detach().numpy()
    for n in range(2):
        own = {name: p.detach().numpy() for name, p in unstack(params, n).items()}
        for b in range(B):
            expected = hebbian_rnn(own, inputs.detach().numpy()[n, :, b])
            np.testing.assert_allclose(outputs[n, :, b], expected, rtol=1e-12, atol=1e-13)
