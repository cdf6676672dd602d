"""Hebbian plasticity: recurrent networks whose connections learn within a trial.

Miconi, Clune & Stanley 2018, "Differentiable plasticity" (`PlasticRNN`), and Miconi et al. 2019,
"Backpropamine" (`ModulatedRNN`). Every maze has a Hebbian trace ``[H, H]``, zero at the start of a
trial; every connection has a fixed part w and a plastic part of learned size alpha. A step uses the
trace and then writes into it::

    h_t = tanh(W_ih x_t + b + (w + alpha * Hebb_{t-1}) h_{t-1})
    Hebb_t = write(Hebb_{t-1}, h_{t-1} k_t^T)

with * elementwise. The cores differ in k_t, what the neurons show to their connections, and in
`write`. Matrices are stored [in, out] and multiply from the right.

A trace is H times larger than the rest of a step, so that only every sqrt(T)-th one is kept. The
backward pass writes the others again, a segment of sqrt(T) steps at a time, while it carries the
gradient by the trace backwards. That gradient is ``alpha * R``, with R free of alpha.

Left out: Oja's rule, the first paper's alternative without decay; and retroactive modulation, where
m gates an eligibility trace of earlier products.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from metarl.core import Params
from metarl.nn.fused import FusedCore, Past, add_outer, add_sum, tanh_backward, transposed
from metarl.nn.recurrent import State, Weights, orthogonal, uniform
from metarl.nn.trace import NO_SLOT, Large, Trace, TraceSpec


class HebbianRNN(FusedCore):
    """A tanh RNN with I inputs, H hidden units and a Hebbian trace in every maze.

    The fused weights are w_ih ``[N, I, H]``, b ``[N, 1, H]``, w and alpha ``[N, 1, H, H]``, then
    those of the rule.
    """

    @abstractmethod
    def init_rule(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw the parameters of the rule by which connections learn."""

    @abstractmethod
    def fuse_rule(self, params: Params) -> Weights:
        """Arrange the rule's parameters."""

    @abstractmethod
    def rule_buffers(self) -> tuple[dict[str, int], dict[str, int]]:
        """Widths of the buffers of `show`, and of the gradients that make up the rule's."""

    @abstractmethod
    def show(self, rule: Weights, h: Tensor, out: Any) -> Tensor:
        """Signals that neurons of output h ``[N, B, H]`` show to their connections; slot ``k``."""

    @abstractmethod
    def write(
        self, rule: Weights, hebb: Tensor, h: Tensor, k: Tensor, out: Tensor | None
    ) -> Tensor:
        """The trace ``[N, B, H, H]`` after a step: ``hebb``, and the product of h and k."""

    @abstractmethod
    def write_backward(self, weights: Weights, r: Tensor, hebb: Sequence[Tensor], d: Any) -> None:
        """Carry R over one write, in place, and put the gradient by ``h k^T`` into ``d.outer``.

        Args:
            weights: All fused weights.
            r: R after the write, ``[N, B, H, H]``.
            hebb: The trace before and after the write.
            d: The step's gradient slots.
        """

    @abstractmethod
    def show_backward(self, rule: Weights, dk: Tensor, slot: Any, d: Any) -> Tensor:
        """The gradient by h ``[N, B, H]`` from that by k."""

    @abstractmethod
    def add_rule_gradients(self, part: Trace, grads: Weights) -> None:
        """Add a segment to the gradients by the rule's weights."""

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """The plain RNN's matrices and bias; alpha uniform in 0.01."""
        num_hidden = self.hidden_size
        return {
            "weight_ih": orthogonal(self.input_size, num_hidden, generator),
            "weight_hh": orthogonal(num_hidden, num_hidden, generator),
            "bias": torch.zeros(num_hidden),
            "alpha": uniform((num_hidden, num_hidden), 0.01, generator),
            **self.init_rule(generator),
        }

    def fuse(self, params: Params) -> Weights:
        """Give each parameter the axes of what it meets."""
        return (
            params["weight_ih"],
            params["bias"].unsqueeze(-2),  # [N, 1, H]
            params["weight_hh"].unsqueeze(-3),  # [N, 1, H, H]
            params["alpha"].unsqueeze(-3),  # [N, 1, H, H]
            *self.fuse_rule(params),
        )

    def initial_state(
        self, weights: Weights, batch_size: int, num_steps: int | None = None
    ) -> State:
        """Zero h ``[N, B, H]`` and Hebb ``[N, B, H, H]``."""
        size = weights[0].shape[0], batch_size, self.hidden_size
        return weights[0].new_zeros(size), weights[0].new_zeros(*size, self.hidden_size)

    def trace_spec(self) -> TraceSpec:
        """Vectors of every step, the trace of every sqrt(T)-th."""
        num_hidden = self.hidden_size
        square = num_hidden, num_hidden
        vectors = {"x": self.input_size} | dict.fromkeys(("before", "h", "k"), num_hidden)
        large = {"hebb": Large(square, "sparse"), "w_hebb": Large(square, "one")}
        return TraceSpec(vectors | self.rule_buffers()[0], large=large)

    def gradient_spec(self) -> TraceSpec:
        """Gradients of every step, alpha's in every maze, and the traces of one segment."""
        square = self.hidden_size, self.hidden_size
        large = dict.fromkeys(("alpha", "outer", "scratch"), Large(square, "one"))
        return TraceSpec(
            {"z": self.hidden_size} | self.rule_buffers()[1],
            large=large | {"hebb": Large(square, "all")},
        )

    def eager_step(
        self, weights: Weights, x: Tensor, state: State, slot: Any = NO_SLOT
    ) -> tuple[Tensor, State]:
        """The equations of the module's docstring."""
        w_ih, bias, w, alpha, *rule = weights
        h_before, hebb = state
        if slot.x is not None:
            slot.x.copy_(x)
            slot.before.copy_(h_before)
        w_hebb = torch.addcmul(w, alpha, hebb, out=slot.w_hebb)  # [N, B, H, H]
        # z = W_ih x + b + (w + alpha Hebb) h
        z = torch.baddbmm(bias, x, w_ih) + (h_before.unsqueeze(-2) @ w_hebb).squeeze(-2)
        h = torch.tanh(z, out=slot.h)
        k = self.show(tuple(rule), h, slot)
        return h, (h, self.write(tuple(rule), hebb, h_before, k, slot.hebb))

    def laid_out(self, weights: Weights) -> Weights:
        """W_ih transposed, ``[N, H, I]``; then all weights as they are."""
        return transposed(weights[0]), *weights

    def prepare(self, weights: Weights, trace: Trace, part: Trace, past: Past) -> None:
        """Write the Hebbian traces of a segment again: ``d.before`` and ``d.hebb`` of a step."""
        if part.stop == trace.stop:
            part.gradients.slots[0].alpha.zero_()  # [N, B, H, H], of all segments
        if part.start:
            hebb = trace.slots[part.start - 1].hebb
        elif past.state is not None:
            hebb = past.state[1]
        else:
            hebb = self.initial_state(weights, part["h"].shape[2])[1]
        steps = zip(part.slots, part.gradients.slots, strict=True)
        for t, (slot, d) in enumerate(steps, part.start):
            d.before = past.emptied(hebb, t)
            hebb = self.write(weights[4:], d.before, slot.before, slot.k, d.hebb)

    def step_backward(
        self, weights: Weights, after: State, slot: Any, d: Any, before: Tensor | None
    ) -> State:
        """Go back through the equations, the last one first; adds to alpha's gradient.

        Of the state's gradients, the one by the Hebbian trace is carried as R.
        """
        _, _, w, alpha, *rule = weights[1:]
        dh, r = after
        h_before = slot.before.unsqueeze(-2)  # [N, B, 1, H]
        # Hebb' = write(Hebb, h k^T)
        self.write_backward(weights[1:], r, (d.before, d.hebb), d)
        # G the gradient by h k^T: dk = G^T h, dh = G k
        dk = (h_before @ d.outer).squeeze(-2)  # [N, B, H]
        d_before = slot.k.unsqueeze(-2) @ d.outer.mT  # [N, B, 1, H]
        # k = show(h'), h' = tanh(z)
        dh = dh + self.show_backward(tuple(rule), dk, slot, d)
        dz = tanh_backward(dh, slot.h, d.z).unsqueeze(-2)  # [N, B, 1, H]
        # z = W_ih x + b + (w + alpha Hebb) h
        torch.addcmul(w, alpha, d.before, out=d.scratch)  # [N, B, H, H]
        # dh += (w + alpha Hebb) dz
        d_before += dz @ d.scratch.mT
        # R += h dz^T, which times alpha is the gradient by Hebb
        r.addcmul_(h_before.mT, dz)
        # dalpha += Hebb * h dz^T
        d.alpha.addcmul_(torch.mul(d.before, dz, out=d.scratch), h_before.mT)
        d_before = d_before.squeeze(-2)  # [N, B, H]
        return d_before if before is None else d_before.add_(before), r

    def add_gradients(self, part: Trace, grads: Weights) -> None:
        """Sums over steps: ``dW_ih = x dz^T``, ``db = dz``, ``dw = h dz^T``, and of the rule.

        That by alpha is summed over mazes once, behind the first segment.
        """
        dz = part.gradients.flat("z")
        add_outer(grads[0], part.flat("x"), dz)
        add_sum(grads[1], dz)
        add_outer(grads[2].squeeze(1), part.flat("before"), dz)  # [N, H, H]
        self.add_rule_gradients(part, grads[4:])
        if part.start == 0:
            torch.sum(part.gradients.slots[0].alpha, 1, keepdim=True, out=grads[3])

    def inputs_backward(self, weights: Weights, part: Trace) -> Tensor:
        """``dx = W_ih^T dz``."""
        return part.gradients["z"] @ weights[0].unsqueeze(1)  # [N, t, B, H] @ [N, 1, H, I]


@dataclass(frozen=True)
class PlasticRNN(HebbianRNN):
    """A plastic RNN with I inputs and H hidden units, whose traces decay.

    One rate eta is learned, from 0.1 on::

        Hebb_t = (1 - eta) Hebb_{t-1} + eta h_{t-1} h_t^T
    """

    input_size: int
    hidden_size: int

    native: ClassVar[str | None] = "plastic"

    def init_rule(self, generator: torch.Generator) -> dict[str, Tensor]:
        """The learned rate."""
        return {"eta": torch.tensor(0.1)}

    def fuse_rule(self, params: Params) -> Weights:
        """Eta ``[N, 1, 1]``."""
        return (params["eta"].view(-1, 1, 1),)

    def rule_buffers(self) -> tuple[dict[str, int], dict[str, int]]:
        """Gradients by eta: through k, and through the decay."""
        return {}, {"k": self.hidden_size, "decay": 1}

    def show(self, rule: Weights, h: Tensor, out: Any) -> Tensor:
        """``k = eta h``."""
        return torch.mul(h, rule[0], out=out.k)

    def write(
        self, rule: Weights, hebb: Tensor, h: Tensor, k: Tensor, out: Tensor | None
    ) -> Tensor:
        """``(1 - eta) Hebb + h k^T``."""
        kept = torch.mul(hebb, 1 - rule[0].unsqueeze(-1), out=out)  # [N, B, H, H]
        return torch.addcmul(kept, h.unsqueeze(-1), k.unsqueeze(-2), out=out)  # [N, B, H, H]

    def write_backward(self, weights: Weights, r: Tensor, hebb: Sequence[Tensor], d: Any) -> None:
        """``R (1 - eta)``; the decay's gradient is ``-<alpha R, Hebb>`` in each maze."""
        eta = weights[4].unsqueeze(-1)  # [N, 1, 1, 1]
        # the gradient by Hebb' is that by h k^T: alpha R
        outer = torch.mul(r, weights[3], out=d.outer)
        # deta = -<alpha R, Hebb>
        decay = torch.mul(outer, hebb[0], out=d.scratch).sum((-2, -1))  # [N, B]
        torch.neg(decay.unsqueeze(-1), out=d.decay)  # [N, B, 1]
        # R = (1 - eta) R'
        r.mul_(1 - eta)

    def show_backward(self, rule: Weights, dk: Tensor, slot: Any, d: Any) -> Tensor:
        """``eta dk``."""
        d.k.copy_(dk)
        return dk * rule[0]

    def add_rule_gradients(self, part: Trace, grads: Weights) -> None:
        """Add the gradients by eta: through k = eta h, and through the decay."""
        d = part.gradients
        # deta = <dk, h>
        add_sum(grads[0], (d.flat("k") * part.flat("h")).sum(-1, keepdim=True))
        add_sum(grads[0], d.flat("decay"))


@dataclass(frozen=True)
class ModulatedRNN(HebbianRNN):
    """A plastic RNN with I inputs and H hidden units that modulates its own learning.

    The network decides at every step how much its connections learn: one modulatory neuron m,
    fanned out by a learned weight and bias for each neuron (simple modulation)::

        m_t = tanh(W_m h_t + b_m)
        M_t = v m_t + c
        Hebb_t = clip(Hebb_{t-1} + h_{t-1} (M_t * h_t)^T, -1, 1)
    """

    input_size: int
    hidden_size: int

    native: ClassVar[str | None] = "modulated"

    def init_rule(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Uniform in 1/sqrt(fan-in), as `torch.nn.Linear`."""
        num_hidden, bound = self.hidden_size, self.hidden_size**-0.5
        return {
            "weight_m": uniform((num_hidden, 1), bound, generator),
            "bias_m": uniform((1,), bound, generator),
            "fan_out": uniform((num_hidden,), 1.0, generator),
            "fan_bias": uniform((num_hidden,), 1.0, generator),
        }

    def fuse_rule(self, params: Params) -> Weights:
        """W_m ``[N, H, 1]``, b_m ``[N, 1, 1]``, v and c ``[N, 1, H]``."""
        return (
            params["weight_m"],
            params["bias_m"].unsqueeze(-2),
            params["fan_out"].unsqueeze(-2),
            params["fan_bias"].unsqueeze(-2),
        )

    def rule_buffers(self) -> tuple[dict[str, int], dict[str, int]]:
        """The modulator m and the rates M; gradients by W_m h + b_m and by M."""
        return {"m": 1, "rate": self.hidden_size}, {"m": 1, "rate": self.hidden_size}

    def show(self, rule: Weights, h: Tensor, out: Any) -> Tensor:
        """``k = M * h``."""
        w_m, b_m, v, c = rule
        m = torch.tanh(torch.baddbmm(b_m, h, w_m), out=out.m)
        rate = torch.addcmul(c, v, m, out=out.rate)
        return torch.mul(rate, h, out=out.k)

    def write(
        self, rule: Weights, hebb: Tensor, h: Tensor, k: Tensor, out: Tensor | None
    ) -> Tensor:
        """``clip(Hebb + h k^T, -1, 1)``."""
        hebb = torch.addcmul(hebb, h.unsqueeze(-1), k.unsqueeze(-2), out=out)  # [N, B, H, H]
        return F.hardtanh(hebb) if out is None else F.hardtanh_(hebb)

    def write_backward(self, weights: Weights, r: Tensor, hebb: Sequence[Tensor], d: Any) -> None:
        """R where the trace was not clipped."""
        # R = R' where |Hebb'| < 1, else 0
        torch.ops.aten.hardtanh_backward.grad_input(r, hebb[1], -1.0, 1.0, grad_input=r)
        # the gradient by h k^T: alpha R
        torch.mul(r, weights[3], out=d.outer)

    def show_backward(self, rule: Weights, dk: Tensor, slot: Any, d: Any) -> Tensor:
        """Go back through h itself and through the modulator."""
        w_m, _, v, _ = rule
        # k = M * h: dM = dk * h
        d_rate = torch.mul(dk, slot.h, out=d.rate)
        # M = v m + c, m = tanh(.): v^T dM (1 - m^2)
        d_m = tanh_backward(torch.bmm(d_rate, v.mT), slot.m, d.m)  # [N, B, 1]
        # dh = M * dk + W_m dm
        return torch.addcmul(dk * slot.rate, d_m, w_m.mT)

    def add_rule_gradients(self, part: Trace, grads: Weights) -> None:
        """Sums over steps: ``dW_m = h dm``, ``db_m = dm``, ``dv = m dM``, ``dc = dM``."""
        d_m, d_rate = part.gradients.flat("m"), part.gradients.flat("rate")
        add_outer(grads[0], part.flat("h"), d_m)
        add_sum(grads[1], d_m)
        add_outer(grads[2], part.flat("m"), d_rate)
        add_sum(grads[3], d_rate)
