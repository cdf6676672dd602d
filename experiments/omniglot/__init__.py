"""Omniglot: few-shot characters, and multi-shot alphabets."""
