"""A point in the plane (Finn et al. 2017): tasks with exact anchors, environments."""
