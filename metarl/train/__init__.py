"""Training: the loop of a run, the trainer of a learner, the choice of a checkpoint."""
