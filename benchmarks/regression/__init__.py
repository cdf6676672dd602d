"""Results on regression tasks."""
