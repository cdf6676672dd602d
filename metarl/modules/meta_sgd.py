"""Meta-SGD for your own loop (Li et al. 2017): every number learns its own step size.

    phi_{k+1} = phi_k - alpha o grad l(phi_k),                                   (their eq. 2)

with alpha learned beside theta. `metarl.meta.MetaSGD` has the equations and the one deviation:
log alpha is learned, so that step sizes stay positive.
"""

from __future__ import annotations

from torch import Tensor, nn

from metarl.core import scope, sgd
from metarl.core.step_sizes import Sizes
from metarl.modules.maml import MAML


class MetaSGD(MAML):
    """`MAML` with learned step sizes, which are among its parameters."""

    def __init__(self, model: nn.Module, lr: Sizes, *, first_order: bool = False) -> None:
        """Wrap a model.

        Args:
            model: The module.
            lr: Where step sizes begin: a number, or by parameter name (or name pattern) numbers and
                tensors of the parameters' shapes; a list in place of a number learns one for each
                step.
            first_order: See `MAML`.
        """
        super().__init__(model, rule=sgd(lr, learned="element"), first_order=first_order)

    def step_sizes(self) -> dict[str, Tensor]:
        """Alpha by the model's parameter names, of their shapes; of each step where by step."""
        logs = scope(self.learned.params(), "0.log_lr")
        return {name: log_lr.detach().exp() for name, log_lr in logs.items()}
