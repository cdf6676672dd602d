"""What played a trajectory, and how its numbers were rounded: whether ratios must begin at 1."""

from __future__ import annotations

import torch
from torch import Tensor

from metarl.core import Params
from metarl.native import native_mode
from metarl.native.plain import watched
from metarl.rl.trajectory import Trajectory


class Played:
    """The weights that played a trajectory, as long as nothing has been learned from it.

    Behind its first loss an optimiser may have moved them in place, which not all of them tell
    (torch's fused ones do not).
    """

    def __init__(self, params: Params, trajectory: Trajectory) -> None:
        """Keep the parameters that played, what they saw and how they were rounded."""
        weights = (p.detach() for p in params.values())
        self._weights = [(p, p._version) for p in weights]
        self._seen = trajectory.observations, trajectory.observations._version
        self._rounding = rounding(trajectory.log_p)

    def are(self, params: Params) -> bool:
        """Whether these are the tensors that played, or views of them, unchanged since."""
        return len(params) == len(self._weights) and all(
            p.data_ptr() == before.data_ptr() and p._version == version
            for p, (before, version) in zip(params.values(), self._weights, strict=True)
        )

    def saw(self, observations: Tensor) -> bool:
        """Whether this is the tensor of what they saw, unchanged since."""
        return observations is self._seen[0] and observations._version == self._seen[1]

    def round_like(self, log_p: Tensor) -> bool:
        """Whether log-probabilities are taken in the modes that they were played in."""
        return self._rounding == rounding(log_p)

    def let_go(self) -> None:
        """A loss has been taken: what comes now may have moved."""
        self._weights = []


def rounding(like: Tensor) -> tuple[bool, bool, torch.dtype]:
    """Return how numbers are rounded where a tensor lives.

    Returns:
        Whether kernels may run, whether autocast is on, and to which type it rounds.
    """
    natively, kind = native_mode() != "off" and not watched(), like.device.type
    if not torch.amp.is_autocast_available(kind):
        return natively, False, like.dtype
    return natively, torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)
