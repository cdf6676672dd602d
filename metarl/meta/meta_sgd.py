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

from metarl.core import Execution, Params, sgd
from metarl.meta.maml import MAML


class MetaSGD(MAML):
    """MAML whose inner step sizes are learned, one a number.

    There is no first-order form: without the Jacobian of adaptation the query loss says nothing
    about step sizes.
    """

    def __init__(
        self,
        params: Params,
        *,
        lr: float,
        num_steps: int = 1,
        slow: Sequence[str] = (),
        execution: Execution | None = None,
        checkpoint: bool = False,
    ) -> None:
        """Copy a model's parameters; every step size begins at ``lr``. See `MAML`."""
        super().__init__(
            params,
            rule=sgd(lr, learned="element"),
            num_steps=num_steps,
            slow=slow,
            execution=execution,
            checkpoint=checkpoint,
        )
