"""Meta-Curvature (Park & Oliva 2019): a learned linear map of the gradient, one matrix an axis.

A gradient G of a convolution, seen as ``[O, C, k k]``, is multiplied along every axis by a matrix
of that axis (their section 3):

    MC(G) = G x_3 M_f x_2 M_i x_1 M_o,     phi_{k+1} = phi_k - lr MC(grad l(phi_k)),

with M_o ``[O, O]`` over output channels, M_i ``[C, C]`` over input channels and M_f ``[k k, k k]``
over the filter's places: the Kronecker product M_o (x) M_i (x) M_f on the flat gradient, never
formed.
A linear layer has two matrices, a vector (a bias) one factor a number. All begin at the identity,
so that the rule is gradient descent at first; MAML with it is Meta-Curvature, and MAML's gradient
at the identity.

Axes are numbered as the parameter's are and everything after the second is one axis: here
``axis0`` of a convolution is M_o, ``axis1`` M_i, ``axis2`` M_f; of a linear weight ``[I, O]``
``axis0`` is M_i, ``axis1`` M_o.

# Deviation: a vector has a diagonal; the paper's products begin with matrices.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from metarl.core.params import Params, own_precision
from metarl.core.update_rules import EMPTY, State, Transform


@dataclass(frozen=True)
class MetaCurvature(Transform):
    """Multiply a gradient along each of its axes by a learned matrix."""

    def parameters(self, fast: Params) -> dict[str, Tensor]:
        """``axisI.NAME`` matrices, or ``diagonal.NAME`` of vectors and scalars: identities."""
        params: dict[str, Tensor] = {}
        for name, p in fast.items():
            if p.dim() < 2:
                params[f"diagonal.{name}"] = torch.ones_like(p)
                continue
            for axis, size in enumerate(_axes(p.shape)):
                eye = torch.eye(size, dtype=p.dtype, device=p.device)
                params[f"axis{axis}.{name}"] = eye
        return params

    def update(
        self, grads: Params, fast: Params, state: State, params: Params
    ) -> tuple[Params, State]:
        """MC(G) of every gradient."""
        return {name: _map(g, name, params) for name, g in grads.items()}, EMPTY


def _axes(shape: torch.Size) -> tuple[int, ...]:
    """The sizes of the axes that have a matrix, of an unstacked parameter."""
    return (*shape[:2], shape[2:].numel()) if len(shape) > 2 else tuple(shape)


def _map(gradient: Tensor, name: str, params: Params) -> Tensor:
    """MC(G) of one gradient ``[N, ...]``."""
    if gradient.dim() < 3:
        return gradient * params[f"diagonal.{name}"]
    shape = gradient.shape
    g = gradient.reshape(len(gradient), *_axes(shape[1:]))  # [N, O, I, k * k] of a convolution
    with own_precision(g):  # products of float32 stay in float32
        for axis in range(g.dim() - 1):
            g = (g.movedim(axis + 1, -1) @ params[f"axis{axis}.{name}"].mT).movedim(-1, axis + 1)
    return g.reshape(shape)  # [N, O, I, k, k]
