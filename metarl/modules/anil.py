"""ANIL for your own loop (Raghu et al. 2020): MAML that adapts the head alone.

The body is learned by the outer optimiser, through the query loss and through the inner gradients;
`metarl.meta.ANIL` has the equations.

A clone runs the whole model. Where the body is a module of its own, run it once for a task and
wrap the head: the steps are a fraction of the work, and the gradient is the same.

    anil = MAML(model.head, lr=0.1)
    features = model.body(task.x)
    clone = anil.clone()
    clone.adapt(loss(clone(features), task.y))                  as many steps as wanted
    loss(clone(model.body(task.query_x)), task.query_y).backward()
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from metarl.core import UpdateRule
from metarl.modules.maml import MAML
from metarl.modules.selection import Selector


class ANIL(MAML):
    """`MAML` with a head that adapts and a body that stands still in clones."""

    def __init__(
        self,
        model: nn.Module,
        lr: float | None = None,
        *,
        head: Selector | Iterable[Selector],
        first_order: bool = False,
        rule: UpdateRule | None = None,
    ) -> None:
        """Wrap a model.

        Args:
            model: The module.
            lr: Step size of gradient descent; or give ``rule``.
            head: Modules, their names, or name patterns of what adapts, e.g. ``"classifier"``.
            first_order: See `MAML`.
            rule: See `MAML`.

        Raises:
            ValueError: See `MAML`; or ``head`` names no parameter.
        """
        super().__init__(model, lr, first_order=first_order, rule=rule, adapt=head)
