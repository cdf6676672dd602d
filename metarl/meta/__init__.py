"""Meta-learners, one meta-gradient a file."""

from metarl.meta.two_timescale import NonFiniteLossError, TwoTimescale, TwoTimescaleSettings

__all__ = ["NonFiniteLossError", "TwoTimescale", "TwoTimescaleSettings"]
