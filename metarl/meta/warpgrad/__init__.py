"""WarpGrad (Flennerhag et al. 2020): warp weights learned online, offline and continually."""
