"""Grid mazes: layouts, generators, dynamics, tasks, the environments, exact anchors, pictures."""
