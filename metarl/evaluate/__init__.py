"""Evaluation: adaptation looked at after every step, agents over trials."""
