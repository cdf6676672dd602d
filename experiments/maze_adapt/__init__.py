"""Adaptation by policy gradient: a few episodes on a new task, a gradient step, and again."""
