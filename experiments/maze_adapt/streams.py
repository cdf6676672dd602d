"""Random streams of a seed: those of training, and after them those that no training has."""

from __future__ import annotations

STREAMS = ("init", "tasks", "episodes")
"""Of training."""

TEST_STREAMS = ("test_tasks", "test_episodes")
"""Of evaluation: after those of training, so that no training has them, whatever its seed."""

SIDE_STREAMS = (*TEST_STREAMS, "validation_tasks", "validation_episodes")
"""The same, and those of the side to choose settings by."""
