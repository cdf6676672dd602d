"""Curricula on the levels of the papers on environment design, on published test mazes."""
