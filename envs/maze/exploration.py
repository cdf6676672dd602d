"""The cells that agents have entered in an episode: what an exploration bonus is paid for."""

from __future__ import annotations

import torch

__all__ = ["Explored"]


class Explored:
    """Cells that B agents have entered in their episodes.

    Args:
        num_envs: Number of agents, B.
        num_cells: Cells of a maze, at most.
        bonus: Paid for a new cell.
        device: Device of the tensors.

    Attributes:
        bonus: Paid for a new cell.
        entered: bool [B * cells], what agents have entered.
        found: bool [B], whether they have found a goal.
        first: int64 [B], where the cells of each agent begin in `entered`.
    """

    def __init__(self, num_envs: int, num_cells: int, bonus: float, device: torch.device) -> None:
        self.bonus = bonus
        self.entered = torch.zeros(num_envs * num_cells, dtype=torch.bool, device=device)
        self.found = torch.zeros(num_envs, dtype=torch.bool, device=device)
        self.first = torch.arange(0, num_envs * num_cells, num_cells, device=device)  # [B]

    def start(self, cells: torch.Tensor, where: torch.Tensor | None) -> None:
        """Starts episodes on the cells [B], where `where`, bool [B], is True, or everywhere."""
        if where is None:
            self.entered.zero_()
            self.found = torch.zeros_like(self.found)
        else:
            self.entered.view(len(where), -1).masked_fill_(where[:, None], False)
            self.found = self.found & ~where
        self.entered.index_fill_(0, self.first + cells, True)

    def enter(self, cells: torch.Tensor, finds: torch.Tensor) -> torch.Tensor:
        """Notes a step.

        Args:
            cells: int64 [B], the cells reached, by their numbers in their mazes.
            finds: bool [B], whether they are the goals.

        Returns:
            float32 [B], the bonus where a cell is new and nothing has been found yet, else 0.
        """
        index = self.first + cells
        self.found = self.found | finds
        new = ~(self.entered.index_select(0, index) | self.found)
        self.entered.index_fill_(0, index, True)
        return self.bonus * new.to(torch.float32)
