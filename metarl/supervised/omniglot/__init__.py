"""Omniglot: archives, cache, splits, alphabets and distortions."""
