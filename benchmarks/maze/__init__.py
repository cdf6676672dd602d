"""Results on the grid maze."""
