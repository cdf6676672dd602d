"""What is counted about mazes on a lattice."""

import torch

CPU = torch.device("cpu")


def passages(walls: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """`right` [n, k, k - 1] and `down` [n, k - 1, k], read from the walls."""
    return ~walls[:, 1::2, 2:-1:2], ~walls[:, 2:-1:2, 1::2]


def degrees(walls: torch.Tensor) -> torch.Tensor:
    """Passages of every room, [n, k, k]."""
    right, down = (part.long() for part in passages(walls))
    pad = torch.nn.functional.pad
    return (
        pad(right, (0, 1)) + pad(right, (1, 0)) + pad(down, (0, 0, 0, 1)) + pad(down, (0, 0, 1, 0))
    )


def dead_ends(walls: torch.Tensor) -> torch.Tensor:
    """Rooms with one passage, float64 [n]."""
    return (degrees(walls) == 1).sum((1, 2)).double()


def assert_mean(values: torch.Tensor, expected: float, slack: float = 0.0) -> None:
    """The mean lies within 4 standard errors, and `slack`, of what is expected."""
    error = float(values.double().std()) / len(values) ** 0.5
    assert abs(float(values.double().mean()) - expected) < 4 * error + slack, (
        values.double().mean(),
        expected,
        error,
    )
