"""Adaptation to a new task from a few episodes: by gradient steps, or through a memory."""
