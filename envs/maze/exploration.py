"""The cells that agents have entered in an episode: what an exploration bonus is paid for."""

from __future__ import annotations

import torch

__all__ = ["Explored"]


class Explored:
    """What B agents have entered in their episodes.

    Args:
        num_envs: Number of agents, B.
        num_cells: Cells of a maze, at most.
        bonus: Paid for a new cell.
        device: Device of the tensors.
    """

    def __init__(self, num_envs: int, num_cells: int, bonus: float, device: torch.device) -> None:
        self._bonus = bonus
        self._entered = torch.zeros(num_envs * num_cells, dtype=torch.bool, device=device)
        self._found = torch.zeros(num_envs, dtype=torch.bool, device=device)
        self._first = torch.arange(0, num_envs * num_cells, num_cells, device=device)  # [B]

    def start(self, cells: torch.Tensor, where: torch.Tensor | None) -> None:
        """Starts episodes on the cells [B], where `where`, bool [B], is True, or everywhere."""
        if where is None:
            self._entered.zero_()
            self._found = torch.zeros_like(self._found)
        else:
            self._entered.view(len(where), -1).masked_fill_(where[:, None], False)
            self._found = self._found & ~where
        self._entered.index_fill_(0, self._first + cells, True)

    def enter(self, cells: torch.Tensor, finds: torch.Tensor) -> torch.Tensor:
        """Notes a step.

        Args:
            cells: int64 [B], the cells reached, by their numbers in their mazes.
            finds: bool [B], whether they are the goals.

        Returns:
            float32 [B], the bonus where a cell is new and nothing has been found yet, else 0.
        """
        index = self._first + cells
        self._found = self._found | finds
        new = ~(self._entered.index_select(0, index) | self._found)
        self._entered.index_fill_(0, index, True)
        return self._bonus * new.to(torch.float32)
