"""Parameters as data: named tensors, stacked over tasks, split into fast and slow by name.

A model is a mapping from names to tensors. Stacked over N tasks (or N training seeds) every
tensor gains a leading axis N, and the functions that use it are written for that axis. Which
parameters adapt and which are shared is said once, by name patterns: MAML makes all of them fast,
ANIL the head, WarpGrad the task layers; the rest is slow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

Params: TypeAlias = Mapping[str, Tensor]

Model: TypeAlias = Params | nn.Module
"""The named parameters of one model, or a module, which stands for its own."""


@dataclass(frozen=True)
class Partition:
    """The two sides of a model's parameters, as names in the model's order.

    Every parameter is on exactly one side.
    """

    fast: tuple[str, ...]
    slow: tuple[str, ...]

    def split(self, params: Params) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return ``params`` as ``(fast, slow)``; tensors are shared, not copied."""
        return {n: params[n] for n in self.fast}, {n: params[n] for n in self.slow}


def partition(names: Iterable[str], *, slow: Sequence[str]) -> Partition:
    """Split parameter names by shell-style patterns.

    Args:
        names: Parameter names, e.g. ``"core.weight_hh"``.
        slow: Patterns of the slow side, e.g. ``"core.warp.*"``; empty makes everything fast.

    Returns:
        The partition. A name is slow when any pattern matches it, otherwise fast.

    Raises:
        ValueError: A pattern matches no name: a misspelt pattern would silently move weights to
            the other side.
    """
    names = tuple(names)
    for pattern in slow:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(
                f"the slow pattern {pattern!r} matches no parameter; names are {', '.join(names)}"
            )
    is_slow = {n: any(fnmatchcase(n, pattern) for pattern in slow) for n in names}
    return Partition(
        fast=tuple(n for n in names if not is_slow[n]),
        slow=tuple(n for n in names if is_slow[n]),
    )


def stack(params: Sequence[Params]) -> dict[str, Tensor]:
    """Stack N mappings with the same names and shapes along a new leading axis N."""
    return {name: torch.stack([p[name] for p in params]) for name in params[0]}


def unstack(params: Params, index: int) -> dict[str, Tensor]:
    """Return task ``index`` of stacked parameters, without the leading axis (a view)."""
    return {name: tensor[index] for name, tensor in params.items()}


def scope(params: Params, prefix: str) -> dict[str, Tensor]:
    """Return the parameters under ``prefix.``, named without it."""
    start = len(prefix) + 1
    return {n[start:]: t for n, t in params.items() if n.startswith(prefix + ".")}


def num_parameters(params: Params) -> int:
    """Count the scalars of unstacked parameters."""
    return sum(t.numel() for t in params.values())


def share(params: Params, num_tasks: int) -> dict[str, Tensor]:
    """Stack N equal copies of unstacked parameters, as views: a gradient comes back as a sum."""
    return {name: p.expand(num_tasks, *p.shape) for name, p in params.items()}


def detached(params: Params) -> dict[str, Tensor]:
    """Return the values without a graph, as constants."""
    return {name: p.detach() for name, p in params.items()}


def prefixed(params: Params, prefix: str) -> dict[str, Tensor]:
    """The inverse of `scope`: every name gains ``prefix.``."""
    return {f"{prefix}.{name}": p for name, p in params.items()}


def gradients(loss: Tensor, params: Params, *, create_graph: bool = False) -> dict[str, Tensor]:
    """The gradient of a scalar by name, dense; zeros where it does not depend on a parameter.

    What stands still (``requires_grad=False``) has none.
    """
    moving = {name: p for name, p in params.items() if p.requires_grad}
    if not moving:
        return {}
    found = torch.autograd.grad(
        loss,
        list(moving.values()),
        create_graph=create_graph,
        allow_unused=True,
        materialize_grads=True,
    )
    return {name: g.to_dense() for name, g in zip(moving, found, strict=True)}


def leaves(params: Params) -> dict[str, Tensor]:
    """Return the values cut from their graph, ready to be differentiated with respect to."""
    return {name: p.detach().requires_grad_() for name, p in params.items()}


def cut(params: Params) -> dict[str, Tensor]:
    """Return the values cut from their graph; what is differentiated with respect to still is."""
    return {name: p.detach().requires_grad_(p.requires_grad) for name, p in params.items()}


def named_params(model: Model) -> Params:
    """The parameters of a model by name, not copied.

    Raises:
        TypeError: The model is neither a module nor a mapping of names to tensors of real numbers;
            or it is compiled.
        ValueError: A parameter has no shape yet.
    """
    if isinstance(model, nn.Module):
        refuse_compiled(model)
        model = dict(model.named_parameters())
    if not isinstance(model, Mapping):
        raise TypeError(
            "parameters must be a module or a mapping of names to tensors, such as "
            f"dict(net.named_parameters()), got {type(model).__name__}"
        )
    for name, p in model.items():
        if not isinstance(p, Tensor):
            raise TypeError(f"the parameter {name} must be a tensor, got {type(p).__name__}")
        if is_lazy(p):
            raise ValueError(f"{name} has no shape yet: run a batch through the module first")
        stands = isinstance(p, nn.Parameter) and not p.requires_grad
        if not (stands or p.is_floating_point() or p.is_complex()):
            raise TypeError(
                f"the parameter {name} must be of a floating-point type, got {p.dtype}: of a "
                "module's state_dict() take the parameters alone, dict(net.named_parameters())"
            )
    return model


def refuse_compiled(module: nn.Module) -> None:
    """Check that neither a module nor a part of it is compiled.

    Raises:
        TypeError: It is.
    """
    if any(hasattr(part, "_orig_mod") for part in module.modules()):
        raise TypeError(
            "a module of torch.compile can be neither vectorised nor differentiated twice: give "
            "the uncompiled one; whole meta-gradients are compiled by Execution(compile=True)"
        )


def frozen(params: Params) -> dict[str, Tensor]:
    """Parameters of a module that were told to stand still: ``requires_grad=False``.

    Plain tensors are values, which say nothing of the kind.
    """
    return {
        name: p
        for name, p in params.items()
        if isinstance(p, torch.nn.Parameter) and not p.requires_grad
    }


def added(total: Params, more: Params, scale: float = 1.0) -> dict[str, Tensor]:
    """Return ``total + scale * more`` by name, in at least float32.

    A name that is not in ``total`` counts as zero.
    """
    scaled = {name: precise(p) if scale == 1.0 else precise(p) * scale for name, p in more.items()}
    return {**total, **{n: total[n] + p if n in total else p for n, p in scaled.items()}}


def precise(values: Tensor) -> Tensor:
    """Half-precision values in float32; others as they are.

    A decay of 0.999 is 1 in bfloat16, and a sum of 257 ones is 256: what is summed, counted or
    averaged over steps is kept in at least float32, whatever the parameters' type.
    """
    if values.dtype in _PRECISE:
        return values
    return values.to(torch.promote_types(values.dtype, torch.float32))


_PRECISE = frozenset((torch.float32, torch.float64, torch.complex64, torch.complex128))


def along(values: Tensor, like: Tensor) -> Tensor:
    """Values ``[N]`` (or ``[N, B]``) with axes of one behind, as many as ``like`` has in all."""
    return values.view(*values.shape, *(1,) * (like.dim() - values.dim()))


def own_precision(like: Tensor) -> AbstractContextManager[object]:
    """A context within which autocast changes no precision, whatever it does outside.

    Rounding adds up over the steps of a sequence, and back-propagation by hand knows one dtype.

    Args:
        like: A tensor on the device.
    """
    kind = like.device.type
    if not torch.amp.is_autocast_available(kind):  # such as meta, where shapes alone are worked out
        return nullcontext()
    return torch.autocast(kind, enabled=False)


def zeros_like(params: Params) -> dict[str, Tensor]:
    """Zeros of the same names and shapes."""
    return {name: torch.zeros_like(p) for name, p in params.items()}


def task_norms(tensors: Iterable[Tensor]) -> Tensor:
    """Euclidean norm of each task's numbers over all tensors ``[N, ...]``: ``[N]``.

    Nothing over- or underflows on the way, half precision is lifted to float32, and where all
    numbers are 0 the norm is 0 and its derivative, which does not exist, is taken for 0.
    """
    flat = [precise(t).reshape(t.shape[0], -1) for t in tensors if t.numel()]  # [N, D] each
    largest = torch.stack([f.detach().abs().amax(1) for f in flat]).amax(0)
    some = largest > 0
    unit = torch.where(some, largest, 1.0)
    squares = torch.stack([(f / unit[:, None]).square().sum(1) for f in flat]).sum(0)
    return torch.where(some, unit * torch.where(some, squares, 1.0).sqrt(), 0.0)


def nested_tensors(value: Any) -> Iterator[Tensor]:
    """The tensors within tuples, lists and mappings of any depth, in order.

    Whatever else is in them is passed over.
    """
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from nested_tensors(tuple(value.values()))
    elif isinstance(value, tuple | list):
        for part in value:
            yield from nested_tensors(part)
