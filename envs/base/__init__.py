"""The base of all environments: tasks as values, single and tensor environments, randomness."""
