"""Scorers: pure functions of one item, and those that users serve."""
