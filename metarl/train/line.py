"""A line of metrics: means over the iterations since the last one, and what a checkpoint keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass
class Line:
    """Sums of metrics since the last line was written.

    Attributes:
        sums: float64 ``[N]`` by name, one number per agent.
        counts: Iterations that gave each.
    """

    sums: dict[str, Tensor] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, metrics: Mapping[str, Tensor]) -> None:
        """Add the metrics of an iteration; what it does not give does not count."""
        for name, value in metrics.items():
            if value.device.type != "mps":  # which has no float64
                value = value.to(torch.float64)
            # A resume loads the sums on the CPU, wherever the metrics are.
            before = self.sums[name].to(value.device) if name in self.sums else None
            self.sums[name] = value if before is None else before + value
            self.counts[name] = self.counts.get(name, 0) + 1

    def means(self) -> dict[str, list[float]]:
        """Return the line, a number per agent."""
        return {name: (s / self.counts[name]).tolist() for name, s in self.sums.items()}

    def beside(self, judged: Mapping[str, Tensor]) -> Line:
        """Return the same line with metrics that were measured once."""
        return Line({**self.sums, **judged}, {**self.counts, **dict.fromkeys(judged, 1)})

    def agent_state(self, index: int) -> dict[str, Any]:
        """State of an agent, as its checkpoint keeps it."""
        sums = {name: s[index].clone() for name, s in self.sums.items()}
        return {"sums": sums, "num_summed": dict(self.counts)}


def restored_line(states: Sequence[Mapping[str, Any]]) -> Line:
    """Return the line that the checkpoints of all agents keep."""
    sums = {name: torch.stack([s["sums"][name] for s in states]) for name in states[0]["sums"]}
    counts = states[0]["num_summed"]  # one number for all, in the runs of version 0.1
    return Line(sums, dict.fromkeys(sums, counts) if isinstance(counts, int) else counts)
