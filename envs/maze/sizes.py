"""Sizes of mazes in words, and how long an episode of a size is."""

from __future__ import annotations

import re


def sizes_of(size: str) -> tuple[int, int]:
    """The smallest and the largest size of a size or a range: 13, 9..25 or 9-25.

    Raises:
        ValueError: It is neither.
    """
    found = re.fullmatch(r"(\d{1,9})(?:(?:\.\.|-)(\d{1,9}))?", size.strip())
    if found is None:
        raise ValueError(
            f"size must be a number such as 13, or a range such as 9..25, got {size!r}"
        )
    low, high = int(found[1]), int(found[2] or found[1])
    if low > high:
        raise ValueError(f"size must be a range from a smaller to a larger number, got {size!r}")
    return low, high


def usual_horizon(size: int) -> int:
    """Steps in which a goal is found and gone back to some times: about 5.6 for each room.

    A multiple of 100: 100 at 9 x 9, 200 at 13 x 13, 500 at 19 x 19, 800 at 25 x 25.
    """
    return 100 * max(1, round(5.6 * (size // 2) ** 2 / 100))
