"""MAML for your own loop (Finn et al. 2017): any `nn.Module`, any loss.

    maml = MAML(model, lr=0.1)
    for task in tasks:
        clone = maml.clone()
        clone.adapt(loss(clone(task.x), task.y))                phi_{k+1} = U(phi_k, grad l)
        loss(clone(task.query_x), task.query_y).backward()      d l(phi_K) / d theta
    optimiser.step()

`metarl.meta.MAML` is the same method for whole meta-batches as one tensor program.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

from metarl.core import UpdateRule, sgd, share
from metarl.core.update_rules import check_rule
from metarl.modules.clone import Clone
from metarl.modules.functional import copy_buffers, lock_of
from metarl.modules.named_tree import NamedTree
from metarl.modules.selection import Selector, select


class MAML(nn.Module):
    """A model and how clones of it adapt.

    Its parameters are the model's and what the update rule has learned. Parameters that do not
    require a gradient stay frozen in clones.

    Attributes:
        model: The user's module: the initialisation theta. Only an optimiser changes it.
        rule: The update rule of the inner steps.
        learned: What the rule has learned.
        first_order: Take the Jacobian of adaptation for the identity.
    """

    def __init__(
        self,
        model: nn.Module,
        lr: float | None = None,
        *,
        first_order: bool = False,
        rule: UpdateRule | None = None,
        adapt: Selector | Iterable[Selector] = "*",
    ) -> None:
        """Wrap a model; it is not copied.

        Args:
            model: The module.
            lr: Step size of gradient descent; or give ``rule``.
            first_order: Take the Jacobian of adaptation for the identity.
            rule: Another update rule, e.g. ``metarl.adam(0.01)``; its state is carried from step
                to step and differentiated through.
            adapt: What adapts: modules, names or patterns. The rest stands still in clones and is
                learned by the outer optimiser all the same.

        Raises:
            TypeError: ``rule`` is no update rule.
            ValueError: Both ``lr`` and ``rule`` are given or neither, or nothing adapts.
        """
        super().__init__()
        if rule is None and lr is not None:
            rule = sgd(lr)
        elif rule is None or lr is not None:
            raise ValueError(f"give either lr or rule, got lr={lr} and rule={rule}")
        check_rule(rule)
        self.model, self.rule, self.first_order = model, rule, first_order
        self._adapt = select(model, adapt)
        self.learned = NamedTree(self.rule.parameters(self._fast()))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The model itself, not adapted."""
        return self.model(*args, **kwargs)

    def clone(self, *, first_order: bool | None = None) -> Clone:
        """A clone at phi_0 = theta, with a fresh state of the rule and copied buffers.

        Args:
            first_order: Instead of this object's. In evaluation, where nothing is learned from the
                clone, True saves the memory of the inner graph and changes no number.

        Raises:
            ValueError: Nothing adapts, or the rule has learned nothing of a parameter that was
                frozen when the model was wrapped.
        """
        with lock_of(self.model):
            own, buffers = self._fast(), copy_buffers(self.model)
            still = {n: p for n, p in self.model.named_parameters() if n not in own}
        learned = self.learned.params()
        unknown = self.rule.parameters(own).keys() - learned.keys() if learned else set()
        if unknown:
            raise ValueError(f"frozen when wrapped, wrap the model anew: {sorted(unknown)}")
        return Clone(
            self.model,
            own,
            still,
            buffers,
            self.rule,
            learned,
            self.rule.init(share(own, 1)),
            first_order=self.first_order if first_order is None else first_order,
        )

    def _fast(self) -> dict[str, nn.Parameter]:
        named = dict(self.model.named_parameters())
        fast = {name: named[name] for name in self._adapt if named[name].requires_grad}
        if not fast:
            raise ValueError("nothing adapts: all parameters chosen have requires_grad=False")
        return fast
