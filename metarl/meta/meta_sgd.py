"""Meta-SGD (Li et al. 2017): learn the initialisation and a step size for every parameter.

    phi_{k+1} = phi_k - alpha o grad l_support(phi_k),                         (their eq. 2)
    (theta, alpha) <- (theta, alpha) - beta * grad (1/N) sum_i l_query(phi_K^i)

with alpha of theta's shape, o the product of elements. For one step the chain rule gives
d l_query / d alpha = - grad l_query(phi_1) o grad l_support(theta). The paper takes one step; K are
taken alike.

Reduces to: MAML with the rule ``sgd(lr)`` while alpha stands at its initial value (the gradient of
theta is the same). It is MAML with the rule ``sgd(lr, learned="element")`` at all times.

# Deviation: log alpha is learned, so that step sizes stay positive and change by factors; the paper
# learns alpha, which may change sign. The two gradients differ by the factor alpha.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from metarl.core import Execution, Model, sgd
from metarl.core.settings import InnerSteps, RuleSide
from metarl.core.update_rules import Sizes
from metarl.meta.maml import MAML, Truncated


class MetaSGD(MAML):
    """MAML whose inner step sizes are learned, one for each number.

    To first order a step size learns from the product of its step's gradient and the one at phi_K.
    """

    def __init__(
        self,
        params: Model,
        *,
        lr: Sizes,
        num_steps: int = 1,
        slow: Sequence[str] = (),
        execution: Execution | None = None,
        first_order: bool = False,
        truncate: int | None = None,
        checkpoint: bool = False,
    ) -> None:
        """Copy a model's parameters.

        Args:
            params: Parameters of one network.
            lr: Initial step sizes: a number, or by name pattern numbers and tensors of the
                parameters' shapes; a list in place of a number learns one for each step.
            num_steps: K.
            slow: See `MAML`, as for the rest.
            execution: Number of tasks that are worked on at a time.
            first_order: Take the Jacobian of adaptation for the identity.
            truncate: Go back through the last so many steps alone.
            checkpoint: Memory of one inner step.
        """
        super().__init__(
            params,
            rule=sgd(lr, learned="element"),
            num_steps=num_steps,
            slow=slow,
            execution=execution,
            first_order=first_order,
            truncate=truncate,
            checkpoint=checkpoint,
        )


@dataclass(frozen=True)
class MetaSGDSettings(Truncated, RuleSide, InnerSteps):
    """Adapt with a learned step size per weight.

    Attributes:
        inner_per_step: Learn others for each inner step of meta-training.
    """

    name: ClassVar[str] = "metasgd"
    through_adaptation: ClassVar[bool] = True

    inner_per_step: bool = False

    def _step_sizes(self) -> tuple[Any, str]:
        lr = [self.inner_lr] * self.inner_steps if self.inner_per_step else self.inner_lr
        return lr, "element"
