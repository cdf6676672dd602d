"""Many methods on one task distribution: trained, evaluated on the same tasks, in one table."""
