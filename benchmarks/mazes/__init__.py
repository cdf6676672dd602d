"""Benchmarks of agents that meet another maze in every trial."""
