"""Crashes at every statement, at random moments, and lost answers."""
