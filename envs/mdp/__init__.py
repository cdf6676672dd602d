"""Random Markov decision processes (Duan et al. 2016): tasks, environments, algorithms."""
