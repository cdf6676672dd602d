"""MAML, ANIL and Meta-SGD for your own loop: any `nn.Module`, any loss.

MAML (Finn et al. 2017):

    maml = MAML(model, lr=0.1)
    for task in tasks:
        clone = maml.clone()
        clone.adapt(loss(clone(task.x), task.y))                phi_{k+1} = U(phi_k, grad l)
        loss(clone(task.query_x), task.query_y).backward()      d l(phi_K) / d theta
    optimiser.step()

ANIL (Raghu et al. 2020) adapts the head alone. The body is learned by the outer optimiser, through
the query loss and through the inner gradients. A clone runs the whole model; where the body is a
module of its own, run it once for a task and wrap the head: the steps are a fraction of the work,
and the gradient is the same.

    anil = MAML(model.head, lr=0.1)
    features = model.body(task.x)
    clone = anil.clone()
    clone.adapt(loss(clone(features), task.y))                  as many steps as wanted
    loss(clone(model.body(task.query_x)), task.query_y).backward()

Meta-SGD (Li et al. 2017) learns a step size alpha for every number, beside theta:

    phi_{k+1} = phi_k - alpha o grad l(phi_k)                                    (their eq. 2)

`metarl.meta` has the same methods for whole meta-batches as one tensor program, with their
equations, and the one deviation: log alpha is learned, so that step sizes stay positive.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from metarl.core import UpdateRule, scope, sgd, share
from metarl.core.update_rules import Sizes, check_rule
from metarl.modules.clone import Clone
from metarl.modules.functional import NamedTree, copy_buffers, lock_of
from metarl.modules.selection import Selector, select


class MAML(nn.Module):
    """A model and how clones of it adapt.

    Its parameters are the model's and what the update rule has learned. Parameters that do not
    require a gradient stay frozen in clones.

    Attributes:
        model: The user's module: the initialisation theta. Only an optimiser changes it.
        rule: The update rule of the inner steps.
        learned: Learned parameters of the rule.
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
            adapt: Modules, names or patterns of parameters that adapt. The rest stands still in
                clones and is learned by the outer optimiser all the same.

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
            raise ValueError(f"frozen when wrapped, wrap the model again: {sorted(unknown)}")
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


class MetaSGD(MAML):
    """`MAML` with learned step sizes, which are among its parameters."""

    def __init__(self, model: nn.Module, lr: Sizes, *, first_order: bool = False) -> None:
        """Wrap a model.

        Args:
            model: The module.
            lr: Initial step sizes: a number, or by parameter name (or name pattern) numbers and
                tensors of the parameters' shapes; a list in place of a number learns one for each
                step.
            first_order: See `MAML`.
        """
        super().__init__(model, rule=sgd(lr, learned="element"), first_order=first_order)

    def step_sizes(self) -> dict[str, Tensor]:
        """Alpha by the model's parameter names, of their shapes; of each step where by step."""
        logs = scope(self.learned.params(), "0.log_lr")
        return {name: log_lr.detach().exp() for name, log_lr in logs.items()}
