"""Run directories: configuration, metrics, checkpoints, provenance, progress."""
