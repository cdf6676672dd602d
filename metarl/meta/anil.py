"""ANIL, almost no inner loop (Raghu et al. 2020): MAML that adapts the head alone.

Of the parameters theta = (theta_b, theta_h) the body's are slow. Their section 4:

    h_0 = theta_h,   h_{k+1} = U(h_k, grad_h l_support(theta_b, h_k)),
    theta <- theta - beta * grad_theta (1/N) sum_i l_query(theta_b, h_K^i)

The gradient reaches the body twice: through the query loss, and through the inner gradients that
made h_K. The backward pass of an inner step ends at the head, and so does the forward pass where
the tasks have halves (`core.run_once`): what the body makes of the examples is computed once.

Reduces to: MAML where the patterns of the head match every parameter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import ClassVar

from metarl.core import Execution, Model, Params, UpdateRule, named_params
from metarl.core.settings import InnerLoop, LearnedSteps, RuleSide, SlowSide
from metarl.meta.maml import MAML, Truncated
from metarl.meta.method import Untrained


class ANIL(MAML):
    """MAML with a slow body."""

    def __init__(
        self,
        params: Model,
        *,
        head: Sequence[str],
        rule: UpdateRule,
        num_steps: int = 1,
        execution: Execution | None = None,
        first_order: bool = False,
        truncate: int | None = None,
        checkpoint: bool = False,
    ) -> None:
        """Copy a model's parameters.

        Args:
            params: Parameters of one network.
            head: Name patterns of what adapts (`nn.Network.head`).
            rule: See `MAML`, as for the rest.
            num_steps: K.
            execution: Number of tasks that are worked on at a time.
            first_order: Take the Jacobian of adaptation for the identity.
            truncate: Go back through the last so many steps alone.
            checkpoint: Memory of one inner step.

        Raises:
            ValueError: A pattern matches no parameter.
        """
        params = named_params(params)
        super().__init__(
            params,
            rule=rule,
            num_steps=num_steps,
            slow=body_names(params, head),
            execution=execution,
            first_order=first_order,
            truncate=truncate,
            checkpoint=checkpoint,
        )


def body_names(params: Params, head: Sequence[str]) -> tuple[str, ...]:
    """The names that no pattern of the head matches.

    Raises:
        ValueError: A pattern matches no parameter.
    """
    for pattern in head:
        if not any(fnmatchcase(name, pattern) for name in params):
            raise ValueError(
                f"the head pattern {pattern!r} matches no parameter; names are {', '.join(params)}"
            )
    return tuple(n for n in params if not any(fnmatchcase(n, pattern) for pattern in head))


@dataclass(frozen=True)
class ANILSettings(Truncated, SlowSide, RuleSide, LearnedSteps, InnerLoop):
    """Adapt the last layer alone."""

    name: ClassVar[str] = "anil"

    def build(self, model: Untrained) -> ANIL:
        """Make the learner."""
        return ANIL(
            model.params,
            head=model.architecture.head,
            truncate=self.truncate,
            checkpoint=self.checkpoint,
            **self._adaptation(),
        )
