"""Feed-forward networks: values whose parameters are passed in, stacked over tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import Tensor

from metarl.core import Params


class Network(Protocol):
    """N networks on N batches of inputs, as one tensor program.

    Attributes:
        slow: Name patterns of the parameters that stand still in the inner loop (warp layers).
        head: Name patterns of the last layer.
    """

    @property
    def slow(self) -> tuple[str, ...]:
        """Name patterns of the slow parameters; empty for most networks."""

    @property
    def head(self) -> tuple[str, ...]:
        """Name patterns of the last layer, which ANIL adapts alone."""

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw the parameters of one network (no leading axis), float32, on the CPU."""

    def __call__(self, params: Params, inputs: Tensor, num_reference: int = 0) -> Tensor:
        """Outputs of N networks.

        Args:
            params: Stacked parameters ``[N, ...]``.
            inputs: ``[N, B, ...]``.
            num_reference: Number of the B inputs that normalisation takes its statistics from, the
                first ones; 0 takes all.

        Returns:
            ``[N, B, D]``.
        """


class StagedNetwork(Network, Protocol):
    """A network whose outputs are computed stage by stage: ``run`` from 0 to the end is a call.

    Where adaptation leaves the first stages alone, what they make of the inputs is computed once.
    """

    @property
    def num_stages(self) -> int:
        """Number of stages."""

    def stage_of(self, name: str) -> int:
        """The stage that reads a parameter; 0 for a name that is none of the network's."""

    def run(
        self,
        params: Params,
        inputs: Tensor,
        num_reference: int = 0,
        *,
        start: int = 0,
        stop: int | None = None,
    ) -> Tensor:
        """Run some of the stages.

        Args:
            params: Parameters of these stages at least, stacked ``[N, ...]``; or ``[1, ...]``,
                the same for all tasks.
            inputs: Inputs of stage ``start``, ``[N, B, ...]``.
            num_reference: See `Network.__call__`.
            start: The first stage.
            stop: The stage before which to stop; None: after the last one.

        Returns:
            What stage ``stop`` takes for inputs, ``[N, B, ...]``; at the end the outputs.
        """


def stage_in(name: str, groups: Mapping[str, int]) -> int:
    """The stage of a parameter ``GROUP.I...``: I, or 0 for a name of no group.

    Args:
        name: Name of the parameter.
        groups: Counts I of numbers in the second part of a name, by its first part.
    """
    group, _, rest = name.partition(".")
    number = rest.partition(".")[0]
    known = number.isdecimal() and int(number) < groups.get(group, 0)
    return int(number) if known else 0


def by_reference(
    network: Callable[[Tensor], Tensor], inputs: Tensor, num_reference: int, name: str
) -> Tensor:
    """The outputs of a function, checked where there are reference examples.

    Where a network normalises over a batch, the outputs of a query depend on the other queries, and
    a score of them is transductive. A `Network` takes its statistics from the reference examples
    instead; of other functions it is checked that they do, or that they need not.

    Args:
        network: Called with inputs ``[N, B, ...]``.
        inputs: Reference examples first.
        num_reference: Number of reference inputs; 0: no check.
        name: Name of the network, in words.

    Returns:
        ``[N, B, ...]``.

    Raises:
        ValueError: What comes out of the reference examples depends on the examples after them.
    """
    outputs = network(inputs)
    if 0 < num_reference < inputs.shape[1]:
        with torch.no_grad():
            alone, among = network(inputs[:, :num_reference]), outputs[:, :num_reference]
        near = torch.finfo(among.dtype).eps ** 0.5
        # Rounding depends on the size of a batch, by far less than this.
        if not torch.allclose(alone, among, near, near * float(alone.abs().max())):
            raise ValueError(
                f"{name} gives its {num_reference} reference examples other outputs where there "
                "are examples after them: its normalisation takes no notice of num_reference, or "
                "it draws at random. Take GroupNorm for batch norm, evaluation mode for dropout, a "
                "network of metarl.nn, or num_reference=0: a transductive score"
            )
    return outputs
