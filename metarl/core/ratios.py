"""The ratio of probabilities computed again to those that were stored begins at exactly 1.

Surrogates of a policy gradient weigh actions by this ratio. At the weights that played a batch it
is 1, or something stands between what was drawn and what is learned from.
"""

from __future__ import annotations

import torch
from torch import Tensor


class StaleBatchError(RuntimeError):
    """The probabilities computed again are not those that were stored when the batch was played."""


MAX_LOG_RATIO = 1e-4
"""The largest rounding on an accelerator, which may add up in another order each time."""


def tolerance(device: torch.device) -> float:
    """Return the largest log-ratio: on the CPU 0, where the same program gives the same bits."""
    return 0.0 if device.type == "cpu" else MAX_LOG_RATIO


def check_ratios(largest: Tensor) -> None:
    """Check that a batch's ratios of new to stored probabilities begin at 1.

    Args:
        largest: Largest ``|log p_now - log p_played|`` at the weights that played, any shape. Not a
            number is let through: then the weights have lost their way, not the batch, and the loss
            will say so. Waits for the device.

    Raises:
        StaleBatchError: A ratio is not 1, beyond the device's `tolerance`.
    """
    worst = float(largest.max())
    if worst > tolerance(largest.device):
        raise StaleBatchError(
            "at the weights that played a batch, the probabilities of its actions must be those "
            f"that were stored, but a log-ratio is {worst:.3g}: look for actions that are changed "
            "after they are drawn, for observations normalised again, and for other weights"
        )
