"""Meta-gradients of policies: E-MAML, ProMP, TRPO, and the trust region they share."""
