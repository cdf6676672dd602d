"""The parameters around a warped model: what is meta-learned, and the copies that adapt."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self

import torch
from torch import Tensor, nn

from metarl.core.update_rules import EMPTY
from metarl.modules.functional import copy_buffers
from metarl.modules.inner_optimisers import OptimizerParameters
from metarl.modules.named_tree import NamedTree
from metarl.modules.selection import Selector, two_sides

NamedParameters = Iterator[tuple[str, nn.Parameter]]


class WarpParameters(nn.Module):
    """A model's adapting and warping parameters; names are the model's, in its order.

    Its parameters, and its ``state_dict``, are what is meta-learned. What a task has adapted is in
    `adapt_parameters` and `adapt_state`; move the module to a device before making optimisers.

    Attributes:
        model: The user's module: its parameters of the adapting modules are the initialisation.
        learned: Step sizes and momenta, where they are learned.
    """

    def __init__(
        self,
        model: nn.Module,
        adapt_modules: Selector | Iterable[Selector],
        warp_modules: Selector | Iterable[Selector],
        optimizer_parameters: OptimizerParameters | None,
    ) -> None:
        """Divide the model's parameters; it is not copied. See `Warp`."""
        super().__init__()
        self._fast_names, self._slow_names = two_sides(model, adapt_modules, warp_modules)
        self.model, self._optimizer_parameters = model, optimizer_parameters
        rule = optimizer_parameters.rule if optimizer_parameters else None
        self.learned = NamedTree(rule.parameters(self._init()) if rule else EMPTY)
        self._copy()

    def adapt_parameters(self) -> Iterator[nn.Parameter]:
        """The copies that adapt to a task: for the inner optimiser."""
        return iter(self._adapted.values())

    def named_adapt_parameters(self) -> NamedParameters:
        """Those of `adapt_parameters`."""
        return iter(self._adapted.items())

    def init_parameters(self) -> Iterator[nn.Parameter]:
        """Where adaptation begins."""
        return iter(self._init().values())

    def named_init_parameters(self) -> NamedParameters:
        """Those of `init_parameters`."""
        return iter(self._init().items())

    def warp_parameters(self) -> Iterator[nn.Parameter]:
        """What stands still during adaptation."""
        return iter(self._slow().values())

    def named_warp_parameters(self) -> NamedParameters:
        """Those of `warp_parameters`."""
        return iter(self._slow().items())

    def optimizer_parameters(self) -> Iterator[nn.Parameter]:
        """Logarithms of step sizes and logits of momenta, where they are learned."""
        return self.learned.parameters()

    def named_optimizer_parameters(self) -> NamedParameters:
        """Those of `optimizer_parameters`, named after the links of the update rule."""
        return self.learned.named_parameters()

    def meta_parameters(self) -> Iterator[nn.Parameter]:
        """All three: for the meta-optimiser."""
        return (p for _, p in self.named_meta_parameters())

    def named_meta_parameters(self) -> NamedParameters:
        """Those of `meta_parameters`: the rule's, then where adaptation begins, then the warp's."""
        yield from self.named_optimizer_parameters()
        yield from self.named_init_parameters()
        yield from self.named_warp_parameters()

    def zero_meta_grads(self) -> None:
        """No gradient of what is meta-learned."""
        for p in self.meta_parameters():
            p.grad = None

    def zero_task_grads(self) -> None:
        """No gradient of the copies that adapt."""
        for p in self.adapt_parameters():
            p.grad = None

    def optimizer_parameter_groups(self) -> list[dict[str, Any]]:
        """Groups for `torch.optim.SGD` with every parameter's learned step size and momentum."""
        if self._optimizer_parameters is None:
            raise ValueError("no optimizer_parameters were given to Warp")
        return self._optimizer_parameters.groups(self._adapted, self.learned.params())

    def adapt_state(self) -> dict[str, Tensor]:
        """Copies of adapted parameters and buffers.

        A model takes them with ``load_state_dict(..., strict=False)``.
        """
        named = {**self._adapted, **self._task_buffers}
        return {name: t.detach().clone() for name, t in named.items()}

    def _reset(self) -> None:
        """Go to the initialisation, buffers included; the copies stay the same tensors."""
        with torch.no_grad():
            for name, p in self._init().items():
                self._adapted[name].copy_(p)
        self._task_buffers = copy_buffers(self.model)

    def _copy(self) -> None:
        """Make the copies."""
        self._adapted = {n: nn.Parameter(p.detach().clone()) for n, p in self._init().items()}
        self._task_buffers = copy_buffers(self.model)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move: the copies are made anew."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._copy()
        return self

    def _init(self) -> dict[str, nn.Parameter]:
        named = dict(self.model.named_parameters())
        return {name: named[name] for name in self._fast_names}

    def _slow(self) -> dict[str, nn.Parameter]:
        named = dict(self.model.named_parameters())
        return {name: named[name] for name in self._slow_names}
