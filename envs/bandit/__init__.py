"""Bernoulli bandits (Duan et al. 2016): tasks with exact anchors, environments, algorithms."""
