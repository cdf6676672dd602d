"""Warp-RNN: a slow LSTM modulates every product of a fast recurrent network.

Flennerhag et al. 2020, "Meta-Learning with Warped Gradient Descent", maze navigation; the cell is
the RNN sibling of the adaptive LSTM (Flennerhag et al. 2018, arXiv 1805.08574)::

    a', c' = LSTM([x, h], (a, c))                                                  slow
    p = tanh(P a'),  split as p1 (I), p2, p3, p4, p5 (H each)                      slow
    h' = tanh(W_ih (x * p1) * p3  +  W_hh (h * p2) * p4  +  b * p5)                fast

with * elementwise. At I = 17, H = 100 the fast cell has 11,800 parameters and the slow side
129,300. Matrices are stored [in, out] and multiply from the right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from metarl.core import Params
from metarl.nn.fused import FusedCore, Past, add_outer, add_sum, tanh_backward, transposed
from metarl.nn.lstm import cell as lstm_cell
from metarl.nn.lstm import cell_backward, cell_factors, cell_gradient_spec, cell_spec
from metarl.nn.recurrent import State, Weights, orthogonal, uniform
from metarl.nn.trace import NO_SLOT, Columns, Trace, TraceSpec


@dataclass(frozen=True)
class WarpRNN(FusedCore):
    """The two-timescale core.

    Attributes:
        input_size: Number of inputs I.
        hidden_size: Number of hidden units H, of the RNN and of the LSTM.
        published_split: Reproduce the published code's split of p: P has I + 5H columns, p1 and p2
            are the first ones, and p3, p4 and p5 are all columns H to 2H, so that 317 of 517
            columns never learn (at I = 17, H = 100).
    """

    input_size: int
    hidden_size: int
    published_split: bool = False

    native: ClassVar[str | None] = "warp"

    slow = ("warp_*",)

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Orthogonal fast weights, zero bias; LSTM and projection uniform in 1/sqrt(fan-in)."""
        num_in, num_hidden = self.input_size, self.hidden_size
        bound = num_hidden**-0.5
        num_policy = num_in + (5 if self.published_split else 4) * num_hidden
        return {
            "weight_ih": orthogonal(num_in, num_hidden, generator),
            "weight_hh": orthogonal(num_hidden, num_hidden, generator),
            "bias": torch.zeros(num_hidden),
            "warp_lstm_ih": uniform((num_in + num_hidden, 4 * num_hidden), bound, generator),
            "warp_lstm_hh": uniform((num_hidden, 4 * num_hidden), bound, generator),
            "warp_lstm_bias_ih": uniform((4 * num_hidden,), bound, generator),
            "warp_lstm_bias_hh": uniform((4 * num_hidden,), bound, generator),
            "warp_project": uniform((num_hidden, num_policy), bound, generator),
        }

    def fuse(self, params: Params) -> Weights:
        """Stack the LSTM's two matrices, add its two biases, pick the columns of P in use."""
        project = params["warp_project"]
        if self.published_split:
            project = self._published_columns(project)
        return (
            params["weight_ih"],
            params["weight_hh"],
            params["bias"].unsqueeze(-2),  # [N, 1, H]
            torch.cat((params["warp_lstm_ih"], params["warp_lstm_hh"]), -2),  # [N, I + 2H, 4H]
            (params["warp_lstm_bias_ih"] + params["warp_lstm_bias_hh"]).unsqueeze(-2),  # [N, 1, 4H]
            project,  # [N, H, I + 4H]
        )

    def initial_state(
        self, weights: Weights, batch_size: int, num_steps: int | None = None
    ) -> State:
        """Zeros (h, a, c), each ``[N, B, H]``."""
        zeros = weights[0].new_zeros(weights[0].shape[0], batch_size, self.hidden_size)
        return zeros, zeros, zeros

    def trace_spec(self) -> TraceSpec:
        """Activations of one step, about 1,630 numbers at I = 17, H = 100."""
        num_in, num_hidden = self.input_size, self.hidden_size
        num_xh = num_in + num_hidden
        lstm = cell_spec(num_hidden)
        buffers = dict.fromkeys(("a", "u", "v", "h"), num_hidden) | {
            "xha": num_xh + num_hidden,
            "p": num_xh + 3 * num_hidden,
        }
        views = {
            "xh": Columns("xha", 0, num_xh),
            "p12": Columns("p", 0, num_xh),
            "p1": Columns("p", 0, num_in),
            "p2": Columns("p", num_in, num_xh),
        }
        views |= self._blocks("p", num_xh, ("p3", "p4", "p5"), "p345")
        return TraceSpec({**lstm.buffers, **buffers}, {**lstm.views, **views})

    def gradient_spec(self) -> TraceSpec:
        """Gradients by the LSTM's gates, by p, by z, and by u, v and b."""
        num_xh, num_hidden = self.input_size + self.hidden_size, self.hidden_size
        lstm = cell_gradient_spec(num_hidden)
        buffers = {"p": num_xh + 3 * num_hidden, "terms": 3 * num_hidden, "z": num_hidden}
        views = {
            "p12": Columns("p", 0, num_xh),
            **self._blocks("p", num_xh, ("p3", "p4", "p5"), "p345"),
            **self._blocks("terms", 0, ("u", "v", "b"), "uvb"),
        }
        return TraceSpec({**lstm.buffers, **buffers}, {**lstm.views, **views})

    def eager_step(
        self, weights: Weights, x: Tensor, state: State, slot: Any = NO_SLOT
    ) -> tuple[Tensor, State]:
        """The three equations of the module's docstring."""
        w_ih, w_hh, bias, w_lstm, b_lstm, w_project = weights
        num_in, num_hidden = self.input_size, self.hidden_size
        num_xh = num_in + num_hidden
        h, a, c = state

        # a', c' = LSTM([x, h], (a, c))
        xha = torch.cat((x, h, a), -1, out=slot.xha)  # [N, B, I + 2H]
        a, c = lstm_cell(xha, c, w_lstm, b_lstm, slot.a, slot)
        # p = tanh(P a')
        p = torch.tanh(torch.bmm(a, w_project), out=slot.p)  # [N, B, I + 4H]
        if slot.xh is None:
            xh = xha[..., :num_xh]
            p12 = p[..., :num_xh]
            p3, p4, p5 = p[..., num_xh:].chunk(3, -1)
        else:
            xh, p12, p3, p4, p5 = slot.xh, slot.p12, slot.p3, slot.p4, slot.p5
        # u = W_ih (x p1), v = W_hh (h p2)
        xh_p = xh * p12
        u = torch.bmm(xh_p[..., :num_in], w_ih, out=slot.u)
        v = torch.bmm(xh_p[..., num_in:], w_hh, out=slot.v)
        # h' = tanh(u p3 + v p4 + b p5)
        z = torch.addcmul(torch.addcmul(u * p3, v, p4), bias, p5)
        h = torch.tanh(z, out=slot.h)
        return h, (h, a, c)

    def laid_out(self, weights: Weights) -> Weights:
        """Transposed: W_ih, W_hh, P, and of the LSTM's product the rows of x and of (h, a)."""
        w_ih, w_hh, _, w_lstm, _, w_project = weights
        w_x, w_ha = w_lstm[:, : self.input_size], w_lstm[:, self.input_size :]
        return tuple(transposed(w) for w in (w_ih, w_hh, w_project, w_x, w_ha))

    def prepare(self, weights: Weights, trace: Trace, part: Trace, past: Past) -> None:
        """The LSTM's factors, and what the gradient by p is to those by z and by (x p1, h p2)."""
        cell_factors(part, trace, past)
        d, bias = part.gradients, weights[2].unsqueeze(1)  # [N, 1, 1, H]
        # u (1 - p3^2), v (1 - p4^2), b (1 - p5^2)
        for p, factor in (("p3", part["u"]), ("p4", part["v"]), ("p5", bias)):
            tanh_backward(factor, part[p], d[p])
        # (x, h) (1 - (p1, p2)^2)
        tanh_backward(part["xh"], part["p12"], d["p12"])

    def step_backward(
        self, weights: Weights, after: State, slot: Any, d: Any, before: Tensor | None
    ) -> State:
        """Go back through the three equations, the last one first."""
        w_ih_t, w_hh_t, w_project_t, _, w_ha_t = weights
        dh, da, dc = after
        # h' = tanh(u p3 + v p4 + b p5)
        dz = tanh_backward(dh, slot.h, d.z).unsqueeze(-2)  # [N, B, 1, H]
        # du = p3 dz, dv = p4 dz, db = p5 dz: [N, B, 3, H]
        torch.mul(slot.p345, dz, out=d.uvb)
        # dp3, dp4, dp5 = dz times their factors
        d.p345.mul_(dz)
        # u = W_ih (x p1), v = W_hh (h p2)
        dx_p, dh_p = torch.bmm(d.u, w_ih_t), torch.bmm(d.v, w_hh_t)
        d.p12.mul_(torch.cat((dx_p, dh_p), -1))  # dp1, dp2 times their factors
        # p = tanh(P a'): da' += P^T dp
        da = torch.baddbmm(da, d.p, w_project_t)
        # a', c' = LSTM([x, h], (a, c))
        dc = cell_backward(da, dc, slot, d)
        if before is None:
            return dh, da, dc
        dha = torch.bmm(d.gates, w_ha_t)  # [N, B, 2H]
        # dh = dloss/dh + p2 d(h p2) + the LSTM's part
        dh = torch.addcmul(before, dh_p, slot.p2).add_(dha[..., : self.hidden_size])
        return dh, dha[..., self.hidden_size :], dc

    def add_gradients(self, part: Trace, grads: Weights) -> None:
        """Sums over steps of outer products, in the order of `fuse`."""
        d = part.gradients
        xh_p = part.flat("xh") * part.flat("p12")  # [N, t * B, I + H]
        add_outer(grads[0], xh_p[..., : self.input_size], d.flat("u"))
        add_outer(grads[1], xh_p[..., self.input_size :], d.flat("v"))
        add_sum(grads[2], d.flat("b"))
        add_outer(grads[3], part.flat("xha"), d.flat("gates"))
        add_sum(grads[4], d.flat("gates"))
        add_outer(grads[5], part.flat("a"), d.flat("p"))

    def inputs_backward(self, weights: Weights, part: Trace) -> Tensor:
        """``dx = p1 d(x p1)``, and through the LSTM."""
        w_ih_t, _, _, w_x_t, _ = weights
        d = part.gradients
        dx_p, dx_lstm = d["u"] @ w_ih_t.unsqueeze(1), d["gates"] @ w_x_t.unsqueeze(1)
        return torch.addcmul(dx_lstm, dx_p, part["p1"])  # [N, t, B, I]

    def _blocks(
        self, buffer: str, start: int, names: Sequence[str], together: str
    ) -> dict[str, Columns]:
        """Names for blocks of H columns of a buffer, and one for all of them."""
        width = self.hidden_size
        stop = start + width * len(names)
        views = {
            n: Columns(buffer, start + k * width, start + (k + 1) * width)
            for k, n in enumerate(names)
        }
        return views | {together: Columns(buffer, start, stop, blocks=len(names))}

    def _published_columns(self, project: Tensor) -> Tensor:
        """Columns of P that the published split reads as p1 to p5, ``[N, H, I + 4H]``.

        Slices, whose gradients are added up in one order: on a GPU those of an index are not, and
        the same run would end in other last digits every time.
        """
        num_in, num_hidden = self.input_size, self.hidden_size
        third = project[..., num_hidden : 2 * num_hidden]
        return torch.cat((project[..., : num_in + num_hidden], third, third, third), -1)
