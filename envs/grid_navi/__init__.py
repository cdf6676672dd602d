"""A grid with a hidden goal (Zintgraf et al. 2020): tasks with exact anchors, environments."""
