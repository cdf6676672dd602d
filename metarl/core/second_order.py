"""Second derivatives that torch lacks, or gets wrong: found in the graph, refused by name.

A meta-gradient of second order goes backward twice. Fused kernels, compiled functions and custom
ones may not allow it, and say so in torch's words, in the outer backward pass, far from the cause.
Here the cause is named with its remedy. `composed` computes rightly what torch differentiates
wrongly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.autograd.graph import Node, get_gradient_edge
from torch.nn.utils.parametrizations import _WeightNorm
from torch.nn.utils.weight_norm import WeightNorm
from torch.overrides import TorchFunctionMode

from metarl.core.params import Params, nested_tensors

_REMEDIES = {
    "scaleddotproduct": (
        "fused attention",
        "call model, clone, Warp.backward and learners within `with "
        "torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):`",
    ),
    "weightnorm": (
        "torch's fused weight_norm, only a wrong one",
        "write it out: v * (g / v.norm(dim=..., keepdim=True))",
    ),
    "compile": (
        "a function of torch.compile",
        "wrap the uncompiled module; whole meta-gradients of data sets are compiled by "
        "metarl.core.Execution(compile=True)",
    ),
    "embeddingbag": ("embedding_bag", "use nn.Embedding and a sum or mean over its outputs"),
    "cdist": ("cdist", "write it out: (a[:, None] - b).norm(dim=-1)"),
    "pdist": ("pdist", "write it out: (a[:, None] - a).norm(dim=-1)"),
    "hardsigmoid": ("hardsigmoid", "write it out: (x / 6 + 0.5).clamp(0, 1)"),
    "cudnnrnn": (
        "a recurrent network of cuDNN",
        "call it within `with torch.backends.cudnn.flags(enabled=False):`",
    ),
    "sparsecootensor": ("a sparse gradient", "use sparse=False"),
    "oncedifferentiable": (
        "a torch.autograd.Function",
        "let its backward be differentiated: no once_differentiable there",
    ),
}
"""Operations and their remedies, by a word in the name of a node or in a message of torch."""

_NO_DERIVATIVE = {
    "torch::autograd::NotImplemented",
    "CompiledFunctionBackwardBackward",
    "EmbeddingBagBackwardBackward0",
    "CdistBackwardBackward0",
    "PdistBackwardBackward0",
    "CudnnRnnBackwardBackward0",
}
"""Nodes in the graph of a gradient through which there is no way."""

_WRONG = "WeightNormInterfaceBackward0"
"""The node of the fused weight norm: its backward pass has a wrong derivative."""

_ERROR = "torch::autograd::Error"
"""The node of once_differentiable."""

_MARKED = once_differentiable(lambda context, cotangent: cotangent).__code__
"""What it makes of any backward pass."""

_AT_ONCE = {_ERROR, "SparseCooTensorWithDimsAndTensorsBackward0"}
"""Nodes to refuse at once: `torch.autograd.grad` leaves the term of the first out and raises
nothing; behind the second, a backward pass fails before it comes here."""

_WORDS = ("derivative for", "double backward", "differentiate twice")
"""Words in torch's messages where a second derivative is missing."""


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """Name the remedy where a second derivative that is taken inside does not exist.

    Raises:
        NotImplementedError: It does not.
    """
    try:
        yield
    except RuntimeError as error:  # NotImplementedError is one
        text = str(error)
        if isinstance(error, SecondOrderError) or not any(word in text for word in _WORDS):
            raise
        raise SecondOrderError(_message([text], f" ({text})")) from error


class SecondOrderError(NotImplementedError):
    """A second derivative is asked for that torch does not have."""


def refuse_second_derivative(loss: Tensor, grads: Sequence[Tensor], until: Params) -> None:
    """Check that a backward pass, ours or not, can go through gradients.

    It is refused when it comes, so that adaptation can be evaluated without one.

    Args:
        loss: The loss.
        grads: Gradients of the loss, with their graph.
        until: The parameters that both were made from.

    Raises:
        SecondOrderError: At once, where the backward pass would not come here.
    """
    names: set[str] = set()
    fused: list[Node] = []
    for node in nodes_of(grads, until):  # at every step of second order: one look at each
        name = node.name()
        names.add(name)
        if name == _WRONG:
            fused.append(node)
    wrong = any(_leads_to(node, until) for node in fused)
    if any(_is_marked(node) and _leads_to(node, until) for node in nodes_of(loss, until)):
        names.add(_ERROR)
    if not wrong and names.isdisjoint(_NO_DERIVATIVE | _AT_ONCE):
        return
    if not wrong:
        names |= {node.name() for node in nodes_of(loss, until)}
    message = _message(sorted(names))
    if not names.isdisjoint(_AT_ONCE):
        raise SecondOrderError(message)

    def refuse(gradient: Tensor) -> None:
        raise SecondOrderError(message)

    for g in grads:
        if g.requires_grad:
            g.register_hook(refuse)  # type: ignore[no-untyped-call]


def _is_marked(node: Node) -> bool:
    """Whether a node is of a function whose backward pass is marked ``once_differentiable``.

    That shows in the graph of a gradient as `_ERROR`, but not where the loss is linear in what the
    function returns: there torch leaves the second derivative out without a word.
    """
    function: Any = getattr(type(node), "_forward_cls", None)
    return getattr(getattr(function, "backward", None), "__code__", None) is _MARKED


def _leads_to(node: Node, until: Params) -> bool:
    """Whether one of the parameters lies behind a node, so that the gradient went through it."""
    goals = {get_gradient_edge(p).node for p in until.values()}
    seen, waiting = {node}, [node]
    while waiting:
        for before, _ in waiting.pop().next_functions:
            if before in goals:
                return True
            if before is not None and before not in seen:
                seen.add(before)
                waiting.append(before)
    return False


def _message(names: Sequence[str], detail: str = "") -> str:
    seen = "".join(names).lower().replace("_", "")
    if _ERROR.lower() in seen or "differentiate twice" in seen:
        seen += "oncedifferentiable"
    known = [remedy for word, remedy in _REMEDIES.items() if word in seen]
    if not known:
        known = [("a function in the model or the loss", "write it out with simpler operations")]
    what = " or ".join(name for name, _ in known)
    remedies = "; ".join(remedy for _, remedy in known)
    return f"there is no second derivative through {what}{detail}: {remedies}, or go to first order"


def nodes_of(values: Any, until: Params) -> Iterator[Node]:
    """Every node between tensors and the parameters that they were made from, once.

    Args:
        values: Tensors, in tuples, lists and mappings of any depth.
        until: The parameters: what lies behind them is left out.
    """
    seen: set[Node | None] = {None, *(p.grad_fn for p in until.values())}
    waiting = [t.grad_fn for t in nested_tensors(values)]
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        assert node is not None  # which has been seen
        seen.add(node)
        yield node
        waiting += [before for before, _ in node.next_functions if before not in seen]


@contextmanager
def composed(model: nn.Module) -> Iterator[None]:
    """Within it, the weight norms of a module are composed of simpler operations.

    torch's fused kernel takes the norm for a constant when its gradient is differentiated again,
    and gives second derivatives that are off by some percent.

    Args:
        model: Module whose calls are composed; so are others in the same thread.
    """
    if not any(map(_has_weight_norm, model.modules())):
        yield
        return
    with Instead({torch._weight_norm: _weight_norm}):
        yield


def _has_weight_norm(module: nn.Module) -> bool:
    hooks = module._forward_pre_hooks.values()
    return isinstance(module, _WeightNorm) or any(isinstance(hook, WeightNorm) for hook in hooks)


class Instead(TorchFunctionMode):
    """Calls of torch's functions, of some of which others are made instead."""

    def __init__(self, others: Mapping[Callable[..., Any], Callable[..., Any]]) -> None:
        """Take the function to call in place of each of some."""
        super().__init__()
        self._others = others

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run ``func``, or what stands for it."""
        return self._others.get(func, func)(*args, **(kwargs or {}))


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    """Weight v g / |v|, the norm over all axes but one; of all where ``dim`` is -1."""
    return v * (g / torch.norm_except_dim(v, 2, dim))
