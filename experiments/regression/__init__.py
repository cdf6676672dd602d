"""Regression: a learner that fits a new function of a line in a few gradient steps."""
