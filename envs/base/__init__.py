"""What environments share: tasks as values, the single and the tensor base, randomness."""
