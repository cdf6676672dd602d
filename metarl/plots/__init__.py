"""Figures without global state: learning curves over seeds, within-trial curves."""
