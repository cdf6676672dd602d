"""Results on adaptation by policy gradient."""
