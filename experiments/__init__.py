"""Scripts: a dataclass of settings, library calls, a run directory. Run them as modules."""
