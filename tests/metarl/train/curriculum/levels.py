"""Levels that are plain numbers, for tests of samplers."""

import torch


class Numbers:
    """Levels ``[2]``: a number from a stream, and how often it was edited."""

    width = 2

    def __init__(self):
        self.next = 0

    def draw(self, n, generator):
        first, self.next = self.next, self.next + n
        numbers = torch.arange(first, first + n)
        return torch.stack((numbers, torch.zeros_like(numbers)), 1)

    def bare(self, n, generator):
        return self.draw(n, generator)

    def edited(self, levels, num_edits, generator):
        return levels + torch.tensor([0, num_edits])

    def keys(self, levels):
        return levels[:, 0] * 1000 + levels[:, 1]
