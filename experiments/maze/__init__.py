"""The maze, end to end: `python -m experiments.maze train | evaluate | render | export`."""
