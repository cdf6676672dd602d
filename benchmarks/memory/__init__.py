"""Memory against trial length: every core in the same mazes, at equal steps and equal CPU time."""
