"""The loss of a staged network in two halves, parted before its first fast parameter."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import cast

from torch import Tensor

from metarl.core import Params, share
from metarl.nn import StagedNetwork
from metarl.supervised.criteria import Criterion
from metarl.supervised.examples import Examples


@dataclass(frozen=True)
class NetworkHalves:
    """The stages of a network before and from ``start`` on, and a criterion.

    Attributes:
        network: Network in stages.
        criterion: Criterion of the network's outputs.
        start: The first stage of the second half, at least 1.
    """

    network: StagedNetwork
    criterion: Criterion
    start: int

    def features(self, slow: Params, batch: Examples) -> Tensor:
        """Compute the features of the inputs, ``[N, B, ...]``, by the first half."""
        return self.of_inputs(slow, batch.inputs)

    def of_inputs(self, slow: Params, inputs: Tensor, num_reference: int = 0) -> Tensor:
        """The same of inputs ``[N, B, ...]``; ``num_reference`` as in `nn.Network`."""
        first = {n: p for n, p in slow.items() if self.network.stage_of(n) < self.start}
        return self.network.run(share(first, 1), inputs, num_reference, stop=self.start)

    def later(self, slow: Params) -> dict[str, Tensor]:
        """The slow parameters of the second half."""
        return {n: p for n, p in slow.items() if self.network.stage_of(n) >= self.start}

    def outputs(
        self, fast: Params, slow: Params, features: Tensor, num_reference: int = 0
    ) -> Tensor:
        """Compute outputs ``[N, B, D]`` of features by the second half; parameters are stacked."""
        return self.network.run({**fast, **slow}, features, num_reference, start=self.start)

    def loss(self, fast: Params, slow: Params, features: Tensor, batch: Examples) -> Tensor:
        """The criterion ``[N]`` of its outputs."""
        return self.criterion(self.outputs(fast, slow, features), batch.targets)


def network_halves(
    network: Callable[..., Tensor], criterion: Criterion, fast: Collection[str]
) -> NetworkHalves | None:
    """The halves before and after the first fast parameter; None where nothing comes before.

    A class that says again what a call is, and not what its stages are, has none.
    """
    if not hasattr(network, "run") or _says(network, "run") is not _says(network, "__call__"):
        return None
    staged = cast(StagedNetwork, network)
    start = min(staged.stage_of(name) for name in fast)
    return NetworkHalves(staged, criterion, start) if start else None


def _says(network: Callable[..., Tensor], method: str) -> type:
    """The class that a network has a method from."""
    return next(kind for kind in type(network).__mro__ if method in vars(kind))
