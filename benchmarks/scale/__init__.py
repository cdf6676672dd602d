"""Arithmetic of scale: what many runs cost, and when a gradient takes longer than its step."""
